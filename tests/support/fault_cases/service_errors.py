"""Errors that the service reports: statuses, error bodies and error frames."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterable
from dataclasses import replace

import responses_streams
from expected_answers import SAMPLE_ANSWERS
from fault_server import KEEP, Endless, Silence, head
from stream_corpus import REQUEST_ID

from fault_cases.definitions import SHORT, Case, Cases, fault
from fault_cases.outcomes import answer, bodyless_error, error_outcome
from fault_cases.responses import (
    complete_response,
    document,
    error_body,
    error_code,
    error_frame,
    error_response,
    open_chunks,
)

SECTION = "Errors of the service"

_ERROR_STATUSES = (
    ("400: invalid request", 400, "InvalidParameter", "QwenInvalidRequestError"),
    ("400: account in arrears", 400, "Arrearage", "QwenPermissionDeniedError"),
    ("401: invalid API key", 401, "InvalidApiKey", "QwenAuthenticationError"),
    ("403: access denied", 403, "AccessDenied", "QwenPermissionDeniedError"),
    ("404: unknown model", 404, "ModelNotFound", "QwenModelNotFoundError"),
    ("408: request timeout", 408, "RequestTimeOut", "QwenServerError"),
    ("409: conflict", 409, "Conflict", "QwenServerError"),
    ("413: request too large", 413, "RequestTooLarge", "QwenInvalidRequestError"),
    ("418: a status the service does not use", 418, "Teapot", "QwenInvalidRequestError"),
    ("422: unknown error code", 422, "SomethingNew", "QwenInvalidRequestError"),
    ("429: rate limit", 429, "Throttling", "QwenRateLimitError"),
    ("429: unpaid bill", 429, "PrepaidBillOverdue", "QwenPermissionDeniedError"),
    ("500: internal error", 500, "InternalError", "QwenServerError"),
    ("503: model overloaded", 503, "ModelUnavailable", "QwenServerError"),
    ("599: unknown status", 599, "SomethingNew", "QwenServerError"),
)


def _cases_of_status(status: int, native_code: str, kind: str) -> Cases:
    def cases(wire: str) -> Iterable[Case]:
        code = error_code(wire, native_code)
        is_retried = kind in ("QwenServerError", "QwenRateLimitError")
        play = error_response(wire, status, code, Retry_After_Ms=0)
        yield Case((play,), error_outcome(kind, status, code, requests=3 if is_retried else 1))

    return cases


for _name, *_status in _ERROR_STATUSES:
    fault(_name, SECTION)(_cases_of_status(*_status))


@fault("429, then an answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 429, error_code(wire, "Throttling"), Retry_After_Ms=0)
    yield Case((limit, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("503 with `Retry-After`, then an answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=0)
    yield Case(
        (limit, limit, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=3)
    )


@fault("503 with `Retry-After` of one hour", SECTION)
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=3600)
    yield Case((limit,), error_outcome("QwenServerError", 503, "ModelUnavailable"))


@fault("502 with an HTML body", SECTION)
def _(wire: str) -> Iterable[Case]:
    page = b"<html><h1>Bad gateway</h1></html>"
    play = (head(502, Content_Type="text/html", Content_Length=len(page)) + page, KEEP)
    yield Case((play,), bodyless_error("QwenServerError", 502, requests=3))


_REASONS = (
    b'{"detail": [{"loc": ["body", "model"], "msg": "Field required", "input": {}}]}',
    b'{"detail": "There is no such route."}',
    b'{"message": "The request is too long."}',
    b'{"error": "The request is too long."}',
    b'{"title": "Unprocessable", "detail": "The request is too long.", "status": 422}',
    b"The request is too long.",
)


@fault("422 with a reason in the shapes of other servers", SECTION)
def _(wire: str) -> Iterable[Case]:
    for reason in _REASONS:
        yield Case((document(reason, 422),), bodyless_error("QwenInvalidRequestError", 422))


@fault("504 with an empty body", SECTION)
def _(wire: str) -> Iterable[Case]:
    play = (head(504, Content_Length=0, X_Request_Id=REQUEST_ID), KEEP)
    yield Case((play,), error_outcome("QwenServerError", 504, None, requests=3))


@fault("an error body that is cut", SECTION)
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv',)
    yield Case((play,), bodyless_error("QwenInvalidRequestError", 400))


@fault("an error body that stalls", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv', Silence())
    yield Case((play,), bodyless_error("QwenInvalidRequestError", 400))


@fault("status 200 with an error body: rate limit", SECTION)
def _(wire: str) -> Iterable[Case]:
    code = error_code(wire, "Throttling")
    play = document(error_body(wire, code))
    yield Case((play,), error_outcome("QwenRateLimitError", None, code, requests=3))
    yield Case((play, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("status 200 with an error body: invalid request", SECTION)
def _(wire: str) -> Iterable[Case]:
    code = error_code(wire, "InvalidParameter")
    yield Case(
        (document(error_body(wire, code)),), error_outcome("QwenInvalidRequestError", None, code)
    )


@fault("a stream whose first frame is a rate limit error", SECTION)
def _(wire: str) -> Iterable[Case]:
    play = complete_response(_limit_frames(wire))
    code = {"responses": "server_error"}.get(wire, error_code(wire, "Throttling"))
    status = 429 if wire == "dashscope" else None
    yield Case((play,), error_outcome("QwenRateLimitError", status, code, requests=3))
    yield Case((play, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


def _limit_frames(wire: str) -> bytes:
    """Responses documents this message, without an error code for it."""
    if wire != "responses":
        return error_frame(wire, 429, error_code(wire, "Throttling"))
    text = "Operation model request rate limit exceeded, please try again later."
    error = {"code": "server_error", "message": text}
    failed = responses_streams.event(
        "failed", response=responses_streams.response("failed", error=error)
    )
    return responses_streams.stream(
        responses_streams.CREATED, responses_streams.IN_PROGRESS, failed
    )


@fault("an error frame in the middle of an answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InternalError")
    play = open_chunks(sample.until(sample.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = error_outcome("QwenServerError", status, code)
    yield Case((play,), replace(failed, result=sample.parts_before(sample.text)))


@fault("an error frame without a status", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    frame, code = _error_frame_without_status(wire)
    play = open_chunks(sample.until(sample.text) + frame, Silence())
    failed = error_outcome("QwenServerError", None, code)
    yield Case((play,), replace(failed, result=sample.parts_before(sample.text)))


def _error_frame_without_status(wire: str) -> tuple[bytes, str]:
    """The code that each API uses for an internal error."""
    if wire != "responses":
        code = error_code(wire, "InternalError")
        return b"event:error\ndata:" + error_body(wire, code) + b"\n\n", code
    error = {"code": "server_error", "message": "The model is gone."}
    failed = responses_streams.event(
        "failed", response=responses_streams.response("failed", error=error)
    )
    return responses_streams.stream(failed), "server_error"


@fault("an endless error body", SECTION)
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Type="text/plain"), Endless(b"no, "))
    yield Case((play,), bodyless_error("QwenInvalidRequestError", 400))


@fault("a compressed error body that expands without limit", SECTION)
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Encoding="gzip") + _compressed_zeros(), Silence())
    yield Case((play,), bodyless_error("QwenInvalidRequestError", 400))


@functools.cache
def _compressed_zeros() -> bytes:
    return gzip.compress(b"no, " * 2**22)


@fault("a redirect to another host", SECTION)
def _(wire: str) -> Iterable[Case]:
    for status in (301, 302, 303, 307, 308):
        play = (head(status, Location="ELSEWHERE/api/v1/", Content_Length=0), KEEP)
        yield Case((play,), bodyless_error("QwenInvalidRequestError", status))


@fault("success statuses other than 200", SECTION)
def _(wire: str) -> Iterable[Case]:
    for status in (202, 204):
        play = (head(status, Content_Length=0), KEEP)
        yield Case((play,), bodyless_error("QwenInvalidRequestError", status))
