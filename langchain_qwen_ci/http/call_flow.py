"""One call, decided: what is sent, how long it may take, what is tried again. No I/O here.

`call_flow` is a generator. It yields commands (send, read, wait) for a driver to carry out and
events for the caller to see. That makes retries and errors the same in sync and async.
"""

from __future__ import annotations

import itertools
import logging
import random
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

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
from langchain_qwen_ci.http.content_encoding import decompressor

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from langchain_qwen_ci.http.content_encoding import Decompressor
    from langchain_qwen_ci.http.deadline import Deadline
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


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; the driver answers with a `Reply`."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Read:
    """Read on; the driver answers with bytes, `b""` at the end."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Nothing more is told, but a connection serves again only if its response is read to the end:
    read on, though not for long, and forget it. Whatever fails does no harm."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of a response.

    Attributes:
        encoding: how the bytes that are read are compressed; "" if they are not.
    """

    status_code: int
    headers: Mapping[str, str]
    encoding: str = ""


Command = Send | Read | Drain | Wait
COMMANDS = frozenset({Send, Read, Drain, Wait})
_READ, _DRAIN = Read(), Drain()


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
            if deadline.expired and not isinstance(error, QwenAPIError | QwenAnswerLimitError):
                raise _total_timeout_error(policy) from error
            wait = _wait_before(attempt, error, decoder, policy)
            if wait is None or not deadline.allows(wait):
                raise
            logger.info("Trying again in %.1f s: %s", wait, error)
        else:
            return
        yield Wait(wait)


def _attempt(
    wire: Wire, request: WireRequest, decoder: Decoder, policy: CallPolicy, deadline: Deadline
) -> Generator[Command | Event, Any, None]:
    try:
        head = yield Send(request)
    except httpx.HTTPError as failure:
        raise _connect_error(failure) from failure
    if head.status_code != _OK:
        yield from _raise_service_error(wire, request, head)
    try:
        yield from _read(decompressor(head.encoding), decoder, ByteLimits(policy), deadline)
    except (httpx.HTTPError, QwenStreamError) as failure:
        with suppress(QwenStreamError):
            yield from decoder.close()
        if decoder.finished:
            return
        if isinstance(failure, QwenStreamError):
            raise
        raise _stream_error(failure) from failure
    yield from decoder.close()


def _read(
    body: Decompressor, decoder: Decoder, limits: ByteLimits, deadline: Deadline
) -> Generator[Command | Event, Any, None]:
    """What the bytes tell, to their end or to the deadline."""
    while data := (yield _READ):
        for piece in body.feed(data):
            count = decoder.frames_with_events
            yield from decoder.feed(piece)
            limits.count(len(piece), has_events=decoder.frames_with_events > count)
        if decoder.ended:
            yield _DRAIN
            return
        if deadline.expired and not decoder.finished:
            return


class ByteLimits:
    """Counts what an attempt brings, and ends an answer that would have no end."""

    def __init__(self, policy: CallPolicy) -> None:
        self._policy = policy
        self._bytes = 0
        self._bytes_without_events = 0

    def count(self, size: int, *, has_events: bool) -> None:
        """So many bytes more, in which something was told or not.

        Raises:
            QwenAnswerLimitError: they are too many.
        """
        self._bytes += size
        self._bytes_without_events = 0 if has_events else self._bytes_without_events + size
        if self._bytes > self._policy.max_answer_bytes:
            raise QwenAnswerLimitError(
                f"The answer has more than max_answer_bytes ({self._policy.max_answer_bytes})."
            )
        if self._bytes_without_events > self._policy.max_frame_bytes:
            raise QwenAnswerLimitError(
                f"The service sent more than max_frame_bytes ({self._policy.max_frame_bytes}) "
                "in which it told nothing: a frame without an end, or frames without content."
            )


def _raise_service_error(
    wire: Wire, request: WireRequest, head: ResponseHead
) -> Generator[Command, Any, None]:
    body_start = b""
    # The status alone says enough if the rest cannot be read.
    with suppress(httpx.HTTPError, QwenStreamError):
        body = decompressor(head.encoding)
        while len(body_start) < _MOST_REFUSAL_BYTES and (data := (yield _READ)):
            for piece in body.feed(data):
                if len(body_start) < _MOST_REFUSAL_BYTES:
                    body_start += piece
    if head.status_code in _REDIRECTS:
        raise _redirect_error(head)
    error = wire.error(request, head.status_code, body_start)
    error.request_id = error.request_id or head.headers.get("x-request-id")
    error.retry_after = _retry_after(head.headers)
    raise error


def _redirect_error(head: ResponseHead) -> QwenAPIError:
    """The key is for the host that was configured, so no redirect is followed."""
    url = httpx.URL(head.headers.get("location", ""))  # httpx has read it before
    message = "The service redirects, which is not followed: check base_url."
    if url.host:
        where = f"{url.scheme}://{url.netloc.decode()}"  # without the path, which may be secret
        message = (
            f"The service redirects to {where}, which is not followed: if that is where your key "
            "belongs, set base_url to it."
        )
    return QwenInvalidRequestError(message, status_code=head.status_code)


def _connect_error(failure: httpx.HTTPError) -> QwenConnectionError:
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
    if _is_certificate_error(failure):
        return QwenCertificateError(
            f"The service's certificate is not trusted ({failure}), so nothing was sent. Check "
            "base_url; a certificate authority of your own goes into SSL_CERT_FILE."
        )
    return QwenConnectionError(
        f"The service could not be reached ({_describe(failure)}). Check the "
        "network, the proxy settings and base_url."
    )


def _is_certificate_error(failure: BaseException | None) -> bool:
    while failure is not None:
        if isinstance(failure, ssl.SSLCertVerificationError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False


def _stream_error(failure: httpx.HTTPError) -> QwenError:
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            "The service fell silent in the middle of its answer. Where code or reasoning takes "
            "long, pass a longer stream_chunk_timeout, or None."
        )
    return QwenStreamError(f"The answer broke off: {_describe(failure)}.")


def _describe(failure: httpx.HTTPError) -> str:
    return str(failure) or type(failure).__name__


def _total_timeout_error(policy: CallPolicy) -> QwenTimeoutError:
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
    if _code_may_have_run(error, decoder) and not policy.retry_cut_answers:
        return None
    if isinstance(error, QwenAPIError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_ASKED_WAIT_SECONDS else None
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
    return random.uniform(0, longest)  # noqa: S311  # jitter, not a secret


def _code_may_have_run(error: QwenError, decoder: Decoder) -> bool:
    """Whether the service may have run code for this attempt: it has begun to answer, or has got
    the request and has neither answered nor refused it in time."""
    unanswered = isinstance(error.__cause__, httpx.ReadTimeout | httpx.WriteTimeout)
    return decoder.started or unanswered or isinstance(error, QwenStreamError)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, or `retry-after` in seconds or as a date; in seconds."""
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    header = headers.get("retry-after")
    if header is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(header))
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    return None
