"""The items of which the Responses API makes its answers: each is opened, filled in and closed.

Each kind has a class here, which knows its events. What they have in common:

- items are known by their ids; `output_index` does not agree even within one official sample;
- a text comes as deltas, then whole, then whole again in its item and in the last frame. Each is
  caught up with: what of it has not been told is told, and nothing is told twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    ExecutionStatus,
    ReasoningDelta,
    ResultStatus,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    ToolCallDelta,
)
from langchain_qwen_ci.wire.json_values import as_optional_string, as_string, json_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Payload = dict[str, Any]

_FENCED = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
# Neither text nor link may open another one: every character is looked at once, even in logs that
# are nothing but beginnings of links.
_IMAGE_LINK = re.compile(r"!\[[^\[\]]*\]\(([^()\s]+)\)")
_TRACEBACK = "Traceback (most recent call last)"
_FAILED = ("failed", "incomplete")
_NO_FIELDS = frozenset({"id", "type", "status"})


class ItemHandler(Protocol):
    """One kind of item."""

    def open(self, item: Payload) -> Iterable[Event]:
        """An item begins."""

    def close(self, item: Payload) -> Iterable[Event]:
        """An item is complete. One that was not opened is told whole, one that is closed is not
        told again."""


class _StreamedText:
    """How much of each text has been told."""

    def __init__(self) -> None:
        self._characters: dict[object, int] = {}

    def count(self, key: object, piece: object) -> str:
        """A piece, which counts as told."""
        text = as_string(piece)
        self._characters[key] = self._characters.get(key, 0) + len(text)
        return text

    def remaining(self, key: object, whole: object) -> str:
        """What of a whole text has not been told, and counts as told from now on."""
        return self.count(key, as_string(whole or "")[self._characters.get(key, 0) :])

    def __contains__(self, key: object) -> bool:
        return key in self._characters


class Reasoning:
    def __init__(self) -> None:
        self._text = _StreamedText()
        self._events: dict[object, str] = {}  # by item, which of the two names it uses

    def open(self, item: Payload) -> list[Event]:
        del item  # it is empty
        return []

    def delta(self, payload: Payload) -> list[Event]:
        item_id, kind = payload.get("item_id"), payload["type"]
        if self._events.setdefault(item_id, kind) != kind:
            return []  # the same thought again, under the other name
        piece = self._text.count(item_id, payload["delta"])
        return [ReasoningDelta(piece)] if piece else []

    def close(self, item: Payload) -> list[Event]:
        parts = item.get("summary") or item.get("content") or ()
        remaining = self._text.remaining(
            _id(item), "".join(part.get("text") or "" for part in parts)
        )
        return [ReasoningDelta(remaining)] if remaining else []


class Messages:
    def __init__(self) -> None:
        self._text = _StreamedText()
        self._open = ""  # the message that a delta without an id belongs to

    def open(self, item: Payload) -> list[Event]:
        self._open = _id(item)
        return []

    def delta(self, payload: Payload) -> list[Event]:
        piece = self._text.count(self._key(payload), payload["delta"])
        return [TextDelta(piece)] if piece else []

    def done(self, payload: Payload) -> list[Event]:
        remaining = self._text.remaining(self._key(payload), payload.get("text"))
        return [TextDelta(remaining)] if remaining else []

    def close(self, item: Payload) -> list[Event]:
        item_id = _id(item)
        remaining_texts = [
            self._text.remaining((item_id, index), part.get("text"))
            for index, part in enumerate(item.get("content") or ())
            if ("", index) not in self._text  # by deltas that belonged to no message
        ]
        return [TextDelta(remaining) for remaining in remaining_texts if remaining]

    def _key(self, payload: Payload) -> tuple[str, int]:
        return (payload.get("item_id") or self._open, payload.get("content_index") or 0)


class CodeInterpreterCalls:
    def __init__(self) -> None:
        self._codes: dict[str, list[str]] = {}  # in pieces
        self._running: dict[str, None] = {}  # in order

    def open(self, item: Payload) -> list[Event]:
        return self._streamed_code(_id(item), item.get("code"))

    def delta(self, payload: Payload) -> list[Event]:
        item_id, piece = as_string(payload["item_id"]), as_string(payload["delta"])
        if item_id not in self._codes:
            return self._streamed_code(item_id, piece)
        if item_id not in self._running or not piece:
            return []
        self._codes[item_id].append(piece)
        return [CodeDelta(item_id, piece)]

    def done(self, payload: Payload) -> list[Event]:
        return self._streamed_code(as_string(payload["item_id"]), payload.get("code"))

    def close(self, item: Payload) -> Iterator[Event]:
        item_id = _id(item)
        if item_id in self._codes and item_id not in self._running:
            return
        yield from self._streamed_code(item_id, item.get("code"))
        outputs = item.get("outputs")
        logs = None if outputs is None else _logs(outputs)
        images = _images(outputs or [], logs or "")
        del self._running[item_id]
        yield CodeFinished(item_id, _status(item, logs or ""), logs, images)

    def end(self) -> list[Event]:
        """What still runs when the answer ends has ended, too."""
        running, self._running = self._running, {}
        return [CodeFinished(item_id, "completed") for item_id in running]

    def _streamed_code(self, item_id: str, code: object) -> list[Event]:
        """All code of a program, as far as it is written. Once it has run, no more is."""
        now, pieces = as_string(code or ""), self._codes.get(item_id)
        if pieces is None:
            self._codes[item_id] = [now]
            self._running[item_id] = None
            return [CodeDelta(item_id, now)]
        if not now or item_id not in self._running:
            return []
        known = "".join(pieces)
        self._codes[item_id] = [now]
        if now == known:
            return []
        if now.startswith(known):
            return [CodeDelta(item_id, now[len(known) :])]
        return [CodeReplaced(item_id, now)]


class FunctionCalls:
    """Calls of the caller's own functions."""

    def __init__(self) -> None:
        self._text = _StreamedText()
        self._indexes: dict[str, int] = {}

    @property
    def called(self) -> bool:
        return bool(self._indexes)

    def open(self, item: Payload) -> Iterator[Event]:
        item_id = _id(item)
        if item_id in self._indexes:
            return
        call_id = as_optional_string(item.get("call_id")) or item_id
        name = as_optional_string(item.get("name"))
        self._indexes[item_id] = index = len(self._indexes)
        yield ToolCallDelta(index, call_id, name, "")
        yield from self._remaining(item_id, item)

    def delta(self, payload: Payload) -> list[Event]:
        item_id = payload["item_id"]
        piece = self._text.count(item_id, payload["delta"])
        return [ToolCallDelta(self._indexes[item_id], None, None, piece)] if piece else []

    def done(self, payload: Payload) -> list[Event]:
        return self._remaining(payload["item_id"], payload)

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        yield from self._remaining(_id(item), item)

    def _remaining(self, item_id: str, payload: Payload) -> list[Event]:
        remaining = self._text.remaining(item_id, payload.get("arguments"))
        return [ToolCallDelta(self._indexes[item_id], None, None, remaining)] if remaining else []


class ServerToolCalls:
    """Calls of the service's other tools, such as `web_search_call`: one that has no class here
    is told by its fields."""

    def __init__(self) -> None:
        self._args: dict[str, Payload] = {}
        self._open: set[str] = set()

    def open(self, item: Payload) -> list[Event]:
        item_id = _id(item)
        if item_id in self._args:
            return []
        self._args[item_id] = args = json_safe(_fields(item))
        self._open.add(item_id)
        return [ServerToolCalled(item_id, item["type"].removesuffix("_call"), args)]

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        item_id = _id(item)
        if item_id not in self._open:
            return
        self._open.remove(item_id)
        # What was not there when the call began is its result; `output` alone needs no wrapping.
        args = self._args[item_id]
        found = {name: value for name, value in _fields(item).items() if args.get(name) != value}
        output = found["output"] if found.keys() == {"output"} else found
        status: ResultStatus = "error" if item.get("status") in _FAILED else "success"
        yield ServerToolReturned(item_id, status, json_safe(output))


def _id(item: Payload) -> str:
    return as_string(item["id"])


def _fields(item: Payload) -> Payload:
    return {name: value for name, value in item.items() if name not in _NO_FIELDS}


def _logs(outputs: list[Payload]) -> str:
    """What a program printed, out of its Markdown fence."""
    return "\n".join(
        fenced[1] if (fenced := _FENCED.fullmatch(logs)) else logs
        for output in outputs
        if (logs := output.get("logs"))
    )


def _images(outputs: list[Payload], logs: str) -> tuple[str, ...]:
    """URLs of what a program drew: links in its logs, or outputs of their own in OpenAI's shape.
    The service signs them for about twelve hours."""
    linked = _IMAGE_LINK.findall(logs)
    return (
        *linked,
        *(as_string(output["url"]) for output in outputs if output.get("type") == "image"),
    )


def _status(item: Payload, logs: str) -> ExecutionStatus:
    """An exception is `completed` too: its traceback in the logs tells."""
    return "failed" if item.get("status") in _FAILED or _TRACEBACK in logs else "completed"
