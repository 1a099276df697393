"""Checks of the Responses API: the requests that it rejects, and its errors.

There is no check for functions together with the interpreter, because the sources disagree: the
interpreter's pages exclude them, the API's reference allows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    PATH,
    build_request,
    plain_request,
)
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_be,
    must_be_error,
    native_error,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.errors import ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import as_json, string_at, value_at

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")


def _must_end_with_failure(reply: Reply, word: str) -> None:
    """Require a stream that ends with response.failed, and a word in its error message."""
    must_be(reply.status, 200, "the HTTP status")
    last = reply.stream()[-1].data
    must_be(value_at(last, "type"), "response.failed", "the last event")
    must_be(value_at(last, "response", "status"), "failed", "status")
    if word not in string_at(last, "response", "error", "message"):
        raise ViolationError(f"the error is {as_json(value_at(last, 'response', 'error'))}")


@CHECKS.should("documented", "max_output_tokens below 16 is rejected with HTTP 400.")
async def max_tokens_below_16_is_rejected(endpoint: Endpoint) -> None:
    request = plain_request(endpoint, max_output_tokens=prompts.MIN_RESPONSES_TOKENS - 1)
    must_be_error(await native_error(endpoint, request), 400)


@CHECKS.should(
    "reported",
    "The interpreter without thinking ends with response.failed (HTTP 200).",
)
async def interpreter_requires_thinking(endpoint: Endpoint) -> None:
    request = build_request(endpoint, prompts.CODE_PROMPT, enable_thinking=False)
    _must_end_with_failure(await endpoint.reply(request), "enable_thinking")


@CHECKS.should("reported", "web_extractor without web_search ends with response.failed (HTTP 200).")
async def web_extractor_requires_web_search(endpoint: Endpoint) -> None:
    tools = [{"type": "web_extractor"}]
    reply = await endpoint.reply(build_request(endpoint, prompts.TEXT_PROMPT, tools=tools))
    _must_end_with_failure(reply, "web_search")


@CHECKS.must(
    "documented",
    "An error before the answer starts has code, message and request_id, with HTTP 400.",
)
async def errors_have_code_and_request_id(endpoint: Endpoint) -> None:
    body = {**plain_request(endpoint).body}
    del body["model"]
    must_be_error(await native_error(endpoint, Request(PATH, body)), 400, "InvalidParameter")


@CHECKS.must("documented", "A wrong API key is rejected with HTTP 401, InvalidApiKey.")
async def wrong_key_is_rejected(endpoint: Endpoint) -> None:
    wrong = Request(PATH, plain_request(endpoint).body, key=prompts.WRONG_KEY)
    must_be_error(await native_error(endpoint, wrong), 401, "InvalidApiKey")


@CHECKS.should("documented", "An unknown model is rejected with HTTP 400 or 404.")
async def unknown_model_is_rejected(endpoint: Endpoint) -> None:
    error = await native_error(endpoint, plain_request(endpoint, model=prompts.UNKNOWN_MODEL))
    if error.status not in (400, 404):
        raise ViolationError(f"HTTP {error.status}, {error.code}: {error.message}")
