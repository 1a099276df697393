"""Wire format of DashScope's native API, which returns executed code and call counts.

Sources: Model Studio's API reference for text and multimodal generation, and recordings of the
service. Differences from the other APIs:

- With the interpreter on, only streaming is allowed.
- `tool_info` lists all executions so far and is repeated in every frame. The code of an entry may
  be empty at first and grow in later frames. Outputs are never returned.
- `usage` is cumulative over all inferences of the request.
- `finish_reason` is the *string* `"null"` until the last frame. The stream ends with the
  connection; there is no `[DONE]`.
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.choices import Logprobs, ToolCalls, content_text, to_finish_reason
from langchain_qwen_ci.wire.decoding import FramedDecoder
from langchain_qwen_ci.wire.encoding import (
    cache_marker,
    encode_chat_message,
    encode_content,
    feature_flags,
    json_body,
)
from langchain_qwen_ci.wire.error_bodies import parse_error_body, service_error
from langchain_qwen_ci.wire.events import (
    CodeComplete,
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Extra,
    Finished,
    InferenceEnded,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
)
from langchain_qwen_ci.wire.json_values import as_string, json_safe, parse_json
from langchain_qwen_ci.wire.usage import to_tokens_used, usage_events

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Media, Prompt, PromptMessage, RequestOptions
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_PATH_PREFIX = "/api/v1/services/aigc/"
_TEXT = "text-generation"
_MULTIMODAL = "multimodal-generation"
_TOOL_INFO_KEY = b'"tool_info":'
_TOOL_INFO_START = _TOOL_INFO_KEY + b"["
_JSON_DECODER = json.JSONDecoder()


class DashScopeWire:
    """Implements `langchain_qwen_ci.wire.Wire` for the native API."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        to_content = _multimodal_content if options.endpoint == _MULTIMODAL else _text_content
        payload = {
            "model": options.model,
            "input": {
                "messages": [
                    encode_chat_message(message, to_content(message), options) for message in prompt
                ]
            },
            "parameters": _parameters(options),
        }
        return WireRequest(
            model=options.model,
            path=f"{_PATH_PREFIX}{options.endpoint}/generation",
            # Either header alone makes the service stream (recorded); gateways look at Accept.
            headers={"X-DashScope-SSE": "enable", "Accept": "text/event-stream"},
            body=json_body(payload),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        return FramedDecoder(_DashScopeParser(request))

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        return _service_error(request, parse_error_body(body), status_code)


def _text_content(message: PromptMessage) -> str | list[dict[str, Any]]:
    # Text generation answers 400 to a list, except with cache_control (documented).
    return encode_content(message, _typed_part)


def _typed_part(part: Text | Media) -> dict[str, Any]:
    # The documentation of cache_control shows text parts with their type.
    return {"type": "text", "text": part.text} if isinstance(part, Text) else _media_part(part)


def _media_part(media: Media) -> dict[str, Any]:
    if "detail" in media.options:
        raise QwenInputError(
            "detail is a parameter of OpenAI's APIs: with api='dashscope' pass min_pixels or "
            "max_pixels in the image's block."
        )
    return {media.kind: list(media.frames) or media.url, **media.options}


def _multimodal_content(message: PromptMessage) -> list[dict[str, Any]]:
    return [_multimodal_part(part) for part in message.parts]


def _multimodal_part(part: Text | Media) -> dict[str, Any]:
    if part.cache_control is not None:
        return {**_typed_part(part), **cache_marker(part)}
    return {"text": part.text} if isinstance(part, Text) else _media_part(part)


def _parameters(options: RequestOptions) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        # The service requires both for thinking, and the parser below reads no other form.
        "result_format": "message",
        "incremental_output": True,
    }
    parameters |= {**feature_flags(options), **options.parameters}
    if "max_completion_tokens" in parameters:  # a name of Chat Completions only
        parameters["max_tokens"] = parameters.pop("max_completion_tokens")
    return parameters


class _DashScopeParser:
    """Implements `langchain_qwen_ci.wire.decoding.FrameParser` for the native API.

    The code in `tool_info` and the usage are complete in every frame; the parser compares them with
    those of the frame before and emits the difference.
    """

    def __init__(self, request: WireRequest) -> None:
        self.finished = False
        self.usage: dict[str, Any] = {}
        self._request = request
        self._request_id = ""
        self._tool_info: list[Any] = []
        self._tool_info_bytes = b""  # the JSON text of the latest `tool_info`, with its key
        self._codes: dict[int, str] = {}  # latest code, by position in `tool_info`
        # Positions of executions that have not ended: with code, and without code so far.
        self._open_positions: set[int] = set()
        self._empty_positions: set[int] = set()
        self._search_info: Any = None
        self._logprobs = Logprobs()
        self._tool_calls = ToolCalls()
        self._usage_at_inference_end: dict[str, Any] = {}  # when the previous inference ended

    @property
    def started(self) -> bool:
        return bool(self._request_id)

    @property
    def ended(self) -> bool:
        return self.finished

    def end(self) -> list[Event]:
        return []

    def read(self, frame: Frame, events: list[Event]) -> None:
        payload = parse_json(self._replace_unchanged_tool_info(frame.data))
        output = payload.get("output")
        if frame.event == "error" or (not output and payload.get("code")):
            raise _service_error(self._request, payload, frame.status)
        if not self._request_id:
            self._request_id = str(payload.get("request_id") or uuid.uuid4().hex)
            events.append(ResponseStarted(self._request_id))
        if usage := payload.get("usage"):
            self._read_usage(usage, events)
        if output:
            self._read_output(output, events)
            if output.get("tool_info"):
                self._store_tool_info_bytes(frame.data)

    def _read_output(self, output: dict[str, Any], events: list[Event]) -> None:
        choices = output.get("choices")
        choice = choices[0] if choices else {}
        message = choice.get("message") or {}
        # If one frame holds reasoning, code and text, the model produced them in this order.
        if reasoning := message.get("reasoning_content"):
            if self._open_positions:
                self._finish_executions(events)
            events.append(ReasoningDelta(as_string(reasoning)))
        if tool_info := output.get("tool_info"):
            self._read_tool_info(tool_info, events)
        if text := content_text(message.get("content")):
            if self._open_positions:
                self._finish_executions(events)
            events.append(TextDelta(text))
        events.extend(map(self._tool_calls.to_delta, message.get("tool_calls") or ()))
        self._logprobs.add(choice)
        search_info = output.get("search_info")
        if search_info and search_info != self._search_info:  # every frame repeats the value
            self._search_info = json_safe(search_info)
        reason = choice.get("finish_reason")
        if reason and reason != "null":
            self._finish(reason, events)

    def _replace_unchanged_tool_info(self, data: bytes) -> bytes:
        """Replace `tool_info` by null if its bytes are the same as in the frame before.

        Every frame repeats all code so far, and parsing it again would be most of the CPU time of a
        long answer. The search for the key cannot match inside a string, where quotes are escaped.
        A `tool_info` that is not found here, such as one with spaces, is parsed.
        """
        if not self._tool_info_bytes:
            return data
        start = data.find(_TOOL_INFO_KEY)
        if not data.startswith(self._tool_info_bytes, start):
            return data
        return b"".join(
            (data[:start], b'"tool_info":null', data[start + len(self._tool_info_bytes) :])
        )

    def _store_tool_info_bytes(self, data: bytes) -> None:
        """Store the JSON text of the list that was just read, to recognise it in the next frame."""
        start = data.find(_TOOL_INFO_START)
        if start < 0:  # the JSON has spaces after colons: every frame is parsed completely
            return
        text = data[start + len(_TOOL_INFO_KEY) :].decode()
        value, end = _JSON_DECODER.raw_decode(text)
        if value == self._tool_info:  # else the key was found in another object
            length = len(_TOOL_INFO_KEY) + len(text[:end].encode())
            self._tool_info_bytes = data[start : start + length]

    def _read_tool_info(self, tool_info: list[Any], events: list[Event]) -> None:
        """Emit the changes of each entry; the list repeats all executions so far."""
        for position, entry in enumerate(tool_info):
            if entry.get("type") == "code_interpreter":
                code = (entry.get("code_interpreter") or {}).get("code") or ""
                self._on_code(position, as_string(code), events)
        self._tool_info = tool_info

    def _on_code(self, position: int, code: str, events: list[Event]) -> None:
        previous = self._codes.get(position)
        if code == previous:
            return
        self._codes[position] = code
        call_id = self._call_id(position)
        is_open = (
            previous is None
            or position in self._open_positions
            or position in self._empty_positions
        )
        if is_open:
            self._open_positions.discard(position)
            self._empty_positions.discard(position)
            (self._open_positions if code else self._empty_positions).add(position)
        if is_open and code.startswith(previous or ""):
            events.append(CodeDelta(call_id, code[len(previous or "") :]))
        else:
            events.append(CodeReplaced(call_id, code))
        if is_open and previous is not None:
            events.append(CodeComplete(call_id))

    def _finish_executions(self, events: list[Event]) -> None:
        """End all executions with code: the model continues only after they have ended.

        The native API does not report failures, so the status is always "completed".
        """
        events.extend(
            CodeFinished(self._call_id(position), "completed")
            for position in sorted(self._open_positions)
        )
        self._open_positions.clear()

    def _call_id(self, position: int) -> str:
        # Entries have no ids. With the id of the request, these are unique across messages.
        return f"ci_{self._request_id}_{position}"

    def _read_usage(self, usage: dict[str, Any], events: list[Event]) -> None:
        """Emit the usage when a new inference starts. Output tokens grow with every frame."""
        new_inference = usage.get("input_tokens") != self.usage.get("input_tokens")
        if new_inference and self.usage:
            events.append(self._inference_ended())
        self.usage = usage
        if new_inference:
            events += usage_events(usage)

    def _inference_ended(self) -> InferenceEnded:
        """Return the tokens of the inference that ends: the increase since the previous one ended.

        Input tokens stay the same during an inference and increase when the next one starts.
        """
        before, now = to_tokens_used(self._usage_at_inference_end), to_tokens_used(self.usage)
        self._usage_at_inference_end = self.usage
        return InferenceEnded(
            max(0, now.input_tokens - before.input_tokens),
            max(0, now.output_tokens - before.output_tokens),
        )

    def _finish(self, reason: object, events: list[Event]) -> None:
        finished = Finished(to_finish_reason(reason))  # a malformed reason emits no events
        self._open_positions |= self._empty_positions
        self._finish_executions(events)
        other_entries = [
            entry for entry in self._tool_info if entry.get("type") != "code_interpreter"
        ]
        if other_entries:
            logger.debug("tool_info has %d entries of unknown types.", len(other_entries))
            events.append(Extra("tool_info", json_safe(other_entries)))
        if self._search_info:
            events.append(Extra("search_info", self._search_info))
        events += self._tool_calls.missing_ids()
        events += self._logprobs.events()
        if self.usage:
            events.append(self._inference_ended())
        events += usage_events(self.usage)
        events.append(finished)
        self.finished = True


def _service_error(
    request: WireRequest, payload: dict[str, Any], status_code: int | None
) -> QwenAPIError:
    message = str(payload.get("message"))
    if "url error" in message:
        payload = {**payload, "message": f"{message} {_path_advice(request)}"}
    return service_error(payload, status_code)


def _path_advice(request: WireRequest) -> str:
    """Explain the message "url error", which the service sends to a model on the wrong path."""
    used, other = (
        (_MULTIMODAL, _TEXT) if f"/{_MULTIMODAL}/" in request.path else (_TEXT, _MULTIMODAL)
    )
    return (
        f'The service answers this to a model on the wrong path: "{request.model}" was sent '
        f'to {used}. Pass endpoint="{other}", or check the model\'s name.'
    )
