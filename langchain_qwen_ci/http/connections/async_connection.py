"""A connection of the fast transport in an event loop, as an asyncio protocol."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.http.connections.direct_sync import IDLE_SECONDS, is_readable

if TYPE_CHECKING:
    from langchain_qwen_ci.http.connections.direct_sync import Origin

# More than this is left in the buffers of the system until it is read.
_MAX_BUFFERED_BYTES = 256 * 1024


class AsyncConnection(asyncio.Protocol):
    """A connection to one origin. One request at a time uses it."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle_since: float | None = None
        self._transport: Any = None
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
        self._transport = transport
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

    async def send(self, data: bytes, seconds: float | None) -> None:
        """Send bytes; stop when the server answers or closes the connection before it has all."""
        self._transport.write(data)
        while self._is_writing_paused and not self._received and not self._is_ended:
            await self._wait(seconds, httpx.WriteTimeout)

    async def receive(self, seconds: float | None) -> bytes:
        """Return the next bytes; `b""` if the server has closed the connection."""
        while not self._received:
            if self._error:
                raise httpx.ReadError(str(self._error)) from self._error
            if self._is_ended:
                return b""
            await self._wait(seconds, httpx.ReadTimeout)
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
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401  # as in httpcore
        return self._transport.get_extra_info(name)

    # Waiting. One timer serves many waits, because starting and cancelling one for each read costs
    # as much as the read.

    async def _wait(self, seconds: float | None, error: type[httpx.TimeoutException]) -> None:
        self._waiter = self._loop.create_future()
        if seconds is not None:
            self._wait_end = self._loop.time() + seconds
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


async def _addresses(origin: Origin) -> list[Any]:
    _, host, port = origin
    if _is_ip_address(host):
        # Without the thread that resolves names. In a process that has forked inside of the loop,
        # asyncio does not notice that such a thread has ended.
        flags = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def connect_tcp(origin: Origin) -> socket.socket:
    """Connect to the first address of a host that accepts it."""
    loop = asyncio.get_running_loop()
    failure = OSError("The host has no address.")
    for family, kind, protocol, _, address in await _addresses(origin):
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)  # noqa: FBT003  # takes no name
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connected, address)
        except OSError as error:
            connected.close()
            failure = error
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise failure
