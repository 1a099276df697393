"""Bodies that exceed `max_frame_bytes` or `max_answer_bytes`."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import replace

import chat_completions_streams
import dashscope_streams
import responses_streams
from expected_answers import SAMPLE_ANSWERS, AnswerParts
from fault_server import Endless, Silence
from stream_corpus import REQUEST_ID

from fault_cases.definitions import Case, fault
from fault_cases.outcomes import too_large
from fault_cases.responses import closed_after, encoded_response, open_chunks

SECTION = "Size limits"

LIMITS = {"max_frame_bytes": 2**16, "max_answer_bytes": 2**20}
_SMALL_ANSWER_LIMIT = {"max_frame_bytes": 2**30, "max_answer_bytes": 2**16}


def endless_body(wire: str, piece: bytes, begin: bytes = b"") -> Case:
    """Endless bytes after the middle of an answer."""
    sample = SAMPLE_ANSWERS[wire]
    play = closed_after(
        sample.until(sample.text) + begin,
        Endless(piece),
        sample.body[len(sample.until(sample.text)) :],
    )
    return Case((play,), too_large(sample.parts_before(sample.text)))


@fault("endless comments, or frames without data", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    for piece in (b": ping\n\n", b"\n", b"event:result\n\n", b"id:1\nretry:5\n"):
        yield endless_body(wire, piece)


_EMPTY_FRAME = {
    "dashscope": {"output": {"choices": []}, "request_id": REQUEST_ID},
    "responses": {"type": "response.in_progress", "response": {"id": REQUEST_ID}},
    "chat_completions": {"choices": [], "id": REQUEST_ID},
}


@fault("endless frames without content", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield endless_body(wire, b"data:" + json.dumps(_EMPTY_FRAME[wire]).encode() + b"\n\n")


@fault("an endless line", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield endless_body(wire, b"x", begin=b"data:")
    yield endless_body(wire, b"x")
    yield endless_body(wire, b"data:x\n", begin=b"data:x\n")


@fault("an endless JSON document", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    yield Case((closed_after(b'{"output":"', Endless(b"x")),), too_large(None))


@fault("a frame larger than `max_frame_bytes`", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    large = b"data:" + json.dumps({**_EMPTY_FRAME[wire], "more": "x" * 2**19}).encode() + b"\n\n"
    body = sample.until(sample.text) + large
    yield Case((open_chunks(body, Silence()),), too_large(sample.parts_before(sample.text)))


@fault("an answer larger than `max_answer_bytes`", SECTION, fields=_SMALL_ANSWER_LIMIT)
def _(wire: str) -> Iterable[Case]:
    yield endless_body(wire, b": ping\n\n")


_TEXT_FRAME = {
    "dashscope": dashscope_streams.frame(content="ha"),
    "responses": responses_streams.event("output_text.delta", item_id="msg_4", delta="ha"),
    "chat_completions": chat_completions_streams.text_chunk("ha"),
}


def _without_repetitions(result: AnswerParts) -> AnswerParts:
    """Remove repetitions, whose number before the limit depends on timing."""
    return replace(result, text=re.sub("(ha)+$", "haha…", result.text))


@fault("an endless text", SECTION, fields={"max_answer_bytes": 2**18})
def _(wire: str) -> Iterable[Case]:
    frame = b"data:" + json.dumps(_TEXT_FRAME[wire]).encode() + b"\n\n"
    result = SAMPLE_ANSWERS[wire].parts_before(SAMPLE_ANSWERS[wire].text)
    assert result
    outcome = too_large(result.plus(text="haha…"))
    yield replace(endless_body(wire, frame), outcome=outcome, observed=_without_repetitions)


@functools.cache
def _decompression_bomb(wire: str) -> bytes:
    """A complete answer with many bytes without content in its middle."""
    sample = SAMPLE_ANSWERS[wire]
    start, packer = sample.until(sample.text), zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [start, *[b":" + b" " * (2**20 - 1)] * 16, b"\n\n", sample.body[len(start) :]]
    return b"".join([*map(packer.compress, parts), packer.flush()])


@fault("gzip that expands beyond `max_frame_bytes`", SECTION, fields=LIMITS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case(
        (encoded_response(_decompression_bomb(wire), "gzip"),),
        too_large(sample.parts_before(sample.text)),
    )


@fault("gzip that expands beyond `max_answer_bytes`", SECTION, fields=_SMALL_ANSWER_LIMIT)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case(
        (encoded_response(_decompression_bomb(wire), "gzip"),),
        too_large(sample.parts_before(sample.text)),
    )
