"""A transport for httpx's sync client that reads from sockets directly.

It is for requests without a proxy, in HTTP/1.1. All data of one read is returned at once, where
httpcore returns each chunk of the chunked encoding by itself.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.http.connections import http1

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    import h11

    Origin = tuple[str, str, int]

_READ_BYTES = 64 * 1024
# httpx's default. Servers close idle connections, after 5 s at the earliest in practice (uvicorn).
IDLE_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Return scheme, host and port of a URL."""
    if url.scheme not in _PORTS:
        raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol: {url.scheme}")
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


@contextmanager
def _as_httpx(timeout: type[httpx.HTTPError], other: type[httpx.HTTPError]) -> Iterator[None]:
    """Convert errors of sockets to those of httpx."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:  # also of the ssl module
        raise other(str(error)) from error


class _Connection:
    """A connection to one origin. One request at a time uses it."""

    def __init__(self, origin: Origin, connected: socket.socket) -> None:
        self.origin = origin
        self.socket = connected
        self.idle_since = 0.0

    def send(self, data: bytes, timeout: float | None) -> None:
        with _as_httpx(httpx.WriteTimeout, httpx.WriteError):
            rest = memoryview(data)
            while rest:
                self.socket.settimeout(timeout)
                rest = rest[self.socket.send(rest) :]

    def receive(self) -> bytes:
        """Return the next bytes; `b""` if the server has closed the connection."""
        try:
            return self.socket.recv(_READ_BYTES)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def is_usable(self) -> bool:
        """Return whether an idle connection can be used again.

        A server that closes it, or sends bytes unasked, makes it readable.
        """
        return time.monotonic() - self.idle_since < IDLE_SECONDS and not is_readable(self.socket)

    def close(self) -> None:
        self.socket.close()


def is_readable(connected: socket.socket) -> bool:
    """Return whether bytes, an end or an error of a connection can be read."""
    try:
        if not hasattr(select, "poll"):  # Windows, where select has no limit for the descriptor
            return bool(select.select([connected], [], [], 0)[0])
        poll = select.poll()
        poll.register(connected, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # closed
        return True


class DirectTransport(httpx.BaseTransport):
    """Sends requests without httpcore. Threads may share it.

    Args:
        context: for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._idle: deque[_Connection] = deque()
        # Without this reference, the garbage collector could finalize the socket of an abandoned
        # stream before the stream, which causes a ResourceWarning. It is used without the lock,
        # which this thread may hold when the collector closes a stream.
        self._active: set[_Connection] = set()
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        trace = request.extensions.get("trace", _no_trace)
        connection = self._take(origin := origin_of(request.url)) or self._connect(
            origin, timeouts.get("connect"), trace
        )
        self._active.add(connection)
        try:
            trace("http11.send_request_headers.started", {"request": request})
            head, exchange = _send(request, connection, timeouts)
            stream = DirectStream(self, connection, head, exchange.body_start(), timeouts)
        except BaseException:
            self.discard(connection)
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=stream,
            extensions={"http_version": b"HTTP/" + head.http_version, "network_stream": stream},
        )

    def _take(self, origin: Origin) -> _Connection | None:
        """Return an idle connection, the one that was used last; None if there is none."""
        unusable = []
        found = None
        with self._lock:
            while self._idle and not self._idle[0].is_usable():  # unused for the longest time
                unusable.append(self._idle.popleft())
            while self._idle and found is None:
                last = self._idle.pop()
                if last.origin == origin and last.is_usable():
                    found = last
                else:
                    unusable.append(last)
        for connection in unusable:
            connection.close()
        return found

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose response has ended, for the next request."""
        connection.idle_since = time.monotonic()
        self._active.discard(connection)
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def discard(self, connection: _Connection) -> None:
        """Close a connection whose response has not ended."""
        self._active.discard(connection)
        connection.close()

    def _connect(
        self,
        origin: Origin,
        timeout: float | None,
        trace: Callable[[str, Mapping[str, Any]], None],
    ) -> _Connection:
        scheme, host, port = origin
        with _as_httpx(httpx.ConnectTimeout, httpx.ConnectError):
            connected = socket.create_connection((host, port), timeout)
            try:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                trace("connection.connect_tcp.complete", {"return_value": connected})
                if scheme == "https":
                    connected = self._start_tls(connected, host, trace)
            except BaseException:
                connected.close()
                raise
        return _Connection(origin, connected)

    def _start_tls(
        self,
        connected: socket.socket,
        host: str,
        trace: Callable[[str, Mapping[str, Any]], None],
    ) -> socket.socket:
        trace("connection.start_tls.started", {})
        try:
            secure = self._context.wrap_socket(connected, server_hostname=host)
        except BaseException as error:
            trace("connection.start_tls.failed", {"exception": error})
            raise
        trace("connection.start_tls.complete", {"return_value": secure})
        return secure

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._is_closed = self._idle, deque(), True
        for connection in idle:
            connection.close()


def _no_trace(_name: str, _info: Mapping[str, Any]) -> None:
    pass


def _send(
    request: httpx.Request, connection: _Connection, timeouts: Mapping[str, float | None]
) -> tuple[h11.Response, http1.HeadExchange]:
    """Send a request and read the head of its response."""
    exchange = http1.HeadExchange(request)
    # A server may answer and close the connection before it has read all of a large request.
    head_bytes = exchange.request_head()
    with suppress(httpx.WriteError):
        connection.send(head_bytes, timeouts.get("write"))
        for data in request.stream:  # type: ignore[union-attr]  # of a sync client
            connection.send(exchange.request_data(data), timeouts.get("write"))
        connection.send(exchange.request_end(), timeouts.get("write"))
    connection.socket.settimeout(timeouts.get("read"))
    while (head := exchange.receive(connection.receive())) is None:
        pass
    return head, exchange


class DirectStream(httpx.SyncByteStream):
    """The body of a response. Its connection is kept for other requests if it is read to the end.

    It is the "network_stream" of its response, too, as long as it has the connection.
    """

    def __init__(
        self,
        transport: DirectTransport,
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
        return self._connection.socket if name == "socket" and self._connection else None

    def __iter__(self) -> Iterator[bytes]:
        connection, body = self._connection, self._body
        if connection is None:
            return
        with suppress(OSError):  # closed
            # The timeout for the body may differ from that for the head.
            connection.socket.settimeout(self._timeouts.get("read"))
        try:
            if self._received and (data := body.feed(self._received)):
                yield data
            while not body.is_complete:
                body.raise_error()
                if not (received := connection.receive()):
                    body.close()
                elif data := body.feed(received):
                    yield data
            self._end(connection)
        finally:
            self.close()

    def _end(self, connection: _Connection) -> None:
        if self._keeps_connection and not self._body.has_surplus and self._connection:
            self._connection = None
            self._transport.give_back(connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            self._transport.discard(connection)
