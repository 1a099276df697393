"""Wire format of Chat Completions, OpenAI's older API. It returns neither code nor call counts.

Sources: Model Studio's pages on OpenAI compatibility and on the code interpreter, and recordings of
the service. Differences from the other APIs:

- With the interpreter on, only streaming is allowed. No chunks arrive while code runs.
- The chunk with `finish_reason` is not the last one: a chunk without choices follows, with the
  usage, and then `[DONE]`.
- An error is `{"error": {…}}`, instead of an answer or in the middle of one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.choices import Logprobs, ToolCalls, to_finish_reason
from langchain_qwen_ci.wire.decoding import FramedDecoder
from langchain_qwen_ci.wire.encoding import (
    encode_chat_message,
    encode_content,
    feature_flags,
    json_body,
)
from langchain_qwen_ci.wire.error_bodies import parse_error_body, service_error
from langchain_qwen_ci.wire.events import (
    Event,
    Extra,
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
)
from langchain_qwen_ci.wire.json_values import as_object, as_string, json_safe
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Media, Prompt, RequestOptions
    from langchain_qwen_ci.wire.sse import Frame

_PATH = "/compatible-mode/v1/chat/completions"
_DONE = b"[DONE]"
_EXTRA_FIELDS = ("search_info", "system_fingerprint")


class ChatCompletionsWire:
    """Implements `langchain_qwen_ci.wire.Wire` for Chat Completions."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "messages": [
                encode_chat_message(message, encode_content(message, _encode_part), options)
                for message in prompt
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={"Accept": "text/event-stream"},
            body=json_body({**payload, **feature_flags(options), **options.parameters}),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        del request
        return FramedDecoder(_ChatCompletionsParser())

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return service_error(parse_error_body(body), status_code)


def _encode_part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": part.url, "format": part.format}}
    return {"type": f"{part.kind}_url", f"{part.kind}_url": {"url": part.url}}


class _ChatCompletionsParser:
    """Implements `langchain_qwen_ci.wire.decoding.FrameParser` for Chat Completions."""

    def __init__(self) -> None:
        self.ended = False
        self.usage: dict[str, Any] = {}
        self._request_id = ""
        self._finish_reason: FinishReason | None = None
        self._extras: dict[str, Any] = {}
        self._logprobs = Logprobs()
        self._tool_calls = ToolCalls()

    @property
    def started(self) -> bool:
        return bool(self._request_id)

    @property
    def finished(self) -> bool:
        return self._finish_reason is not None

    def read(self, frame: Frame, events: list[Event]) -> None:
        if frame.data.strip() == _DONE:
            events += self.end()
            return
        payload = from_json(frame.data)
        if payload.get("error") or frame.event == "error" or _is_native_error(payload):
            raise service_error(payload, frame.status)
        if not self._request_id:
            self._request_id = str(payload.get("id") or uuid.uuid4().hex)
            events.append(ResponseStarted(self._request_id))
        if usage := payload.get("usage"):
            self.usage = as_object(usage)
        for name in _EXTRA_FIELDS:
            value = payload.get(name)
            if value and value != self._extras.get(name):  # every chunk repeats the value
                self._extras[name] = json_safe(value)
        if choices := payload.get("choices"):
            self._read_choice(choices[0], events)

    def _read_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        # A JSON document instead of a stream has a complete `message` in place of the `delta`.
        delta = choice.get("delta") or choice.get("message") or {}
        if reasoning := delta.get("reasoning_content"):
            events.append(ReasoningDelta(as_string(reasoning)))
        if text := delta.get("content"):
            events.append(TextDelta(as_string(text)))
        events.extend(map(self._tool_calls.to_delta, delta.get("tool_calls") or ()))
        self._logprobs.add(choice)
        if reason := choice.get("finish_reason"):
            self._finish_reason = to_finish_reason(reason)

    def end(self) -> list[Event]:
        if self.ended or self._finish_reason is None:
            return []
        self.ended = True
        extras: list[Event] = [Extra(name, value) for name, value in self._extras.items()]
        return [
            *extras,
            *self._logprobs.events(),
            *usage_events(self.usage),
            Finished(self._finish_reason),
        ]


def _is_native_error(payload: dict[str, Any]) -> bool:
    """Return whether it is an error in the native shape, which gateways of this API send."""
    return "choices" not in payload and bool(payload.get("code"))
