"""The expected outcomes of calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

from expected_answers import SAMPLE_ANSWERS, AnswerParts
from stream_corpus import REQUEST_ID


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


def too_large(result: AnswerParts | None, requests: int = 1) -> Outcome:
    return Outcome("QwenAnswerLimitError", result, requests)


def bodyless_error(kind: str, status: int, requests: int = 1) -> Outcome:
    return replace(error_outcome(kind, status, None, requests), request_id=None)
