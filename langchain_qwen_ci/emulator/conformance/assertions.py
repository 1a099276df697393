"""The assertions that checks share.

`must_…` functions raise `ViolationError` with the unexpected value; `skip_unless_…` functions raise
`NotApplicableError`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.conformance.errors import NotApplicableError, ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    count_at,
    json_object,
    nonempty_string_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint, Reply, Request
    from langchain_qwen_ci.emulator.conformance.frames import Frame

_OK = 200
_HTTP_STATUS = re.compile(r"[1-5]\d\d")
# Fewer pieces than this may start with the previous piece by chance.
_MIN_REPEATED_PIECES = 3


class ApiError(NamedTuple):
    """An error response of the service."""

    status: int
    code: str
    message: str


def must_be(found: object, expected: object, name: str) -> None:
    """Require that a value equals the expected one; `name` describes it in the error message."""
    if found != expected:
        raise ViolationError(f"{name} is {as_json(found)} and not {as_json(expected)}")


def must_not_decrease(numbers: Iterable[int], name: str) -> None:
    """Require that a running total, reported in every frame, never decreases."""
    for previous, number in pairwise(numbers):
        if number < previous:
            raise ViolationError(f"{name} decreases from {previous} to {number}")


def must_be_increments(*texts: Sequence[str]) -> None:
    """Require that texts are streamed in pieces, and that each piece holds only new text.

    Args:
        texts: the streamed pieces of each text.
    """
    pieces_of_texts = [[piece for piece in pieces if piece] for pieces in texts]
    if sum(map(len, pieces_of_texts)) <= sum(map(bool, pieces_of_texts)):
        raise ViolationError(f"the text comes in one piece: {as_json(pieces_of_texts)}")
    for pieces in pieces_of_texts:
        repeats = all(piece.startswith(previous) for previous, piece in pairwise(pieces))
        if len(pieces) >= _MIN_REPEATED_PIECES and repeats:
            raise ViolationError(f"pieces repeat the earlier text: {as_json(pieces[:3])}")


def must_use_sse_fields(frame: Frame) -> None:
    """Require the four lines of a frame of the native or the Responses API, each once."""
    frame.value("id")
    frame.value("event")
    must_be(frame.status, "200", "the status of a frame")
    frame.data  # noqa: B018  # raises ViolationError if the data is not JSON


def must_not_send_done(frames: Iterable[Frame]) -> None:
    """Require that a stream has no [DONE] frame, which only Chat Completions sends."""
    if any(frame.is_done for frame in frames):
        raise ViolationError("there is a [DONE] frame, as in Chat Completions")


def must_count_from_one(frames: Iterable[Frame]) -> None:
    """Require that the ids of the frames are 1, 2, 3, …"""
    ids = [frame.value("id") for frame in frames]
    must_be(ids, [str(number) for number in range(1, len(ids) + 1)], "the list of ids")


def must_have_no_space_after_colons(frames: Iterable[Frame]) -> None:
    """Require `data:{…}` and not `data: {…}`, for every field."""
    for frame in frames:
        for line in frame.lines:
            if line.partition(":")[2].startswith(" "):
                raise ViolationError(f"there is a space after the colon: {line}")


def must_have_request_id(reply: Reply) -> None:
    """Require the header x-request-id."""
    if not reply.headers.get("x-request-id"):
        raise ViolationError("the header is missing")


def must_add_up(usage: object, input_name: str, output_name: str) -> None:
    """Require that input and output tokens are counted and that total_tokens is their sum.

    Args:
        usage: the usage object of an answer.
        input_name: "input" or "prompt", as the API's field names begin.
        output_name: "output" or "completion".
    """
    counts = [count_at(usage, f"{name}_tokens") for name in (input_name, output_name)]
    must_be(count_at(usage, "total_tokens"), sum(counts), "total_tokens")
    if not all(counts):
        raise ViolationError(f"usage is {as_json(usage)}")


def must_report_reasoning(usage: object, output_name: str) -> None:
    """Require a number of reasoning tokens, which are a part of the output tokens."""
    reasoning_tokens = count_at(usage, f"{output_name}_tokens_details", "reasoning_tokens")
    if not 0 < reasoning_tokens <= count_at(usage, f"{output_name}_tokens"):
        raise ViolationError(f"reasoning_tokens is {reasoning_tokens} in {as_json(usage)}")


async def native_error(endpoint: Endpoint, request: Request) -> ApiError:
    """Send a request of the native or the Responses API that must be rejected; return the error.

    The error is a JSON body or a frame of a stream. The Content-Type is ignored, because the 401 of
    a recording has none.

    Raises:
        NoAnswerError: there is no complete reply.
        ViolationError: the request was accepted, or the error has another format.
    """
    reply = await endpoint.reply(request)
    status, text = reply.status, reply.text
    for frame in reply.frames:
        if frame.values("event") == ["error"]:
            status = int(frame.status) if _HTTP_STATUS.fullmatch(frame.status) else 0
            text = frame.value("data")
    if status == _OK:
        raise ViolationError(f"the request was accepted: {text}")
    body = json_object(text)
    nonempty_string_at(body, "request_id")
    return ApiError(status, nonempty_string_at(body, "code"), nonempty_string_at(body, "message"))


def must_be_error(error: ApiError, status: int, *codes: str) -> None:
    """Require an error's HTTP status and code.

    Args:
        error: the error that was received.
        status: the required HTTP status.
        codes: the codes that are allowed; none: every code.
    """
    if error.status != status or (codes and error.code not in codes):
        expected = " or ".join(codes) or "any code"
        raise ViolationError(
            f"HTTP {error.status}, {error.code} and not {status}, {expected}: {error.message}"
        )


def skip_unless_thinking_is_required(endpoint: Endpoint) -> None:
    """Skip the check unless the model runs code only while it thinks (documented for some).

    Raises:
        NotApplicableError: the model is not known to require thinking.
    """
    spec = models.find_model(endpoint.model)
    if spec is None or spec.thinking != "required":
        raise NotApplicableError(f"{endpoint.model} is not known to require thinking")


def skip_unless_text_path(endpoint: Endpoint) -> None:
    """Skip the check unless the text-generation path of the native API serves the model.

    Raises:
        NotApplicableError: the multimodal-generation path serves it.
    """
    if endpoint.native_endpoint != "text-generation":
        raise NotApplicableError(f"{endpoint.model} is not served by the text-generation path")
