"""Servers that are silent or slow."""

from __future__ import annotations

from collections.abc import Iterable

from expected_answers import SAMPLE_ANSWERS
from fault_server import Drip, Silence, head

from fault_cases.definitions import LONGER, SHORT, Case, fault
from fault_cases.outcomes import answer, bodyless_error, error_outcome, timed_out
from fault_cases.responses import closed_after, error_body, error_code, error_response, open_chunks

SECTION = "Timeouts"


@fault("stall before the response head", SECTION, fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((Silence(),),), timed_out(None))


@fault("stall within the response head", SECTION, fields={"timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case(((b"HTTP/1.1 200 OK\r\nX-", Silence()),), timed_out(None))


@fault("stall after the response head", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(b"", Silence()),), timed_out(None))


@fault("stall between frames", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault("stall within a frame", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text + 1)[:-40], Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault("stall while code runs", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.code), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.code)))


@fault("only comments between frames", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    comments = Drip(b":\n" * 40, SHORT / 8)
    play = closed_after(sample.until(sample.text), comments, Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault("stall after the terminal event", SECTION, fields={"stream_chunk_timeout": SHORT})
def _(wire: str) -> Iterable[Case]:
    yield Case((open_chunks(SAMPLE_ANSWERS[wire].body, Silence()),), answer(wire))


@fault("a pause shorter than the timeout", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    started = sample.until(sample.code)
    pause = Drip(b"\n\n", SHORT / 2)
    yield Case((closed_after(started, pause, sample.body[len(started) :]),), answer(wire))


_DEADLINE = {"total_timeout": LONGER}
# The bytes take twice as long as the deadline.
_SLOW_BYTES = Drip(b" " * 40, LONGER / 20)


@fault("stall until `total_timeout`", SECTION, fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    play = open_chunks(sample.until(sample.text), Silence())
    yield Case((play,), timed_out(sample.parts_before(sample.text)))
    yield Case(((Silence(),),), timed_out(None))


@fault("slow body until `total_timeout`", SECTION, fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    started = sample.until(sample.text)
    play = closed_after(started + b":", _SLOW_BYTES, b"\n" + sample.body[len(started) :])
    yield Case((play,), timed_out(sample.parts_before(sample.text)))


@fault(
    "slow response head until `total_timeout`",
    SECTION,
    "synchronous calls cannot close the socket before the response head",
    fields=_DEADLINE,
)
def _(wire: str) -> Iterable[Case]:
    text = b"\r\nConnection: close\r\n\r\n" + SAMPLE_ANSWERS[wire].body
    play = (b"HTTP/1.1 200 OK\r\nX-Slow: x", _SLOW_BYTES, text)
    yield Case((play,), timed_out(None), in_threads=answer(wire))


@fault("slow error body until `total_timeout`", SECTION, fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    play = (head(500), _SLOW_BYTES, error_body(wire, error_code(wire, "InternalError")))
    yield Case((play,), bodyless_error("QwenServerError", 500))


@fault("503 with `Retry-After` beyond `total_timeout`", SECTION, fields=_DEADLINE)
def _(wire: str) -> Iterable[Case]:
    limit = error_response(wire, 503, "ModelUnavailable", Retry_After=30)
    yield Case((limit,), error_outcome("QwenServerError", 503, "ModelUnavailable"))
