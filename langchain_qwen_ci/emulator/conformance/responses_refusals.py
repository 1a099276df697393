"""The facts of the Responses wire: what it refuses, and how it says so.

Whether functions may stand beside the interpreter is no fact here: sources disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    at,
    frames_of,
    must_be,
    must_be_refused,
    native_error,
    shown,
    text_at,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks, ViolationError
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.responses import PATH, plain_of, request_of

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")


async def _refusal(endpoint: Endpoint, request: Request) -> tuple[int, str, str]:
    return native_error(await endpoint.reply(request))


@CHECKS.should("documented", "max_output_tokens below 16 is refused with HTTP 400.")
async def fewest_tokens(endpoint: Endpoint) -> None:
    request = plain_of(endpoint, max_output_tokens=prompts.FEWEST_TOKENS - 1)
    must_be_refused(await _refusal(endpoint, request), 400)


@CHECKS.should("reported", "A model that needs thinking says so in a response.failed, HTTP 200.")
async def interpreter_thinks(endpoint: Endpoint) -> None:
    prompts.must_need_thinking(endpoint.model)
    reply = await endpoint.reply(request_of(endpoint, prompts.QUESTION, enable_thinking=False))
    _must_have_failed(reply, "enable_thinking")


@CHECKS.should("reported", "web_extractor without web_search ends in a response.failed, HTTP 200.")
async def extractor_searches(endpoint: Endpoint) -> None:
    tools = [{"type": "web_extractor"}]
    reply = await endpoint.reply(request_of(endpoint, prompts.PLAIN, tools=tools))
    _must_have_failed(reply, "web_search")


def _must_have_failed(reply: Reply, word: str) -> None:
    """Whether a stream ends in a failure, whose text has this word."""
    must_be(reply.status, 200, "the HTTP status")
    last = frames_of(reply)[-1].data
    must_be(at(last, "type"), "response.failed", "the last event")
    must_be(at(last, "response", "status"), "failed", "status")
    if word not in text_at(last, "response", "error", "message"):
        raise ViolationError(f"the error is {shown(at(last, 'response', 'error'))}")


@CHECKS.must("documented", "An error before an answer is code, message and request_id: HTTP 400.")
async def error_body(endpoint: Endpoint) -> None:
    body = {**plain_of(endpoint).body}
    del body["model"]
    must_be_refused(await _refusal(endpoint, Request(PATH, body)), 400, "InvalidParameter")


@CHECKS.must("documented", "A wrong key is HTTP 401, InvalidApiKey.")
async def wrong_key(endpoint: Endpoint) -> None:
    wrong = Request(PATH, plain_of(endpoint).body, key=prompts.WRONG_KEY)
    must_be_refused(await _refusal(endpoint, wrong), 401, "InvalidApiKey")


@CHECKS.should("documented", "An unknown model is refused with HTTP 400 or 404.")
async def unknown_model(endpoint: Endpoint) -> None:
    status, code_told, said = await _refusal(endpoint, plain_of(endpoint, model=prompts.NO_MODEL))
    if status not in (400, 404):
        raise ViolationError(f"HTTP {status}, {code_told}: {said}")
