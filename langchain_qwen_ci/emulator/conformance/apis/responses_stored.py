"""Checks of the Responses API: stored responses, which are retrieved, listed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.conformance.apis.responses_requests import (
    PATH,
    UNKNOWN_FIELD,
    document_of,
    plain_request,
)
from langchain_qwen_ci.emulator.conformance.assertions import must_be, must_be_error, native_error
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Request
from langchain_qwen_ci.emulator.conformance.json_fields import (
    list_at,
    nonempty_string_at,
    value_at,
)

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("responses")


async def _stored_path(endpoint: Endpoint, request: Request) -> str:
    """Return the path of the response to a request."""
    return f"{PATH}/{nonempty_string_at(await document_of(endpoint, request), 'id')}"


@CHECKS.must("documented", "GET …/responses/{id} returns a stored response.")
async def stored_response_is_returned(endpoint: Endpoint) -> None:
    request = plain_request(endpoint)
    received = await document_of(endpoint, request)
    path = await _stored_path(endpoint, request)
    stored = await document_of(endpoint, Request(path, method="GET"))
    for name in ("id", "object", "status"):
        must_be(value_at(stored, name), value_at(received, name), name)
    must_be(len(list_at(stored, "output")), len(list_at(received, "output")), "the output")


@CHECKS.must("documented", "GET …/responses/{id}/input_items lists the items of the input.")
async def input_items_are_listed(endpoint: Endpoint) -> None:
    path = await _stored_path(endpoint, plain_request(endpoint))
    listed = await document_of(endpoint, Request(f"{path}/input_items", method="GET"))
    must_be(value_at(listed, "object"), "list", "the object")
    must_be(value_at(listed, "data", 0, "role"), "user", "the role of an item")
    nonempty_string_at(listed, "data", 0, "id")


@CHECKS.must("documented", "DELETE …/responses/{id} deletes a response: GET answers 404 then.")
async def deleted_response_is_not_found(endpoint: Endpoint) -> None:
    # No other check retrieves this response, and replies are cached.
    path = await _stored_path(endpoint, plain_request(endpoint, **UNKNOWN_FIELD))
    deleted = await document_of(endpoint, Request(path, method="DELETE"))
    must_be(deleted.get("deleted"), expected=True, name="deleted")
    must_be_error(await native_error(endpoint, Request(path, method="GET")), 404)
