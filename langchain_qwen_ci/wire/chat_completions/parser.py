"""Converts the frames of a Chat Completions answer to events."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.wire.choices import Logprobs, ToolCalls, content_text, to_finish_reason
from langchain_qwen_ci.wire.error_bodies import service_error
from langchain_qwen_ci.wire.events import (
    CitationAdded,
    Event,
    Extra,
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
)
from langchain_qwen_ci.wire.json_values import as_object, as_string, json_safe, parse_json
from langchain_qwen_ci.wire.text.citations import to_citation
from langchain_qwen_ci.wire.text.think_tags import ThinkTagSplitter
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.sse import Frame

_DONE = b"[DONE]"
_EXTRA_FIELDS = ("search_info", "system_fingerprint")


class ChatCompletionsParser:
    """Implements `langchain_qwen_ci.wire.decoding.FrameParser` for Chat Completions.

    Args:
        parse_think_tags: whether text in `<think>` tags is reasoning.
    """

    def __init__(self, *, parse_think_tags: bool) -> None:
        self.ended = False
        self.usage: dict[str, Any] = {}
        self._request_id = ""
        self._finish_reason: FinishReason | None = None
        self._extras: dict[str, Any] = {}
        self._logprobs = Logprobs()
        self._tool_calls = ToolCalls()
        self._has_refusal = False
        self._think_tags = ThinkTagSplitter() if parse_think_tags else None

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
        payload = parse_json(frame.data)
        # Gateways of this API also send errors in the native shape.
        is_native_error = "choices" not in payload and bool(payload.get("code"))
        if payload.get("error") or frame.event == "error" or is_native_error:
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
        # vLLM since 0.11 and OpenRouter name it `reasoning`; some servers send both names at once,
        # with the same text.
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            events.append(ReasoningDelta(as_string(reasoning)))
        if (content := delta.get("content")) and (text := content_text(content)):
            events += self._think_tags.feed(text) if self._think_tags else [TextDelta(text)]
        if refusal := delta.get("refusal"):
            self._has_refusal = True
            events.append(TextDelta(as_string(refusal)))
        for annotation in delta.get("annotations") or ():
            events.append(CitationAdded(to_citation(annotation)))
        for piece in delta.get("tool_calls") or ():
            events.append(self._tool_calls.to_delta(piece))  # in order, up to a broken one
        self._logprobs.add(choice)
        if reason := choice.get("finish_reason"):
            self._finish_reason = to_finish_reason(reason)

    def end(self) -> list[Event]:
        if self.ended or self._finish_reason is None:
            return []
        self.ended = True
        extras: list[Event] = [Extra(name, value) for name, value in self._extras.items()]
        is_refused = self._has_refusal and self._finish_reason == "stop"
        return [
            *(self._think_tags.close() if self._think_tags else ()),
            *self._tool_calls.missing_ids(),
            *extras,
            *self._logprobs.events(),
            *usage_events(self.usage),
            Finished("content_filter" if is_refused else self._finish_reason),
        ]
