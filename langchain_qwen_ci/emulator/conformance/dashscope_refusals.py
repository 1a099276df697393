"""The facts of DashScope's native wire: what it refuses, and how it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import must_be_refused, native_error, shown
from langchain_qwen_ci.emulator.conformance.checks import Checks, ViolationError
from langchain_qwen_ci.emulator.conformance.dashscope import (
    MULTIMODAL,
    PLAIN,
    TEXT,
    only_on_the_text_path,
    question_of,
    request_of,
    unstreamed,
)
from langchain_qwen_ci.emulator.conformance.endpoint import Request

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("dashscope")


async def _refusal(endpoint: Endpoint, request: Request) -> tuple[int, str, str]:
    return native_error(await endpoint.reply(request))


@CHECKS.must("documented", "The interpreter without a stream is refused with HTTP 400.")
async def interpreter_streams(endpoint: Endpoint) -> None:
    must_be_refused(await _refusal(endpoint, unstreamed(question_of(endpoint))), 400)


@CHECKS.must("documented", "Functions beside the interpreter are refused with HTTP 400.")
async def interpreter_stands_alone(endpoint: Endpoint) -> None:
    request = question_of(endpoint, tools=[prompts.FUNCTION_TOOL])
    must_be_refused(await _refusal(endpoint, request), 400)


@CHECKS.must("documented", "A model that needs thinking runs no code without it: HTTP 400.")
async def interpreter_thinks(endpoint: Endpoint) -> None:
    prompts.must_need_thinking(endpoint.model)
    must_be_refused(await _refusal(endpoint, question_of(endpoint, enable_thinking=False)), 400)


@CHECKS.must("documented", "Thinking without incremental_output is refused with HTTP 400.")
async def thinking_is_incremental(endpoint: Endpoint) -> None:
    request = question_of(endpoint, incremental_output=False, enable_code_interpreter=False)
    must_be_refused(await _refusal(endpoint, request), 400, "InvalidParameter")


@CHECKS.must("documented", 'Thinking wants result_format "message": else HTTP 400.')
async def thinking_is_in_messages(endpoint: Endpoint) -> None:
    request = question_of(endpoint, result_format="text", enable_code_interpreter=False)
    must_be_refused(await _refusal(endpoint, request), 400, "InvalidParameter")


@CHECKS.should("reported", 'The path that does not serve the model answers HTTP 400, "url error".')
async def wrong_path(endpoint: Endpoint) -> None:
    other = MULTIMODAL if endpoint.native_endpoint == TEXT else TEXT
    found = await _refusal(endpoint, question_of(endpoint, path=other))
    must_be_refused(found, 400, "InvalidParameter")
    if "url error" not in found[2]:
        raise ViolationError(f"the message is {shown(found[2])}")


@CHECKS.must("recorded", "The text path refuses content that is a list: HTTP 400.")
async def list_content(endpoint: Endpoint) -> None:
    only_on_the_text_path(endpoint)
    content: Any = [{"text": prompts.PLAIN}]
    request = request_of(endpoint, [{"role": "user", "content": content}], **PLAIN)
    must_be_refused(await _refusal(endpoint, request), 400, "InvalidParameter")


@CHECKS.must("recorded", "An error is code, message and request_id, with HTTP 400 or in a frame.")
async def error_body(endpoint: Endpoint) -> None:
    request = request_of(endpoint, [{"role": "nobody", "content": prompts.PLAIN}])
    must_be_refused(await _refusal(endpoint, request), 400, "InvalidParameter")


@CHECKS.must("recorded", "A wrong key is HTTP 401, InvalidApiKey.")
async def wrong_key(endpoint: Endpoint) -> None:
    request = question_of(endpoint)
    wrong = Request(request.path, request.body, request.headers, key=prompts.WRONG_KEY)
    must_be_refused(await _refusal(endpoint, wrong), 401, "InvalidApiKey")


@CHECKS.should("documented", "An unknown model is HTTP 404, ModelNotFound or Model.NotExist.")
async def unknown_model(endpoint: Endpoint) -> None:
    found = await _refusal(endpoint, question_of(endpoint, model=prompts.NO_MODEL))
    must_be_refused(found, 404, "ModelNotFound", "Model.NotExist")
