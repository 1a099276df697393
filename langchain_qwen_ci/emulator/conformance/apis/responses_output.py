"""Checks of the Responses API: the items and usage of an answer, and other kinds of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    ITEM_ADDED,
    ITEM_DONE,
    PATH,
    build_request,
    code_calls,
    code_events,
    code_reply,
    document_of,
    items_of,
    plain_request,
)
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_add_up,
    must_be,
    must_have_request_id,
    must_report_reasoning,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.errors import ViolationError
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
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint, Request

CHECKS = Checks("responses")

_OLDER_PATH = f"/api/v2/apps/protocols{PATH}"


async def _final_response(endpoint: Endpoint) -> dict[str, Any]:
    """Return the response object in the last event of the answer that runs code."""
    return object_at((await code_events(endpoint))[-1], "response")


async def _must_complete(endpoint: Endpoint, request: Request) -> None:
    must_be(value_at(await document_of(endpoint, request), "status"), "completed", "status")


def _must_be_complete(call: dict[str, Any]) -> None:
    """Require the code, the output and the status of a finished code interpreter call."""
    nonempty_string_at(call, "code")
    must_be(value_at(call, "status"), "completed", "the status of a call")
    for output in list_at(call, "outputs"):
        must_be(value_at(output, "type"), "logs", "the type of an output")
    nonempty_string_at(call, "outputs", 0, "logs")


@CHECKS.must(
    "documented", "The text of a message is in content parts of the type output_text or text."
)
async def message_text_is_in_parts(endpoint: Endpoint) -> None:
    for message in items_of(await code_events(endpoint), ITEM_DONE, "message"):
        must_be(value_at(message, "role"), "assistant", "the role")
        for part in list_at(message, "content"):
            nonempty_string_at(part, "text")
            if value_at(part, "type") not in ("output_text", "text"):
                raise ViolationError(f"the type of a part is {as_json(value_at(part, 'type'))}")


@CHECKS.must("recorded", "The text of a reasoning item is in its summary.")
async def reasoning_text_is_in_summary(endpoint: Endpoint) -> None:
    for item in items_of(await code_events(endpoint), ITEM_DONE, "reasoning"):
        nonempty_string_at(item, "summary", 0, "text")


@CHECKS.must(
    "documented",
    "A code interpreter call that is done has its code, its output and the status completed.",
)
async def done_call_has_code_and_output(endpoint: Endpoint) -> None:
    for call in code_calls(items_of(await code_events(endpoint), ITEM_DONE)):
        _must_be_complete(call)


@CHECKS.should(
    "reported",
    "A code interpreter call is added with its complete code and an empty container_id.",
)
async def added_call_has_complete_code(endpoint: Endpoint) -> None:
    events = await code_events(endpoint)
    done = code_calls(items_of(events, ITEM_DONE))
    codes = {nonempty_string_at(call, "id"): value_at(call, "code") for call in done}
    for call in code_calls(items_of(events, ITEM_ADDED)):
        must_be(value_at(call, "code"), codes.get(nonempty_string_at(call, "id")), "the code")
        must_be(value_at(call, "container_id"), "", "container_id")
        must_be(value_at(call, "status"), "in_progress", "the status of a call")


@CHECKS.should("reported", "The output of a program is in a fenced Markdown block.")
async def output_is_fenced(endpoint: Endpoint) -> None:
    for call in code_calls(items_of(await code_events(endpoint), ITEM_DONE)):
        logs = string_at(call, "outputs", 0, "logs")
        if not (logs.startswith("```") and logs.endswith("```")):
            raise ViolationError(f"the logs are {as_json(logs)}")


# A warning only: the documentation says so, but its samples are shortened and do not show it.
@CHECKS.should("documented", "response.completed repeats all items in their order.")
async def final_response_repeats_items(endpoint: Endpoint) -> None:
    output = list_at(await _final_response(endpoint), "output")
    done_ids = [value_at(item, "id") for item in items_of(await code_events(endpoint), ITEM_DONE)]
    must_be([value_at(item, "id") for item in output], done_ids, "the list of items")
    for call in code_calls(output):
        _must_be_complete(call)


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
    calls = code_calls(items_of(await code_events(endpoint), ITEM_DONE))
    must_be(count, len(calls), "the count")


@CHECKS.should("documented", "usage.x_details repeats the counts of x_tools as plugins.")
async def x_details_repeats_counts(endpoint: Endpoint) -> None:
    usage = value_at(await _final_response(endpoint), "usage")
    plugins = value_at(usage, "x_details", -1, "plugins")
    must_be(plugins, value_at(usage, "x_tools"), "plugins")


@CHECKS.should("documented", "usage.x_tools is absent if no program ran.")
async def count_is_absent_without_programs(endpoint: Endpoint) -> None:
    document = await document_of(endpoint, plain_request(endpoint))
    if "x_tools" in object_at(document, "usage"):
        raise ViolationError("usage has x_tools")


# A warning only: the header is documented for the native API.
@CHECKS.should("documented", "HTTP responses have the header x-request-id.")
async def request_id_header_is_sent(endpoint: Endpoint) -> None:
    must_have_request_id(await code_reply(endpoint))


@CHECKS.must("documented", "The interpreter also works without streaming.")
async def interpreter_works_without_streaming(endpoint: Endpoint) -> None:
    request = build_request(endpoint, prompts.CODE_PROMPT, stream=False)
    document = await document_of(endpoint, request)
    must_be(value_at(document, "object"), "response", "the object")
    must_be(value_at(document, "status"), "completed", "status")
    for call in code_calls(list_at(document, "output")):
        _must_be_complete(call)
    count_at(document, "usage", "x_tools", "code_interpreter", "count")


@CHECKS.must("documented", "A conversation of several turns is accepted.")
async def conversation_is_accepted(endpoint: Endpoint) -> None:
    await _must_complete(endpoint, plain_request(endpoint, list(prompts.CONVERSATION)))


@CHECKS.must("documented", "previous_response_id continues an earlier response.")
async def previous_response_id_is_accepted(endpoint: Endpoint) -> None:
    previous_id = nonempty_string_at(await document_of(endpoint, plain_request(endpoint)), "id")
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
