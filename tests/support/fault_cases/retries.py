"""Retries after the answer has started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from expected_answers import SAMPLE_ANSWERS
from fault_server import Play, Silence

from fault_cases.definitions import LONGER, Case, fault
from fault_cases.outcomes import Outcome, answer, error_outcome, interrupted, timed_out
from fault_cases.responses import (
    complete_response,
    error_code,
    error_frame,
    error_response,
    open_chunks,
)
from fault_cases.size_limits import LIMITS, endless_body

SECTION = "Retries after the start: `retry_cut_answers=True`"

_RETRY_CUT_ANSWERS = {"retry_cut_answers": True}


def _cut_response(wire: str, count: int) -> Play:
    return open_chunks(SAMPLE_ANSWERS[wire].until(count))


def _failed_then_answered(wire: str, with_fault: Play, failed: Outcome) -> Case:
    """A failed response, then a good one; a stream is never repeated."""
    plays = (with_fault, complete_response(SAMPLE_ANSWERS[wire].body))
    return Case(plays, answer(wire, requests=2), streamed=failed)


@fault("an interrupted answer, then a complete one", SECTION, fields=_RETRY_CUT_ANSWERS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    for count in (0, sample.code, sample.text, sample.finish - 1):
        yield _failed_then_answered(
            wire, _cut_response(wire, count), interrupted(sample.parts_before(count))
        )


@fault(
    "answers interrupted at different places",
    SECTION,
    fields=_RETRY_CUT_ANSWERS,
    note="`partial` is of the last one",
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    plays = (
        _cut_response(wire, sample.text),
        _cut_response(wire, sample.finish - 1),
        _cut_response(wire, sample.code),
    )
    yield Case(
        plays,
        interrupted(sample.parts_before(sample.code), requests=3),
        streamed=interrupted(sample.parts_before(sample.text)),
    )


@fault(
    "an interrupted answer, then an error status",
    SECTION,
    fields=_RETRY_CUT_ANSWERS,
    note="`partial` is of the interrupted one",
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InvalidParameter")
    result = sample.parts_before(sample.text)
    failed = error_outcome("QwenInvalidRequestError", 400, code, requests=2)
    yield Case(
        (_cut_response(wire, sample.text), error_response(wire, 400, code)),
        replace(failed, result=result),
        streamed=interrupted(result),
    )


@fault("an error frame, then an answer", SECTION, fields=_RETRY_CUT_ANSWERS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InternalError")
    with_fault = open_chunks(sample.until(sample.text) + error_frame(wire, 500, code), Silence())
    status = None if wire == "chat_completions" else 500
    failed = error_outcome("QwenServerError", status, code)
    yield _failed_then_answered(
        wire, with_fault, replace(failed, result=sample.parts_before(sample.text))
    )


@fault("an error frame that is not retryable", SECTION, fields=_RETRY_CUT_ANSWERS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    code = error_code(wire, "InvalidParameter")
    with_fault = open_chunks(sample.until(sample.text) + error_frame(wire, 400, code), Silence())
    status = None if wire == "chat_completions" else 400
    failed = error_outcome("QwenInvalidRequestError", status, code)
    yield Case((with_fault,), replace(failed, result=sample.parts_before(sample.text)))


@fault(
    "a stall between frames, then an answer",
    SECTION,
    fields={**_RETRY_CUT_ANSWERS, "stream_chunk_timeout": LONGER},
)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    with_fault = open_chunks(sample.until(sample.code), Silence())
    yield _failed_then_answered(wire, with_fault, timed_out(sample.parts_before(sample.code)))


@fault(
    "a stall before the response head, then an answer",
    SECTION,
    fields={**_RETRY_CUT_ANSWERS, "timeout": LONGER},
)
def _(wire: str) -> Iterable[Case]:
    yield _failed_then_answered(wire, (Silence(),), timed_out(None))


@fault("a frame that is not JSON, then an answer", SECTION, fields=_RETRY_CUT_ANSWERS)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    with_fault = open_chunks(sample.until(sample.text) + b"data:{]}\n\n", Silence())
    yield _failed_then_answered(wire, with_fault, interrupted(sample.parts_before(sample.text)))


@fault("an answer that is too large", SECTION, fields={**_RETRY_CUT_ANSWERS, **LIMITS})
def _(wire: str) -> Iterable[Case]:
    yield endless_body(wire, b": ping\n\n")
