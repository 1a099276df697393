"""The facts of the Responses wire: what it refuses, and how it says so.

Whether functions may stand beside the interpreter is no fact here: sources disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.conformance import asking
from langchain_qwen_ci.emulator.conformance.checks import BrokenFactError, Checks
from langchain_qwen_ci.emulator.conformance.exchange import Reply, Request
from langchain_qwen_ci.emulator.conformance.reading import (
    at,
    frames_of,
    must_be,
    must_be_refused,
    native_error,
    shown,
    text_at,
)
from langchain_qwen_ci.emulator.conformance.responses import PATH, plain_of, request_of

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.exchange import Subject

CHECKS = Checks("responses")


async def _refusal(subject: Subject, request: Request) -> tuple[int, str, str]:
    return native_error(await subject.reply(request))


@CHECKS.should("documented", "max_output_tokens below 16 is refused with HTTP 400.")
async def fewest_tokens(subject: Subject) -> None:
    request = plain_of(subject, max_output_tokens=asking.FEWEST_TOKENS - 1)
    must_be_refused(await _refusal(subject, request), 400)


@CHECKS.should("reported", "A model that needs thinking says so in a response.failed, HTTP 200.")
async def interpreter_thinks(subject: Subject) -> None:
    asking.must_need_thinking(subject.model)
    reply = await subject.reply(request_of(subject, asking.QUESTION, enable_thinking=False))
    _must_have_failed(reply, "enable_thinking")


@CHECKS.should("reported", "web_extractor without web_search ends in a response.failed, HTTP 200.")
async def extractor_searches(subject: Subject) -> None:
    tools = [{"type": "web_extractor"}]
    reply = await subject.reply(request_of(subject, asking.PLAIN, tools=tools))
    _must_have_failed(reply, "web_search")


def _must_have_failed(reply: Reply, word: str) -> None:
    """Whether a stream ends in a failure, whose text has this word."""
    must_be(reply.status, 200, "the HTTP status")
    last = frames_of(reply)[-1].data
    must_be(at(last, "type"), "response.failed", "the last event")
    must_be(at(last, "response", "status"), "failed", "status")
    if word not in text_at(last, "response", "error", "message"):
        raise BrokenFactError(f"the error is {shown(at(last, 'response', 'error'))}")


@CHECKS.must("documented", "An error before an answer is code, message and request_id: HTTP 400.")
async def error_body(subject: Subject) -> None:
    body = {**plain_of(subject).body}
    del body["model"]
    must_be_refused(await _refusal(subject, Request(PATH, body)), 400, "InvalidParameter")


@CHECKS.must("documented", "A wrong key is HTTP 401, InvalidApiKey.")
async def wrong_key(subject: Subject) -> None:
    wrong = Request(PATH, plain_of(subject).body, key=asking.WRONG_KEY)
    must_be_refused(await _refusal(subject, wrong), 401, "InvalidApiKey")


@CHECKS.should("documented", "An unknown model is refused with HTTP 400 or 404.")
async def unknown_model(subject: Subject) -> None:
    status, code_told, said = await _refusal(subject, plain_of(subject, model=asking.NO_MODEL))
    if status not in (400, 404):
        raise BrokenFactError(f"HTTP {status}, {code_told}: {said}")
