"""Answers that end before their terminal event."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from expected_answers import SAMPLE_ANSWERS
from fault_server import KEEP, RESET, Play, Silence

from fault_cases.definitions import Case, fault
from fault_cases.outcomes import answer, interrupted
from fault_cases.responses import closed_after, open_chunks, stream_head

SECTION = "Interrupted answers"


def _between_frames(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
    """Closed after each number of frames."""
    sample = SAMPLE_ANSWERS[wire]
    for count in range(len(sample.frames) + 1):
        result = sample.parts_before(count)
        ended = count >= sample.finish
        yield Case(
            (cut(sample.until(count)),),
            answer(wire, result=result) if ended else interrupted(result),
        )


def _within_frames(wire: str, cut: Callable[[bytes], Play]) -> Iterable[Case]:
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


@fault("closed between any two frames", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _between_frames(wire, closed_after)


@fault("closed between any two frames of a chunked body", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _between_frames(wire, open_chunks)


@fault("reset between any two frames", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _between_frames(wire, lambda body: open_chunks(body, RESET))


@fault("closed within any frame", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _within_frames(wire, closed_after)


@fault("closed within any frame of a chunked body", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _within_frames(wire, open_chunks)


@fault("shorter than its `Content-Length`", SECTION)
def _(wire: str) -> Iterable[Case]:
    return _between_frames(wire, lambda body: (stream_head(Content_Length=len(body) + 9) + body,))


@fault("longer than its `Content-Length`", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    body = sample.until(sample.text)
    play = (stream_head(Content_Length=len(body)) + sample.body, KEEP)
    yield Case((play,), interrupted(sample.parts_before(sample.text)))


@fault("HTTP/1.0: the end of the connection ends the answer", SECTION)
def _(wire: str) -> Iterable[Case]:
    text = b"HTTP/1.0 200 OK\r\n\r\n"
    return _between_frames(wire, lambda body: (text + body,))


@fault("invalid chunked encoding", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    result = sample.parts_before(sample.text)
    for garbage in (b"zz\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdeXX", b"\r\n\r\n"):
        play = open_chunks(sample.until(sample.text))[0] + garbage
        yield Case(((play, Silence()),), interrupted(result))
