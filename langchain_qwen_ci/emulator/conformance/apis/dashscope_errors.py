"""Checks of DashScope's native API: the requests that it rejects, and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.apis.dashscope import (
    MULTIMODAL_PATH,
    PLAIN,
    TEXT_PATH,
    build_request,
    code_request,
    without_streaming,
)
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_be_error,
    native_error,
    skip_unless_text_path,
    skip_unless_thinking_is_required,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Request
from langchain_qwen_ci.emulator.conformance.errors import ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import as_json

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("dashscope")


@CHECKS.must("documented", "The interpreter without streaming is rejected with HTTP 400.")
async def interpreter_requires_streaming(endpoint: Endpoint) -> None:
    must_be_error(await native_error(endpoint, without_streaming(code_request(endpoint))), 400)


@CHECKS.must("documented", "Functions together with the interpreter are rejected with HTTP 400.")
async def interpreter_excludes_functions(endpoint: Endpoint) -> None:
    request = code_request(endpoint, tools=[prompts.FUNCTION_TOOL])
    must_be_error(await native_error(endpoint, request), 400)


@CHECKS.must(
    "documented",
    "If the model requires thinking, the interpreter without thinking is rejected with HTTP 400.",
)
async def interpreter_requires_thinking(endpoint: Endpoint) -> None:
    skip_unless_thinking_is_required(endpoint)
    must_be_error(await native_error(endpoint, code_request(endpoint, enable_thinking=False)), 400)


@CHECKS.must("documented", "Thinking without incremental_output is rejected with HTTP 400.")
async def thinking_requires_incremental_output(endpoint: Endpoint) -> None:
    request = code_request(endpoint, incremental_output=False, enable_code_interpreter=False)
    must_be_error(await native_error(endpoint, request), 400, "InvalidParameter")


@CHECKS.must(
    "documented", 'Thinking with a result_format other than "message" is rejected with HTTP 400.'
)
async def thinking_requires_message_format(endpoint: Endpoint) -> None:
    request = code_request(endpoint, result_format="text", enable_code_interpreter=False)
    must_be_error(await native_error(endpoint, request), 400, "InvalidParameter")


@CHECKS.should(
    "reported", "A function that must be called is rejected with HTTP 400 while the model thinks."
)
async def forced_call_excludes_thinking(endpoint: Endpoint) -> None:
    options = {"tools": [prompts.FUNCTION_TOOL], "tool_choice": prompts.FORCED_CHOICE}
    request = code_request(endpoint, enable_code_interpreter=False, **options)
    error = await native_error(endpoint, request)
    must_be_error(error, 400, "InvalidParameter")
    if "tool_choice" not in error.message:
        raise ViolationError(f"the message is {as_json(error.message)}")


@CHECKS.should(
    "reported",
    'A request to the path that does not serve the model is rejected with HTTP 400, "url error".',
)
async def wrong_path_is_rejected(endpoint: Endpoint) -> None:
    other = MULTIMODAL_PATH if endpoint.native_endpoint == TEXT_PATH else TEXT_PATH
    error = await native_error(endpoint, code_request(endpoint, path=other))
    must_be_error(error, 400, "InvalidParameter")
    if "url error" not in error.message:
        raise ViolationError(f"the message is {as_json(error.message)}")


@CHECKS.must(
    "recorded", "On the text-generation path, content that is a list is rejected with HTTP 400."
)
async def text_path_rejects_list_content(endpoint: Endpoint) -> None:
    skip_unless_text_path(endpoint)
    content: Any = [{"text": prompts.TEXT_PROMPT}]
    request = build_request(endpoint, [{"role": "user", "content": content}], **PLAIN)
    must_be_error(await native_error(endpoint, request), 400, "InvalidParameter")


@CHECKS.must("recorded", "An error has code, message and request_id, with HTTP 400 or in a frame.")
async def errors_have_code_and_request_id(endpoint: Endpoint) -> None:
    message = {"role": "nobody", "content": prompts.TEXT_PROMPT}
    error = await native_error(endpoint, build_request(endpoint, [message]))
    must_be_error(error, 400, "InvalidParameter")


@CHECKS.must("recorded", "A wrong API key is rejected with HTTP 401, InvalidApiKey.")
async def wrong_key_is_rejected(endpoint: Endpoint) -> None:
    request = code_request(endpoint)
    wrong = Request(request.path, request.body, request.headers, key=prompts.WRONG_KEY)
    must_be_error(await native_error(endpoint, wrong), 401, "InvalidApiKey")


@CHECKS.should(
    "documented", "An unknown model is rejected with HTTP 404, ModelNotFound or Model.NotExist."
)
async def unknown_model_is_rejected(endpoint: Endpoint) -> None:
    error = await native_error(endpoint, code_request(endpoint, model=prompts.UNKNOWN_MODEL))
    must_be_error(error, 404, "ModelNotFound", "Model.NotExist")
