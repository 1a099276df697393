"""The network streams that requests open, so that they can be ended at any stage of a request.

httpx hands out the stream of a response only with its head. httpcore's `trace` extension reports a
stream when it is opened (https://www.encode.io/httpcore/extensions/#trace).
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.http.connections.cancellation import CancellableAtWaits, CancellableSend

_CONNECTED = frozenset({"connect_tcp.complete", "connect_unix_socket.complete"})
_OPENED = _CONNECTED | {"start_tls.complete"}
# Here httpcore 1.0.9 closes the connection if the callback raises.
_BEFORE_SENDING = "send_request_headers.started"


class OpenStreams:
    """References the open network streams of a client or an event loop; threads may share it.

    Attributes:
        is_closed: whether the streams were shut down; streams opened later are, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self.is_closed = False

    def add(self, stream: Any) -> None:  # noqa: ANN401  # the type depends on the library
        # A stream of another transport than httpx's may not allow weak references.
        with self._lock, suppress(TypeError):
            self._streams.add(stream)
        if self.is_closed:
            shut_down(socket_of(stream))

    def close(self) -> None:
        """Shut all sockets down: the service notices that its answers are not read any more, and
        threads that use the sockets wake up."""
        self.is_closed = True
        for stream in self:
            shut_down(socket_of(stream))

    def close_copies(self) -> None:
        """Close the copies of the sockets in a forked process. Those of its parent stay open.

        With a copy left open, the service would not notice that the parent has closed its own.
        """
        self._lock = threading.Lock()  # a thread that does not exist here may hold the other one
        for stream in self:
            _close_socket(stream)

    def __iter__(self) -> Iterator[Any]:
        with self._lock:
            return iter(tuple(self._streams))


def socket_of(stream: Any) -> Any:  # noqa: ANN401  # the type depends on the library
    """Return the socket of a network stream; a socket is its own."""
    return stream if isinstance(stream, socket.socket) else stream.get_extra_info("socket")


def shut_down(connection: Any) -> None:  # noqa: ANN401  # a socket, or asyncio's wrapper of one
    """Shut a socket down. Closing it would not wake a thread that reads from it."""
    # Closed already (OSError), or uvloop's wrapper, which cannot do it (TypeError).
    with suppress(OSError, TypeError):
        if isinstance(connection, socket.socket):
            # Not the method of an SSLSocket, which would change the state that the reading thread
            # uses.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        elif connection is not None:
            connection.shutdown(socket.SHUT_RDWR)


class SyncTrace:
    """Receives httpcore's events of one sync request."""

    def __init__(self, streams: OpenStreams) -> None:
        self._streams = streams
        self._connected: Any = None
        self._handshake: socket.socket | None = None

    def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        event = name.partition(".")[2]
        if event in _OPENED:
            self._streams.add(info["return_value"])
        if event in _CONNECTED:
            self._connected = info["return_value"]
        elif event == "start_tls.started":
            # The socket is not accessible during the handshake. A duplicate can end it.
            self._handshake = socket_of(self._connected).dup()
            self._streams.add(self._handshake)
        elif event in {"start_tls.complete", "start_tls.failed"} and self._handshake:
            self._handshake.close()
        if self._streams.is_closed and event == _BEFORE_SENDING:
            raise ConnectionAbortedError


class AsyncTrace:
    """Receives httpcore's events of the requests of one async call.

    Attributes:
        executing: what uses the connection now.
    """

    def __init__(self, streams: OpenStreams) -> None:
        self._streams = streams
        self._connected: Any = None
        self._client: httpx.AsyncClient | None = None
        self._sending: CancellableSend[Any] | None = None
        self.executing: CancellableAtWaits[Any] | None = None

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        event = name.partition(".")[2]
        if self._client is not None and self._sending is not None:
            self._sending.is_queued = False
            _REPORTING_CLIENTS.add(self._client)
            if event == _BEFORE_SENDING:
                self._sending.deliver_delayed()
        if event.startswith("response_closed.") and self.executing is not None:
            self.executing.is_closing = event == "response_closed.started"
        if event in _OPENED:
            self._streams.add(info["return_value"])
        if event in _CONNECTED:
            self._connected = info["return_value"]
        elif event == "connect_tcp.failed" and isinstance(info["exception"], ValueError):
            # From anyio 4.16, if the time was over before its first attempt to connect.
            raise httpx.ConnectTimeout("") from info["exception"]
        elif event == "start_tls.failed" and self._connected:
            # httpcore 1.0.9 leaves the socket open if the handshake is cancelled.
            await self._connected.aclose()

    def on_send(self, client: httpx.AsyncClient, sending: CancellableSend[Any]) -> None:
        """Prepare for the events of a request that is about to be sent."""
        self._client, self._sending = client, sending
        # The first event follows when the pool has assigned a connection.
        sending.is_queued = client in _REPORTING_CLIENTS

    def on_sent(self) -> None:
        """Drop the references that `on_send` has stored."""
        self._client = self._sending = None


# The clients whose transports report events, which another transport than httpx's may not do.
_REPORTING_CLIENTS: weakref.WeakSet[httpx.AsyncClient] = weakref.WeakSet()


class _LoopEnd:
    """A callback that only its event loop references, and that is never called."""

    def __call__(self) -> None:
        pass


_FOR_EVER_SECONDS = 10.0**9
_BY_LOOP: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, OpenStreams] = (
    weakref.WeakKeyDictionary()
)


def streams_of_running_loop() -> OpenStreams:
    """Return the streams that are shut down when the running loop is closed.

    asyncio does not report this (only `shutdown_asyncgens`, which `asyncio.run` calls and
    `loop.close` does not). But a loop that is closed drops its callbacks.
    """
    loop = asyncio.get_running_loop()
    streams = _BY_LOOP.get(loop)
    if streams is None:
        streams = _BY_LOOP[loop] = OpenStreams()
        loop_end = _LoopEnd()
        finalizer = weakref.finalize(loop_end, _end_streams, streams, os.getpid())
        finalizer.atexit = False
        loop.call_later(_FOR_EVER_SECONDS, loop_end)
    return streams


def _end_streams(streams: OpenStreams, process: int) -> None:
    if os.getpid() != process:  # a forked process shares the sockets
        return
    streams.close()
    for stream in streams:
        _close_socket(stream)


def _close_socket(stream: Any) -> None:  # noqa: ANN401  # the type depends on the library
    # asyncio has no public way to close a socket without its loop. uvloop closes all itself.
    if isinstance(inner := getattr(socket_of(stream), "_sock", None), socket.socket):
        inner.close()


def _reset_after_fork() -> None:
    for streams in tuple(_BY_LOOP.values()):
        streams.close_copies()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
