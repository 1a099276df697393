"""Checks of the Responses API: the frames and events of a stream, and their order."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    ITEM_ADDED,
    ITEM_DONE,
    code_events,
    code_reply,
    items_of,
)
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_be,
    must_be_increments,
    must_count_from_one,
    must_have_no_space_after_colons,
    must_not_send_done,
    must_use_sse_fields,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.errors import ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    count_at,
    nonempty_string_at,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")

_TERMINAL_EVENTS = ("response.completed", "response.failed", "response.incomplete")
# The events of an item in their order; each may come several times in a row.
_MESSAGE_EVENTS = (
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
)
_CODE_CALL_EVENTS = (
    "code_interpreter_call.in_progress",
    "code_interpreter_call.interpreting",
    "code_interpreter_call.completed",
)
# The newer and the older names of the same events.
_REASONING_EVENTS = (
    ("reasoning_text.delta", "reasoning_text.done"),
    ("reasoning_summary_text.delta", "reasoning_summary_text.done"),
)
_STREAMED_TEXTS = ("output_text", "reasoning_text", "reasoning_summary_text")


def _events_by_item(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the type of each finished item and the types of its events.

    output_text.delta may lack an item_id; such an event belongs to the item that was added last.
    """
    item_types: dict[str, str] = {}
    event_types: dict[str, list[str]] = {}
    last_added = ""
    for event in events:
        event_type = string_at(event, "type")
        if event_type == ITEM_ADDED:
            last_added = nonempty_string_at(event, "item", "id")
            item_types[last_added] = nonempty_string_at(event, "item", "type")
            event_types[last_added] = []
        elif event_type == ITEM_DONE:
            item_id = nonempty_string_at(event, "item", "id")
            yield item_types.pop(item_id, ""), event_types.pop(item_id, [])
        elif last_added:
            item_id = string_at(event, "item_id") if "item_id" in event else last_added
            event_types.setdefault(item_id, []).append(event_type.removeprefix("response."))


async def _must_have_events(endpoint: Endpoint, item_type: str, *orders: tuple[str, ...]) -> None:
    """Require that each item of a type has all events of one of these orders."""
    expected = {name for order in orders for name in order}
    item_exists = False
    for found_type, names in _events_by_item(await code_events(endpoint)):
        if found_type != item_type:
            continue
        item_exists = True
        if tuple(name for name, _ in groupby(names) if name in expected) not in orders:
            raise ViolationError(f"the events of a {item_type} are {as_json(names)}")
    if not item_exists:
        raise ViolationError(f"no item is a {item_type}")


@CHECKS.must(
    "recorded",
    "Every frame has an id, the type of its event, a comment with the HTTP status and exactly one "
    "data line with JSON.",
)
async def frames_use_sse_fields(endpoint: Endpoint) -> None:
    for frame in (await code_reply(endpoint)).stream():
        must_use_sse_fields(frame)
        must_be(frame.value("event"), string_at(frame.data, "type"), "the event of a frame")


@CHECKS.should("recorded", "The ids of the frames count from 1.")
async def frame_ids_count_from_one(endpoint: Endpoint) -> None:
    must_count_from_one((await code_reply(endpoint)).stream())


@CHECKS.should("recorded", "No space follows the colon of a field.")
async def no_space_follows_colon(endpoint: Endpoint) -> None:
    must_have_no_space_after_colons((await code_reply(endpoint)).stream())


@CHECKS.must("recorded", "The stream ends with response.completed, without a [DONE] frame.")
async def stream_ends_with_terminal_event(endpoint: Endpoint) -> None:
    must_not_send_done((await code_reply(endpoint)).stream())
    types = [string_at(event, "type") for event in await code_events(endpoint)]
    terminal = [name for name in types if name in _TERMINAL_EVENTS]
    must_be(terminal, ["response.completed"], "the list of terminal events")
    must_be(types[-1], "response.completed", "the last event")


@CHECKS.must(
    "recorded",
    "The stream starts with response.created (status queued) and response.in_progress.",
)
async def stream_starts_with_created(endpoint: Endpoint) -> None:
    first_events = [
        (string_at(event, "type"), value_at(event, "response", "status"))
        for event in (await code_events(endpoint))[:2]
    ]
    expected = [("response.created", "queued"), ("response.in_progress", "in_progress")]
    must_be(first_events, expected, "the start of the stream")


@CHECKS.must("recorded", "sequence_number increases with every event; the last may lack it.")
async def sequence_number_increases(endpoint: Endpoint) -> None:
    *earlier, last = await code_events(endpoint)
    numbered = [*earlier, last] if "sequence_number" in last else earlier
    numbers = [count_at(event, "sequence_number") for event in numbered]
    must_be(numbers, sorted(set(numbers)), "the list of sequence_numbers")


@CHECKS.must("recorded", "All events have the same response id.")
async def events_share_response_id(endpoint: Endpoint) -> None:
    events = [event for event in await code_events(endpoint) if "response" in event]
    ids = {nonempty_string_at(event, "response", "id") for event in events}
    must_be(len(ids), 1, "the number of ids")


@CHECKS.should("reported", "The id of a response starts with resp_.")
async def response_id_starts_with_resp(endpoint: Endpoint) -> None:
    response_id = string_at((await code_events(endpoint))[0], "response", "id")
    if not response_id.startswith("resp_"):
        raise ViolationError(f"the id is {as_json(response_id)}")


@CHECKS.must("recorded", "Every item is added once and done once, with the same id and type.")
async def items_are_added_and_done_once(endpoint: Endpoint) -> None:
    events = await code_events(endpoint)
    added, done = (
        [
            (nonempty_string_at(item, "id"), nonempty_string_at(item, "type"))
            for item in items_of(events, event_type)
        ]
        for event_type in (ITEM_ADDED, ITEM_DONE)
    )
    must_be(sorted(done), sorted(added), "the list of items that are done")
    must_be(len(set(added)), len(added), "the number of different items")


@CHECKS.must("recorded", "item_id is the id of an item that is added and not yet done.")
async def item_id_refers_to_open_item(endpoint: Endpoint) -> None:
    open_items: set[str] = set()
    for event in await code_events(endpoint):
        if value_at(event, "type") == ITEM_ADDED:
            open_items.add(nonempty_string_at(event, "item", "id"))
        elif value_at(event, "type") == ITEM_DONE:
            open_items.discard(nonempty_string_at(event, "item", "id"))
        elif "item_id" in event and string_at(event, "item_id") not in open_items:
            raise ViolationError(f"no open item has the item_id of {as_json(event)}")


@CHECKS.must("recorded", "A message has a content part, deltas of its text and the complete text.")
async def message_has_all_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "message", _MESSAGE_EVENTS)


@CHECKS.must(
    "recorded",
    "Reasoning has deltas and the complete text, under the newer or the older event names.",
)
async def reasoning_has_all_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "reasoning", *_REASONING_EVENTS)


@CHECKS.must(
    "documented", "A code interpreter call is in_progress, then interpreting, then completed."
)
async def code_call_has_all_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "code_interpreter_call", _CODE_CALL_EVENTS)


@CHECKS.must(
    "documented", "Every delta holds only new text, and the deltas add up to the complete text."
)
async def deltas_are_increments(endpoint: Endpoint) -> None:
    events = await code_events(endpoint)
    deltas = {name: _strings(events, f"{name}.delta", "delta") for name in _STREAMED_TEXTS}
    must_be_increments(*deltas.values())
    for name, pieces in deltas.items():
        complete = _strings(events, f"{name}.done", "text")
        must_be("".join(pieces), "".join(complete), f"the sum of the deltas of {name}")


def _strings(events: Iterable[dict[str, Any]], event_type: str, field: str) -> list[str]:
    full_type = f"response.{event_type}"
    return [string_at(event, field) for event in events if value_at(event, "type") == full_type]
