"""The way to the service and back: the flow decides, two short drivers do the I/O."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import socket
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx

from langchain_qwen_ci.clients import ClientOfEachLoop, SharedClient
from langchain_qwen_ci.content_encoding import ACCEPTED
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError
from langchain_qwen_ci.flow import (
    COMMANDS,
    Deadline,
    Read,
    ReadToTheEnd,
    Reply,
    Send,
    Wait,
    call_flow,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Generator,
        Iterator,
        Mapping,
    )

    from pydantic import SecretStr

    from langchain_qwen_ci.flow import CallPolicy, Command
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event

# Where nothing more is told, but the end of the response has not come.
_SECONDS_FOR_THE_END = 2.0

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Servers take some 8 KiB of headers. Keys have 35 characters, a gateway's tokens up to thousands.
_LONGEST_HEADER = 8 * 1024

# A service that computes answers the probes of its connection; one that is gone does not, and the
# connection breaks after some 60 s, however long silence is allowed.
_KEEP_ALIVE = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    )
    if hasattr(socket, name)
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go and how long to wait there.

    Attributes:
        host: scheme and host, with a path prefix if there is one.
        headers: sent with every request; may hold secrets.
        connect_timeout: seconds until there is a connection; None waits for ever.
        timeout: seconds until the first byte; None waits for ever.
        chunk_timeout: seconds between two chunks; None waits for ever.
    """

    host: str
    api_key: SecretStr | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    connect_timeout: float | None
    timeout: float | None
    chunk_timeout: float | None

    def request(
        self, client: httpx.Client | httpx.AsyncClient, sent: WireRequest, deadline: Deadline
    ) -> httpx.Request:
        """The HTTP request, with the key.

        Raises:
            QwenAuthenticationError: there is no key, or it cannot be one.
            QwenInputError: another header cannot be sent.
        """
        headers = httpx.Headers(
            {
                "Content-Type": "application/json",
                "Accept-Encoding": ACCEPTED,
                **sent.headers,
                "Authorization": f"Bearer {self._key()}",
            }
        )
        headers.update(self._own_headers())
        return client.build_request(
            "POST",
            f"{self.host}{sent.path}",
            content=sent.body,
            headers=headers,
            timeout=httpx.Timeout(
                deadline.within(self.timeout), connect=deadline.within(self.connect_timeout)
            ),
        )

    def _key(self) -> str:
        key = self.api_key.get_secret_value().strip() if self.api_key else ""
        if not key:
            raise QwenAuthenticationError("There is no API key.")
        if not _fits_a_header(key):
            raise QwenAuthenticationError("The API key has characters that no key has.")
        if len(key) > _LONGEST_HEADER:
            raise QwenAuthenticationError(f"The API key has {len(key)} characters: no key has.")
        return key

    def _own_headers(self) -> Mapping[str, str]:
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _fits_a_header(value):
                raise QwenInputError(f"default_headers[{name!r}] cannot be sent as a header.")
            if len(value) > _LONGEST_HEADER:
                raise QwenInputError(
                    f"default_headers[{name!r}] has {len(value)} characters: servers take about "
                    f"{_LONGEST_HEADER} for all headers."
                )
        return self.headers

    def answered(self, response: httpx.Response, deadline: Deadline) -> Reply:
        """The head of a response has come: from here on the timeout is the one between chunks."""
        response.request.extensions["timeout"]["read"] = deadline.within(self.chunk_timeout)
        connection = _socket_of(response)
        with suppress(OSError, AttributeError):
            for level, option, value in _KEEP_ALIVE if connection else ():
                connection.setsockopt(level, option, value)
        encoding = response.headers.get("content-encoding", "")
        return Reply(
            response.status_code,
            response.headers,
            # A response made by hand has no raw bytes: httpx has unpacked it.
            encoding="" if response.is_stream_consumed else encoding,
        )


def _fits_a_header(value: str) -> bool:
    """Whether it can be sent. What is below here says no by showing the value in its error."""
    return value.isascii() and value.replace("\t", " ").isprintable() and value == value.strip()


def _socket_of(response: httpx.Response) -> Any:  # noqa: ANN401  # whichever library's it is
    """What a response comes by; None if that is no network."""
    stream = response.extensions.get("network_stream")
    return stream and stream.get_extra_info("socket")


class Transport:
    """Carries calls to one destination. Clients are built when first needed, and shared."""

    def __init__(
        self,
        destination: Destination,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._destination = destination
        self._given = http_client
        self._given_async = http_async_client
        self._client = SharedClient()
        self._async_clients = ClientOfEachLoop()
        self._exchanges: weakref.WeakSet[_Exchange] = weakref.WeakSet()
        _TRANSPORTS.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Transport:
        # connections are not copied
        return Transport(self._destination, self._given, self._given_async)

    def leads_to(
        self,
        destination: Destination,
        given: tuple[httpx.Client | None, httpx.AsyncClient | None],
    ) -> bool:
        """Whether it was made for these."""
        return self._destination == destination and given == (self._given, self._given_async)

    def events(self, wire: Wire, request: WireRequest, policy: CallPolicy) -> Generator[Event]:
        """Send a request and yield what the answer tells.

        Raises:
            QwenError: the call failed; see `errors`.
        """
        deadline = Deadline(policy.total_timeout)
        exchange = _Exchange(self._destination, self._given or self._client.get(), deadline)
        self._exchanges.add(exchange)
        flow = call_flow(wire, request, policy, deadline)
        resume: Callable[[Any], Command | Event] = flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = flow.send, None
                if type(step) not in COMMANDS:
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

    def aevents(self, wire: Wire, request: WireRequest, policy: CallPolicy) -> AsyncEvents:
        """`events`, for asyncio."""
        deadline = Deadline(policy.total_timeout)
        exchange = _AsyncExchange(self._destination, self._async_client, deadline)
        return AsyncEvents(exchange, call_flow(wire, request, policy, deadline))

    async def _async_client(self) -> httpx.AsyncClient:
        return self._given_async or await self._async_clients.get()

    def close(self) -> None:
        """Close the sync client, unless it was given. Who still reads by it is told so."""
        if self._given is None:
            for exchange in tuple(self._exchanges):
                exchange.interrupt()
        self._client.close()

    async def aclose(self) -> None:
        """Close the async client of the running loop, and the sync one."""
        self.close()
        await self._async_clients.close()

    def close_left_exchanges(self) -> None:
        """Close the responses that nobody reads at this moment."""
        for exchange in tuple(self._exchanges):
            if not exchange.busy:
                exchange.close()

    def forget_exchanges(self) -> None:
        """Have none, without closing what is another process's."""
        self._exchanges.clear()


class AsyncEvents:
    """What an answer tells, for asyncio.

    No async generator: at its end an event loop closes all that are left, in any order, and one
    that is being closed by whoever reads from it cannot be closed again.
    """

    def __init__(
        self, exchange: _AsyncExchange, flow: Generator[Command | Event, Any, None]
    ) -> None:
        self._exchange = exchange
        self._flow = flow

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        resume: Callable[[Any], Command | Event] = self._flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = self._flow.send, None
                if type(step) not in COMMANDS:
                    return step  # type: ignore[return-value]  # what is no command is an event
                try:
                    outcome = await self._exchange.carry_out(step)  # type: ignore[arg-type]
                except httpx.HTTPError as failure:
                    resume, outcome = self._flow.throw, failure
        except StopIteration:
            await self.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End the connection, unless the answer has come to its end. Closing twice does nothing."""
        self._flow.close()
        await self._exchange.close()


class _Exchange:
    """Carries out the commands of one flow."""

    def __init__(self, destination: Destination, client: httpx.Client, deadline: Deadline) -> None:
        self._destination = destination
        self._client = client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: Iterator[bytes] = iter(())
        self._alarm: threading.Timer | None = None
        self.busy = False

    def carry_out(self, command: Command) -> Reply | bytes | None:
        self.busy = True
        try:
            return self._carried_out(command)
        finally:
            self.busy = False

    def _carried_out(self, command: Command) -> Reply | bytes | None:
        match command:
            case Read():
                return next(self._body, b"")
            case Send():
                return self._send(command.request)
            case ReadToTheEnd():
                self._read_to_the_end()
            case Wait():
                self.close()
                time.sleep(command.seconds)
        return None

    def _send(self, sent: WireRequest) -> Reply:
        request = self._destination.request(self._client, sent, self._deadline)
        response = self._client.send(request, stream=True, follow_redirects=False)
        self._response = response
        self._set_alarm(self._deadline)
        consumed = response.is_stream_consumed
        self._body = response.iter_bytes() if consumed else response.iter_raw()
        return self._destination.answered(response, self._deadline)

    def _read_to_the_end(self) -> None:
        soon = Deadline(self._deadline.within(_SECONDS_FOR_THE_END))
        self._set_alarm(soon)
        with suppress(httpx.HTTPError):
            while next(self._body, b"") and not soon.passed:
                pass

    def _set_alarm(self, deadline: Deadline) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = _alarm(self._response, deadline) if self._response else None

    def interrupt(self) -> None:
        """End it from another thread."""
        if self._response:
            _break(self._response)

    def close(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        if self._response:
            self._response.close()


def _break(response: httpx.Response) -> None:
    """Break the connection of a response, so that whoever waits for its bytes does not any more:
    closing a socket does not wake a thread."""
    connection = _socket_of(response)
    if connection is None or response.http_version == "HTTP/2":
        return
    if not response.is_closed:  # then the connection serves another call
        with suppress(OSError):
            # Of the plain socket: that of TLS would change what the reading thread works with.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _break_if_there(reference: weakref.ref[httpx.Response]) -> None:
    if response := reference():
        _break(response)


def _alarm(response: httpx.Response, deadline: Deadline) -> threading.Timer | None:
    """Breaks the connection at the deadline: a read in a thread cannot be told of one.

    A read has its own timeout, but what is left shrinks with every chunk, and httpx takes the
    timeout of a body once.
    """
    if deadline.left is None or _socket_of(response) is None:
        return None
    # The thread must not hold the response: in a process that is forked meanwhile it never ends.
    alarm = threading.Timer(deadline.left, _break_if_there, (weakref.ref(response),))
    alarm.daemon = True
    alarm.start()
    return alarm


class _AsyncExchange:
    """Carries out the commands of one flow, for asyncio."""

    def __init__(
        self,
        destination: Destination,
        client: Callable[[], Awaitable[httpx.AsyncClient]],
        deadline: Deadline,
    ) -> None:
        self._destination = destination
        self._client = client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes]

    async def carry_out(self, command: Command) -> Reply | bytes | None:
        if self._deadline.left is None or isinstance(command, Wait):
            return await self._carried_out(command)
        try:
            async with asyncio.timeout(self._deadline.left):
                return await self._carried_out(command)
        except TimeoutError:
            raise httpx.ReadTimeout("The time for the call is over.") from None

    async def _carried_out(self, command: Command) -> Reply | bytes | None:
        match command:
            case Read():
                return await anext(self._body, b"")
            case Send():
                return await self._send(command.request)
            case ReadToTheEnd():
                await self._read_to_the_end()
            case Wait():
                await self.close()
                await asyncio.sleep(command.seconds)
        return None

    async def _read_to_the_end(self) -> None:
        soon = Deadline(self._deadline.within(_SECONDS_FOR_THE_END))
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(soon.left):
                while await anext(self._body, b"") and not soon.passed:
                    pass

    async def _send(self, sent: WireRequest) -> Reply:
        client = await self._client()
        request = self._destination.request(client, sent, self._deadline)
        response = await client.send(request, stream=True, follow_redirects=False)
        self._response = response
        consumed = response.is_stream_consumed
        self._body = response.aiter_bytes() if consumed else response.aiter_raw()
        return self._destination.answered(response, self._deadline)

    async def close(self) -> None:
        if self._response:
            await self._response.aclose()


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


@atexit.register
def _close_what_is_left() -> None:
    """Close the responses of streams that the program has neither read to the end nor closed.

    Otherwise the generator of such a stream closes its response when the interpreter collects it,
    after the types of C modules have been taken down. httpx makes a `timedelta` there, and CPython
    3.13.0 then ends with a segmentation fault. A response that another thread is reading is left
    alone: that thread is a daemon, whose generators are never collected.
    """
    for transport in tuple(_TRANSPORTS):
        transport.close_left_exchanges()


def _forget_the_parents() -> None:
    """A forked process must not end its parent's streams when it exits or closes a model."""
    for transport in tuple(_TRANSPORTS):
        transport.forget_exchanges()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
