"""The way to the service and back: one flow decides, two short drivers do the I/O.

`call_flow` is a generator. It yields commands (send, read, wait) for a driver to carry out and
events for the caller to see; it decides what is retried, and never touches the network itself.
That makes retries and errors the same in sync and async.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.clients import ClientOfEachLoop, SharedClient
from langchain_qwen_ci.errors import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenConnectionError,
    QwenError,
    QwenInputError,
    QwenStreamError,
    QwenTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Generator,
        Iterator,
        Mapping,
    )

    from pydantic import SecretStr

    from langchain_qwen_ci.wire import Decoder, Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event

_OK = 200
_CONNECT_SECONDS = 10.0
# The official SDK's: 0.5 s, doubled each time, at most 8 s, with full jitter.
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0
# A service that asks for longer is not waited for: the caller decides.
_LONGEST_ASKED_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; the driver answers with a `Reply`."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Read:
    """Read on; the driver answers with bytes, `b""` at the end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of a response."""

    status_code: int
    headers: Mapping[str, str]


Command = Send | Read | Wait
_COMMANDS = frozenset({Send, Read, Wait})
_READ = Read()


def call_flow(
    wire: Wire, request: WireRequest, max_retries: int
) -> Generator[Command | Event, Any, None]:
    """One call: try, and try again as long as that is safe.

    Safe means that the answer has not begun, and that the service was not reached or has refused
    the request: once an answer has begun, code may have run and its caller may have seen it.
    """
    for attempt in itertools.count():
        decoder = wire.decoder(request)
        try:
            yield from _attempt(wire, request, decoder)
        except QwenError as error:
            wait = _wait_before(attempt, error)
            if decoder.begun or attempt >= max_retries or wait is None:
                raise
        else:
            return
        yield Wait(wait)


def _attempt(
    wire: Wire, request: WireRequest, decoder: Decoder
) -> Generator[Command | Event, Any, None]:
    try:
        reply = yield Send(request)
    except httpx.HTTPError as failure:
        raise _not_reached(failure) from failure
    if reply.status_code != _OK:
        yield from _refused(wire, request, reply)
    while True:
        try:
            data = yield _READ
        except httpx.HTTPError as failure:
            with suppress(QwenStreamError):
                yield from decoder.close()
            if decoder.finished:
                return
            raise _broken_off(failure) from failure
        if not data:
            break
        yield from decoder.feed(data)
    yield from decoder.close()


def _refused(wire: Wire, request: WireRequest, reply: Reply) -> Generator[Command, Any, None]:
    body = b""
    try:
        while data := (yield _READ):
            body += data
    except httpx.HTTPError:
        pass  # the status alone says enough
    error = wire.error(request, reply.status_code, body)
    error.request_id = error.request_id or reply.headers.get("x-request-id")
    error.retry_after = _retry_after(reply.headers)
    raise error


def _not_reached(failure: httpx.HTTPError) -> QwenConnectionError:
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            f"The service did not answer in time ({type(failure).__name__}). Pass a longer "
            "timeout, or check the network and base_url."
        )
    return QwenConnectionError(
        f"The service could not be reached ({failure}). Check the network, the proxy settings "
        "and base_url."
    )


def _broken_off(failure: httpx.HTTPError) -> QwenError:
    if isinstance(failure, httpx.TimeoutException):
        return QwenTimeoutError(
            "The service fell silent in the middle of its answer. Where code or reasoning takes "
            "long, pass a longer stream_chunk_timeout, or None."
        )
    return QwenStreamError(f"The answer broke off: {failure or type(failure).__name__}.")


def _wait_before(attempt: int, error: QwenError) -> float | None:
    """Seconds to wait before the next attempt; None if there should be none."""
    if isinstance(error, QwenStreamError) or not error.is_retryable:
        return None
    # A request that was sent and not answered may be running code.
    if isinstance(error.__cause__, httpx.ReadTimeout | httpx.WriteTimeout):
        return None
    if isinstance(error, QwenAPIError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_ASKED_WAIT_SECONDS else None
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
    return random.uniform(0, longest)  # noqa: S311  # jitter, not a secret


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, or `retry-after` in seconds or as a date; in seconds."""
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    asked = headers.get("retry-after")
    if asked is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(asked))
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    return None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go and how long to wait there.

    Attributes:
        host: scheme and host, with a path prefix if there is one.
        headers: sent with every request; may hold secrets.
        timeout: seconds until the first byte; None waits for ever.
        chunk_timeout: seconds between two chunks; None waits for ever.
    """

    host: str
    api_key: SecretStr | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout: float | None
    chunk_timeout: float | None

    def request(self, client: httpx.Client | httpx.AsyncClient, sent: WireRequest) -> httpx.Request:
        """The HTTP request, with the key.

        Raises:
            QwenAuthenticationError: there is no key, or it cannot be one.
            QwenInputError: another header cannot be sent.
        """
        key = self.api_key.get_secret_value().strip() if self.api_key else ""
        if not key:
            raise QwenAuthenticationError("There is no API key.")
        if not _fits_a_header(key):
            raise QwenAuthenticationError("The API key has characters that no key has.")
        for name, value in self.headers.items():
            if not _fits_a_header(value):
                raise QwenInputError(f"default_headers[{name!r}] cannot be sent as a header.")
        return client.build_request(
            "POST",
            f"{self.host}{sent.path}",
            content=sent.body,
            headers={
                "Content-Type": "application/json",
                **sent.headers,
                "Authorization": f"Bearer {key}",
                **self.headers,
            },
            timeout=httpx.Timeout(self.timeout, connect=self._connect_timeout),
        )

    @property
    def _connect_timeout(self) -> float:
        return _CONNECT_SECONDS if self.timeout is None else min(_CONNECT_SECONDS, self.timeout)

    def answered(self, response: httpx.Response) -> Reply:
        """The head of a response has come: from here on the timeout is the one between chunks."""
        response.request.extensions["timeout"]["read"] = self.chunk_timeout
        return Reply(response.status_code, response.headers)


def _fits_a_header(value: str) -> bool:
    """Whether it can be sent. What is below here says no by showing the value in its error."""
    return value.isascii() and value.replace("\t", " ").isprintable() and value == value.strip()


class Transport:
    """Carries calls to one destination. Clients are built when first needed, and shared."""

    def __init__(
        self,
        destination: Destination,
        max_retries: int,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._destination = destination
        self._max_retries = max_retries
        self._given = http_client
        self._given_async = http_async_client
        self._client = SharedClient()
        self._async_clients = ClientOfEachLoop()

    def __deepcopy__(self, memo: dict[int, Any]) -> Transport:
        return Transport(
            self._destination, self._max_retries, self._given, self._given_async
        )  # connections are not copied

    def leads_to(
        self,
        destination: Destination,
        max_retries: int,
        given: tuple[httpx.Client | None, httpx.AsyncClient | None],
    ) -> bool:
        """Whether it was made for these."""
        return (
            self._destination == destination
            and self._max_retries == max_retries
            and given == (self._given, self._given_async)
        )

    def events(self, wire: Wire, request: WireRequest) -> Generator[Event]:
        """Send a request and yield what the answer tells.

        Raises:
            QwenError: the call failed; see `errors`.
        """
        exchange = _Exchange(self._destination, self._given or self._client.get())
        flow = call_flow(wire, request, self._max_retries)
        resume: Callable[[Any], Command | Event] = flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = flow.send, None
                if type(step) not in _COMMANDS:
                    yield step  # type: ignore[misc]  # what is no command is an event
                    continue
                try:
                    outcome = exchange.carry_out(step)  # type: ignore[arg-type]
                except httpx.HTTPError as failure:
                    resume, outcome = flow.throw, failure
        except StopIteration:
            return
        finally:
            exchange.close()

    async def aevents(self, wire: Wire, request: WireRequest) -> AsyncGenerator[Event]:
        """`events`, for asyncio."""
        client = self._given_async or await self._async_clients.get()
        exchange = _AsyncExchange(self._destination, client)
        flow = call_flow(wire, request, self._max_retries)
        resume: Callable[[Any], Command | Event] = flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = flow.send, None
                if type(step) not in _COMMANDS:
                    yield step  # type: ignore[misc]  # what is no command is an event
                    continue
                try:
                    outcome = await exchange.carry_out(step)  # type: ignore[arg-type]
                except httpx.HTTPError as failure:
                    resume, outcome = flow.throw, failure
        except StopIteration:
            return
        finally:
            await exchange.close()

    def close(self) -> None:
        """Close the sync client, unless it was given."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the async client of the running loop, and the sync one."""
        self.close()
        await self._async_clients.close()


class _Exchange:
    """Carries out the commands of one flow."""

    def __init__(self, destination: Destination, client: httpx.Client) -> None:
        self._destination = destination
        self._client = client
        self._response: httpx.Response | None = None
        self._body: Iterator[bytes] = iter(())

    def carry_out(self, command: Command) -> Reply | bytes | None:
        match command:
            case Read():
                return next(self._body, b"")
            case Send():
                return self._send(command.request)
            case Wait():
                self.close()
                time.sleep(command.seconds)
        return None

    def _send(self, sent: WireRequest) -> Reply:
        request = self._destination.request(self._client, sent)
        response = self._client.send(request, stream=True, follow_redirects=False)
        self._response = response
        self._body = response.iter_raw() if _is_plain(response) else response.iter_bytes()
        return self._destination.answered(response)

    def close(self) -> None:
        if self._response:
            self._response.close()


def _is_plain(response: httpx.Response) -> bool:
    """Whether the bytes on the wire are the body. A response made by hand has no raw bytes."""
    return "content-encoding" not in response.headers and not response.is_stream_consumed


class _AsyncExchange:
    """Carries out the commands of one flow, for asyncio."""

    def __init__(self, destination: Destination, client: httpx.AsyncClient) -> None:
        self._destination = destination
        self._client = client
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes]

    async def carry_out(self, command: Command) -> Reply | bytes | None:
        match command:
            case Read():
                return await anext(self._body, b"")
            case Send():
                return await self._send(command.request)
            case Wait():
                await self.close()
                await asyncio.sleep(command.seconds)
        return None

    async def _send(self, sent: WireRequest) -> Reply:
        request = self._destination.request(self._client, sent)
        response = await self._client.send(request, stream=True, follow_redirects=False)
        self._response = response
        self._body = response.aiter_raw() if _is_plain(response) else response.aiter_bytes()
        return self._destination.answered(response)

    async def close(self) -> None:
        if self._response:
            await self._response.aclose()
