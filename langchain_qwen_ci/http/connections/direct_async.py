"""A transport for httpx's async client on asyncio's own protocols.

It is for requests without a proxy, in HTTP/1.1, and for one event loop. What ends a connection is
not a coroutine, so a cancellation cannot interrupt it, and none is lost.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.http.connections import http1
from langchain_qwen_ci.http.connections.async_connection import AsyncConnection, connect_tcp
from langchain_qwen_ci.http.connections.direct_sync import origin_of
from langchain_qwen_ci.http.connections.network_streams import shut_down

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import h11

    from langchain_qwen_ci.http.connections.direct_sync import Origin

# asyncio ends a handshake after 60 s by default; `connect_timeout` is the limit here.
_HANDSHAKE_SECONDS = 1e6


class AsyncDirectTransport(httpx.AsyncBaseTransport):
    """Sends requests without httpcore, in one event loop.

    Args:
        context: for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._idle: deque[AsyncConnection] = deque()
        self._open: weakref.WeakSet[AsyncConnection] = weakref.WeakSet()
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        origin = origin_of(request.url)
        connection = self._take(origin)
        if connection is None:
            trace = request.extensions.get("trace", _no_trace)
            connection = await self._connect(origin, timeouts.get("connect"), trace)
        try:
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

    def _take(self, origin: Origin) -> AsyncConnection | None:
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

    def give_back(self, connection: AsyncConnection) -> None:
        """Keep a connection whose response has ended, for the next request."""
        connection.become_idle()
        if self._is_closed:
            connection.close()
        else:
            self._idle.append(connection)

    async def _connect(
        self,
        origin: Origin,
        seconds: float | None,
        trace: Callable[[str, Mapping[str, Any]], Awaitable[None]],
    ) -> AsyncConnection:
        scheme, host, port = origin
        options: dict[str, Any] = {}
        if scheme == "https":
            options = {
                "ssl": self._context,
                "server_hostname": host,
                "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
            }
        connection = AsyncConnection(origin)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                if isinstance(loop, asyncio.BaseEventLoop):
                    connected = await connect_tcp(origin)
                    await trace("connection.connect_tcp.complete", {"return_value": connected})
                    await _hand_over(connected, connection, **options)
                else:
                    # With a socket that is handed over, cancellations ended the process in uvloop
                    # 0.23: it called back a transport that it had freed.
                    await loop.create_connection(lambda: connection, host, port, **options)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:  # also of the ssl module
            raise httpx.ConnectError(str(error)) from error
        self._open.add(connection)
        await trace("connection.start_tls.complete", {"return_value": connection})
        return connection

    async def aclose(self) -> None:
        self._is_closed = True
        self._idle.clear()
        for connection in tuple(self._open):
            connection.close()


async def _hand_over(connected: socket.socket, connection: AsyncConnection, **options: Any) -> None:
    """Let the event loop serve a connection with a connected socket."""
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(lambda: connection, sock=connected, **options)
    except BaseException:
        # asyncio of Python 3.11 leaves the socket open if it is cancelled before the handshake has
        # started, and ends TLS politely after it.
        shut_down(connected)
        connection.close()
        raise


async def _no_trace(_name: str, _info: Mapping[str, Any]) -> None:
    pass


async def _send(
    request: httpx.Request, connection: AsyncConnection, timeouts: Mapping[str, float | None]
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
        connection: AsyncConnection,
        head: h11.Response,
        received: bytes,
        timeouts: Mapping[str, float | None],
    ) -> None:
        self._transport = transport
        self._connection: AsyncConnection | None = connection
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
                body.raise_error()
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

    def _end(self, connection: AsyncConnection) -> None:
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
