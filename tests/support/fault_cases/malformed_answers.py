"""Bodies that are not an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from expected_answers import SAMPLE_ANSWERS
from fault_server import Silence

from fault_cases.definitions import Case, fault
from fault_cases.outcomes import answer, interrupted
from fault_cases.responses import complete_response, document, open_chunks

SECTION = "Malformed answers"


def _in_middle_of_answer(wire: str, garbage: bytes) -> Case:
    """The bytes in the middle of an answer that continues, so the client has to close it."""
    sample = SAMPLE_ANSWERS[wire]
    body = (
        sample.until(sample.text)
        + garbage
        + b"".join(frame.data for frame in sample.frames[sample.text :])
    )
    return Case((open_chunks(body, Silence()),), interrupted(sample.parts_before(sample.text)))


@fault("empty body", SECTION)
def _(wire: str) -> Iterable[Case]:
    for body in (b"", b"\n\n\n", b": ping\n\n", b"\xef\xbb\xbf"):
        yield Case((complete_response(body),), interrupted(None))


@fault("HTML", SECTION)
def _(wire: str) -> Iterable[Case]:
    page = b"<!doctype html>\n<html>\n<body>Please log in: data: x</body></html>\n"
    yield Case((document(page),), interrupted(None))


@fault("plain text", SECTION)
def _(wire: str) -> Iterable[Case]:
    for body in (b"OK", b"upstream connect error\n"):
        yield Case((complete_response(body),), interrupted(None))


@fault("a frame that is not JSON", SECTION)
def _(wire: str) -> Iterable[Case]:
    for data in (b'{"output":', b"{]}", b"oops", b"{'a': 1}", b"\x00\x01\x02"):
        yield _in_middle_of_answer(wire, b"data:" + data + b"\n\n")


@fault("a frame that is not a JSON object", SECTION)
def _(wire: str) -> Iterable[Case]:
    for data in (b"[1]", b'"text"', b"7", b"null", b"true", b"[]"):
        yield _in_middle_of_answer(wire, b"data:" + data + b"\n\n")


_WRONG_TYPES = {
    "dashscope": (
        {"output": {"choices": [{"message": {"content": 7}}]}},
        {"output": {"choices": 7}},
        {"output": {"tool_info": [1]}},
        {"output": {}, "usage": [1]},
    ),
    "responses": (
        {"type": "response.output_text.delta", "delta": 7},
        {"type": "response.output_item.added", "item": {"type": 7}},
        {"type": "response.completed", "response": [1]},
        {"type": 7},
    ),
    "chat_completions": (
        {"choices": [{"delta": {"content": 7}}]},
        {"choices": 7},
        {"choices": [{"delta": [1]}]},
    ),
}


@fault("fields of wrong types", SECTION)
def _(wire: str) -> Iterable[Case]:
    for payload in _WRONG_TYPES[wire]:
        yield _in_middle_of_answer(wire, b"data:" + json.dumps(payload).encode() + b"\n\n")


@fault("JSON nested too deep", SECTION)
def _(wire: str) -> Iterable[Case]:
    deep = b"[" * 100_000 + b"]" * 100_000
    yield _in_middle_of_answer(wire, b'data:{"output":' + deep + b"}\n\n")
    yield _in_middle_of_answer(wire, b"data:" + b'{"a":' * 50_000 + b"\n\n")


_TEXT_FRAME = {
    "dashscope": b'{"output":{"choices":[{"message":{"content":"%s"},"finish_reason":"null"}]}}',
    "responses": b'{"type":"response.output_text.delta","delta":"%s"}',
    "chat_completions": b'{"choices":[{"delta":{"content":"%s"}}]}',
}


@fault("a lone surrogate, escaped", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    text = b"data:" + _TEXT_FRAME[wire].replace(b"%s", b"\\ud83e") + b"\n\n"
    # Before the first text; it becomes a replacement character. On Responses the complete text of
    # the item is then shorter than its deltas.
    body = sample.until(sample.text - 1) + text + sample.body[len(sample.until(sample.text - 1)) :]
    result = sample.result.plus()
    yield Case(
        (complete_response(body),),
        answer(wire, result=replace(result, text="\ufffd" + result.text)),
    )


@fault("UTF-16", SECTION)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body.decode().encode("utf-16")
    yield Case((complete_response(body),), interrupted(None))


@fault("Latin-1 in the middle", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield _in_middle_of_answer(wire, 'data:{"output":"é"}\n\n'.encode("latin-1"))
