"""DashScope's native wire: the one that gives code and counts on every model.

Facts in this module: Model Studio's API reference for text and multimodal generation, and
recordings of the service. What makes this wire special:

- with the interpreter on it only streams;
- `tool_info` is the whole list of executions so far, repeated in every frame, and an entry may
  first come empty and be filled in later; it never holds outputs;
- `usage` is cumulative over every inference of the request;
- `finish_reason` is the *string* `"null"` until the end, which is the end of the connection.
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.decoding import (
    FramedDecoder,
    Logprobs,
    ToolCalls,
    error_document,
    finish_reason,
    service_error,
)
from langchain_qwen_ci.wire.encoding import encode_chat_message, feature_flags, json_body
from langchain_qwen_ci.wire.events import (
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
from langchain_qwen_ci.wire.json_values import as_string, json_safe
from langchain_qwen_ci.wire.usage import to_tokens_used, usage_events

if TYPE_CHECKING:
    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Prompt, PromptMessage, RequestOptions
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_ROOT = "/api/v1/services/aigc/"
_TEXT = "text-generation"
_MULTIMODAL = "multimodal-generation"
_TOOL_INFO_KEY = b'"tool_info":'
_TOOL_INFO_START = _TOOL_INFO_KEY + b"["
_JSON = json.JSONDecoder()


class DashScopeWire:
    """The native wire; see `langchain_qwen_ci.wire.Wire`."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        content = _parts if options.endpoint == _MULTIMODAL else _string
        payload = {
            "model": options.model,
            "input": {
                "messages": [
                    encode_chat_message(message, content(message), options) for message in prompt
                ]
            },
            "parameters": _parameters(options),
        }
        return WireRequest(
            model=options.model,
            path=f"{_ROOT}{options.endpoint}/generation",
            # Either header alone makes the service stream; gateways in between look at Accept.
            headers={"X-DashScope-SSE": "enable", "Accept": "text/event-stream"},
            body=json_body(payload),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        return FramedDecoder(_DashScopeParser(request))

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        return _service_error(request, error_document(body), status_code)


def _string(message: PromptMessage) -> str:
    """Text generation takes strings only: a list is refused with 400."""
    return message.text


def _parts(message: PromptMessage) -> list[dict[str, str]]:
    return [
        {"text": part.text} if isinstance(part, Text) else {part.kind: part.url}
        for part in message.parts
    ]


def _parameters(options: RequestOptions) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        # Thinking requires both, and nothing here reads any other form.
        "result_format": "message",
        "incremental_output": True,
    }
    return {**parameters, **feature_flags(options), **options.parameters}


class _DashScopeParser:
    """Turns snapshots into deltas; see `langchain_qwen_ci.wire.decoding.Reading`."""

    def __init__(self, request: WireRequest) -> None:
        self.finished = False
        self._request = request
        self._request_id = ""
        self._tool_info: list[Any] = []
        self._tool_info_bytes = b""  # of `tool_info` as last read, with its key
        self._tool_info_changed = False
        self._codes: dict[int, str] = {}  # by position in tool_info, as last seen
        # Positions that the model has not gone on after: with code, and still to be filled in.
        self._open_positions: set[int] = set()
        self._empty_positions: set[int] = set()
        self._search_info: Any = None
        self._logprobs = Logprobs()
        self._calls = ToolCalls()
        self.usage: dict[str, Any] = {}
        self._usage_at_inference_end: dict[str, Any] = {}  # usage when the last inference ended

    @property
    def started(self) -> bool:
        return bool(self._request_id)

    @property
    def ended(self) -> bool:
        return self.finished

    def read(self, frame: Frame, events: list[Event]) -> None:
        self._read(frame, events)
        self._store_tool_info_bytes(frame.data)

    def end(self) -> list[Event]:
        return []

    def _read(self, frame: Frame, events: list[Event]) -> None:
        payload = from_json(self._replace_unchanged_tool_info(frame.data))
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

    def _read_output(self, output: dict[str, Any], events: list[Event]) -> None:
        choices = output.get("choices")
        choice = choices[0] if choices else {}
        message = choice.get("message") or {}
        # Where one frame holds several stages, they are told in the order of the stages:
        # thinking, code, answer.
        if reasoning := message.get("reasoning_content"):
            if self._open_positions:
                self._end_runs(events)
            events.append(ReasoningDelta(as_string(reasoning)))
        if tool_info := output.get("tool_info"):
            self._read_tool_info(tool_info, events)
        if text := _text_of(message.get("content")):
            if self._open_positions:
                self._end_runs(events)
            events.append(TextDelta(text))
        events.extend(map(self._calls.piece, message.get("tool_calls") or ()))
        self._logprobs.add(choice)
        search_info = output.get("search_info")
        if search_info and search_info != self._search_info:  # every frame repeats it
            self._search_info = json_safe(search_info)
        reason = choice.get("finish_reason")
        if reason and reason != "null":
            self._finish(reason, events)

    def _replace_unchanged_tool_info(self, data: bytes) -> bytes:
        """Every frame repeats all code so far: parsing it again is most of what a long answer
        costs. If the same bytes stand there as before, nothing has changed, and null will do.

        A string cannot be mistaken for the key, since a quote in a string is escaped. What is
        not recognised is parsed.
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
        """Keep the bytes of a list that has just been read."""
        if not self._tool_info_changed:
            return
        self._tool_info_changed = False
        start = data.find(_TOOL_INFO_START)
        if start < 0:  # written otherwise, with spaces: every frame is then parsed whole
            return
        text = data[start + len(_TOOL_INFO_KEY) :].decode()
        value, end = _JSON.raw_decode(text)
        if value == self._tool_info:
            length = len(_TOOL_INFO_KEY) + len(text[:end].encode())
            self._tool_info_bytes = data[start : start + length]

    def _read_tool_info(self, tool_info: list[Any], events: list[Event]) -> None:
        """Tell what is new: entry by entry, since the list repeats every execution so far."""
        for position, entry in enumerate(tool_info):
            if entry.get("type") == "code_interpreter":
                code = (entry.get("code_interpreter") or {}).get("code") or ""
                self._on_code(position, as_string(code), events)
        self._tool_info = tool_info
        self._tool_info_changed = True

    def _on_code(self, position: int, code: str, events: list[Event]) -> None:
        known = self._codes.get(position)
        if code == known:
            return
        self._codes[position] = code
        call_id = self._call_id(position)
        runs = (
            known is None or position in self._open_positions or position in self._empty_positions
        )
        if runs:
            self._open_positions.discard(position)
            self._empty_positions.discard(position)
            (self._open_positions if code else self._empty_positions).add(position)
        if runs and code.startswith(known or ""):
            events.append(CodeDelta(call_id, code[len(known or "") :]))
        else:
            events.append(CodeReplaced(call_id, code))

    def _end_runs(self, events: list[Event]) -> None:
        """The model goes on, so what it ran has ended. How it ended, this wire does not say."""
        events.extend(
            CodeFinished(self._call_id(position), "completed")
            for position in sorted(self._open_positions)
        )
        self._open_positions.clear()

    def _call_id(self, position: int) -> str:
        """Entries have no ids; the request's id makes these unique across messages."""
        return f"ci_{self._request_id}_{position}"

    def _read_usage(self, usage: dict[str, Any], events: list[Event]) -> None:
        """Tell it when a new inference begins, and at the end; output tokens grow every frame."""
        new_inference = usage.get("input_tokens") != self.usage.get("input_tokens")
        if new_inference and self.usage:
            events.append(self._inference())
        self.usage = usage
        if new_inference:
            events += usage_events(usage)

    def _inference(self) -> InferenceEnded:
        """The tokens of the inference that ends now: input steps up where the next one begins."""
        before, now = to_tokens_used(self._usage_at_inference_end), to_tokens_used(self.usage)
        self._usage_at_inference_end = self.usage
        return InferenceEnded(
            max(0, now.input_tokens - before.input_tokens),
            max(0, now.output_tokens - before.output_tokens),
        )

    def _finish(self, reason: object, events: list[Event]) -> None:
        finished = Finished(finish_reason(reason))
        self._open_positions |= self._empty_positions
        self._end_runs(events)
        other_entries = [
            entry for entry in self._tool_info if entry.get("type") != "code_interpreter"
        ]
        if other_entries:
            logger.debug("The service ran %d tools of unknown types.", len(other_entries))
            events.append(Extra("tool_info", json_safe(other_entries)))
        if self._search_info:
            events.append(Extra("search_info", self._search_info))
        events += self._logprobs.events()
        if self.usage:
            events.append(self._inference())
        events += usage_events(self.usage)
        events.append(finished)
        self.finished = True


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    """Text generation sends strings, multimodal generation lists of parts, both also null."""
    if isinstance(content, str):
        return content
    return "".join(as_string(part.get("text") or "") for part in content or ())


def _service_error(
    request: WireRequest, payload: dict[str, Any], status_code: int | None
) -> QwenAPIError:
    message = str(payload.get("message"))
    if "url error" in message:
        payload = {**payload, "message": f"{message} {_path_advice(request)}"}
    return service_error(payload, status_code)


def _path_advice(request: WireRequest) -> str:
    used, other = (
        (_MULTIMODAL, _TEXT) if f"/{_MULTIMODAL}/" in request.path else (_TEXT, _MULTIMODAL)
    )
    return (
        f'This is what the service says to a model on the wrong path: "{request.model}" was sent '
        f'to {used}. Pass endpoint="{other}", or check the model\'s name.'
    )
