"""Checks of the Responses API: the requests that it rejects, and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    PATH,
    build_request,
    document_of,
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
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    nonempty_string_at,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.assertions import ApiError
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


def _must_be_rejected(error: ApiError) -> None:
    """Require HTTP 400 or 404, where the documentation does not say which."""
    if error.status not in (400, 404):
        raise ViolationError(f"HTTP {error.status}, {error.code}: {error.message}")


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


@CHECKS.must("documented", "conversation and previous_response_id together are rejected.")
async def conversation_excludes_previous_response(endpoint: Endpoint) -> None:
    previous_id = nonempty_string_at(await document_of(endpoint, plain_request(endpoint)), "id")
    both = {"previous_response_id": previous_id, "conversation": "conv_1"}
    _must_be_rejected(await native_error(endpoint, plain_request(endpoint, **both)))


# A warning only: the id is documented as required, but not what happens without it.
@CHECKS.should("documented", "A reasoning item of the input without an id is rejected.")
async def reasoning_item_requires_id(endpoint: Endpoint) -> None:
    summary = [{"type": "summary_text", "text": "I should answer."}]
    user = {"role": "user", "content": prompts.TEXT_PROMPT}
    items = [user, {"type": "reasoning", "summary": summary}, user]
    must_be_error(await native_error(endpoint, plain_request(endpoint, items)), 400)


@CHECKS.should(
    "reported", "An unknown reasoning.effort is rejected, and the text lists the known ones."
)
async def unknown_effort_is_rejected(endpoint: Endpoint) -> None:
    request = plain_request(endpoint, reasoning={"effort": "extreme"})
    error = await native_error(endpoint, request)
    must_be_error(error, 400)
    if not all(effort in error.message for effort in ("low", "medium", "high")):
        raise ViolationError(f"the message is {as_json(error.message)}")


@CHECKS.should("reported", 'background is rejected with "Currently not support background."')
async def background_is_rejected(endpoint: Endpoint) -> None:
    error = await native_error(endpoint, plain_request(endpoint, background=True))
    must_be_error(error, 400)
    if "not support background" not in error.message:
        raise ViolationError(f"the message is {as_json(error.message)}")


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
    request = plain_request(endpoint, model=prompts.UNKNOWN_MODEL)
    _must_be_rejected(await native_error(endpoint, request))
