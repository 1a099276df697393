"""The items of a Responses answer: each is added, receives deltas, and is done.

One class handles each type of item. Common to all of them:

- items are identified by their ids, because `output_index` is inconsistent even within one official
  sample;
- a text arrives as deltas, then complete, then again in its item and in the last frame. Each time
  only the part that was not emitted yet is emitted.
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
# Neither the text nor the URL may contain the start of another link. So each character is matched
# once, also in logs that consist of many starts of links.
_IMAGE_LINK = re.compile(r"!\[[^\[\]]*\]\(([^()\s]+)\)")
_TRACEBACK = "Traceback (most recent call last)"
_FAILED = ("failed", "incomplete")
_COMMON_FIELDS = frozenset({"id", "type", "status"})


class ItemHandler(Protocol):
    """Handles the items of one type."""

    def open(self, item: Payload) -> Iterable[Event]:
        """Handle an item that was added."""

    def close(self, item: Payload) -> Iterable[Event]:
        """Handle an item that is done.

        Emit all of an item that was not added before, and nothing of one that was done before.
        """


class _StreamedText:
    """Counts how many characters of each text were emitted."""

    def __init__(self) -> None:
        self._lengths: dict[object, int] = {}

    def add(self, key: object, delta: object) -> str:
        """Count a delta as emitted, and return it."""
        text = as_string(delta)
        self._lengths[key] = self._lengths.get(key, 0) + len(text)
        return text

    def remaining(self, key: object, complete: object) -> str:
        """Count the part of a complete text that was not emitted as emitted, and return it."""
        return self.add(key, as_string(complete or "")[self._lengths.get(key, 0) :])

    def __contains__(self, key: object) -> bool:
        return key in self._lengths


class Reasoning:
    def __init__(self) -> None:
        self._text = _StreamedText()
        self._event_names: dict[object, str] = {}  # by item id

    def open(self, item: Payload) -> list[Event]:
        del item  # it has no text yet
        return []

    def delta(self, payload: Payload) -> list[Event]:
        item_id, event_name = payload.get("item_id"), payload["type"]
        if self._event_names.setdefault(item_id, event_name) != event_name:
            return []  # the service sends the same delta with both event names
        text = self._text.add(item_id, payload["delta"])
        return [ReasoningDelta(text)] if text else []

    def close(self, item: Payload) -> list[Event]:
        parts = item.get("summary") or item.get("content") or ()
        complete = "".join(part.get("text") or "" for part in parts)
        text = self._text.remaining(_id(item), complete)
        return [ReasoningDelta(text)] if text else []


class Messages:
    def __init__(self) -> None:
        self._text = _StreamedText()
        self._open_id = ""  # of the message that a delta without an id belongs to

    def open(self, item: Payload) -> list[Event]:
        self._open_id = _id(item)
        return []

    def delta(self, payload: Payload) -> list[Event]:
        text = self._text.add(self._key(payload), payload["delta"])
        return [TextDelta(text)] if text else []

    def done(self, payload: Payload) -> list[Event]:
        text = self._text.remaining(self._key(payload), payload.get("text"))
        return [TextDelta(text)] if text else []

    def close(self, item: Payload) -> list[Event]:
        item_id = _id(item)
        texts = [
            self._text.remaining((item_id, index), part.get("text"))
            for index, part in enumerate(item.get("content") or ())
            if ("", index) not in self._text  # emitted from deltas that belonged to no message
        ]
        return [TextDelta(text) for text in texts if text]

    def _key(self, payload: Payload) -> tuple[str, int]:
        return (payload.get("item_id") or self._open_id, payload.get("content_index") or 0)


class CodeInterpreterCalls:
    def __init__(self) -> None:
        self._codes: dict[str, list[str]] = {}  # the deltas of each program
        self._running: dict[str, None] = {}  # ids of programs that have not ended, in order

    def open(self, item: Payload) -> list[Event]:
        return self._on_complete_code(_id(item), item.get("code"))

    def delta(self, payload: Payload) -> list[Event]:
        item_id, code = as_string(payload["item_id"]), as_string(payload["delta"])
        if item_id not in self._codes:
            return self._on_complete_code(item_id, code)
        if item_id not in self._running or not code:
            return []
        self._codes[item_id].append(code)
        return [CodeDelta(item_id, code)]

    def done(self, payload: Payload) -> list[Event]:
        return self._on_complete_code(as_string(payload["item_id"]), payload.get("code"))

    def close(self, item: Payload) -> Iterator[Event]:
        item_id = _id(item)
        if item_id in self._codes and item_id not in self._running:
            return
        yield from self._on_complete_code(item_id, item.get("code"))
        outputs = item.get("outputs")
        logs = None if outputs is None else _logs(outputs)
        images = _images(outputs or [], logs or "")
        del self._running[item_id]
        yield CodeFinished(item_id, _status(item, logs or ""), logs, images)

    def end(self) -> list[Event]:
        """End the programs that are still running when the answer ends."""
        running, self._running = self._running, {}
        return [CodeFinished(item_id, "completed") for item_id in running]

    def _on_complete_code(self, item_id: str, value: object) -> list[Event]:
        """Emit the part of a program's code that was not emitted yet; nothing after it has
        ended."""
        code, deltas = as_string(value or ""), self._codes.get(item_id)
        if deltas is None:
            self._codes[item_id] = [code]
            self._running[item_id] = None
            return [CodeDelta(item_id, code)]
        if not code or item_id not in self._running:
            return []
        emitted = "".join(deltas)
        self._codes[item_id] = [code]
        if code == emitted:
            return []
        if code.startswith(emitted):
            return [CodeDelta(item_id, code[len(emitted) :])]
        return [CodeReplaced(item_id, code)]


class FunctionCalls:
    """Calls of the caller's functions."""

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
        yield from self._remaining_arguments(item_id, item)

    def delta(self, payload: Payload) -> list[Event]:
        item_id = payload["item_id"]
        arguments = self._text.add(item_id, payload["delta"])
        return self._arguments_delta(item_id, arguments)

    def done(self, payload: Payload) -> list[Event]:
        return self._remaining_arguments(payload["item_id"], payload)

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        yield from self._remaining_arguments(_id(item), item)

    def _remaining_arguments(self, item_id: str, payload: Payload) -> list[Event]:
        arguments = self._text.remaining(item_id, payload.get("arguments"))
        return self._arguments_delta(item_id, arguments)

    def _arguments_delta(self, item_id: str, arguments: str) -> list[Event]:
        return [ToolCallDelta(self._indexes[item_id], None, None, arguments)] if arguments else []


class ServerToolCalls:
    """Calls of the service's other tools, such as `web_search_call`, also of unknown ones."""

    def __init__(self) -> None:
        self._args: dict[str, Payload] = {}
        self._open_ids: set[str] = set()

    def open(self, item: Payload) -> list[Event]:
        item_id = _id(item)
        if item_id in self._args:
            return []
        self._args[item_id] = args = json_safe(_fields(item))
        self._open_ids.add(item_id)
        return [ServerToolCalled(item_id, item["type"].removesuffix("_call"), args)]

    def close(self, item: Payload) -> Iterator[Event]:
        yield from self.open(item)
        item_id = _id(item)
        if item_id not in self._open_ids:
            return
        self._open_ids.remove(item_id)
        # Fields that the added item did not have are the result. A single field `output` is
        # returned without its name.
        args = self._args[item_id]
        result = {name: value for name, value in _fields(item).items() if args.get(name) != value}
        output = result["output"] if result.keys() == {"output"} else result
        status: ResultStatus = "error" if item.get("status") in _FAILED else "success"
        yield ServerToolReturned(item_id, status, json_safe(output))


def _id(item: Payload) -> str:
    return as_string(item["id"])


def _fields(item: Payload) -> Payload:
    return {name: value for name, value in item.items() if name not in _COMMON_FIELDS}


def _logs(outputs: list[Payload]) -> str:
    """Return what a program printed, without the Markdown fence around it."""
    return "\n".join(
        fenced[1] if (fenced := _FENCED.fullmatch(logs)) else logs
        for output in outputs
        if (logs := output.get("logs"))
    )


def _images(outputs: list[Payload], logs: str) -> tuple[str, ...]:
    """Return the URLs of created images: links in the logs, or outputs in OpenAI's format.

    The service signs them for about twelve hours.
    """
    linked = _IMAGE_LINK.findall(logs)
    return (
        *linked,
        *(as_string(output["url"]) for output in outputs if output.get("type") == "image"),
    )


def _status(item: Payload, logs: str) -> ExecutionStatus:
    # The status of a program that raised an exception is `completed`; only its traceback differs.
    return "failed" if item.get("status") in _FAILED or _TRACEBACK in logs else "completed"
