"""Decides whether and when a request is sent again."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from langchain_qwen_ci.errors import QwenAPIError, QwenStreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.errors import QwenError

# The values of the official SDK: 0.5 s, doubled each time, at most 8 s; here with full jitter.
_FIRST_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 8.0
# If the service asks for a longer wait, the error is raised and the caller decides.
_MAX_RETRY_AFTER_SECONDS = 60.0


def wait_before_retry(
    error: QwenError,
    *,
    attempt: int,
    max_retries: int,
    answer_started: bool,
    retry_cut_answers: bool,
) -> float | None:
    """Return the seconds to wait before the next attempt; None if there should be none.

    Args:
        error: the error of the last attempt.
        attempt: its number, from 0.
        max_retries: maximum number of repeated requests.
        answer_started: whether the last attempt produced output.
        retry_cut_answers: whether a request is repeated although code may have run.
    """
    if attempt >= max_retries or not error.is_retryable:
        return None
    if _code_may_have_run(error, answer_started=answer_started) and not retry_cut_answers:
        return None
    if isinstance(error, QwenAPIError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= _MAX_RETRY_AFTER_SECONDS else None
    max_wait = min(_MAX_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
    return random.uniform(0, max_wait)  # noqa: S311  # jitter, not a secret


def _code_may_have_run(error: QwenError, *, answer_started: bool) -> bool:
    # A request that did not reach the service, or that it rejected, ran nothing. One that it
    # received and did not answer in time may have run code.
    unanswered = isinstance(error.__cause__, httpx.ReadTimeout | httpx.WriteTimeout)
    return answer_started or unanswered or isinstance(error, QwenStreamError)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait that a response asks for; None if it asks for none.

    Reads `retry-after-ms`, and `retry-after` in seconds or as a date, as the official SDK does.
    """
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None
