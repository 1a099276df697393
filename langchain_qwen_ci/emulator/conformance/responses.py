"""Checks of the Responses API: the answers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_add_up,
    must_be,
    must_be_increments,
    must_count_from_one,
    must_have_no_space_after_colon,
    must_have_request_id,
    must_not_send_done,
    must_report_reasoning,
    must_use_sse_fields,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.errors import NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    count_at,
    json_object,
    list_at,
    nonempty_string_at,
    object_at,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")

PATH = "/compatible-mode/v1/responses"
_OLDER_PATH = f"/api/v2/apps/protocols{PATH}"
_TERMINAL_EVENTS = ("response.completed", "response.failed", "response.incomplete")
_ADDED, _DONE = "response.output_item.added", "response.output_item.done"
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


def build_request(
    endpoint: Endpoint, prompt: str | list[Any], *, path: str = PATH, **options: Any
) -> Request:
    """Build a streaming request with interpreter and thinking on, unless an option differs."""
    body = {
        "model": endpoint.model,
        "input": prompt,
        "tools": [{"type": "code_interpreter"}],
        "enable_thinking": True,
        "stream": True,
        **options,
    }
    return Request(path, body)


def plain_request(
    endpoint: Endpoint, prompt: str | list[Any] = prompts.TEXT_PROMPT, **options: Any
) -> Request:
    """Build a request without streaming, interpreter and thinking."""
    plain = {"tools": [], "enable_thinking": False, "stream": False}
    return build_request(endpoint, prompt, **{**plain, **options})


async def _code_reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(build_request(endpoint, prompts.CODE_PROMPT))


async def _code_events(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the events of the answer that runs code."""
    events = [frame.data for frame in (await _code_reply(endpoint)).stream()]
    if events[-1].get("type") == "response.failed":
        raise NoAnswerError(f"an error came in place of an answer: {as_json(events[-1])}")
    return events


async def _final_response(endpoint: Endpoint) -> dict[str, Any]:
    """Return the response object in the last event of the answer that runs code."""
    return object_at((await _code_events(endpoint))[-1], "response")


async def _document(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    return (await endpoint.reply(request)).document()


async def _must_complete(endpoint: Endpoint, request: Request) -> None:
    must_be(value_at(await _document(endpoint, request), "status"), "completed", "status")


def _items(events: Iterable[dict[str, Any]], event_type: str, item_type: str = "") -> list[Any]:
    """Return the items that are added or done in these events.

    Args:
        events: the events of an answer.
        event_type: `_ADDED` or `_DONE`.
        item_type: return items of this type only; "" for all types.
    """
    items = [object_at(event, "item") for event in events if value_at(event, "type") == event_type]
    return [item for item in items if item_type in ("", item.get("type"))]


def _code_calls(items: Iterable[Any]) -> list[Any]:
    calls = [item for item in items if value_at(item, "type") == "code_interpreter_call"]
    if not calls:
        raise ViolationError("no item is a code_interpreter_call")
    return calls


def _must_have_run(call: dict[str, Any]) -> None:
    """Require the code, the output and the status of a finished code interpreter call."""
    nonempty_string_at(call, "code")
    must_be(value_at(call, "status"), "completed", "the status of a call")
    for output in list_at(call, "outputs"):
        must_be(value_at(output, "type"), "logs", "the type of an output")
    nonempty_string_at(call, "outputs", 0, "logs")


def _events_by_item(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the type of each finished item and the types of its events.

    output_text.delta may lack an item_id; such an event belongs to the item that was added last.
    """
    item_types: dict[str, str] = {}
    event_types: dict[str, list[str]] = {}
    last_added = ""
    for event in events:
        event_type = string_at(event, "type")
        if event_type == _ADDED:
            last_added = nonempty_string_at(event, "item", "id")
            item_types[last_added] = nonempty_string_at(event, "item", "type")
            event_types[last_added] = []
        elif event_type == _DONE:
            item_id = nonempty_string_at(event, "item", "id")
            yield item_types.pop(item_id, ""), event_types.pop(item_id, [])
        elif last_added:
            item_id = string_at(event, "item_id") if "item_id" in event else last_added
            event_types.setdefault(item_id, []).append(event_type.removeprefix("response."))


async def _must_have_events(endpoint: Endpoint, item_type: str, *orders: tuple[str, ...]) -> None:
    """Require that each item of a type has all events of one of these orders."""
    expected = {name for order in orders for name in order}
    item_exists = False
    for found_type, names in _events_by_item(await _code_events(endpoint)):
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
    for frame in (await _code_reply(endpoint)).stream():
        must_use_sse_fields(frame)
        must_be(frame.value("event"), string_at(frame.data, "type"), "the event of a frame")


@CHECKS.should("recorded", "The ids of the frames count from 1.")
async def frame_ids_count_from_one(endpoint: Endpoint) -> None:
    must_count_from_one((await _code_reply(endpoint)).stream())


@CHECKS.should("recorded", "No space follows the colon of a field.")
async def no_space_after_colon(endpoint: Endpoint) -> None:
    must_have_no_space_after_colon((await _code_reply(endpoint)).stream())


@CHECKS.must("recorded", "The stream ends with response.completed, without a [DONE] frame.")
async def stream_ends_with_terminal_event(endpoint: Endpoint) -> None:
    must_not_send_done((await _code_reply(endpoint)).stream())
    types = [string_at(event, "type") for event in await _code_events(endpoint)]
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
        for event in (await _code_events(endpoint))[:2]
    ]
    expected = [("response.created", "queued"), ("response.in_progress", "in_progress")]
    must_be(first_events, expected, "the start of the stream")


@CHECKS.must("recorded", "sequence_number increases with every event; the last may lack it.")
async def sequence_number_increases(endpoint: Endpoint) -> None:
    *earlier, last = await _code_events(endpoint)
    numbered = [*earlier, last] if "sequence_number" in last else earlier
    numbers = [count_at(event, "sequence_number") for event in numbered]
    must_be(numbers, sorted(set(numbers)), "the list of sequence_numbers")


@CHECKS.must("recorded", "All events have the same response id.")
async def events_share_response_id(endpoint: Endpoint) -> None:
    events = [event for event in await _code_events(endpoint) if "response" in event]
    ids = {nonempty_string_at(event, "response", "id") for event in events}
    must_be(len(ids), 1, "the number of ids")


@CHECKS.must("recorded", "Every item is added once and done once, with the same id and type.")
async def items_are_added_and_done_once(endpoint: Endpoint) -> None:
    events = await _code_events(endpoint)
    added, done = (
        [
            (nonempty_string_at(item, "id"), nonempty_string_at(item, "type"))
            for item in _items(events, event_type)
        ]
        for event_type in (_ADDED, _DONE)
    )
    must_be(sorted(done), sorted(added), "the list of items that are done")
    must_be(len(set(added)), len(added), "the number of different items")


@CHECKS.must("recorded", "item_id is the id of an item that is added and not yet done.")
async def item_id_refers_to_open_item(endpoint: Endpoint) -> None:
    open_items: set[str] = set()
    for event in await _code_events(endpoint):
        if value_at(event, "type") == _ADDED:
            open_items.add(nonempty_string_at(event, "item", "id"))
        elif value_at(event, "type") == _DONE:
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
    events = await _code_events(endpoint)
    deltas = {name: _strings(events, f"{name}.delta", "delta") for name in _STREAMED_TEXTS}
    must_be_increments(*deltas.values())
    for name, pieces in deltas.items():
        complete = _strings(events, f"{name}.done", "text")
        must_be("".join(pieces), "".join(complete), f"the sum of the deltas of {name}")


def _strings(events: Iterable[dict[str, Any]], event_type: str, field: str) -> list[str]:
    full_type = f"response.{event_type}"
    return [string_at(event, field) for event in events if value_at(event, "type") == full_type]


@CHECKS.must(
    "documented", "The text of a message is in content parts of the type output_text or text."
)
async def message_text_is_in_parts(endpoint: Endpoint) -> None:
    for message in _items(await _code_events(endpoint), _DONE, "message"):
        must_be(value_at(message, "role"), "assistant", "the role")
        for part in list_at(message, "content"):
            nonempty_string_at(part, "text")
            if value_at(part, "type") not in ("output_text", "text"):
                raise ViolationError(f"the type of a part is {as_json(value_at(part, 'type'))}")


@CHECKS.must("recorded", "The text of a reasoning item is in its summary.")
async def reasoning_text_is_in_summary(endpoint: Endpoint) -> None:
    for item in _items(await _code_events(endpoint), _DONE, "reasoning"):
        nonempty_string_at(item, "summary", 0, "text")


@CHECKS.must(
    "documented",
    "A code interpreter call that is done has its code, its output and the status completed.",
)
async def done_call_has_code_and_output(endpoint: Endpoint) -> None:
    for call in _code_calls(_items(await _code_events(endpoint), _DONE)):
        _must_have_run(call)


@CHECKS.should(
    "reported",
    "A code interpreter call is added with its complete code and an empty container_id.",
)
async def added_call_has_complete_code(endpoint: Endpoint) -> None:
    events = await _code_events(endpoint)
    done = _code_calls(_items(events, _DONE))
    codes = {nonempty_string_at(call, "id"): value_at(call, "code") for call in done}
    for call in _code_calls(_items(events, _ADDED)):
        must_be(value_at(call, "code"), codes.get(nonempty_string_at(call, "id")), "the code")
        must_be(value_at(call, "container_id"), "", "container_id")
        must_be(value_at(call, "status"), "in_progress", "the status of a call")


@CHECKS.should("reported", "The output of a program is in a fenced Markdown block.")
async def output_is_fenced(endpoint: Endpoint) -> None:
    for call in _code_calls(_items(await _code_events(endpoint), _DONE)):
        logs = string_at(call, "outputs", 0, "logs")
        if not (logs.startswith("```") and logs.endswith("```")):
            raise ViolationError(f"the logs are {as_json(logs)}")


# A warning only: the documentation says so, but its samples are shortened and do not show it.
@CHECKS.should("documented", "response.completed repeats all items in their order.")
async def final_response_repeats_items(endpoint: Endpoint) -> None:
    output = list_at(await _final_response(endpoint), "output")
    done_ids = [value_at(item, "id") for item in _items(await _code_events(endpoint), _DONE)]
    must_be([value_at(item, "id") for item in output], done_ids, "the list of items")
    for call in _code_calls(output):
        _must_have_run(call)


@CHECKS.must("documented", "usage counts input_tokens, output_tokens and their sum.")
async def usage_adds_up(endpoint: Endpoint) -> None:
    must_add_up(value_at(await _final_response(endpoint), "usage"), "input", "output")


@CHECKS.must("documented", "usage.output_tokens_details.reasoning_tokens counts the reasoning.")
async def reasoning_tokens_are_reported(endpoint: Endpoint) -> None:
    must_report_reasoning(value_at(await _final_response(endpoint), "usage"), "output")


@CHECKS.must("documented", "usage.x_tools.code_interpreter.count is the number of programs.")
async def count_is_number_of_programs(endpoint: Endpoint) -> None:
    response = await _final_response(endpoint)
    count = count_at(response, "usage", "x_tools", "code_interpreter", "count")
    calls = _code_calls(_items(await _code_events(endpoint), _DONE))
    must_be(count, len(calls), "the count")


@CHECKS.should("documented", "usage.x_details repeats the counts of x_tools as plugins.")
async def x_details_repeats_counts(endpoint: Endpoint) -> None:
    usage = value_at(await _final_response(endpoint), "usage")
    plugins = value_at(usage, "x_details", -1, "plugins")
    must_be(plugins, value_at(usage, "x_tools"), "plugins")


@CHECKS.should("documented", "usage.x_tools is absent if no program ran.")
async def count_is_absent_without_programs(endpoint: Endpoint) -> None:
    document = await _document(endpoint, plain_request(endpoint))
    if "x_tools" in object_at(document, "usage"):
        raise ViolationError("usage has x_tools")


# A warning only: the header is documented for the native API.
@CHECKS.should("documented", "HTTP responses have the header x-request-id.")
async def request_id_header_is_sent(endpoint: Endpoint) -> None:
    must_have_request_id(await _code_reply(endpoint))


@CHECKS.must("documented", "The interpreter also works without streaming.")
async def interpreter_works_without_streaming(endpoint: Endpoint) -> None:
    request = build_request(endpoint, prompts.CODE_PROMPT, stream=False)
    document = await _document(endpoint, request)
    must_be(value_at(document, "object"), "response", "the object")
    must_be(value_at(document, "status"), "completed", "status")
    for call in _code_calls(list_at(document, "output")):
        _must_have_run(call)
    count_at(document, "usage", "x_tools", "code_interpreter", "count")


@CHECKS.must("documented", "A conversation of several turns is accepted.")
async def conversation_is_accepted(endpoint: Endpoint) -> None:
    await _must_complete(endpoint, plain_request(endpoint, list(prompts.CONVERSATION)))


@CHECKS.must("documented", "previous_response_id continues an earlier response.")
async def previous_response_id_is_accepted(endpoint: Endpoint) -> None:
    previous_id = nonempty_string_at(await _document(endpoint, plain_request(endpoint)), "id")
    request = plain_request(endpoint, "Go on.", previous_response_id=previous_id)
    await _must_complete(endpoint, request)


@CHECKS.should("documented", "The older path /api/v2/apps/protocols/… is served too.")
async def older_path_is_served(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(plain_request(endpoint, path=_OLDER_PATH))
    must_be(reply.status, 200, "the HTTP status")
    must_be(value_at(json_object(reply.text), "status"), "completed", "status")


@CHECKS.must("documented", "max_output_tokens ends the answer with the status incomplete.")
async def max_tokens_ends_answer(endpoint: Endpoint) -> None:
    limit = prompts.MIN_RESPONSES_TOKENS
    reply = await endpoint.reply(plain_request(endpoint, max_output_tokens=limit, stream=True))
    last = reply.stream()[-1].data
    must_be(value_at(last, "type"), "response.incomplete", "the last event")
    must_be(value_at(last, "response", "status"), "incomplete", "status")
    reason = value_at(last, "response", "incomplete_details", "reason")
    must_be(reason, "max_output_tokens", "the reason")
