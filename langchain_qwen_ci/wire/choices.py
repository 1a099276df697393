"""Fields of a choice that the native API and Chat Completions share.

These are function calls in pieces, log probabilities, and the finish reason.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.wire.events import Extra, ToolCallDelta
from langchain_qwen_ci.wire.json_values import as_list, as_optional_string, as_string, json_safe

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.events import Event, FinishReason

logger = logging.getLogger(__name__)

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class ToolCalls:
    """Converts pieces of function calls to events.

    The first piece of a call holds its id and function name. Later pieces hold `"id": ""` and more
    of the arguments.

    Calls get new indexes, in the order in which they start, and a new id under a known index starts
    a new call: some OpenAI-compatible servers send all parallel calls with index 0, and LangChain
    would merge their arguments.
    """

    def __init__(self) -> None:
        self._calls: dict[object, _ToolCall] = {}  # the latest call of each index of the service
        self._started = 0

    def to_delta(self, piece: dict[str, Any]) -> ToolCallDelta:
        """Convert one entry of `tool_calls`.

        Raises:
            TypeError: a value has the wrong type.
        """
        index, function = piece.get("index") or 0, piece.get("function") or {}
        call_id = as_optional_string(piece.get("id"))
        name = as_optional_string(function.get("name"))
        arguments = as_string(function.get("arguments") or "")
        call = self._calls.get(index)
        if call is None or call_id not in (None, call.call_id or call_id):
            self._calls[index] = call = _ToolCall(self._started)
            self._started += 1
        return call.to_delta(call_id, name, arguments)


@dataclass(slots=True)
class _ToolCall:
    index: int
    call_id: str | None = None
    name: str | None = None

    def to_delta(self, call_id: str | None, name: str | None, arguments: str) -> ToolCallDelta:
        # Id and name are emitted once: when LangChain merges chunks, it concatenates names.
        delta = ToolCallDelta(
            self.index,
            None if self.call_id else call_id,
            None if self.name else name,
            arguments,
        )
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        return delta


class Logprobs:
    """Collects the log probabilities of all choices; they come only if the request set them."""

    def __init__(self) -> None:
        self._content: list[Any] = []

    def add(self, choice: dict[str, Any]) -> None:
        if found := choice.get("logprobs"):
            self._content += json_safe(as_list(found.get("content") or []))

    def events(self) -> list[Event]:
        """Return one event with all log probabilities; an empty list if there are none."""
        return [Extra("logprobs", {"content": self._content})] if self._content else []


def to_finish_reason(value: object) -> FinishReason:
    """Return the finish reason; an unknown one is read as "stop".

    Raises:
        TypeError: the value is not a string.
    """
    name = as_string(value)
    if name in _FINISH_REASONS:
        return _FINISH_REASONS[name]
    logger.debug("Unknown finish_reason %r is read as 'stop'.", value)
    return "stop"
