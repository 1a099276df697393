"""Everything that can go wrong between here and the service, and what must come of it."""

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
from expected_answers import STORIES, AnswerParts
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

WIRES = tuple(STORIES)
KEY = "sk-never-to-be-seen"
SHORT = 0.3  # seconds of a timeout that is meant to be exceeded
ENOUGH = 1.0  # where something has to come in time before, on a machine that has much to do


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Attributes:
        error: its class; empty if there was none.
        told: the answer, or what had come before the error.
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
    """What the server plays, and what must come of it.

    Attributes:
        outcome: None is an answer or an error of the tree: a wire cannot know better.
        streamed: where streams differ.
        in_threads: where sync ways differ.
        seen: makes a thing of chance, such as how much of an endless text had come, the same.
    """

    plays: tuple[Play, ...]
    outcome: Outcome | None
    streamed: Outcome | None = None
    in_threads: Outcome | None = None
    observed: Callable[[AnswerParts], AnswerParts] = lambda result: result


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    Attributes:
        cases: for a wire; one cell holds them all.
        fields: of the model.
        address: where the model sends to.
        greeting: what the server says to whoever connects.
        secure: whether the server speaks TLS.
        warm: whether a call has gone well before, on a connection that is kept.
        note: what a reader of the table should know.
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
    def noted(cases: Cases) -> Cases:
        assert name not in FAULTS
        FAULTS[name] = Fault(name, section, cases, note=note, **more)
        return cases

    return noted


# What a server says.


def stream_head(**headers: str | int) -> bytes:
    return head(Content_Type="text/event-stream;charset=UTF-8", **headers)


def whole(body: bytes, **headers: str | int) -> Play:
    """A response as it should be, on a connection that is kept."""
    return (stream_head(**headers, Content_Length=len(body)) + body, KEEP)


def until_the_end(body: bytes, *then: Any) -> Play:
    """A body that ends with its connection."""
    return (stream_head(Connection="close") + body, *then)


def open_chunks(body: bytes, *then: Any) -> Play:
    """A body in chunks, and not the chunk that ends it."""
    return (stream_head(Transfer_Encoding="chunked") + chunked(body, ends=False), *then)


def refusal(wire: str, status: int, code: str, **headers: str | int) -> Play:
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
    """An error in a stream, as each wire writes it."""
    if wire == "chat_completions":
        return b"data: " + error_body(wire, code) + b"\n\n"
    if wire == "dashscope":
        return dashscope_streams.error_frame(status, code, "No.")
    error = {"code": code, "message": f"<{status}> {code}: No."}
    failed = responses_streams.response("failed", error=error)
    return responses_streams.stream(responses_streams.event("failed", response=failed))


# What must come of it.


def answer(wire: str, requests: int = 1, result: AnswerParts | None = None) -> Outcome:
    return Outcome(result=result or STORIES[wire].result, requests=requests)


def broken(result: AnswerParts | None, requests: int = 1) -> Outcome:
    """The answer broke off, with this."""
    return Outcome("QwenStreamError", result, requests, retryable=True)


def silent(result: AnswerParts | None, requests: int = 1) -> Outcome:
    return Outcome("QwenTimeoutError", result, requests, retryable=True)


def unreached(requests: int = 3) -> Outcome:
    return Outcome("QwenConnectionError", None, requests, retryable=True)


def refused(kind: str, status: int | None, code: str | None, requests: int = 1) -> Outcome:
    return Outcome(
        kind,
        None,
        requests,
        status=status,
        code=code,
        request_id=REQUEST_ID,
        retryable=kind in ("QwenServerError", "QwenRateLimitError"),
    )


# Refusals.

_IN_OPENAIS_WORDS = {
    "InvalidParameter": "invalid_parameter_error",
    "InvalidApiKey": "invalid_api_key",
    "AccessDenied": "access_denied",
    "ModelNotFound": "model_not_found",
    "Throttling": "limit_requests",
    "InternalError": "internal_error",
}


def in_words_of(wire: str, code: str) -> str:
    return _IN_OPENAIS_WORDS.get(code, code) if wire == "chat_completions" else code


_REFUSALS = (
    ("400: the request is wrong", 400, "InvalidParameter", "QwenInvalidRequestError"),
    ("400: the account is in arrears", 400, "Arrearage", "QwenPermissionDeniedError"),
    ("401: the key is wrong", 401, "InvalidApiKey", "QwenAuthenticationError"),
    ("403: no access", 403, "AccessDenied", "QwenPermissionDeniedError"),
    ("404: no such model", 404, "ModelNotFound", "QwenModelNotFoundError"),
    ("408: the request took too long to come", 408, "RequestTimeOut", "QwenServerError"),
    ("409: a conflict", 409, "Conflict", "QwenServerError"),
    ("413: the request is too long", 413, "RequestTooLarge", "QwenInvalidRequestError"),
    ("418: a status of no meaning here", 418, "Teapot", "QwenInvalidRequestError"),
    ("422: an unknown code", 422, "SomethingNew", "QwenInvalidRequestError"),
    ("429: a rate limit", 429, "Throttling", "QwenRateLimitError"),
    ("429: a bill is unpaid", 429, "PrepaidBillOverdue", "QwenPermissionDeniedError"),
    ("500: the service failed", 500, "InternalError", "QwenServerError"),
    ("503: the model is overloaded", 503, "ModelUnavailable", "QwenServerError"),
    ("599: a status that nobody knows", 599, "SomethingNew", "QwenServerError"),
)


def _refusing(status: int, native_code: str, kind: str) -> Cases:
    def cases(wire: str) -> Iterable[Case]:
        code = in_words_of(wire, native_code)
        again = kind in ("QwenServerError", "QwenRateLimitError")
        play = refusal(wire, status, code, Retry_After_Ms=0)
        yield Case((play,), refused(kind, status, code, requests=3 if again else 1))

    return cases


for _name, *_refused in _REFUSALS:
    fault(_name, "The service refuses")(_refusing(*_refused))


@fault("429, and then an answer", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    limit = refusal(wire, 429, in_words_of(wire, "Throttling"), Retry_After_Ms=0)
    yield Case((limit, whole(STORIES[wire].body)), answer(wire, requests=2))


@fault("503 with `Retry-After`, and then an answer", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    limit = refusal(wire, 503, "ModelUnavailable", Retry_After=0)
    yield Case((limit, limit, whole(STORIES[wire].body)), answer(wire, requests=3))


@fault("503 that asks to wait an hour", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    limit = refusal(wire, 503, "ModelUnavailable", Retry_After=3600)
    yield Case((limit,), refused("QwenServerError", 503, "ModelUnavailable"))


@fault("502 with a page of HTML", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    page = b"<html><h1>Bad gateway</h1></html>"
    play = (head(502, Content_Type="text/html", Content_Length=len(page)) + page, KEEP)
    yield Case((play,), _without_a_word("QwenServerError", 502, requests=3))


def _without_a_word(kind: str, status: int, requests: int = 1) -> Outcome:
    return replace(refused(kind, status, None, requests), request_id=None)


@fault("504 with nothing in it", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    play = (head(504, Content_Length=0, X_Request_Id=REQUEST_ID), KEEP)
    yield Case((play,), refused("QwenServerError", 504, None, requests=3))


@fault("a refusal that is cut short", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv',)
    yield Case((play,), _without_a_word("QwenInvalidRequestError", 400))


@fault("a refusal that falls silent", "The service refuses", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Length=500) + b'{"code":"Inv', Silence())
    yield Case((play,), _without_a_word("QwenInvalidRequestError", 400))


@fault("a 200 that holds an error: a rate limit", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    code = in_words_of(wire, "Throttling")
    play = document(error_body(wire, code))
    yield Case((play,), refused("QwenRateLimitError", None, code, requests=3))
    yield Case((play, whole(STORIES[wire].body)), answer(wire, requests=2))


@fault("a 200 that holds an error: the request is wrong", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    code = in_words_of(wire, "InvalidParameter")
    yield Case((document(error_body(wire, code)),), refused("QwenInvalidRequestError", None, code))


@fault("a stream that begins with a rate limit", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    play = whole(_limit_frames(wire))
    code = {"responses": "server_error"}.get(wire, in_words_of(wire, "Throttling"))
    status = 429 if wire == "dashscope" else None
    yield Case((play,), refused("QwenRateLimitError", status, code, requests=3))
    yield Case((play, whole(STORIES[wire].body)), answer(wire, requests=2))


def _limit_frames(wire: str) -> bytes:
    """On Responses it is documented with these words, and no code of its own."""
    if wire != "responses":
        return error_frame(wire, 429, in_words_of(wire, "Throttling"))
    text = "Operation model request rate limit exceeded, please try again later."
    error = {"code": "server_error", "message": text}
    failed = responses_streams.event(
        "failed", response=responses_streams.response("failed", error=error)
    )
    return responses_streams.stream(
        responses_streams.CREATED, responses_streams.IN_PROGRESS, failed
    )


@fault("an error frame in the middle of an answer", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    code = in_words_of(wire, "InternalError")
    play = open_chunks(story.until(story.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = refused("QwenServerError", status, code)
    yield Case((play,), replace(failed, result=story.told_by(story.text)))


@fault("an error frame that names no status", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    frame, code = _statusless(wire)
    play = open_chunks(story.until(story.text) + frame, Silence())
    failed = refused("QwenServerError", None, code)
    yield Case((play,), replace(failed, result=story.told_by(story.text)))


def _statusless(wire: str) -> tuple[bytes, str]:
    """With the code of each wire for a failure of its own."""
    if wire != "responses":
        code = in_words_of(wire, "InternalError")
        return b"event:error\ndata:" + error_body(wire, code) + b"\n\n", code
    error = {"code": "server_error", "message": "The model is gone."}
    failed = responses_streams.event(
        "failed", response=responses_streams.response("failed", error=error)
    )
    return responses_streams.stream(failed), "server_error"


@fault("a refusal without end", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Type="text/plain"), Endless(b"no, "))
    yield Case((play,), _without_a_word("QwenInvalidRequestError", 400))


@fault("a refusal that unpacks without end", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    play = (head(400, Content_Encoding="gzip") + _much_packed(), Silence())
    yield Case((play,), _without_a_word("QwenInvalidRequestError", 400))


@functools.cache
def _much_packed() -> bytes:
    return gzip.compress(b"no, " * 2**22)


@fault("a redirect to another host", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    for status in (301, 302, 303, 307, 308):
        play = (head(status, Location="ELSEWHERE/api/v1/", Content_Length=0), KEEP)
        yield Case((play,), _without_a_word("QwenInvalidRequestError", status))


@fault("statuses that are neither an answer nor an error", "The service refuses")
def _(wire: str) -> Iterable[Case]:
    for status in (202, 204):
        play = (head(status, Content_Length=0), KEEP)
        yield Case((play,), _without_a_word("QwenInvalidRequestError", status))


# Connections.

_UNSEEN = "tried three times, which no server sees"


@fault("nobody listens", "The connection", note=_UNSEEN, address=lambda server: server.deaf_url)
def _(wire: str) -> Iterable[Case]:
    yield Case((), unreached(requests=0))


@fault(
    "the host has no address",
    "The connection",
    note=_UNSEEN,
    address=lambda server: "https://qwen.invalid",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), unreached(requests=0))


def _by_tls(server: FaultServer) -> str:
    return server.url.replace("http:", "https:")


@fault(
    "the server speaks no TLS",
    "The connection",
    address=_by_tls,
    greeting=(head(400, Content_Length=0),),
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), unreached())


@fault(
    "the server never greets back",
    "The connection",
    address=_by_tls,
    greeting=(Silence(),),
    fields={"connect_timeout": SHORT},
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), silent(None, requests=3))


@fault("a certificate that is not trusted", "The connection", secure=True)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("QwenCertificateError"))


@fault(
    "plain http to another machine",
    "The connection",
    address=lambda server: "http://192.0.2.1",
    note="refused when the model is made",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((), Outcome("ValueError", requests=0))


@fault("closed before the head", "The connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((),), unreached())


@fault("closed before the head, and then an answer", "The connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((), whole(STORIES[wire].body)), answer(wire, requests=2))


@fault("reset before the head", "The connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((RESET,),), unreached())


@fault("closed in the head", "The connection")
def _(wire: str) -> Iterable[Case]:
    for text in (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", stream_head()[:-2]):
        yield Case(((text,),), unreached())


@fault("reset in the head", "The connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX: y", RESET),), unreached())


@fault("a head that is none, or of another protocol", "The connection")
def _(wire: str) -> Iterable[Case]:
    for text in (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n", head(101)):
        yield Case(((text, Silence()),), unreached())


@fault("a head without end", "The connection")
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\n", Endless(b"X-More: and more\r\n")),), unreached())


@fault("a head that contradicts itself", "The connection")
def _(wire: str) -> Iterable[Case]:
    for headers in (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -1\r\n"):
        yield Case(((b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n", Silence()),), unreached())


@fault("a kept connection that was closed meanwhile", "The connection", warm=True)
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body
    yield Case(((stream_head(Content_Length=len(body)) + body,), whole(body)), answer(wire))


@fault("a kept connection that closes as the request comes", "The connection", warm=True)
def _(wire: str) -> Iterable[Case]:
    stored = whole(STORIES[wire].body)
    for end in ((), (RESET,)):
        yield Case((stored, end, stored), answer(wire, requests=2))


@fault("100 and 103 before the answer", "The connection")
def _(wire: str) -> Iterable[Case]:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    text, keep = whole(STORIES[wire].body)
    yield Case(((early + text, keep),), answer(wire))


# Silence.


@fault("silence before the head", "Silence", fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((Silence(),),), silent(None))


@fault("silence in the head", "Silence", fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX-", Silence()),), silent(None))


@fault("silence after the head", "Silence", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(b"", Silence()),), silent(None))


@fault("silence in the middle", "Silence", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    play = open_chunks(story.until(story.text), Silence())
    yield Case((play,), silent(story.told_by(story.text)))


@fault("silence in the middle of a frame", "Silence", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    play = open_chunks(story.until(story.text + 1)[:-40], Silence())
    yield Case((play,), silent(story.told_by(story.text)))


@fault("silence while code runs", "Silence", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    play = open_chunks(story.until(story.code), Silence())
    yield Case((play,), silent(story.told_by(story.code)))


@fault("silence after the finish", "Silence", fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(STORIES[wire].body, Silence()),), answer(wire))


@fault("a pause that is shorter than the timeout", "Silence")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    started = story.until(story.code)
    pause = Drip(b"\n\n", SHORT / 2)
    yield Case((until_the_end(started, pause, story.body[len(started) :]),), answer(wire))


_DEADLINE = {"total_timeout": ENOUGH}
# Who waits for all of a drip gets more than who leaves in time.
_SLOWLY = Drip(b" " * 100, ENOUGH / 20)


@fault("silence, until `total_timeout`", "Silence", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    play = open_chunks(story.until(story.text), Silence())
    yield Case((play,), silent(story.told_by(story.text)))
    yield Case(((Silence(),),), silent(None))


@fault("byte by byte, until `total_timeout`", "Silence", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    started = story.until(story.text)
    play = until_the_end(started + b":", _SLOWLY, b"\n" + story.body[len(started) :])
    yield Case((play,), silent(story.told_by(story.text)))


@fault(
    "a head byte by byte, until `total_timeout`",
    "Silence",
    "in a thread there is no socket to break yet",
    fields=_DEADLINE,
)
def _(wire: str) -> Iterable[Case]:
    text = b"\r\nConnection: close\r\n\r\n" + STORIES[wire].body
    play = (b"HTTP/1.1 200 OK\r\nX-Slow: x", _SLOWLY, text)
    yield Case((play,), silent(None), in_threads=answer(wire))


@fault("a refusal byte by byte, until `total_timeout`", "Silence", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    play = (head(500), _SLOWLY, error_body(wire, in_words_of(wire, "InternalError")))
    yield Case((play,), _without_a_word("QwenServerError", 500))


@fault("503 that asks to wait beyond `total_timeout`", "Silence", fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    limit = refusal(wire, 503, "ModelUnavailable", Retry_After=30)
    yield Case((limit,), refused("QwenServerError", 503, "ModelUnavailable"))


# Cuts.


def _boundaries(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
    """Cut after each number of frames."""
    story = STORIES[wire]
    for count in range(len(story.frames) + 1):
        result = story.told_by(count)
        ended = count >= story.finish
        yield Case(
            (cut(story.until(count)),), answer(wire, result=result) if ended else broken(result)
        )


def _inside(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
    """Cut at several places of every frame: near its ends, and where its characters are."""
    story = STORIES[wire]
    for count, frame in enumerate(story.frames):
        last = len(frame.data.rstrip(b"\n"))
        characters = [at for at, byte in enumerate(frame.data) if byte >= 0x80]
        for at in sorted({1, 5, last // 2, last - 9, last - 1, last, *characters[1:4:2]}):
            result = story.told_by(count + (at >= last))
            ended = count + (at >= last) >= story.finish
            body = story.until(count) + frame.data[:at]
            yield Case((cut(body),), answer(wire, result=result) if ended else broken(result))


@fault("ended at every boundary of frames", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, until_the_end)


@fault("ended at every boundary, and a chunk was to follow", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, open_chunks)


@fault("reset at every boundary", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, lambda body: open_chunks(body, RESET))


@fault("ended inside every frame", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _inside(wire, until_the_end)


@fault("ended inside every frame, and a chunk was to follow", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _inside(wire, open_chunks)


@fault("shorter than its `Content-Length`", "Cuts")
def _(wire: str) -> Iterable[Case]:
    return _boundaries(wire, lambda body: (stream_head(Content_Length=len(body) + 9) + body,))


@fault("longer than its `Content-Length`", "Cuts")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    body = story.until(story.text)
    play = (stream_head(Content_Length=len(body)) + story.body, KEEP)
    yield Case((play,), broken(story.told_by(story.text)))


@fault("HTTP/1.0: the answer ends with the connection", "Cuts")
def _(wire: str) -> Iterable[Case]:
    text = b"HTTP/1.0 200 OK\r\n\r\n"
    return _boundaries(wire, lambda body: (text + body,))


@fault("chunks that are none", "Cuts")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    result = story.told_by(story.text)
    for garbage in (b"zz\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdeXX", b"\r\n\r\n"):
        play = open_chunks(story.until(story.text))[0] + garbage
        yield Case(((play, Silence()),), broken(result))


# Garbage.


def _mid(wire: str, garbage: bytes) -> Case:
    """In the middle of an answer that would go on, so that the client has to leave."""
    story = STORIES[wire]
    body = (
        story.until(story.text)
        + garbage
        + b"".join(frame.data for frame in story.frames[story.text :])
    )
    return Case((open_chunks(body, Silence()),), broken(story.told_by(story.text)))


@fault("nothing", "Garbage")
def _(wire: str) -> Iterable[Case]:
    for body in (b"", b"\n\n\n", b": ping\n\n", b"\xef\xbb\xbf"):
        yield Case((whole(body),), broken(None))


@fault("a page of HTML", "Garbage")
def _(wire: str) -> Iterable[Case]:
    page = b"<!doctype html>\n<html>\n<body>Please log in: data: x</body></html>\n"
    yield Case((document(page),), broken(None))


@fault("plain words", "Garbage")
def _(wire: str) -> Iterable[Case]:
    for body in (b"OK", b"upstream connect error\n"):
        yield Case((whole(body),), broken(None))


@fault("a frame that is no JSON", "Garbage")
def _(wire: str) -> Iterable[Case]:
    for data in (b'{"output":', b"{]}", b"oops", b"{'a': 1}", b"\x00\x01\x02"):
        yield _mid(wire, b"data:" + data + b"\n\n")


@fault("a frame that is no object", "Garbage")
def _(wire: str) -> Iterable[Case]:
    for data in (b"[1]", b'"text"', b"7", b"null", b"true", b"[]"):
        yield _mid(wire, b"data:" + data + b"\n\n")


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


@fault("fields of wrong types", "Garbage")
def _(wire: str) -> Iterable[Case]:
    for payload in _WRONG_TYPES[wire]:
        yield _mid(wire, b"data:" + json.dumps(payload).encode() + b"\n\n")


@fault("JSON nested too deep", "Garbage")
def _(wire: str) -> Iterable[Case]:
    deep = b"[" * 100_000 + b"]" * 100_000
    yield _mid(wire, b'data:{"output":' + deep + b"}\n\n")
    yield _mid(wire, b"data:" + b'{"a":' * 50_000 + b"\n\n")


@fault("half a character, by an escape", "Garbage")
def _(wire: str) -> Iterable[Case]:
    yield _mid(wire, b'data:{"output":"\\ud83e"}\n\n')


@fault("UTF-16", "Garbage")
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body.decode().encode("utf-16")
    yield Case((whole(body),), broken(None))


@fault("Latin-1 in the middle", "Garbage")
def _(wire: str) -> Iterable[Case]:
    yield _mid(wire, 'data:{"output":"é"}\n\n'.encode("latin-1"))


# Compression.


def _encoded(body: bytes, encoding: str) -> Play:
    return whole(body, Content_Encoding=encoding)


@fault("gzip", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(gzip.compress(STORIES[wire].body), "gzip"),), answer(wire))


@fault("deflate", "Compression")
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for packed in (zlib.compress(body), bare.compress(body) + bare.flush()):
        yield Case((_encoded(packed, "deflate"),), answer(wire))


@fault("`identity`", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(STORIES[wire].body, "identity"),), answer(wire))


def _packed(data: bytes) -> bytes:
    """Gzip that can be cut: all of these bytes can be unpacked, and the end is missing."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@fault("gzip that is cut", "Compression")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    yield Case(
        (_encoded(_packed(story.until(story.text)), "gzip"),), broken(story.told_by(story.text))
    )


@fault("gzip that breaks", "Compression")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    broke = _packed(story.until(story.text)) + b"\xff" * 50
    play = (stream_head(Content_Encoding="gzip", Connection="close") + broke, Silence())
    yield Case((play,), broken(story.told_by(story.text)))


@fault("gzip whose checksum is wrong", "Compression")
def _(wire: str) -> Iterable[Case]:
    packed = bytearray(gzip.compress(STORIES[wire].body))
    packed[-8] ^= 1
    yield Case((_encoded(bytes(packed), "gzip"),), answer(wire))  # it has told its finish


@fault("gzip that is none", "Compression")
def _(wire: str) -> Iterable[Case]:
    yield Case((_encoded(STORIES[wire].body, "gzip"),), broken(None))


@fault("an encoding that nobody asked for", "Compression")
def _(wire: str) -> Iterable[Case]:
    for encoding in ("br", "zstd", "rot13"):
        yield Case((_encoded(STORIES[wire].body, encoding),), broken(None))


# Too much.

_LIMITS = {"max_frame_bytes": 2**16, "max_answer_bytes": 2**20}
_ONLY_FRAMES = {"max_frame_bytes": 2**30, "max_answer_bytes": 2**16}


def too_much(result: AnswerParts | None, requests: int = 1) -> Outcome:
    return Outcome("QwenAnswerLimitError", result, requests)


def _endless(wire: str, piece: bytes, begin: bytes = b"") -> Case:
    """After the middle, and before an end that nobody should wait for."""
    story = STORIES[wire]
    play = until_the_end(
        story.until(story.text) + begin, Endless(piece), story.body[len(story.until(story.text)) :]
    )
    return Case((play,), too_much(story.told_by(story.text)))


@fault("endless comments, or frames without data", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    for piece in (b": ping\n\n", b"\n", b"event:result\n\n", b"id:1\nretry:5\n"):
        yield _endless(wire, piece)


_SAYS_NOTHING = {
    "dashscope": {"output": {"choices": []}, "request_id": REQUEST_ID},
    "responses": {"type": "response.in_progress", "response": {"id": REQUEST_ID}},
    "chat_completions": {"choices": [], "id": REQUEST_ID},
}


@fault("endless frames that tell nothing", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b"data:" + json.dumps(_SAYS_NOTHING[wire]).encode() + b"\n\n")


@fault("a line without end", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b"x", begin=b"data:")
    yield _endless(wire, b"x")
    yield _endless(wire, b"data:x\n", begin=b"data:x\n")


@fault("a document without end", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield Case((until_the_end(b'{"output":"', Endless(b"x")),), too_much(None))


@fault("a frame larger than `max_frame_bytes`", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    large = b"data:" + json.dumps({**_SAYS_NOTHING[wire], "more": "x" * 2**19}).encode() + b"\n\n"
    body = story.until(story.text) + large
    yield Case((open_chunks(body, Silence()),), too_much(story.told_by(story.text)))


@fault("an answer larger than `max_answer_bytes`", "Too much", fields=_ONLY_FRAMES)
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b": ping\n\n")


_LAUGHS = {
    "dashscope": dashscope_streams.frame(content="ha"),
    "responses": responses_streams.event("output_text.delta", item_id="msg_4", delta="ha"),
    "chat_completions": chat_completions_streams.text_chunk("ha"),
}


def _laughed(result: AnswerParts) -> AnswerParts:
    """It is chance how often, before the limit was seen."""
    return replace(result, text=re.sub("(ha)+$", "haha…", result.text))


@fault("a text without end", "Too much", fields={"max_answer_bytes": 2**18})
def _(wire: str) -> Iterable[Case]:
    frame = b"data:" + json.dumps(_LAUGHS[wire]).encode() + b"\n\n"
    result = STORIES[wire].told_by(STORIES[wire].text)
    assert result
    outcome = too_much(result.plus(text="haha…"))
    yield replace(_endless(wire, frame), outcome=outcome, observed=_laughed)


@functools.cache
def _bomb(wire: str) -> bytes:
    """A whole answer, with very much of nothing in its middle."""
    story = STORIES[wire]
    start, packer = story.until(story.text), zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [start, *[b":" + b" " * (2**20 - 1)] * 16, b"\n\n", story.body[len(start) :]]
    return b"".join([*map(packer.compress, parts), packer.flush()])


@fault("gzip that unpacks to more than `max_frame_bytes`", "Too much", fields=_LIMITS)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    yield Case((_encoded(_bomb(wire), "gzip"),), too_much(story.told_by(story.text)))


@fault("gzip that unpacks to more than `max_answer_bytes`", "Too much", fields=_ONLY_FRAMES)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    yield Case((_encoded(_bomb(wire), "gzip"),), too_much(story.told_by(story.text)))


# Asked again.

_AGAIN = {"retry_cut_answers": True}
_PATIENTLY = "Asked again: `retry_cut_answers=True`"


def _cut(wire: str, count: int) -> Play:
    return open_chunks(STORIES[wire].until(count))


def _again(wire: str, with_fault: Play, failed: Outcome) -> Case:
    """One that fails, and one that goes well; a stream is never repeated."""
    plays = (with_fault, whole(STORIES[wire].body))
    return Case(plays, answer(wire, requests=2), streamed=failed)


@fault("a cut, and then an answer", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    for count in (0, story.code, story.text, story.finish - 1):
        yield _again(wire, _cut(wire, count), broken(story.told_by(count)))


@fault("cuts, at different places", _PATIENTLY, fields=_AGAIN, note="what the last one brought")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    plays = (_cut(wire, story.text), _cut(wire, story.finish - 1), _cut(wire, story.code))
    yield Case(
        plays,
        broken(story.told_by(story.code), requests=3),
        streamed=broken(story.told_by(story.text)),
    )


@fault("a cut, and then a refusal", _PATIENTLY, fields=_AGAIN, note="what the cut one brought")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    code = in_words_of(wire, "InvalidParameter")
    result = story.told_by(story.text)
    failed = refused("QwenInvalidRequestError", 400, code, requests=2)
    yield Case(
        (_cut(wire, story.text), refusal(wire, 400, code)),
        replace(failed, result=result),
        streamed=broken(result),
    )


@fault("an error frame, and then an answer", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    code = in_words_of(wire, "InternalError")
    with_fault = open_chunks(story.until(story.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = refused("QwenServerError", status, code)
    yield _again(wire, with_fault, replace(failed, result=story.told_by(story.text)))


@fault("an error frame that no retry can cure", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    code = in_words_of(wire, "InvalidParameter")
    with_fault = open_chunks(story.until(story.text) + error_frame(wire, 400, code), Silence())
    status = None if wire == "chat_completions" else 400
    failed = refused("QwenInvalidRequestError", status, code)
    yield Case((with_fault,), replace(failed, result=story.told_by(story.text)))


@fault(
    "silence in the middle, and then an answer",
    _PATIENTLY,
    fields={**_AGAIN, "stream_chunk_timeout": ENOUGH},
)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    with_fault = open_chunks(story.until(story.code), Silence())
    yield _again(wire, with_fault, silent(story.told_by(story.code)))


@fault(
    "silence before the head, and then an answer", _PATIENTLY, fields={**_AGAIN, "timeout": ENOUGH}
)
def _(wire: str) -> Iterable[Case]:
    yield _again(wire, (Silence(),), silent(None))


@fault("a frame that is no JSON, and then an answer", _PATIENTLY, fields=_AGAIN)
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    with_fault = open_chunks(story.until(story.text) + b"data:{]}\n\n", Silence())
    yield _again(wire, with_fault, broken(story.told_by(story.text)))


@fault("an answer that is too large", _PATIENTLY, fields={**_AGAIN, **_LIMITS})
def _(wire: str) -> Iterable[Case]:
    yield _endless(wire, b": ping\n\n")


# Strange, and no fault.


@fault("one byte a chunk", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body
    pieces = [body[at : at + 1] for at in range(len(body))]
    play = (stream_head(Transfer_Encoding="chunked") + chunked(*pieces), KEEP)
    yield Case((play,), answer(wire))


@fault("CRLF, and CR", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    for ending in (b"\r\n", b"\r"):
        yield Case((whole(STORIES[wire].body.replace(b"\n", ending)),), answer(wire))


@fault("a byte order mark", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    yield Case((whole(b"\xef\xbb\xbf" + STORIES[wire].body),), answer(wire))


@fault("a document in place of a stream", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    yield Case((document(STORIES[wire].document),), answer(wire))


@fault("frames after the end", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    story = STORIES[wire]
    yield Case((whole(story.body + story.until(story.text)),), answer(wire))
    yield Case((whole(story.body + b"data:oops\n\n"),), answer(wire))


@fault("cut after the finish", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body
    for play in (open_chunks(body), open_chunks(body, RESET), until_the_end(body.rstrip(b"\n"))):
        yield Case((play,), answer(wire))


@fault("a connection that stays open after the end", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(STORIES[wire].body, Silence()),), answer(wire))


@fault("comments, unknown fields, empty frames", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    noise = b": ping\n\nretry:3000\n\nevent:result\n\nfoo:bar\n\n\n\n"
    body = b"".join(noise + frame.data for frame in STORIES[wire].frames)
    yield Case((whole(body),), answer(wire))


@fault("a `Content-Type` that lies, or none", "Strange, and whole")
def _(wire: str) -> Iterable[Case]:
    body = STORIES[wire].body
    yield Case((document(body),), answer(wire))
    yield Case(((head(Content_Length=len(body)) + body, KEEP),), answer(wire))


@fault(
    "every frame twice",
    "Strange, and whole",
    note="and texts are told twice",
)
def _(wire: str) -> Iterable[Case]:
    yield Case((whole(b"".join(frame.data * 2 for frame in STORIES[wire].frames)),), None)


@fault(
    "frames in another order",
    "Strange, and whole",
    note="texts come as they are sent",
)
def _(wire: str) -> Iterable[Case]:
    frames = STORIES[wire].frames
    for at in range(len(frames) - 1):
        order = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
        yield Case((whole(b"".join(frame.data for frame in order)),), None)
    yield Case((whole(b"".join(frame.data for frame in reversed(frames))),), None)
