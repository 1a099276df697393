"""Items that are calls: executions of code, functions, and other tools of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json

from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    ResultStatus,
    ServerToolCalled,
    ServerToolReturned,
    ToolCallDelta,
)
from langchain_qwen_ci.wire.json_values import as_optional_string, as_string, json_safe
from langchain_qwen_ci.wire.responses.executions import (
    FAILED_STATUSES,
    code_of_arguments,
    execution_status,
    images,
    is_execution,
    logs,
    to_code_interpreter_call,
)
from langchain_qwen_ci.wire.responses.identity import (
    Identity,
    Item,
    ItemTracker,
    final_identities,
    new_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from langchain_qwen_ci.wire.responses.identity import Payload

_NOT_ARGUMENTS = frozenset({"id", "type", "status"})


class Executions:
    """Executions of code."""

    def __init__(self) -> None:
        self._tracker = ItemTracker("ci")

    def open(self, item: Payload, output_index: object) -> list[Event]:
        known = self._tracker.added(Identity.of_item(item, output_index, _code(item)))
        events = self._update_code(known, item.get("code"))
        known.given = known.content
        return events

    def delta(self, payload: Payload) -> list[Event]:
        item = self._tracker.of_delta(payload)
        piece = item.without_repetition(as_string(payload["delta"]))
        if not item.pieces:
            return self._update_code(item, piece)
        # A late delta of an execution that has ended changes nothing.
        return [CodeDelta(item.item_id, item.add(piece))] if piece and item.is_open else []

    def done(self, payload: Payload) -> list[Event]:
        code = as_string(payload.get("code") or "")
        return self._update_code(self._tracker.of_complete_part(payload, code), code)

    def close(self, item: Payload, output_index: object) -> Iterable[Event]:
        identity = Identity.of_item(item, output_index, _code(item))
        return self._close(self._tracker.completed(identity), item)

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        for item, known in _final_calls(self._tracker, items, _code):
            yield list(self._close(known, item))

    def _close(self, known: Item, item: Payload) -> Iterator[Event]:
        if not known.is_open:
            return
        yield from self._update_code(known, item.get("code"))
        outputs = item.get("outputs") or []
        text = logs(outputs)
        self._tracker.close(known)
        yield CodeFinished(
            known.item_id, execution_status(item, text or ""), text, images(outputs, text or "")
        )

    def close_all(self) -> list[Event]:
        """End the executions that the answer left open, for example when it was cut by length."""
        running = list(self._tracker.open_items)
        for item in running:
            self._tracker.close(item)
        return [CodeFinished(item.item_id, "completed") for item in running]

    def _update_code(self, item: Item, code: object) -> list[Event]:
        """Return the change from the known code of an execution to its complete code.

        Later changes of an execution that has ended are ignored.
        """
        new = as_string(code or "")
        if not item.pieces:
            item.pieces[0] = [new]
            return [CodeDelta(item.item_id, new)]
        known = item.content
        if not new or new == known or not item.is_open:
            return []
        item.pieces[0] = [new]
        if new.startswith(known):
            return [CodeDelta(item.item_id, new[len(known) :])]
        return [CodeReplaced(item.item_id, new)]


def _code(item: Payload) -> str:
    return as_string(item.get("code") or "")


class FunctionCalls:
    """Calls of the functions that the request offers."""

    def __init__(self) -> None:
        self._tracker = ItemTracker("fc")
        self._indexes: dict[Item, int] = {}
        self._call_ids: set[str] = set()

    @property
    def has_calls(self) -> bool:
        return bool(self._indexes)

    def open(self, item: Payload, output_index: object) -> list[Event]:
        known = self._tracker.added(Identity.of_item(item, output_index))
        events = self._update(known, item)
        known.given = known.content
        return events

    def delta(self, payload: Payload) -> list[Event]:
        item = self._tracker.of_delta(payload)
        piece = item.add(item.without_repetition(as_string(payload["delta"])))
        # Arguments that precede their item are emitted with its name, when the item is added.
        return self._arguments_event(item, piece) if item in self._indexes else []

    def done(self, payload: Payload) -> list[Event]:
        arguments = as_string(payload.get("arguments") or "")
        item = self._tracker.of_complete_part(payload, arguments)
        remaining = item.remaining(arguments)
        return self._arguments_event(item, remaining) if item in self._indexes else []

    def close(self, item: Payload, output_index: object) -> list[Event]:
        known = self._tracker.completed(Identity.of_item(item, output_index, _arguments(item)))
        self._tracker.close(known)
        return self._update(known, item)

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        for item, known in _final_calls(self._tracker, items, _arguments):
            self._tracker.close(known)
            yield self._update(known, item)

    def _update(self, known: Item, item: Payload) -> list[Event]:
        """Return the start of a call, if it was not emitted yet, and the rest of its arguments."""
        arguments = _arguments(item)
        if known in self._indexes:
            return self._arguments_event(known, known.remaining(arguments))
        known.remaining(arguments)
        name = as_optional_string(item.get("name"))
        self._indexes[known] = index = len(self._indexes)
        start = ToolCallDelta(index, self._call_id(known, item), name, "")
        return [start, *self._arguments_event(known, known.content)]

    def _call_id(self, known: Item, item: Payload) -> str:
        call_id = as_optional_string(item.get("call_id")) or known.item_id
        if call_id in self._call_ids:
            # Two calls with one id. Their results are matched by id, so the second needs another.
            call_id = known.item_id if known.item_id not in self._call_ids else new_id("call")
        self._call_ids.add(call_id)
        return call_id

    def _arguments_event(self, item: Item, arguments: str) -> list[Event]:
        return [ToolCallDelta(self._indexes[item], None, None, arguments)] if arguments else []


def _arguments(item: Payload) -> str:
    return as_string(item.get("arguments") or "")


class ServerToolCalls:
    """Calls of one other tool of the service, such as `web_search_call`.

    The tools have different fields, so the fields of the added item are the arguments, and those
    that are new or changed in the complete item are the result.
    """

    def __init__(self, item_type: str) -> None:
        self._name = item_type.removesuffix("_call")
        self._tracker = ItemTracker(self._name)
        self._args: dict[Item, Payload] = {}

    def open(self, item: Payload, output_index: object) -> list[Event]:
        return self._called(self._tracker.added(Identity.of_item(item, output_index)), item)

    def close(self, item: Payload, output_index: object) -> Iterator[Event]:
        identity = Identity.of_item(item, output_index, _tool_content(item))
        return self._close(self._tracker.completed(identity), item)

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        for item, known in _final_calls(self._tracker, items, _tool_content):
            yield list(self._close(known, item))

    def _called(self, known: Item, item: Payload) -> list[Event]:
        if known in self._args:
            return []
        self._args[known] = args = json_safe(_fields(item))
        return [ServerToolCalled(known.item_id, self._name, args)]

    def _close(self, known: Item, item: Payload) -> Iterator[Event]:
        if not known.is_open:
            return
        yield from self._called(known, item)
        self._tracker.close(known)
        known.add(_tool_content(item))
        args = self._args[known]
        result = {name: value for name, value in _fields(item).items() if args.get(name) != value}
        output = result["output"] if result.keys() == {"output"} else result
        status: ResultStatus = "error" if item.get("status") in FAILED_STATUSES else "success"
        yield ServerToolReturned(known.item_id, status, json_safe(output))


def _tool_content(item: Payload) -> str:
    return to_json(_fields(item), inf_nan_mode="strings").decode()


def _fields(item: Payload) -> Payload:
    return {name: value for name, value in item.items() if name not in _NOT_ARGUMENTS}


class McpCalls:
    """Calls of MCP servers; some are executions of code (see `executions.is_execution`).

    Their arguments may be sent before their item is added, when it is not known yet whether they
    are code. So they are collected, and emitted when they are complete.
    """

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._others = ServerToolCalls("mcp_call")
        self._arguments = ""
        self._execution_is_open = False

    def open(self, item: Payload, output_index: object) -> Iterable[Event]:
        if not is_execution(item):
            return self._others.open(item, output_index)
        self._execution_is_open = True
        return self._executions.open(self._to_execution(item), output_index)

    def delta(self, payload: Payload) -> list[Event]:
        self._arguments += as_string(payload["delta"])
        return []

    def done(self, payload: Payload) -> list[Event]:
        self._arguments = as_string(payload.get("arguments") or "") or self._arguments
        if not self._execution_is_open:
            return []
        return self._executions.done({**payload, "code": code_of_arguments(self._arguments)})

    def close(self, item: Payload, output_index: object) -> Iterable[Event]:
        call = self._to_execution(item) if is_execution(item) else item
        self._arguments = ""
        if call is item:
            return self._others.close(item, output_index)
        self._execution_is_open = False
        return self._executions.close(call, output_index)

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        return self._others.close_final(items)

    def _to_execution(self, item: Payload) -> Payload:
        return to_code_interpreter_call(
            {**item, "arguments": item.get("arguments") or self._arguments}
        )


def _final_calls(
    tracker: ItemTracker, items: Sequence[Payload], content_of: Callable[[Payload], str]
) -> Iterator[tuple[Payload, Item]]:
    """Yield the calls of the last frame, each with what is known of it."""
    identities, malformed = final_identities(items, content_of)
    aligned = tracker.align(identities)
    for item, identity, known in zip(items, identities, aligned, strict=False):
        yield item, known or tracker.new(identity)
    if malformed:
        raise malformed
