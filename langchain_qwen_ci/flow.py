"""One call, decided: what is sent, how long it may take, what is tried again. No I/O here.

`call_flow` is a generator. It yields commands (send, read, wait) for a driver to carry out and
events for the caller to see. That makes retries and errors the same in sync and async.
"""

from __future__ import annotations

import itertools
import logging
import random
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.content_encoding import decompressor
from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenCertificateError,
    QwenConnectionError,
    QwenError,
    QwenInvalidRequestError,
    QwenStreamError,
    QwenTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from langchain_qwen_ci.content_encoding import Decompressor
    from langchain_qwen_ci.wire import Decoder, Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event

logger = logging.getLogger(__name__)

_OK = 200
_REDIRECTS = range(300, 400)
# The official SDK's: 0.5 s, doubled each time, at most 8 s, with full jitter.
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0
# A service that asks for longer is not waited for: the caller decides.
_LONGEST_ASKED_WAIT_SECONDS = 60.0
# Of a refusal: what it says stands at its beginning.
_MOST_REFUSAL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """How long a call is tried, and how much of an answer is taken.

    Attributes:
        max_retries: how often a request is sent again that the service did not begin to answer.
        retry_cut_answers: whether it is sent again, too, where code may have run.
        total_timeout: seconds for all of it; None sets no limit.
        max_frame_bytes: most bytes in which an answer tells nothing.
        max_answer_bytes: most bytes of an answer, decompressed.
    """

    max_retries: int
    retry_cut_answers: bool
    total_timeout: float | None
    max_frame_bytes: int
    max_answer_bytes: int


class Deadline:
    """When a call must be over; never, if it may take None seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds that are left, more than 0; None if they are not counted."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def leaves(self, seconds: float) -> bool:
        """Whether there is more time left than these seconds."""
        return self._end is None or time.monotonic() + seconds < self._end

    def within(self, seconds: float | None) -> float | None:
        """These seconds, or what is left if that is less."""
        return min((one for one in (seconds, self.left) if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; the driver answers with a `Reply`."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Read:
    """Read on; the driver answers with bytes, `b""` at the end."""


@dataclass(frozen=True, slots=True)
class ReadToTheEnd:
    """Nothing more is told, but a connection serves again only if its response is read to the end:
    read on, though not for long, and forget it. Whatever fails does no harm."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of a response.

    Attributes:
        encoding: how the bytes that are read are compressed; "" if they are not.
    """

    status_code: int
    headers: Mapping[str, str]
    encoding: str = ""


Command = Send | Read | ReadToTheEnd | Wait
COMMANDS = frozenset({Send, Read, ReadToTheEnd, Wait})
_READ, _READ_TO_THE_END = Read(), ReadToTheEnd()


def call_flow(
    wire: Wire, request: WireRequest, policy: CallPolicy, deadline: Deadline
) -> Generator[Command | Event, Any, None]:
    """One call: try, and try again as long as that is safe, or allowed.

    Safe means that the answer has not begun, and that the service was not reached or has refused
    the request: once an answer has begun, code may have run and its caller may have seen it.
    """
    for attempt in itertools.count():
        decoder = wire.decoder(request)
        try:
            yield from _attempt(wire, request, decoder, policy, deadline)
        except QwenError as error:
            if deadline.passed and not isinstance(error, QwenAPIError | QwenAnswerLimitError):
                raise _took_too_long(policy) from error
            wait = _wait_before(attempt, error, decoder, policy)
            if wait is None or not deadline.leaves(wait):
                raise
            logger.info("Trying again in %.1f s: %s", wait, error)
        else:
            return
        yield Wait(wait)


def _attempt(
    wire: Wire, request: WireRequest, decoder: Decoder, policy: CallPolicy, deadline: Deadline
) -> Generator[Command | Event, Any, None]:
    try:
        reply = yield Send(request)
    except httpx.HTTPError as failure:
        raise _not_reached(failure) from failure
    if reply.status_code != _OK:
        yield from _refused(wire, request, reply)
    try:
        yield from _read(decompressor(reply.encoding), decoder, _Meter(policy), deadline)
    except (httpx.HTTPError, QwenStreamError) as failure:
        with suppress(QwenStreamError):
            yield from decoder.close()
        if decoder.finished:
            return
        if isinstance(failure, QwenStreamError):
            raise
        raise _broken_off(failure) from failure
    yield from decoder.close()


def _read(
    body: Decompressor, decoder: Decoder, meter: _Meter, deadline: Deadline
) -> Generator[Command | Event, Any, None]:
    """What the bytes tell, to their end or to the deadline."""
    while data := (yield _READ):
        for piece in body.feed(data):
            told = decoder.told
            yield from decoder.feed(piece)
            meter.count(len(piece), told=decoder.told > told)
        if decoder.over:
            yield _READ_TO_THE_END
            return
        if deadline.passed and not decoder.finished:
            return


class _Meter:
    """Counts what an attempt brings, and ends an answer that would have no end."""

    def __init__(self, policy: CallPolicy) -> None:
        self._policy = policy
        self._bytes = 0
        self._bytes_untold = 0

    def count(self, size: int, *, told: bool) -> None:
        """So many bytes more, in which something was told or not.

        Raises:
            QwenAnswerLimitError: they are too many.
        """
        self._bytes += size
        self._bytes_untold = 0 if told else self._bytes_untold + size
        if self._bytes > self._policy.max_answer_bytes:
            raise QwenAnswerLimitError(
                f"The answer has more than max_answer_bytes ({self._policy.max_answer_bytes})."
            )
        if self._bytes_untold > self._policy.max_frame_bytes:
            raise QwenAnswerLimitError(
                f"The service sent more than max_frame_bytes ({self._policy.max_frame_bytes}) "
                "in which it told nothing: a frame without an end, or frames without content."
            )


def _refused(wire: Wire, request: WireRequest, reply: Reply) -> Generator[Command, Any, None]:
    said = b""
    # The status alone says enough if the rest cannot be read.
    with suppress(httpx.HTTPError, QwenStreamError):
        body = decompressor(reply.encoding)
        while len(said) < _MOST_REFUSAL_BYTES and (data := (yield _READ)):
            for piece in body.feed(data):
                if len(said) < _MOST_REFUSAL_BYTES:
                    said += piece
    if reply.status_code in _REDIRECTS:
        raise _redirected(reply)
    error = wire.error(request, reply.status_code, said)
    error.request_id = error.request_id or reply.headers.get("x-request-id")
    error.retry_after = _retry_after(reply.headers)
    raise error


def _redirected(reply: Reply) -> QwenAPIError:
    """The key is for the host that was configured, so no redirect is followed."""
    url = httpx.URL(reply.headers.get("location", ""))  # httpx has read it before
    told = "The service redirects, which is not followed: check base_url."
    if url.host:
        where = f"{url.scheme}://{url.netloc.decode()}"  # without the path, which may be secret
        told = (
            f"The service redirects to {where}, which is not followed: if that is where your key "
            "belongs, set base_url to it."
        )
    return QwenInvalidRequestError(told, status_code=reply.status_code)


def _not_reached(failure: httpx.HTTPError) -> QwenConnectionError:
    if isinstance(failure, httpx.ConnectTimeout):
        return QwenTimeoutError(
            "The service could not be connected to in time. Check the network, the proxy settings "
            "and base_url, or pass a longer connect_timeout."
        )
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            f"The service did not answer in time ({type(failure).__name__}). Pass a longer "
            "timeout, or check the network and base_url."
        )
    if _is_of_certificate(failure):
        return QwenCertificateError(
            f"The service's certificate is not trusted ({failure}), so nothing was sent. Check "
            "base_url; a certificate authority of your own goes into SSL_CERT_FILE."
        )
    return QwenConnectionError(
        f"The service could not be reached ({_said(failure)}). Check the "
        "network, the proxy settings and base_url."
    )


def _is_of_certificate(failure: BaseException | None) -> bool:
    while failure is not None:
        if isinstance(failure, ssl.SSLCertVerificationError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False


def _broken_off(failure: httpx.HTTPError) -> QwenError:
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            "The service fell silent in the middle of its answer. Where code or reasoning takes "
            "long, pass a longer stream_chunk_timeout, or None."
        )
    return QwenStreamError(f"The answer broke off: {_said(failure)}.")


def _said(failure: httpx.HTTPError) -> str:
    return str(failure) or type(failure).__name__


def _took_too_long(policy: CallPolicy) -> QwenTimeoutError:
    return QwenTimeoutError(
        f"The call took longer than total_timeout ({policy.total_timeout} s). Pass a longer one, "
        "or None."
    )


def _wait_before(
    attempt: int, error: QwenError, decoder: Decoder, policy: CallPolicy
) -> float | None:
    """Seconds to wait before the next attempt; None if there should be none."""
    if attempt >= policy.max_retries or not error.is_retryable:
        return None
    if _may_have_run(error, decoder) and not policy.retry_cut_answers:
        return None
    if isinstance(error, QwenAPIError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_ASKED_WAIT_SECONDS else None
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
    return random.uniform(0, longest)  # noqa: S311  # jitter, not a secret


def _may_have_run(error: QwenError, decoder: Decoder) -> bool:
    """Whether the service may have run code for this attempt: it has begun to answer, or has got
    the request and has neither answered nor refused it in time."""
    unanswered = isinstance(error.__cause__, httpx.ReadTimeout | httpx.WriteTimeout)
    return decoder.begun or unanswered or isinstance(error, QwenStreamError)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, or `retry-after` in seconds or as a date; in seconds."""
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    asked = headers.get("retry-after")
    if asked is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(asked))
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    return None
