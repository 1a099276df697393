"""Converts the items of a Responses answer to events; one class for each type of item.

An item is opened (`response.output_item.added`), filled by deltas, and closed
(`response.output_item.done`). What all types have in common:

- Items are identified by their ids. `output_index` is inconsistent even within one sample of the
  official documentation.
- A text comes as deltas, then complete, then complete again in its item, and again in the last
  frame. Each time only the part that was not emitted yet is emitted.
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
# The text and the URL exclude brackets, so that the search takes linear time even in logs that
# consist of nothing but the beginnings of links.
_IMAGE_LINK = re.compile(r"!\[[^\[\]]*\]\(([^()\s]+)\)")
_TRACEBACK = "Traceback (most recent call last)"
_FAILED_STATUSES = ("failed", "incomplete")
_NOT_ARGUMENTS = frozenset({"id", "type", "status"})


class ItemHandler(Protocol):
    """Handles one type of item."""

    def open(self, item: Payload) -> Iterable[Event]:
        """Return the events of an item that was added."""

    def close(self, item: Payload) -> Iterable[Event]:
        """Return the events of a complete item that were not emitted yet.

        The item may not have been opened before, and it may be closed more than once.
        """


class _StreamedText:
    """Counts the characters of each text that were emitted."""

    def __init__(self) -> None:
        self._lengths: dict[object, int] = {}

    def add(self, key: object, piece: object) -> str:
        """Return a piece that is emitted now, and count it."""
        text = as_string(piece)
        self._lengths[key] = self._lengths.get(key, 0) + len(text)
        return text

    def remaining(self, key: object, complete: object) -> str:
        """Return the part of a complete text that was not emitted yet, and count it."""
        return self.add(key, as_string(complete or "")[self._lengths.get(key, 0) :])

    def __contains__(self, key: object) -> bool:
        return key in self._lengths


class Reasoning:
    """Reasoning of the model."""

    def __init__(self) -> None:
        self._text = _StreamedText()
        self._event_types: dict[object, str] = {}  # the type of the first delta of each item

    def open(self, item: Payload) -> list[Event]:
        del item  # an item has no text yet when it is added
        return []

    def delta(self, payload: Payload) -> list[Event]:
        item_id, event_type = payload.get("item_id"), payload["type"]
        if self._event_types.setdefault(item_id, event_type) != event_type:
            # The service may send each piece twice, as `reasoning_text` and under the older name
            # `reasoning_summary_text`.
            return []
        piece = self._text.add(item_id, payload["delta"])
        return [ReasoningDelta(piece)] if piece else []

    def close(self, item: Payload) -> list[Event]:
        parts = item.get("summary") or item.get("content") or ()
        complete = "".join(part.get("text") or "" for part in parts)
        remaining = self._text.remaining(_item_id(item), complete)
        return [ReasoningDelta(remaining)] if remaining else []


class Messages:
    """Text of the answer."""

    def __init__(self) -> None:
        self._text = _StreamedText()
        self._open_id = ""  # deltas without an id belong to this message

    def open(self, item: Payload) -> list[Event]:
        self._open_id = _item_id(item)
        return []

    def delta(self, payload: Payload) -> list[Event]:
        piece = self._text.add(self._key(payload), payload["delta"])
        return [TextDelta(piece)] if piece else []

    def done(self, payload: Payload) -> list[Event]:
        remaining = self._text.remaining(self._key(payload), payload.get("text"))
        return [TextDelta(remaining)] if remaining else []

    def close(self, item: Payload) -> list[Event]:
        item_id = _item_id(item)
        remaining_texts = [
            self._text.remaining((item_id, index), part.get("text"))
            for index, part in enumerate(item.get("content") or ())
            if ("", index) not in self._text  # emitted from deltas before any message was added
        ]
        return [TextDelta(remaining) for remaining in remaining_texts if remaining]

    def _key(self, payload: Payload) -> tuple[str, int]:
        return (payload.get("item_id") or self._open_id, payload.get("content_index") or 0)


class CodeInterpreterCalls:
    """Executions of code."""

    def __init__(self) -> None:
        self._codes: dict[str, list[str]] = {}  # the code of each execution, in pieces
        self._running: dict[str, None] = {}  # ids of executions that have not ended, in order

    def open(self, item: Payload) -> list[Event]:
        return self._update_code(_item_id(item), item.get("code"))

    def delta(self, payload: Payload) -> list[Event]:
        item_id, piece = as_string(payload["item_id"]), as_string(payload["delta"])
        if item_id not in self._codes:
            return self._update_code(item_id, piece)
        if item_id not in self._running or not piece:
            return []
        self._codes[item_id].append(piece)
        return [CodeDelta(item_id, piece)]

    def done(self, payload: Payload) -> list[Event]:
        return self._update_code(as_string(payload["item_id"]), payload.get("code"))

    def close(self, item: Payload) -> Iterator[Event]:
        item_id = _item_id(item)
        if item_id in self._codes and item_id not in self._running:
            return
        yield from self._update_code(item_id, item.get("code"))
        outputs = item.get("outputs")
        logs = None if outputs is None else _logs(outputs)
        images = _images(outputs or [], logs or "")
        del self._running[item_id]
        yield CodeFinished(item_id, _execution_status(item, logs or ""), logs, images)

    def close_all(self) -> list[Event]:
        """End the executions that the answer left open, for example when it was cut by length."""
        running, self._running = self._running, {}
        return [CodeFinished(item_id, "completed") for item_id in running]

    def _update_code(self, item_id: str, code: object) -> list[Event]:
        """Return the change from the known code of an execution to its complete code.

        Later changes of an execution that has ended are ignored.
        """
        new, pieces = as_string(code or ""), self._codes.get(item_id)
        if pieces is None:
            self._codes[item_id] = [new]
            self._running[item_id] = None
            return [CodeDelta(item_id, new)]
        if not new or item_id not in self._running:
            return []
        known = "".join(pieces)
        self._codes[item_id] = [new]
        if new == known:
            return []
        if new.startswith(known):
            return [CodeDelta(item_id, new[len(known) :])]
        return [CodeReplaced(item_id, new)]


class FunctionCalls:
    """Calls of the functions that the request offers."""

    def __init__(self) -> None:
        self._arguments = _StreamedText()
        self._indexes: dict[str, int] = {}

    @property
    def has_calls(self) -> bool:
        return bool(self._indexes)

    def open(self, item: Payload) -> Iterator[Event]:
        item_id = _item_id(item)
        if item_id in self._indexes:
            return
        call_id = as_optional_string(item.get("call_id")) or item_id
        name = as_optional_string(item.get("name"))
        self._indexes[item_id] = index = len(self._indexes)
        yield ToolCallDelta(index, call_id, name, "")
        yield from self._remaining(item_id, item)

    def delta(self, payload: Payload) -> list[Event]:
        item_id = payload["item_id"]
        piece = self._arguments.add(item_id, payload["delta"])
        return [ToolCallDelta(self._indexes[item_id], None, None, piece)] if piece else []

    def done(self, payload: Payload) -> list[Event]:
        return self._remaining(payload["item_id"], payload)

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        yield from self._remaining(_item_id(item), item)

    def _remaining(self, item_id: str, payload: Payload) -> list[Event]:
        remaining = self._arguments.remaining(item_id, payload.get("arguments"))
        return [ToolCallDelta(self._indexes[item_id], None, None, remaining)] if remaining else []


class ServerToolCalls:
    """Calls of other tools of the service, such as `web_search_call`.

    The tools have different fields, so the fields of the added item are the arguments, and those
    that are new or changed in the complete item are the result.
    """

    def __init__(self) -> None:
        self._args: dict[str, Payload] = {}
        self._open_ids: set[str] = set()

    def open(self, item: Payload) -> list[Event]:
        item_id = _item_id(item)
        if item_id in self._args:
            return []
        self._args[item_id] = args = json_safe(_fields(item))
        self._open_ids.add(item_id)
        return [ServerToolCalled(item_id, item["type"].removesuffix("_call"), args)]

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        item_id = _item_id(item)
        if item_id not in self._open_ids:
            return
        self._open_ids.remove(item_id)
        args = self._args[item_id]
        result = {name: value for name, value in _fields(item).items() if args.get(name) != value}
        output = result["output"] if result.keys() == {"output"} else result
        status: ResultStatus = "error" if item.get("status") in _FAILED_STATUSES else "success"
        yield ServerToolReturned(item_id, status, json_safe(output))


def _item_id(item: Payload) -> str:
    return as_string(item["id"])


def _fields(item: Payload) -> Payload:
    return {name: value for name, value in item.items() if name not in _NOT_ARGUMENTS}


def _logs(outputs: list[Payload]) -> str:
    """Return the printed output of an execution, without the Markdown fence around it."""
    return "\n".join(
        fenced[1] if (fenced := _FENCED.fullmatch(logs)) else logs
        for output in outputs
        if (logs := output.get("logs"))
    )


def _images(outputs: list[Payload], logs: str) -> tuple[str, ...]:
    """Return the URLs of images that an execution drew.

    The service sends them as Markdown links in the logs, signed for about twelve hours; OpenAI's
    API has outputs of type "image".
    """
    linked = _IMAGE_LINK.findall(logs)
    return (
        *linked,
        *(as_string(output["url"]) for output in outputs if output.get("type") == "image"),
    )


def _execution_status(item: Payload, logs: str) -> ExecutionStatus:
    """Return the status of an execution.

    The service reports a Python exception as "completed"; only the logs show it.
    """
    return "failed" if item.get("status") in _FAILED_STATUSES or _TRACEBACK in logs else "completed"
