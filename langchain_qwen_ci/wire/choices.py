"""Fields of a choice that the native API and Chat Completions share.

These are function calls in pieces, text, log probabilities, and the finish reason.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.wire.events import Extra, ToolCallDelta
from langchain_qwen_ci.wire.json_values import (
    as_list,
    as_optional_string,
    as_string,
    is_json,
    json_safe,
)

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

    The first piece of a call has its id and the name of the function, later pieces have more of the
    arguments and `"id": ""`. A piece belongs to the call with its `index`, with exceptions that
    were reported of OpenAI-compatible servers:

    - All parallel calls have index 0 (a piece with another id and a name starts a new call, a piece
      with the id of another call continues that one).
    - Qwen3 on SGLang and vLLM: the first piece has another index than the rest of its call
      (langchain-ai/langchain#31511, sgl-project/sglang#6310). Once a piece without id and name has
      an unknown index, indexes are ignored for the rest of the stream, and such a piece belongs to
      the call of the piece before.
    - The id changes after the first piece, or comes with every piece.
    - Pieces have no index, or only those of the calls after the first one have it, as servers in Go
      that leave out zeros. Without an index, the id says which call is continued; else it is the
      call of the piece before.

    Calls get new indexes, in the order in which they start; a call without an id gets one, because
    its result could not be sent otherwise.
    """

    def __init__(self) -> None:
        self._calls: list[_ToolCall] = []
        self._latest: _ToolCall | None = None
        self._latest_of: dict[object, _ToolCall] = {}  # by index of the service, which may be None
        self._indexes_hold = True

    def to_delta(self, piece: dict[str, Any]) -> ToolCallDelta:
        """Convert one entry of `tool_calls`.

        Raises:
            TypeError: a value has the wrong type.
        """
        index, function = piece.get("index"), piece.get("function") or {}
        call_id = as_optional_string(piece.get("id"))
        name = as_optional_string(function.get("name"))
        arguments = as_string(function.get("arguments") or "")
        call = self._find(index, call_id, name)
        if call is None:
            call = _ToolCall(len(self._calls))
            self._calls.append(call)
        self._latest = self._latest_of[index] = call
        return call.to_delta(call_id, name, arguments)

    def _find(self, index: object, call_id: str | None, name: str | None) -> _ToolCall | None:
        """Return the call that a piece continues; None if it starts a new one."""
        call = self._without_index(call_id) if index is None else self._latest_of.get(index)
        if call is not None and call_id and call.call_id != call_id:  # one index for all calls
            call = self._with_id(call_id) or call
        if not call_id and not name and self._latest:
            self._indexes_hold = self._indexes_hold and call is not None
            return call if self._indexes_hold else self._latest
        if call is not None and name and call.name and call.is_complete_before(call_id, name):
            return None
        return call

    def _without_index(self, call_id: str | None) -> _ToolCall | None:
        """Return the call that a piece without an index continues, unless it starts a new one."""
        if call_id and (call := self._with_id(call_id)):
            return call
        indexes = self._latest_of.keys() - {None}
        if indexes and 0 not in indexes:  # zeros are left out
            return self._latest_of.get(None)
        return self._latest

    def _with_id(self, call_id: str) -> _ToolCall | None:
        return next((call for call in reversed(self._calls) if call.call_id == call_id), None)

    def missing_ids(self) -> list[ToolCallDelta]:
        """Return ids for the calls that have none."""
        return [
            ToolCallDelta(call.index, f"call_{uuid.uuid4().hex}", None, "")
            for call in self._calls
            if call.call_id is None
        ]


@dataclass(slots=True)
class _ToolCall:
    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)

    def is_complete_before(self, call_id: str | None, name: str) -> bool:
        """Return whether a piece with this id and name starts another call."""
        if call_id and self.call_id:
            return call_id != self.call_id
        # Without an id, the name is repeated for the same call until the arguments are complete.
        return name != self.name or is_json("".join(self.arguments))

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
        self.arguments.append(arguments)
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


def content_text(content: str | list[dict[str, Any]] | None) -> str:
    """Return the text of a content.

    It is a string; the native API's multimodal generation and some gateways send a list of parts.

    Raises:
        TypeError: a text is not a string.
    """
    if isinstance(content, str):
        return content
    return "".join(as_string(part.get("text") or "") for part in content or ())


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
