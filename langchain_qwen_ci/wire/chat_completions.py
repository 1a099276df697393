"""Chat Completions: OpenAI's older shape. It runs code, and shows neither code nor counts.

Facts in this module: Model Studio's pages on OpenAI compatibility and on the code interpreter,
and recordings of the service. What makes this wire special:

- with the interpreter on it only streams, and falls silent while code runs;
- the chunk with `finish_reason` is not the last one: usage follows in one without choices, then
  `[DONE]`;
- an error is `{"error": {…}}`, in place of an answer or in the middle of one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.decoding import (
    FramedDecoder,
    Logprobs,
    ToolCalls,
    document,
    finish_reason,
    refusal,
)
from langchain_qwen_ci.wire.encoding import chat_message, content, json_body, switches
from langchain_qwen_ci.wire.events import (
    Event,
    Extra,
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
)
from langchain_qwen_ci.wire.prompt import Text
from langchain_qwen_ci.wire.tokens import counted
from langchain_qwen_ci.wire.values import object_only, storable, string_only

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.wire.prompt import Media, Options, Prompt
    from langchain_qwen_ci.wire.sse import Frame

_PATH = "/compatible-mode/v1/chat/completions"
_DONE = b"[DONE]"
_BESIDE_CHOICES = ("search_info", "system_fingerprint")


class ChatCompletionsWire:
    """The Chat Completions wire; see `langchain_qwen_ci.wire.Wire`."""

    def request(self, prompt: Prompt, options: Options) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "messages": [chat_message(turn, content(turn, _part), options) for turn in prompt],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={"Accept": "text/event-stream"},
            body=json_body({**payload, **switches(options), **options.parameters}),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        del request
        return FramedDecoder(_ChatCompletionsReading())

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return refusal(document(body), status_code)


def _part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": part.url, "format": part.format}}
    return {"type": f"{part.kind}_url", f"{part.kind}_url": {"url": part.url}}


class _ChatCompletionsReading:
    """Chunks to events; see `langchain_qwen_ci.wire.decoding.Reading`."""

    def __init__(self) -> None:
        self.over = False
        self._request_id = ""
        self._reason: FinishReason | None = None
        self.usage: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}
        self._logprobs = Logprobs()
        self._calls = ToolCalls()

    @property
    def begun(self) -> bool:
        return bool(self._request_id)

    @property
    def finished(self) -> bool:
        return self._reason is not None

    def read(self, frame: Frame, events: list[Event]) -> None:
        if frame.data.strip() == _DONE:
            events += self.end()
            return
        payload = from_json(frame.data)
        if payload.get("error") or frame.event == "error" or _is_refusal(payload):
            raise refusal(payload, frame.status)
        if not self._request_id:
            self._request_id = str(payload.get("id") or uuid.uuid4().hex)
            events.append(ResponseStarted(self._request_id))
        if usage := payload.get("usage"):
            self.usage = object_only(usage)
        for name in _BESIDE_CHOICES:
            value = payload.get(name)
            if value and value != self._beside.get(name):  # every chunk repeats it
                self._beside[name] = storable(value)
        if choices := payload.get("choices"):
            self._take(choices[0], events)

    def _take(self, choice: dict[str, Any], events: list[Event]) -> None:
        # An answer that is no stream has a whole message where a chunk has a delta.
        delta = choice.get("delta") or choice.get("message") or {}
        if thought := delta.get("reasoning_content"):
            events.append(ReasoningDelta(string_only(thought)))
        if said := delta.get("content"):
            events.append(TextDelta(string_only(said)))
        events.extend(map(self._calls.piece, delta.get("tool_calls") or ()))
        self._logprobs.take(choice)
        if reason := choice.get("finish_reason"):
            self._reason = finish_reason(reason)

    def end(self) -> list[Event]:
        if self.over or self._reason is None:
            return []
        self.over = True
        others: list[Event] = [Extra(name, value) for name, value in self._beside.items()]
        return [*others, *self._logprobs.told(), *counted(self.usage), Finished(self._reason)]


def _is_refusal(payload: dict[str, Any]) -> bool:
    """An error in the native shape, as gateways in front of this API send it."""
    return "choices" not in payload and bool(payload.get("code"))
