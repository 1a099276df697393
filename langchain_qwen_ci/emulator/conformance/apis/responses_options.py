"""Checks of the Responses API: its choice among tools, and fields that it accepts and ignores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    UNKNOWN_FIELD,
    build_request,
    plain_request,
)
from langchain_qwen_ci.emulator.conformance.assertions import must_be
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.errors import ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    list_at,
    nonempty_string_at,
    value_at,
)

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint, Request

CHECKS = Checks("responses")

_FUNCTION: dict[str, Any] = {"type": "function", **prompts.FUNCTION_TOOL["function"]}
_SECOND_FUNCTION = {**_FUNCTION, "name": "translate", "description": "Translates a word."}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


async def _must_be_accepted(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """Require that an answer without streaming is completed; return it.

    A rejection violates these requirements, so it is not reported as a missing answer.
    """
    reply = await endpoint.reply(request)
    must_be(reply.status, 200, "the HTTP status")
    document = reply.document()
    must_be(value_at(document, "status"), "completed", "status")
    return document


async def _called_functions(endpoint: Endpoint, request: Request) -> list[str]:
    """Return the names of the functions that an answer calls."""
    output = list_at(await _must_be_accepted(endpoint, request), "output")
    calls = [item for item in output if value_at(item, "type") == "function_call"]
    return [nonempty_string_at(call, "name") for call in calls]


@CHECKS.must("documented", "The tool_choice allowed_tools is accepted.")
async def allowed_tools_are_accepted(endpoint: Endpoint) -> None:
    allowed = [{"type": "function", "name": _FUNCTION["name"]}]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": allowed}
    await _must_be_accepted(
        endpoint, plain_request(endpoint, tools=[_FUNCTION], tool_choice=choice)
    )


@CHECKS.should("reported", 'The tool_choice "required" calls the only tool.')
async def required_choice_calls_the_tool(endpoint: Endpoint) -> None:
    request = plain_request(endpoint, tools=[_FUNCTION], tool_choice="required")
    if not await _called_functions(endpoint, request):
        raise ViolationError("no function is called")


# A warning only: the sources disagree. The API's reference allows it and it was measured, but the
# pages about the interpreter exclude it.
@CHECKS.should("reported", "Functions are accepted together with the interpreter.")
async def interpreter_accepts_functions(endpoint: Endpoint) -> None:
    tools = [{"type": "code_interpreter"}, _FUNCTION]
    request = build_request(endpoint, prompts.CODE_PROMPT, tools=tools, stream=False)
    await _must_be_accepted(endpoint, request)


@CHECKS.should("reported", "parallel_tool_calls is ignored: false does not limit the calls to one.")
async def parallel_tool_calls_is_ignored(endpoint: Endpoint) -> None:
    tools = [_FUNCTION, _SECOND_FUNCTION]
    request = plain_request(endpoint, prompts.CALLS_PROMPT, tools=tools, parallel_tool_calls=False)
    names = await _called_functions(endpoint, request)
    if len(names) <= 1:
        raise ViolationError(f"the functions that are called are {as_json(names)}")


@CHECKS.should("reported", "text.format is ignored: the answer is not JSON.")
async def text_format_is_ignored(endpoint: Endpoint) -> None:
    text = {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA, "strict": True}}
    document = await _must_be_accepted(endpoint, plain_request(endpoint, text=text))
    answer = nonempty_string_at(document, "output", -1, "content", 0, "text")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return
    raise ViolationError(f"the answer is {as_json(found)}")


@CHECKS.should("reported", "Unknown fields are ignored.")
async def unknown_fields_are_ignored(endpoint: Endpoint) -> None:
    await _must_be_accepted(endpoint, plain_request(endpoint, **UNKNOWN_FIELD))
