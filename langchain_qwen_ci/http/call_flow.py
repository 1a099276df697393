"""Decides about one call: sending, reading, waiting and retrying. No I/O.

`call_flow` is a generator. It yields commands for a driver to execute, and lists of events for the
caller: the events that one read completes. So retries and errors are the same for threads and for
asyncio.
"""

from __future__ import annotations

import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenAuthenticationError,
    QwenError,
    QwenModelNotFoundError,
    QwenPermissionDeniedError,
    QwenStreamError,
    QwenTimeoutError,
)
from langchain_qwen_ci.http.content_encoding import decompressor
from langchain_qwen_ci.http.deadline import Deadline
from langchain_qwen_ci.http.failures import (
    connect_error,
    redirect_error,
    stream_error,
    unpickled_advice,
)
from langchain_qwen_ci.http.hosts import exposes_messages
from langchain_qwen_ci.http.retries import retry_after_seconds, wait_before_retry

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from langchain_qwen_ci.http.content_encoding import Decompressor
    from langchain_qwen_ci.wire import Decoder, Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event

logger = logging.getLogger(__name__)

_OK = 200
_REDIRECTS = range(300, 400)
# The message of an error is at the start of its body.
_MAX_ERROR_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """Limits and retries of one call.

    Attributes:
        max_retries: maximum number of repeated requests.
        retry_cut_answers: whether a request is repeated although code may have run.
        total_timeout: seconds for the whole call; None sets no limit.
        chunk_timeout: seconds without data of a frame; None sets no limit.
        max_frame_bytes: maximum number of bytes without an event.
        max_answer_bytes: maximum number of bytes of an answer, decompressed.
        secrets: texts of the request that no error may repeat.
    """

    max_retries: int
    retry_cut_answers: bool
    total_timeout: float | None
    chunk_timeout: float | None
    max_frame_bytes: int
    max_answer_bytes: int
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; the driver returns a `ResponseHead`."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Read:
    """Read from the body; the driver returns bytes, and `b""` at the end.

    Attributes:
        seconds: the time for this read, if it is shorter than the timeout between two reads.
    """

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Read and discard the rest of the body so that the connection can be reused; stop after a
    short time; ignore errors."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Close the response and wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers of a response.

    Attributes:
        url: the URL of the request as it may be shown, without secrets.
        from_alibaba: whether the host is one of Alibaba's.
        lost_in_pickle: see `ServiceAddress`.
        encoding: the content encoding of the bytes that are read; "" if they are not compressed.
    """

    status_code: int
    headers: Mapping[str, str]
    url: str
    from_alibaba: bool
    lost_in_pickle: tuple[str, ...] = ()
    encoding: str = ""


Command = Send | Read | Drain | Wait
_READ, _DRAIN = Read(), Drain()


class ByteLimits:
    """Counts the bytes of an answer, and those without any event.

    An endless line, an endless frame and endless empty frames are all bytes without an event, so
    this counter limits them all and the decoders need no limits.
    """

    def __init__(self, *, max_answer_bytes: int, max_frame_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._max_frame_bytes = max_frame_bytes
        self._bytes = 0
        self._bytes_without_events = 0

    def count(self, size: int, *, has_events: bool) -> None:
        """Count a piece of an answer.

        Raises:
            QwenAnswerLimitError: a limit is exceeded.
        """
        self._bytes += size
        self._bytes_without_events = 0 if has_events else self._bytes_without_events + size
        if self._bytes > self._max_answer_bytes:
            raise QwenAnswerLimitError(
                f"The answer has more than max_answer_bytes ({self._max_answer_bytes})."
            )
        if self._bytes_without_events > self._max_frame_bytes:
            raise QwenAnswerLimitError(
                f"The service sent more than max_frame_bytes ({self._max_frame_bytes}) "
                "without any event: a frame without an end, or frames without content."
            )


def call_flow(
    wire: Wire, request: WireRequest, policy: CallPolicy, deadline: Deadline
) -> Generator[Command | list[Event], Any, None]:
    """Run one call, and repeat the request as long as that is safe or allowed by the policy.

    It is safe if the answer has not started and the service was not reached or has rejected the
    request. Once an answer has started, code may have run, and the caller may have seen output.
    """
    for attempt in itertools.count():
        decoder = wire.decoder(request)
        try:
            yield from _attempt(wire, request, decoder, policy, deadline)
        except QwenError as error:
            error.mask(policy.secrets)
            # The interrupted read fails with some other error, which would hide the reason. An
            # error of the service, or a limit on its bytes, is not caused by the deadline.
            if deadline.expired and not isinstance(error, QwenAPIError | QwenAnswerLimitError):
                raise QwenTimeoutError(
                    f"The call took longer than total_timeout ({policy.total_timeout} s). Pass a "
                    "longer one, or None."
                ) from error
            wait = wait_before_retry(
                error,
                attempt=attempt,
                max_retries=policy.max_retries,
                answer_started=decoder.started,
                retry_cut_answers=policy.retry_cut_answers,
            )
            # A wait beyond the deadline would replace this error by a less useful timeout.
            if wait is None or not deadline.allows(wait):
                raise
            logger.info("Trying again in %.1f s: %s", wait, error)
        else:
            return
        yield Wait(wait)


def _attempt(
    wire: Wire, request: WireRequest, decoder: Decoder, policy: CallPolicy, deadline: Deadline
) -> Generator[Command | list[Event], Any, None]:
    try:
        head = yield Send(request)
    except httpx.HTTPError as failure:
        raise connect_error(failure) from failure
    if head.status_code != _OK:
        yield from _raise_error(wire, request, head)
    limits = ByteLimits(
        max_answer_bytes=policy.max_answer_bytes, max_frame_bytes=policy.max_frame_bytes
    )
    try:
        silence = Deadline(policy.chunk_timeout)
        yield from _read_events(decompressor(head.encoding), decoder, limits, deadline, silence)
    except (httpx.HTTPError, QwenStreamError) as failure:
        # Emit what was received before the failure. If the terminal event was received, the answer
        # is complete, whatever fails after it.
        with suppress(QwenStreamError):
            yield from _last_events(decoder)
        if decoder.finished:
            return
        if isinstance(failure, QwenStreamError):
            raise
        raise stream_error(failure) from failure
    yield from _last_events(decoder)


def _last_events(decoder: Decoder) -> Generator[list[Event]]:
    events: list[Event] = []
    try:
        decoder.close(events)
    finally:  # also the events before an error
        if events:
            yield events


def _read_events(
    body: Decompressor,
    decoder: Decoder,
    limits: ByteLimits,
    deadline: Deadline,
    silence: Deadline,
) -> Generator[Command | list[Event], Any, None]:
    """Read the body to its end, to the deadline, or until only comments have come for too long."""
    has_data = True
    while data := (yield _READ) if has_data else (yield from _read_in_silence(silence)):
        has_data = False
        for piece in body.feed(data):
            events: list[Event] = []
            try:
                decoder.feed(piece, events)
            finally:  # also the events before an error
                if events:
                    yield events
            has_data = has_data or decoder.has_new_data
            limits.count(len(piece), has_events=bool(events))
        if has_data:
            silence.restart()
        if decoder.ended:
            yield _DRAIN
            return
        # Chunks that arrive in time for every read can still exceed the deadline. After the
        # terminal event the rest is read, because usage may follow it.
        if deadline.expired and not decoder.finished:
            return


def _read_in_silence(silence: Deadline) -> Generator[Command, Any, bytes]:
    """Read after bytes without data. The timeout of httpx would start again with every comment."""
    if not silence.expired:
        data: bytes = b""
        try:
            data = yield Read(silence.remaining)
        except httpx.HTTPError:
            if not silence.expired:
                raise
        if data or not silence.expired:
            return data
    raise httpx.ReadTimeout("Only comments were received.")


def _raise_error(
    wire: Wire, request: WireRequest, head: ResponseHead
) -> Generator[Command, Any, None]:
    """Read the body of an HTTP error and raise it."""
    error_body = b""
    # If the body cannot be read, the status is enough for an error.
    with suppress(httpx.HTTPError, QwenStreamError):
        body = decompressor(head.encoding)
        while len(error_body) < _MAX_ERROR_BODY_BYTES and (data := (yield _READ)):
            for piece in body.feed(data):
                if len(error_body) < _MAX_ERROR_BODY_BYTES:
                    error_body += piece
    if head.status_code in _REDIRECTS:
        raise redirect_error(head.status_code, head.headers.get("location", ""))
    raise _service_error(wire, request, head, error_body)


def _service_error(
    wire: Wire, request: WireRequest, head: ResponseHead, body: bytes
) -> QwenAPIError:
    error = wire.error(request, head.status_code, body)
    error.request_id = error.request_id or head.headers.get("x-request-id")
    error.retry_after = retry_after_seconds(head.headers)
    if isinstance(error, QwenModelNotFoundError):
        error.url = head.url
    if not head.from_alibaba:
        error.advice = error.advice_elsewhere or error.advice
    if isinstance(error, QwenAuthenticationError) and exposes_messages(head.url):
        # The constructor accepts no key for such a URL otherwise.
        error.advice += " Over plain http, a key is accepted only with allow_plain_http=True."
    is_rejected_key = isinstance(error, QwenAuthenticationError | QwenPermissionDeniedError)
    if is_rejected_key and head.lost_in_pickle:
        error.advice = unpickled_advice(head.lost_in_pickle)
    return error
