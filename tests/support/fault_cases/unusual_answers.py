"""Correct answers in an unusual form."""

from __future__ import annotations

from collections.abc import Iterable

from expected_answers import SAMPLE_ANSWERS
from fault_server import KEEP, RESET, Silence, chunked, head

from fault_cases.definitions import Case, fault
from fault_cases.outcomes import answer
from fault_cases.responses import (
    closed_after,
    complete_response,
    document,
    open_chunks,
    stream_head,
)

SECTION = "Unusual but complete answers"


@fault("one byte per chunk", SECTION)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    pieces = [body[at : at + 1] for at in range(len(body))]
    play = (stream_head(Transfer_Encoding="chunked") + chunked(*pieces), KEEP)
    yield Case((play,), answer(wire))


@fault("CRLF and CR as line ends", SECTION)
def _(wire: str) -> Iterable[Case]:
    for ending in (b"\r\n", b"\r"):
        yield Case(
            (complete_response(SAMPLE_ANSWERS[wire].body.replace(b"\n", ending)),), answer(wire)
        )


@fault("a byte order mark", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((complete_response(b"\xef\xbb\xbf" + SAMPLE_ANSWERS[wire].body),), answer(wire))


@fault("a JSON document instead of a stream", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((document(SAMPLE_ANSWERS[wire].document),), answer(wire))


@fault("frames after the terminal event", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case((complete_response(sample.body + sample.until(sample.text)),), answer(wire))
    yield Case((complete_response(sample.body + b"data:oops\n\n"),), answer(wire))


@fault("closed after the terminal event", SECTION)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    for play in (open_chunks(body), open_chunks(body, RESET), closed_after(body.rstrip(b"\n"))):
        yield Case((play,), answer(wire))


@fault("a connection that stays open after the end", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(SAMPLE_ANSWERS[wire].body, Silence()),), answer(wire))


@fault("comments, unknown fields, empty frames", SECTION)
def _(wire: str) -> Iterable[Case]:
    noise = b": ping\n\nretry:3000\n\nevent:result\n\nfoo:bar\n\n\n\n"
    body = b"".join(noise + frame.data for frame in SAMPLE_ANSWERS[wire].frames)
    yield Case((complete_response(body),), answer(wire))


@fault("a wrong or missing `Content-Type`", SECTION)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    yield Case((document(body),), answer(wire))
    yield Case(((head(Content_Length=len(body)) + body, KEEP),), answer(wire))


@fault(
    "every frame twice",
    SECTION,
    note="texts are repeated",
)
def _(wire: str) -> Iterable[Case]:
    yield Case(
        (complete_response(b"".join(frame.data * 2 for frame in SAMPLE_ANSWERS[wire].frames)),),
        None,
    )


@fault(
    "frames in another order",
    SECTION,
    note="texts keep the order of the frames",
)
def _(wire: str) -> Iterable[Case]:
    frames = SAMPLE_ANSWERS[wire].frames
    for at in range(len(frames) - 1):
        order = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
        yield Case((complete_response(b"".join(frame.data for frame in order)),), None)
    yield Case((complete_response(b"".join(frame.data for frame in reversed(frames))),), None)
