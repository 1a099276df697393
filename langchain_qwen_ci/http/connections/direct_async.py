"""A transport for httpx's async client on asyncio's own protocols.

It is for requests without a proxy, in HTTP/1.1, and for one event loop. What ends a connection is
not a coroutine, so a cancellation cannot interrupt it, and none is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.http.connections import http1
from langchain_qwen_ci.http.connections.direct_sync import IDLE_SECONDS, is_readable, origin_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import h11

    from langchain_qwen_ci.http.connections.direct_sync import Origin

# More than this is left in the buffers of the system until it is read.
_MAX_BUFFERED_BYTES = 256 * 1024
# As anyio, through which httpx connects.
_HAPPY_EYEBALLS_SECONDS = 0.25
# asyncio ends a handshake after 60 s by default; `connect_timeout` is the limit here.
_HANDSHAKE_SECONDS = 1e6


class _Connection(asyncio.Protocol):
    """A connection to one origin. One request at a time uses it."""

    _transport: asyncio.Transport

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._received: list[bytes] = []
        self._size = 0
        self._is_ended = False
        self._error: Exception | None = None
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._wait_end = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=0)  # resumes when all was written

    def data_received(self, data: bytes) -> None:
        if self.idle_since is not None:  # unasked
            self.close()
            return
        self._received.append(data)
        self._size += len(data)
        if self._size > _MAX_BUFFERED_BYTES:
            self._is_reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = True
        self._error = exc
        self._stop_timer()
        self._wake()

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self._wake()

    # What a request calls.

    async def send(self, data: bytes, timeout: float | None) -> None:
        """Send bytes; stop when the server answers or closes the connection before it has all."""
        self._transport.write(data)
        while self._is_writing_paused and not self._received and not self._is_ended:
            await self._wait(timeout, httpx.WriteTimeout)

    async def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes; `b""` if the server has closed the connection."""
        while not self._received:
            if self._error:
                raise httpx.ReadError(str(self._error)) from self._error
            if self._is_ended:
                return b""
            await self._wait(timeout, httpx.ReadTimeout)
        received = self._received
        data = received[0] if len(received) == 1 else b"".join(received)
        received.clear()
        self._size = 0
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()
        return data

    def is_usable(self) -> bool:
        """Return whether an idle connection can be used again.

        A server that closes it makes it readable, which the event loop may not have noticed yet.
        """
        if self._is_ended or self._received or self._transport.is_closing():
            return False
        is_expired = self._loop.time() - (self.idle_since or 0.0) > IDLE_SECONDS
        return not is_expired and not is_readable(self.get_extra_info("socket"))

    def has_sent_all(self) -> bool:
        return not self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close the connection at once, without waiting for the server."""
        self._stop_timer()
        self._is_ended = True
        self._wake()
        if not self._loop.is_closed():
            self._transport.abort()

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401  # as in httpcore
        return self._transport.get_extra_info(name)

    # Waiting. One timer serves many waits, because starting and cancelling one for each read costs
    # as much as the read.

    async def _wait(self, timeout: float | None, error: type[httpx.TimeoutException]) -> None:
        self._waiter = self._loop.create_future()
        if timeout is not None:
            self._wait_end = self._loop.time() + timeout
            self._timeout_error = error
            if self._timer is not None and self._timer.when() > self._wait_end:
                self._stop_timer()
            if self._timer is None:
                self._timer = self._loop.call_at(self._wait_end, self._on_timer)
        else:
            self._stop_timer()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._wait_end:
            self._waiter.set_exception(self._timeout_error(""))
        else:
            self._timer = self._loop.call_at(self._wait_end, self._on_timer)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def become_idle(self) -> None:
        self._stop_timer()
        self.idle_since = self._loop.time()


class AsyncDirectTransport(httpx.AsyncBaseTransport):
    """Sends requests without httpcore, in one event loop.

    Args:
        context: for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._idle: deque[_Connection] = deque()
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        origin = origin_of(request.url)
        connection = self._take(origin)
        if connection is None:
            connection = await self._connect(origin, timeouts.get("connect"))
            trace = request.extensions.get("trace", _no_trace)
        try:
            if connection.idle_since is None:
                await trace("connection.connect_tcp.complete", {"return_value": connection})
            connection.idle_since = None
            head, exchange = await _send(request, connection, timeouts)
            stream = AsyncDirectStream(self, connection, head, exchange.body_start(), timeouts)
        except BaseException:
            connection.close()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=stream,
            extensions={"http_version": b"HTTP/" + head.http_version, "network_stream": stream},
        )

    def _take(self, origin: Origin) -> _Connection | None:
        """Return an idle connection, the one that was used last; None if there is none."""
        while self._idle and not self._idle[0].is_usable():
            self._idle.popleft().close()
        found = None
        while self._idle and found is None:
            last = self._idle.pop()
            if last.origin == origin and last.is_usable():
                found = last
            else:
                last.close()
        return found

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose response has ended, for the next request."""
        connection.become_idle()
        if self._is_closed:
            connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self, origin: Origin, timeout: float | None) -> _Connection:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):  # not uvloop, which lacks the argument
            options["happy_eyeballs_delay"] = _HAPPY_EYEBALLS_SECONDS
        if scheme == "https":
            options |= {"ssl": self._context, "ssl_handshake_timeout": _HANDSHAKE_SECONDS}
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(origin), host, port, **options
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:  # also of the ssl module
            raise httpx.ConnectError(str(error)) from error
        return connection

    async def aclose(self) -> None:
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


async def _no_trace(_name: str, _info: Mapping[str, Any]) -> None:
    pass


async def _send(
    request: httpx.Request, connection: _Connection, timeouts: Mapping[str, float | None]
) -> tuple[h11.Response, http1.HeadExchange]:
    """Send a request and read the head of its response."""
    exchange = http1.HeadExchange(request)
    await connection.send(exchange.request_head(), timeouts.get("write"))
    async for data in request.stream:  # type: ignore[union-attr]  # of an async client
        await connection.send(exchange.request_data(data), timeouts.get("write"))
    await connection.send(exchange.request_end(), timeouts.get("write"))
    while (head := exchange.receive(await connection.receive(timeouts.get("read")))) is None:
        pass
    return head, exchange


class AsyncDirectStream(httpx.AsyncByteStream):
    """The body of a response, as an asynchronous iterator.

    Its connection is kept for other requests if it is read to the end. It is the "network_stream"
    of its response, too, as long as it has the connection.
    """

    def __init__(
        self,
        transport: AsyncDirectTransport,
        connection: _Connection,
        head: h11.Response,
        received: bytes,
        timeouts: Mapping[str, float | None],
    ) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._keeps_connection = http1.keeps_connection(head)
        self._body = http1.body_of(head)
        self._received = received
        self._timeouts = timeouts

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401  # as in httpcore
        return self._connection.get_extra_info(name) if self._connection else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        connection, body = self._connection, self._body
        if connection is None:
            raise StopAsyncIteration
        try:
            while not body.is_complete:
                if body.error:
                    raise body.error
                received, self._received = self._received, b""
                received = received or await connection.receive(self._timeouts.get("read"))
                if not received:
                    body.close()
                elif data := body.feed(received):
                    return data
        except BaseException:
            await self.aclose()
            raise
        self._end(connection)
        raise StopAsyncIteration

    def _end(self, connection: _Connection) -> None:
        self._connection = None
        is_usable = self._keeps_connection and not self._body.has_surplus
        if is_usable and connection.has_sent_all():
            self._transport.give_back(connection)
        else:
            connection.close()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
