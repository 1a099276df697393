"""The facts of the Responses wire: its answers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    at,
    count_at,
    document_of,
    frames_of,
    json_object,
    list_at,
    must_add_up,
    must_be,
    must_be_framed,
    must_be_numbered,
    must_come_in_pieces,
    must_end_by_itself,
    must_have_no_spaces,
    must_have_request_id,
    must_report_reasoning,
    object_at,
    shown,
    text_at,
    words_at,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks, NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")

PATH = "/compatible-mode/v1/responses"
_OLDER_PATH = f"/api/v2/apps/protocols{PATH}"
_INTERPRETER = {"type": "code_interpreter"}
_ENDS = ("response.completed", "response.failed", "response.incomplete")
_ADDED, _DONE = "response.output_item.added", "response.output_item.done"
# The events of an item in their order, however often each of them comes.
_MESSAGE = ("content_part.added", "output_text.delta", "output_text.done", "content_part.done")
_CODE = tuple(
    f"code_interpreter_call.{name}" for name in ("in_progress", "interpreting", "completed")
)
# Its newer and its older name.
_REASONING = tuple(
    (f"{name}.delta", f"{name}.done") for name in ("reasoning_text", "reasoning_summary_text")
)


def request_of(
    endpoint: Endpoint, given: str | list[Any], *, path: str = PATH, **more: Any
) -> Request:
    """A request that streams with the interpreter on, but for what is said otherwise."""
    body = {
        "model": endpoint.model,
        "input": given,
        "tools": [_INTERPRETER],
        "enable_thinking": True,
        "stream": True,
        **more,
    }
    return Request(path, body)


def plain_of(endpoint: Endpoint, given: str | list[Any] = prompts.PLAIN, **more: Any) -> Request:
    """A request for one document, without interpreter and thinking."""
    return request_of(
        endpoint, given, **{"tools": [], "enable_thinking": False, "stream": False, **more}
    )


async def _reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(request_of(endpoint, prompts.QUESTION))


async def _answer(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The events of the answer that runs code."""
    reply = await _reply(endpoint)
    found = [frame.data for frame in frames_of(reply)]
    if found[-1].get("type") == "response.failed":
        raise NoAnswerError(f"an error came in place of an answer: {shown(found[-1])}")
    return found


async def _whole(endpoint: Endpoint) -> dict[str, Any]:
    """The response as the last event shows it."""
    return object_at((await _answer(endpoint))[-1], "response")


async def _document(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    return document_of(await endpoint.reply(request))


async def _respond(endpoint: Endpoint, request: Request) -> None:
    must_be(at(await _document(endpoint, request), "status"), "completed", "status")


def _done(events: Iterable[dict[str, Any]], kind: str = "") -> list[Any]:
    """The items that have come to their end, of one type if it is named."""
    found = [object_at(event, "item") for event in events if at(event, "type") == _DONE]
    return [item for item in found if kind in ("", item.get("type"))]


def _runs(items: Iterable[Any]) -> list[Any]:
    found = [item for item in items if at(item, "type") == "code_interpreter_call"]
    if not found:
        raise ViolationError("no item is a code_interpreter_call")
    return found


def _of_items(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The type of each item, and the types of its events, each once in a row.

    An event that names no item belongs to the one that has begun last.
    """
    kinds: dict[str, str] = {}
    types: dict[str, list[str]] = {}
    last = ""
    for event in events:
        name = text_at(event, "type")
        if name == _ADDED:
            last = words_at(event, "item", "id")
            kinds[last], types[last] = words_at(event, "item", "type"), []
        elif name == _DONE:
            item = words_at(event, "item", "id")
            yield kinds.pop(item, ""), types.pop(item, [])
        elif last:
            item = text_at(event, "item_id") if "item_id" in event else last
            types.setdefault(item, []).append(name.removeprefix("response."))


async def _must_have_events(endpoint: Endpoint, kind: str, *orders: tuple[str, ...]) -> None:
    seen = False
    for found, types in _of_items(await _answer(endpoint)):
        told = tuple(name for name, _ in groupby(types) if any(name in order for order in orders))
        if found == kind and told not in orders:
            raise ViolationError(f"the events of a {kind} are {shown(types)}")
        seen = seen or found == kind
    if not seen:
        raise ViolationError(f"no item is a {kind}")


@CHECKS.must(
    "recorded",
    "A frame is an id, the type of its event, a comment with the HTTP status and one data line.",
)
async def frames(endpoint: Endpoint) -> None:
    for frame in frames_of(await _reply(endpoint)):
        must_be_framed(frame)
        must_be(frame.value("event"), text_at(frame.data, "type"), "the event of a frame")


@CHECKS.should("recorded", "The ids of frames count from 1.")
async def frame_numbers(endpoint: Endpoint) -> None:
    must_be_numbered(frames_of(await _reply(endpoint)))


@CHECKS.should("recorded", "No space follows the colons of a frame.")
async def colons(endpoint: Endpoint) -> None:
    must_have_no_spaces(frames_of(await _reply(endpoint)))


@CHECKS.must("recorded", "The last event ends the stream, and no [DONE].")
async def end(endpoint: Endpoint) -> None:
    must_end_by_itself(frames_of(await _reply(endpoint)))
    types = [text_at(event, "type") for event in await _answer(endpoint)]
    must_be([name for name in types if name in _ENDS], ["response.completed"], "the end")
    must_be(types[-1], "response.completed", "the last event")


@CHECKS.must(
    "recorded", "An answer begins with response.created, queued, and response.in_progress."
)
async def beginning(endpoint: Endpoint) -> None:
    told = [
        (text_at(event, "type"), at(event, "response", "status"))
        for event in (await _answer(endpoint))[:2]
    ]
    expected = [("response.created", "queued"), ("response.in_progress", "in_progress")]
    must_be(told, expected, "the beginning")


@CHECKS.must("recorded", "sequence_number grows with every event; the last one may lack it.")
async def sequence(endpoint: Endpoint) -> None:
    *before, last = await _answer(endpoint)
    numbered = [*before, last] if "sequence_number" in last else before
    numbers = [count_at(event, "sequence_number") for event in numbered]
    must_be(numbers, sorted(set(numbers)), "the list of sequence_numbers")


@CHECKS.must("recorded", "All events show the same response.")
async def response_id(endpoint: Endpoint) -> None:
    told = [event for event in await _answer(endpoint) if "response" in event]
    must_be(len({words_at(event, "response", "id") for event in told}), 1, "the number of ids")


@CHECKS.must("recorded", "An item is added and done, once each, under the same id and type.")
async def items(endpoint: Endpoint) -> None:
    told: dict[str, list[tuple[str, str]]] = {_ADDED: [], _DONE: []}
    for event in await _answer(endpoint):
        if (name := text_at(event, "type")) in told:
            told[name].append((words_at(event, "item", "id"), words_at(event, "item", "type")))
    must_be(sorted(told[_DONE]), sorted(told[_ADDED]), "the list of items that were done")
    must_be(len(set(told[_ADDED])), len(told[_ADDED]), "the number of different items")


@CHECKS.must("recorded", "Between those two, item_id names an item that is not done.")
async def item_ids(endpoint: Endpoint) -> None:
    going_on: set[str] = set()
    for event in await _answer(endpoint):
        if at(event, "type") == _ADDED:
            going_on.add(words_at(event, "item", "id"))
        elif at(event, "type") == _DONE:
            going_on.discard(words_at(event, "item", "id"))
        elif "item_id" in event and text_at(event, "item_id") not in going_on:
            raise ViolationError(f"there is no such item at {shown(event)}")


@CHECKS.must("recorded", "A message has a content part, deltas of its text, and the whole text.")
async def message_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "message", _MESSAGE)


@CHECKS.must("recorded", "Reasoning has deltas and the whole text, under its newer or older name.")
async def reasoning_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "reasoning", *_REASONING)


@CHECKS.must("documented", "A run is in_progress, interpreting and completed.")
async def code_events(endpoint: Endpoint) -> None:
    await _must_have_events(endpoint, "code_interpreter_call", _CODE)


@CHECKS.must("documented", "Every delta holds only what is new, and together they are the text.")
async def increments(endpoint: Endpoint) -> None:
    events = await _answer(endpoint)
    deltas = {name: _told(events, f"{name}.delta", "delta") for name in _TEXTS}
    must_come_in_pieces(*deltas.values())
    for name, pieces in deltas.items():
        whole = _told(events, f"{name}.done", "text")
        must_be("".join(pieces), "".join(whole), f"the sum of the deltas of {name}")


_TEXTS = ("output_text", "reasoning_text", "reasoning_summary_text")


def _told(events: Iterable[dict[str, Any]], name: str, field: str) -> list[str]:
    return [text_at(event, field) for event in events if at(event, "type") == f"response.{name}"]


@CHECKS.must("documented", "A message's text stands in its parts, of type output_text or text.")
async def message(endpoint: Endpoint) -> None:
    for item in _done(await _answer(endpoint), "message"):
        must_be(at(item, "role"), "assistant", "the role")
        for part in list_at(item, "content"):
            words_at(part, "text")
            if at(part, "type") not in ("output_text", "text"):
                raise ViolationError(f"the type of a part is {shown(at(part, 'type'))}")


@CHECKS.must("recorded", "The text of reasoning stands in its summary.")
async def reasoning(endpoint: Endpoint) -> None:
    for item in _done(await _answer(endpoint), "reasoning"):
        words_at(item, "summary", 0, "text")


@CHECKS.must("documented", "A run that is done has its code and what it printed, and is completed.")
async def code(endpoint: Endpoint) -> None:
    for run in _runs(_done(await _answer(endpoint))):
        _must_be_run(run)


def _must_be_run(run: dict[str, Any]) -> None:
    words_at(run, "code")
    must_be(at(run, "status"), "completed", "the status of a run")
    for output in list_at(run, "outputs"):
        must_be(at(output, "type"), "logs", "the type of an output")
    words_at(run, "outputs", 0, "logs")


@CHECKS.should("reported", "A run is added with its whole code, and an empty container_id.")
async def code_added(endpoint: Endpoint) -> None:
    events = await _answer(endpoint)
    codes = {words_at(run, "id"): at(run, "code") for run in _runs(_done(events))}
    added = [object_at(event, "item") for event in events if at(event, "type") == _ADDED]
    for run in _runs(added):
        must_be(at(run, "code"), codes.get(words_at(run, "id")), "the code")
        must_be(at(run, "container_id"), "", "container_id")
        must_be(at(run, "status"), "in_progress", "the status of a run")


@CHECKS.should("reported", "What a run printed stands in a Markdown fence.")
async def fence(endpoint: Endpoint) -> None:
    for run in _runs(_done(await _answer(endpoint))):
        logs = text_at(run, "outputs", 0, "logs")
        if not (logs.startswith("```") and logs.endswith("```")):
            raise ViolationError(f"the logs are {shown(logs)}")


# The documentation says so, and shortens its samples until they do not.
@CHECKS.should("documented", "response.completed repeats the items, in their order.")
async def repeated_items(endpoint: Endpoint) -> None:
    output = list_at(await _whole(endpoint), "output")
    told = [at(item, "id") for item in _done(await _answer(endpoint))]
    must_be([at(item, "id") for item in output], told, "the list of items")
    for run in _runs(output):
        _must_be_run(run)


@CHECKS.must("documented", "usage counts input_tokens, output_tokens and their total.")
async def usage(endpoint: Endpoint) -> None:
    must_add_up(at(await _whole(endpoint), "usage"), "input", "output")


@CHECKS.must("documented", "output_tokens_details.reasoning_tokens says what thinking costs.")
async def reasoning_tokens(endpoint: Endpoint) -> None:
    must_report_reasoning(at(await _whole(endpoint), "usage"), "output")


@CHECKS.must("documented", "usage.x_tools.code_interpreter.count is how often code ran.")
async def count(endpoint: Endpoint) -> None:
    whole = await _whole(endpoint)
    counted = count_at(whole, "usage", "x_tools", "code_interpreter", "count")
    must_be(counted, len(_runs(_done(await _answer(endpoint)))), "the count")


@CHECKS.should("documented", "usage.x_details has the counts as plugins.")
async def details(endpoint: Endpoint) -> None:
    usage_shown = at(await _whole(endpoint), "usage")
    plugins = at(usage_shown, "x_details", -1, "plugins")
    must_be(plugins, at(usage_shown, "x_tools"), "plugins")


@CHECKS.should("documented", "usage.x_tools is absent where nothing ran.")
async def no_count(endpoint: Endpoint) -> None:
    if "x_tools" in object_at(await _document(endpoint, plain_of(endpoint)), "usage"):
        raise ViolationError("x_tools is there")


# Documented for the native wire.
@CHECKS.should("documented", "Answers have the header x-request-id.")
async def request_id_header(endpoint: Endpoint) -> None:
    must_have_request_id(await _reply(endpoint))


@CHECKS.must("documented", "The interpreter works without a stream, too.")
async def document(endpoint: Endpoint) -> None:
    found = await _document(endpoint, request_of(endpoint, prompts.QUESTION, stream=False))
    must_be(at(found, "object"), "response", "the object")
    must_be(at(found, "status"), "completed", "status")
    for run in _runs(list_at(found, "output")):
        _must_be_run(run)
    count_at(found, "usage", "x_tools", "code_interpreter", "count")


@CHECKS.must("documented", "A conversation of several turns is taken.")
async def conversation(endpoint: Endpoint) -> None:
    await _respond(endpoint, plain_of(endpoint, list(prompts.CONVERSATION)))


@CHECKS.must("documented", "previous_response_id goes on from an answer.")
async def previous_response(endpoint: Endpoint) -> None:
    before = words_at(await _document(endpoint, plain_of(endpoint)), "id")
    await _respond(endpoint, plain_of(endpoint, "Go on.", previous_response_id=before))


@CHECKS.should("documented", "The older path answers as well.")
async def older_path(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(plain_of(endpoint, path=_OLDER_PATH))
    must_be(reply.status, 200, "the HTTP status")
    must_be(at(json_object(reply.text), "status"), "completed", "status")


@CHECKS.must("documented", "max_output_tokens ends an answer, which is then incomplete.")
async def max_tokens(endpoint: Endpoint) -> None:
    request = plain_of(endpoint, max_output_tokens=prompts.FEWEST_TOKENS, stream=True)
    last = frames_of(await endpoint.reply(request))[-1].data
    must_be(at(last, "type"), "response.incomplete", "the last event")
    must_be(at(last, "response", "status"), "incomplete", "status")
    reason = at(last, "response", "incomplete_details", "reason")
    must_be(reason, "max_output_tokens", "the reason")
