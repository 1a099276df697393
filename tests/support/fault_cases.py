"""The faults that the tests inject between client and service, and the expected outcomes."""

from __future__ import annotations

import functools
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import chat_completions_streams
import dashscope_streams
import responses_streams
from expected_answers import SAMPLE_ANSWERS, AnswerParts
from fault_server import (
    KEEP,
    RESET,
    Drip,
    Endless,
    FaultServer,
    Play,
    Silence,
    chunked,
    head,
)
from stream_corpus import REQUEST_ID

WIRES = tuple(SAMPLE_ANSWERS)
KEY = "sk-never-to-be-seen"
SHORT = 0.3  # seconds of a timeout that is meant to be exceeded
LONGER = 1.0  # where something has to come in time before, on a machine that has much to do


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call.

    Attributes:
        error: its class; empty if there was none.
        result: the answer, or the parts in `partial`.
        requests: how many the server saw; where none can get through, connections.
        elsewhere: how many connections another host saw.
    """

    error: str = ""
    result: AnswerParts | None = None
    requests: int = 1
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retryable: bool = False
    elsewhere: int = 0


@dataclass(frozen=True)
class Case:
    """What the server sends, and the expected outcome.

    Attributes:
        outcome: the expected outcome; None accepts an answer and any `QwenError`.
        streamed: the outcome of `stream` and `astream`, if it differs.
        in_threads: the outcome of the synchronous methods, if it differs.
        observed: removes what depends on timing, such as the length of an endless text.
    """

    plays: tuple[Play, ...]
    outcome: Outcome | None
    streamed: Outcome | None = None
    in_threads: Outcome | None = None
    observed: Callable[[AnswerParts], AnswerParts] = lambda result: result


@dataclass(frozen=True)
class Fault:
    """One fault: a row of the table.

    Attributes:
        cases: makes the cases of an API; one cell of the table describes them all.
        fields: arguments of the model.
        address: makes the model's `base_url`.
        greeting: bytes that the server sends as soon as a client connects.
        secure: the server uses TLS.
        warm: a successful call precedes, whose connection stays open.
        note: a remark for the readers of the table.
    """

    name: str
    section: str
    cases: Callable[[str], Iterable[Case]]
    fields: Mapping[str, Any] = field(default_factory=dict)
    address: Callable[[FaultServer], str] = lambda server: server.url
    greeting: Play = ()
    secure: bool = False
    warm: bool = False
    note: str = ""


FAULTS: dict[str, Fault] = {}
Cases = Callable[[str], Iterable[Case]]


def fault(name: str, section: str, note: str = "", **more: Any) -> Callable[[Cases], Cases]:
    def register(cases: Cases) -> Cases:
        assert name not in FAULTS
        FAULTS[name] = Fault(name, section, cases, note=note, **more)
        return cases

    return register


# Responses of the server.


def stream_head(**headers: str | int) -> bytes:
    return head(Content_Type="text/event-stream;charset=UTF-8", **headers)


def complete_response(body: bytes, **headers: str | int) -> Play:
    """A correct response on a connection that stays open."""
    return (stream_head(**headers, Content_Length=len(body)) + body, KEEP)


def closed_after(body: bytes, *then: Any) -> Play:
    """A body that is ended by closing the connection."""
    return (stream_head(Connection="close") + body, *then)


def open_chunks(body: bytes, *then: Any) -> Play:
    """A chunked body without the last chunk."""
    return (stream_head(Transfer_Encoding="chunked") + chunked(body, ends=False), *then)


def error_response(wire: str, status: int, code: str, **headers: str | int) -> Play:
    return document(error_body(wire, code), status, **headers)


def document(body: bytes, status: int = 200, **headers: str | int) -> Play:
    result = head(status, Content_Type="application/json", Content_Length=len(body), **headers)
    return (result + body, KEEP)


def error_body(wire: str, code: str) -> bytes:
    result = {"message": "No.", "code": code}
    if wire == "chat_completions":
        return json.dumps({"error": result, "request_id": REQUEST_ID}).encode()
    return json.dumps({**result, "request_id": REQUEST_ID}).encode()


def error_frame(wire: str, status: int, code: str) -> bytes:
    """An error inside a stream, in the format of each API."""
    if wire == "chat_completions":
        return b"data: " + error_body(wire, code) + b"\n\n"
    if wire == "dashscope":
        return dashscope_streams.error_frame(status, code, "No.")
    error = {"code": code, "message": f"<{status}> {code}: No."}
    failed = responses_streams.response("failed", error=error)
    return responses_streams.stream(responses_streams.event("failed", response=failed))


# Expected outcomes.


def answer(wire: str, requests: int = 1, result: AnswerParts | None = None) -> Outcome:
    return Outcome(result=result or SAMPLE_ANSWERS[wire].result, requests=requests)


def interrupted(result: AnswerParts | None, requests: int = 1) -> Outcome:
    """The answer broke off; `partial` holds `result`."""
    return Outcome("QwenStreamError", result, requests, retryable=True)


def timed_out(result: AnswerParts | None, requests: int = 1) -> Outcome:
    return Outcome("QwenTimeoutError", result, requests, retryable=True)


def connection_failed(requests: int = 3) -> Outcome:
    return Outcome("QwenConnectionError", None, requests, retryable=True)


def error_outcome(kind: str, status: int | None, code: str | None, requests: int = 1) -> Outcome:
    return Outcome(
        kind,
        None,
        requests,
        status=status,
        code=code,
        request_id=REQUEST_ID,
        retryable=kind in ("QwenServerError", "QwenRateLimitError"),
    )


# Errors of the service.

_OPENAI_CODES = {
    "InvalidParameter": "invalid_parameter_error",
    "InvalidApiKey": "invalid_api_key",
    "AccessDenied": "access_denied",
    "ModelNotFound": "model_not_found",
    "Throttling": "limit_requests",
    "InternalError": "internal_error",
}


def error_code(wire: str, code: str) -> str:
    return _OPENAI_CODES.get(code, code) if wire == "chat_completions" else code


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
    fault(_name, "Errors of the service")(_cases_of_status(*_status))


@fault("429, then an answer", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 429, error_code(wire, "Throttling"), Retry_After_Ms=0)
    yield Case((limit, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("503 with `Retry-After`, then an answer", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=0)
    yield Case(
        (limit, limit, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=3)
    )


@fault("503 with `Retry-After` of one hour", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=3600)
    yield Case((limit,), error_outcome("QwenServerError", 503, "ModelUnavailable"))


@fault("502 with an HTML body", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    page = b"<html><h1>Bad gateway</h1></html>"
    play = (head(502, Content_Type="text/html", Content_Length=len(page)) + page, KEEP)
    yield Case((play,), _bodyless_error("QwenServerError", 502, requests=3))


def _bodyless_error(kind: str, status: int, requests: int = 1) -> Outcome:
    return replace(error_outcome(kind, status, None, requests), request_id=None)


@fault("504 with an empty body", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    play = (head(504, Content_Length=0, X_Request_Id=REQUEST_ID), KEEP)
    yield Case((play,), error_outcome("QwenServerError", 504, None, requests=3))


@fault("an error body that is cut", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv',)
    yield Case((play,), _bodyless_error("QwenInvalidRequestError", 400))


@fault("an error body that stalls", "Errors of the service", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv', Silence())
    yield Case((play,), _bodyless_error("QwenInvalidRequestError", 400))


@fault("status 200 with an error body: rate limit", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    code = error_code(wire, "Throttling")
    play = document(error_body(wire, code))
    yield Case((play,), error_outcome("QwenRateLimitError", None, code, requests=3))
    yield Case((play, complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("status 200 with an error body: invalid request", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    code = error_code(wire, "InvalidParameter")
    yield Case(
        (document(error_body(wire, code)),), error_outcome("QwenInvalidRequestError", None, code)
    )


@fault("a stream whose first frame is a rate limit error", "Errors of the service")
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


@fault("an error frame in the middle of an answer", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InternalError")
    play = open_chunks(sample.until(sample.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = error_outcome("QwenServerError", status, code)
    yield Case((play,), replace(failed, result=sample.parts_before(sample.text)))


@fault("an error frame without a status", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    frame, code = _statusless(wire)
    play = open_chunks(sample.until(sample.text) + frame, Silence())
    failed = error_outcome("QwenServerError", None, code)
    yield Case((play,), replace(failed, result=sample.parts_before(sample.text)))


def _statusless(wire: str) -> tuple[bytes, str]:
    """The code that each API uses for an internal error."""
    if wire != "responses":
        code = error_code(wire, "InternalError")
        return b"event:error\ndata:" + error_body(wire, code) + b"\n\n", code
    error = {"code": "server_error", "message": "The model is gone."}
    failed = responses_streams.event(
        "failed", response=responses_streams.response("failed", error=error)
    )
    return responses_streams.stream(failed), "server_error"


@fault("an endless error body", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Type="text/plain"), Endless(b"no, "))
    yield Case((play,), _bodyless_error("QwenInvalidRequestError", 400))


@fault("a compressed error body that expands without limit", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Encoding="gzip") + _compressed_zeros(), Silence())
    yield Case((play,), _bodyless_error("QwenInvalidRequestError", 400))


@functools.cache
def _compressed_zeros() -> bytes:
    return gzip.compress(b"no, " * 2**22)


@fault("a redirect to another host", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    for status in (301, 302, 303, 307, 308):
        play = (head(status, Location="ELSEWHERE/api/v1/", Content_Length=0), KEEP)
        yield Case((play,), _bodyless_error("QwenInvalidRequestError", status))


@fault("success statuses other than 200", "Errors of the service")
def _(wire: str) -> Iterable[Case]:
    for status in (202, 204):
        play = (head(status, Content_Length=0), KEEP)
        yield Case((play,), _bodyless_error("QwenInvalidRequestError", status))


# Connection.

_NOT_COUNTED = "three attempts; no server sees them"


@fault(
    "connection refused",
    "Connection",
    note=_NOT_COUNTED,
    address=lambda server: server.deaf_url,
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed(requests=0))


@fault(
    "host name not found",
    "Connection",
    note=_NOT_COUNTED,
    address=lambda server: "https://qwen.invalid",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed(requests=0))


def _by_tls(server: FaultServer) -> str:
    return server.url.replace("http:", "https:")


@fault(
    "the server does not use TLS",
    "Connection",
    address=_by_tls,
    greeting=(head(400, Content_Length=0),),
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), connection_failed())


@fault(
    "TLS handshake without a reply",
    "Connection",
    address=_by_tls,
    greeting=(Silence(),),
    fields={"connect_timeout": SHORT},
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), timed_out(None, requests=3))


@fault("untrusted certificate", "Connection", secure=True)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("QwenCertificateError"))


@fault(
    "plain `http` to another host",
    "Connection",
    address=lambda server: "http://192.0.2.1",
    note="rejected when the model is created",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("ValueError", requests=0))


@fault("closed before the response head", "Connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((),), connection_failed())


@fault("closed before the response head, then an answer", "Connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((), complete_response(SAMPLE_ANSWERS[wire].body)), answer(wire, requests=2))


@fault("reset before the response head", "Connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((RESET,),), connection_failed())


@fault("closed within the response head", "Connection")
def _(wire: str) -> Iterable[Case]:
    for text in (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", stream_head()[:-2]):
        yield Case(((text,),), connection_failed())


@fault("reset within the response head", "Connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX: y", RESET),), connection_failed())


@fault("invalid response head, or another protocol", "Connection")
def _(wire: str) -> Iterable[Case]:
    for text in (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n", head(101)):
        yield Case(((text, Silence()),), connection_failed())


@fault("endless response head", "Connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\n", Endless(b"X-More: and more\r\n")),), connection_failed())


@fault("contradictory or invalid `Content-Length`", "Connection")
def _(wire: str) -> Iterable[Case]:
    for headers in (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -1\r\n"):
        yield Case(((b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n", Silence()),), connection_failed())


@fault("an idle connection that was closed", "Connection", warm=True)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    yield Case(
        ((stream_head(Content_Length=len(body)) + body,), complete_response(body)), answer(wire)
    )


@fault("an idle connection that closes when the request arrives", "Connection", warm=True)
def _(wire: str) -> Iterable[Case]:
    stored = complete_response(SAMPLE_ANSWERS[wire].body)
    for end in ((), (RESET,)):
        yield Case((stored, end, stored), answer(wire, requests=2))


@fault("statuses 100 and 103 before the answer", "Connection")
def _(wire: str) -> Iterable[Case]:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    text, keep = complete_response(SAMPLE_ANSWERS[wire].body)
    yield Case(((early + text, keep),), answer(wire))


# Timeouts.


@fault("stall before the response head", "Timeouts", fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((Silence(),),), timed_out(None))


@fault("stall within the response head", "Timeouts", fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX-", Silence()),), timed_out(None))


@fault("stall after the response head", "Timeouts", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(b"", Silence()),), timed_out(None))


@fault("stall between frames", "Timeouts", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault("stall within a frame", "Timeouts", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text + 1)[:-40], Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault("stall while code runs", "Timeouts", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.code), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.code)))


@fault("stall after the terminal event", "Timeouts", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(SAMPLE_ANSWERS[wire].body, Silence()),), answer(wire))


@fault("a pause shorter than the timeout", "Timeouts")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    started = sample.until(sample.code)
    pause = Drip(b"\n\n", SHORT / 2)
    yield Case((closed_after(started, pause, sample.body[len(started) :]),), answer(wire))


_DEADLINE = {"total_timeout": LONGER}
# 100 pieces take five times as long as the deadline.
_SLOWLY = Drip(b" " * 100, LONGER / 20)


@fault("stall until `total_timeout`", "Timeouts", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))
    yield Case(((Silence(),),), timed_out(None))


@fault("slow body until `total_timeout`", "Timeouts", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    started = sample.until(sample.text)
    play = closed_after(started + b":", _SLOWLY, b"\n" + sample.body[len(started) :])
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault(
    "slow response head until `total_timeout`",
    "Timeouts",
    "synchronous calls cannot close the socket before the response head",
    fields=_DEADLINE,
)
def _(wire: str) -> Iterable[Case]:
    text = b"\r\nConnection: close\r\n\r\n" + SAMPLE_ANSWERS[wire].body
    play = (b"HTTP/1.1 200 OK\r\nX-Slow: x", _SLOWLY, text)
    yield Case((play,), timed_out(None), in_threads=answer(wire))


@fault("slow error body until `total_timeout`", "Timeouts", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    play = (head(500), _SLOWLY, error_body(wire, error_code(wire, "InternalError")))
    yield Case((play,), _bodyless_error("QwenServerError", 500))


@fault("503 with `Retry-After` beyond `total_timeout`", "Timeouts", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=30)
    yield Case((limit,), error_outcome("QwenServerError", 503, "ModelUnavailable"))


# Interrupted answers.


def _boundaries(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
    """Closed after each number of frames."""
    sample = SAMPLE_ANSWERS[wire]
    for count in range(len(sample.frames) + 1):
        result = sample.parts_before(count)
        ended = count >= sample.finish
        yield Case(
            (cut(sample.until(count)),),
            answer(wire, result=result) if ended else interrupted(result),
        )


def _inside(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
    """Closed at several places of every frame: near its ends and inside multi-byte characters."""
    sample = SAMPLE_ANSWERS[wire]
    for count, frame in enumerate(sample.frames):
        last = len(frame.data.rstrip(b"\n"))
        characters = [at for at, byte in enumerate(frame.data) if byte >= 0x80]
        for at in sorted({1, 5, last // 2, last - 9, last - 1, last, *characters[1:4:2]}):
            result = sample.parts_before(count + (at >= last))
            ended = count + (at >= last) >= sample.finish
            body = sample.until(count) + frame.data[:at]
            yield Case((cut(body),), answer(wire, result=result) if ended else interrupted(result))


@fault("closed between any two frames", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, closed_after)


@fault("closed between any two frames of a chunked body", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, open_chunks)


@fault("reset between any two frames", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, lambda body: open_chunks(body, RESET))


@fault("closed within any frame", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _inside(wire, closed_after)


@fault("closed within any frame of a chunked body", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _inside(wire, open_chunks)


@fault("shorter than its `Content-Length`", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, lambda body: (stream_head(Content_Length=len(body) + 9) + body,))


@fault("longer than its `Content-Length`", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    body = sample.until(sample.text)
    play = (stream_head(Content_Length=len(body)) + sample.body, KEEP)
    yield Case((play,), interrupted(sample.parts_before(sample.text)))


@fault("HTTP/1.0: the end of the connection ends the answer", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    text = b"HTTP/1.0 200 OK\r\n\r\n"
    return _boundaries(wire, lambda body: (text + body,))


@fault("invalid chunked encoding", "Interrupted answers")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    result = sample.parts_before(sample.text)
    for garbage in (b"zz\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdeXX", b"\r\n\r\n"):
        play = open_chunks(sample.until(sample.text))[0] + garbage
        yield Case(((play, Silence()),), interrupted(result))


# Malformed answers.


def _in_the_middle(wire: str, garbage: bytes) -> Case:
    """The bytes in the middle of an answer that continues, so the client has to close it."""
    sample = SAMPLE_ANSWERS[wire]
    body = (
        sample.until(sample.text)
        + garbage
        + b"".join(frame.data for frame in sample.frames[sample.text :])
    )
    return Case((open_chunks(body, Silence()),), interrupted(sample.parts_before(sample.text)))


@fault("empty body", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    for body in (b"", b"\n\n\n", b": ping\n\n", b"\xef\xbb\xbf"):
        yield Case((complete_response(body),), interrupted(None))


@fault("HTML", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    page = b"<!doctype html>\n<html>\n<body>Please log in: data: x</body></html>\n"
    yield Case((document(page),), interrupted(None))


@fault("plain text", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    for body in (b"OK", b"upstream connect error\n"):
        yield Case((complete_response(body),), interrupted(None))


@fault("a frame that is not JSON", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    for data in (b'{"output":', b"{]}", b"oops", b"{'a': 1}", b"\x00\x01\x02"):
        yield _in_the_middle(wire, b"data:" + data + b"\n\n")


@fault("a frame that is not a JSON object", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    for data in (b"[1]", b'"text"', b"7", b"null", b"true", b"[]"):
        yield _in_the_middle(wire, b"data:" + data + b"\n\n")


_WRONG_TYPES = {
    "dashscope": (
        {"output": {"choices": [{"message": {"content": 7}}]}},
        {"output": {"choices": 7}},
        {"output": {"tool_info": [1]}},
        {"output": {}, "usage": [1]},
    ),
    "responses": (
        {"type": "response.output_text.delta", "delta": 7},
        {"type": "response.output_item.added", "item": {"type": "message"}},
        {"type": "response.completed", "response": [1]},
        {"type": 7},
    ),
    "chat_completions": (
        {"choices": [{"delta": {"content": 7}}]},
        {"choices": 7},
        {"choices": [{"delta": [1]}]},
    ),
}


@fault("fields of wrong types", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    for payload in _WRONG_TYPES[wire]:
        yield _in_the_middle(wire, b"data:" + json.dumps(payload).encode() + b"\n\n")


@fault("JSON nested too deep", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    deep = b"[" * 100_000 + b"]" * 100_000
    yield _in_the_middle(wire, b'data:{"output":' + deep + b"}\n\n")
    yield _in_the_middle(wire, b"data:" + b'{"a":' * 50_000 + b"\n\n")


@fault("a lone surrogate, escaped", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    yield _in_the_middle(wire, b'data:{"output":"\\ud83e"}\n\n')


@fault("UTF-16", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body.decode().encode("utf-16")
    yield Case((complete_response(body),), interrupted(None))


@fault("Latin-1 in the middle", "Malformed answers")
def _(wire: str) -> Iterable[Case]:
    yield _in_the_middle(wire, 'data:{"output":"é"}\n\n'.encode("latin-1"))


# Compression.


def _encoded(body: bytes, encoding: str) -> Play:
    return complete_response(body, Content_Encoding=encoding)


@fault("gzip", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(gzip.compress(SAMPLE_ANSWERS[wire].body), "gzip"),), answer(wire))


@fault("deflate", "Compression")
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for packed in (zlib.compress(body), bare.compress(body) + bare.flush()):
        yield Case((_encoded(packed, "deflate"),), answer(wire))


@fault("`identity`", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(SAMPLE_ANSWERS[wire].body, "identity"),), answer(wire))


def _packed(data: bytes) -> bytes:
    """Gzip without its end; all bytes before it can be decompressed."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@fault("truncated gzip", "Compression")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case(
        (_encoded(_packed(sample.until(sample.text)), "gzip"),),
        interrupted(sample.parts_before(sample.text)),
    )


@fault("corrupt gzip", "Compression")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    corrupt = _packed(sample.until(sample.text)) + b"\xff" * 50
    play = (stream_head(Content_Encoding="gzip", Connection="close") + corrupt, Silence())
    yield Case((play,), interrupted(sample.parts_before(sample.text)))


@fault("gzip with a wrong checksum", "Compression")
def _(wire: str) -> Iterable[Case]:
    packed = bytearray(gzip.compress(SAMPLE_ANSWERS[wire].body))
    packed[-8] ^= 1
    yield Case((_encoded(bytes(packed), "gzip"),), answer(wire))  # the terminal event was received


@fault("`Content-Encoding: gzip` on plain text", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(SAMPLE_ANSWERS[wire].body, "gzip"),), interrupted(None))


@fault("an encoding that was not requested", "Compression")
def _(wire: str) -> Iterable[Case]:
    for encoding in ("br", "zstd", "rot13"):
        yield Case((_encoded(SAMPLE_ANSWERS[wire].body, encoding),), interrupted(None))


# Size limits.

_LIMITS = {"max_frame_bytes": 2**16, "max_answer_bytes": 2**20}
_ONLY_FRAMES = {"max_frame_bytes": 2**30, "max_answer_bytes": 2**16}


def too_large(result: AnswerParts | None, requests: int = 1) -> Outcome:
    return Outcome("QwenAnswerLimitError", result, requests)


def _endless(wire: str, piece: bytes, begin: bytes = b"") -> Case:
    """Endless bytes after the middle of an answer."""
    sample = SAMPLE_ANSWERS[wire]
    play = closed_after(
        sample.until(sample.text) + begin,
        Endless(piece),
        sample.body[len(sample.until(sample.text)) :],
    )
    return Case((play,), too_large(sample.parts_before(sample.text)))


@fault("endless comments, or frames without data", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    for piece in (b": ping\n\n", b"\n", b"event:result\n\n", b"id:1\nretry:5\n"):
        yield _endless(wire, piece)


_EMPTY_FRAME = {
    "dashscope": {"output": {"choices": []}, "request_id": REQUEST_ID},
    "responses": {"type": "response.in_progress", "response": {"id": REQUEST_ID}},
    "chat_completions": {"choices": [], "id": REQUEST_ID},
}


@fault("endless frames without content", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b"data:" + json.dumps(_EMPTY_FRAME[wire]).encode() + b"\n\n")


@fault("an endless line", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b"x", begin=b"data:")
    yield _endless(wire, b"x")
    yield _endless(wire, b"data:x\n", begin=b"data:x\n")


@fault("an endless JSON document", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield Case((closed_after(b'{"output":"', Endless(b"x")),), too_large(None))


@fault("a frame larger than `max_frame_bytes`", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    large = b"data:" + json.dumps({**_EMPTY_FRAME[wire], "more": "x" * 2**19}).encode() + b"\n\n"
    body = sample.until(sample.text) + large
    yield Case((open_chunks(body, Silence()),), too_large(sample.parts_before(sample.text)))


@fault("an answer larger than `max_answer_bytes`", "Size limits", fields=_ONLY_FRAMES)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b": ping\n\n")


_LAUGHS = {
    "dashscope": dashscope_streams.frame(content="ha"),
    "responses": responses_streams.event("output_text.delta", item_id="msg_4", delta="ha"),
    "chat_completions": chat_completions_streams.text_chunk("ha"),
}


def _laughed(result: AnswerParts) -> AnswerParts:
    """Remove repetitions, whose number before the limit depends on timing."""
    return replace(result, text=re.sub("(ha)+$", "haha…", result.text))


@fault("an endless text", "Size limits", fields={"max_answer_bytes": 2**18})
def _(wire: str) -> Iterable[Case]:
    frame = b"data:" + json.dumps(_LAUGHS[wire]).encode() + b"\n\n"
    result = SAMPLE_ANSWERS[wire].parts_before(SAMPLE_ANSWERS[wire].text)
    assert result
    outcome = too_large(result.plus(text="haha…"))
    yield replace(_endless(wire, frame), outcome=outcome, observed=_laughed)


@functools.cache
def _bomb(wire: str) -> bytes:
    """A complete answer with many bytes without content in its middle."""
    sample = SAMPLE_ANSWERS[wire]
    start, packer = sample.until(sample.text), zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [start, *[b":" + b" " * (2**20 - 1)] * 16, b"\n\n", sample.body[len(start) :]]
    return b"".join([*map(packer.compress, parts), packer.flush()])


@fault("gzip that expands beyond `max_frame_bytes`", "Size limits", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case((_encoded(_bomb(wire), "gzip"),), too_large(sample.parts_before(sample.text)))


@fault("gzip that expands beyond `max_answer_bytes`", "Size limits", fields=_ONLY_FRAMES)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case((_encoded(_bomb(wire), "gzip"),), too_large(sample.parts_before(sample.text)))


# Retries after the start.

_AGAIN = {"retry_cut_answers": True}
_PATIENTLY = "Retries after the start: `retry_cut_answers=True`"


def _cut(wire: str, count: int) -> Play:
    return open_chunks(SAMPLE_ANSWERS[wire].until(count))


def _again(wire: str, with_fault: Play, failed: Outcome) -> Case:
    """A failed response, then a good one; a stream is never repeated."""
    plays = (with_fault, complete_response(SAMPLE_ANSWERS[wire].body))
    return Case(plays, answer(wire, requests=2), streamed=failed)


@fault("an interrupted answer, then a complete one", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    for count in (0, sample.code, sample.text, sample.finish - 1):
        yield _again(wire, _cut(wire, count), interrupted(sample.parts_before(count)))


@fault(
    "answers interrupted at different places",
    _PATIENTLY,
    fields=_AGAIN,
    note="`partial` is of the last one",
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    plays = (_cut(wire, sample.text), _cut(wire, sample.finish - 1), _cut(wire, sample.code))
    yield Case(
        plays,
        interrupted(sample.parts_before(sample.code), requests=3),
        streamed=interrupted(sample.parts_before(sample.text)),
    )


@fault(
    "an interrupted answer, then an error status",
    _PATIENTLY,
    fields=_AGAIN,
    note="`partial` is of the interrupted one",
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InvalidParameter")
    result = sample.parts_before(sample.text)
    failed = error_outcome("QwenInvalidRequestError", 400, code, requests=2)
    yield Case(
        (_cut(wire, sample.text), error_response(wire, 400, code)),
        replace(failed, result=result),
        streamed=interrupted(result),
    )


@fault("an error frame, then an answer", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InternalError")
    with_fault = open_chunks(sample.until(sample.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = error_outcome("QwenServerError", status, code)
    yield _again(wire, with_fault, replace(failed, result=sample.parts_before(sample.text)))


@fault("an error frame that is not retryable", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InvalidParameter")
    with_fault = open_chunks(sample.until(sample.text) + error_frame(wire, 400, code), Silence())
    status = None if wire == "chat_completions" else 400
    failed = error_outcome("QwenInvalidRequestError", status, code)
    yield Case((with_fault,), replace(failed, result=sample.parts_before(sample.text)))


@fault(
    "a stall between frames, then an answer",
    _PATIENTLY,
    fields={**_AGAIN, "stream_chunk_timeout": LONGER},
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    with_fault = open_chunks(sample.until(sample.code), Silence())
    yield _again(wire, with_fault, timed_out(sample.parts_before(sample.code)))


@fault(
    "a stall before the response head, then an answer",
    _PATIENTLY,
    fields={**_AGAIN, "timeout": LONGER},
)
def _(wire: str) -> Iterable[Case]:
    yield _again(wire, (Silence(),), timed_out(None))


@fault("a frame that is not JSON, then an answer", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    with_fault = open_chunks(sample.until(sample.text) + b"data:{]}\n\n", Silence())
    yield _again(wire, with_fault, interrupted(sample.parts_before(sample.text)))


@fault("an answer that is too large", _PATIENTLY, fields={**_AGAIN, **_LIMITS})
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b": ping\n\n")


# Unusual but complete answers.


@fault("one byte per chunk", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    pieces = [body[at : at + 1] for at in range(len(body))]
    play = (stream_head(Transfer_Encoding="chunked") + chunked(*pieces), KEEP)
    yield Case((play,), answer(wire))


@fault("CRLF and CR as line ends", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    for ending in (b"\r\n", b"\r"):
        yield Case(
            (complete_response(SAMPLE_ANSWERS[wire].body.replace(b"\n", ending)),), answer(wire)
        )


@fault("a byte order mark", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    yield Case((complete_response(b"\xef\xbb\xbf" + SAMPLE_ANSWERS[wire].body),), answer(wire))


@fault("a JSON document instead of a stream", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    yield Case((document(SAMPLE_ANSWERS[wire].document),), answer(wire))


@fault("frames after the terminal event", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case((complete_response(sample.body + sample.until(sample.text)),), answer(wire))
    yield Case((complete_response(sample.body + b"data:oops\n\n"),), answer(wire))


@fault("closed after the terminal event", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    for play in (open_chunks(body), open_chunks(body, RESET), closed_after(body.rstrip(b"\n"))):
        yield Case((play,), answer(wire))


@fault("a connection that stays open after the end", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(SAMPLE_ANSWERS[wire].body, Silence()),), answer(wire))


@fault("comments, unknown fields, empty frames", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    noise = b": ping\n\nretry:3000\n\nevent:result\n\nfoo:bar\n\n\n\n"
    body = b"".join(noise + frame.data for frame in SAMPLE_ANSWERS[wire].frames)
    yield Case((complete_response(body),), answer(wire))


@fault("a wrong or missing `Content-Type`", "Unusual but complete answers")
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    yield Case((document(body),), answer(wire))
    yield Case(((head(Content_Length=len(body)) + body, KEEP),), answer(wire))


@fault(
    "every frame twice",
    "Unusual but complete answers",
    note="texts are repeated",
)
def _(wire: str) -> Iterable[Case]:
    yield Case(
        (complete_response(b"".join(frame.data * 2 for frame in SAMPLE_ANSWERS[wire].frames)),),
        None,
    )


@fault(
    "frames in another order",
    "Unusual but complete answers",
    note="texts keep the order of the frames",
)
def _(wire: str) -> Iterable[Case]:
    frames = SAMPLE_ANSWERS[wire].frames
    for at in range(len(frames) - 1):
        order = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
        yield Case((complete_response(b"".join(frame.data for frame in order)),), None)
    yield Case((complete_response(b"".join(frame.data for frame in reversed(frames))),), None)
