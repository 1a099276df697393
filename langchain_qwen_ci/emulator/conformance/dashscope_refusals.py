"""The facts of DashScope's native wire: what it refuses, and how it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import asking
from langchain_qwen_ci.emulator.conformance.checks import BrokenFactError, Checks
from langchain_qwen_ci.emulator.conformance.dashscope import (
    MULTIMODAL,
    PLAIN,
    TEXT,
    only_on_the_text_path,
    question_of,
    request_of,
    unstreamed,
)
from langchain_qwen_ci.emulator.conformance.exchange import Request
from langchain_qwen_ci.emulator.conformance.reading import must_be_refused, native_error, shown

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.exchange import Subject

CHECKS = Checks("dashscope")


async def _refusal(subject: Subject, request: Request) -> tuple[int, str, str]:
    return native_error(await subject.reply(request))


@CHECKS.must("documented", "The interpreter without a stream is refused with HTTP 400.")
async def interpreter_streams(subject: Subject) -> None:
    must_be_refused(await _refusal(subject, unstreamed(question_of(subject))), 400)


@CHECKS.must("documented", "Functions beside the interpreter are refused with HTTP 400.")
async def interpreter_stands_alone(subject: Subject) -> None:
    request = question_of(subject, tools=[asking.FUNCTION_TOOL])
    must_be_refused(await _refusal(subject, request), 400)


@CHECKS.must("documented", "A model that needs thinking runs no code without it: HTTP 400.")
async def interpreter_thinks(subject: Subject) -> None:
    asking.must_need_thinking(subject.model)
    must_be_refused(await _refusal(subject, question_of(subject, enable_thinking=False)), 400)


@CHECKS.must("documented", "Thinking without incremental_output is refused with HTTP 400.")
async def thinking_is_incremental(subject: Subject) -> None:
    request = question_of(subject, incremental_output=False, enable_code_interpreter=False)
    must_be_refused(await _refusal(subject, request), 400, "InvalidParameter")


@CHECKS.must("documented", 'Thinking wants result_format "message": else HTTP 400.')
async def thinking_is_in_messages(subject: Subject) -> None:
    request = question_of(subject, result_format="text", enable_code_interpreter=False)
    must_be_refused(await _refusal(subject, request), 400, "InvalidParameter")


@CHECKS.should("reported", 'The path that does not serve the model answers HTTP 400, "url error".')
async def wrong_path(subject: Subject) -> None:
    other = MULTIMODAL if subject.endpoint == TEXT else TEXT
    found = await _refusal(subject, question_of(subject, path=other))
    must_be_refused(found, 400, "InvalidParameter")
    if "url error" not in found[2]:
        raise BrokenFactError(f"the message is {shown(found[2])}")


@CHECKS.must("recorded", "The text path refuses content that is a list: HTTP 400.")
async def list_content(subject: Subject) -> None:
    only_on_the_text_path(subject)
    content: Any = [{"text": asking.PLAIN}]
    request = request_of(subject, [{"role": "user", "content": content}], **PLAIN)
    must_be_refused(await _refusal(subject, request), 400, "InvalidParameter")


@CHECKS.must("recorded", "An error is code, message and request_id, with HTTP 400 or in a frame.")
async def error_body(subject: Subject) -> None:
    request = request_of(subject, [{"role": "nobody", "content": asking.PLAIN}])
    must_be_refused(await _refusal(subject, request), 400, "InvalidParameter")


@CHECKS.must("recorded", "A wrong key is HTTP 401, InvalidApiKey.")
async def wrong_key(subject: Subject) -> None:
    request = question_of(subject)
    wrong = Request(request.path, request.body, request.headers, key=asking.WRONG_KEY)
    must_be_refused(await _refusal(subject, wrong), 401, "InvalidApiKey")


@CHECKS.should("documented", "An unknown model is HTTP 404, ModelNotFound or Model.NotExist.")
async def unknown_model(subject: Subject) -> None:
    found = await _refusal(subject, question_of(subject, model=asking.NO_MODEL))
    must_be_refused(found, 404, "ModelNotFound", "Model.NotExist")
