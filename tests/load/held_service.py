"""A server that holds each call at one stage, and knows which calls and connections are left."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from contextlib import suppress
from typing import Self

import dashscope_streams
from self_signed import self_signed_context

_FIRST = dashscope_streams.stream(dashscope_streams.ONE_RUN[0])
_REST = dashscope_streams.stream(*dashscope_streams.ONE_RUN[1:])
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_SECONDS_BETWEEN_FRAMES = 0.002
_MOST_FRAMES = 5_000
# A small window, so that the client waits while it writes a body that is not read.
_RECEIVE_BUFFER = 4096


class Connection:
    """An accepted connection. Nothing is read from it before `start`."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self._transport: asyncio.Transport | None = None

    async def start(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        self._transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, self._socket, ssl=context
        )
        return reader, asyncio.StreamWriter(self._transport, protocol, reader, loop)

    def abort(self) -> None:
        if self._transport is None:
            self._socket.close()
        else:
            self._transport.abort()


class HeldService:
    """Serves one address in the running loop.

    Attributes:
        stage: where calls are held: "tls", "body", "head", "first byte", "frames" or "closing".
            With any other value they are not held.
        hold: longest time in seconds that a call is held; it is chosen at random.
        reached: has an item for each call that has reached the stage.
        released: ends the holding of all calls.
        running: number of requests whose head was received and whose answer neither ended nor was
            cut. The rest of a large request may arrive after its client has closed the connection.
        open: the open connections, each with the number of requests that it served.
    """

    def __init__(self, *, tls: bool) -> None:
        self.stage = ""
        self.hold = 0.02
        self.reached: asyncio.Queue[None] = asyncio.Queue()
        self.released = asyncio.Event()
        self.running = 0
        self.open: dict[Connection, int] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self.url = ""
        self._tls = tls
        self._barrier: asyncio.Barrier | None = None

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._listener.setblocking(False)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = asyncio.ensure_future(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        self.released.set()
        self.abort_all()
        await asyncio.wait([self._accepting, *self._serving])
        self._listener.close()

    def abort_all(self) -> None:
        """Abort all connections."""
        for connection in self.open:
            connection.abort()

    def expect(self, calls: int) -> None:
        """Answer the next calls only when so many of them have arrived at the same time; 0 ends
        this."""
        self._barrier = asyncio.Barrier(calls) if calls else None
        self.stage = "barrier"

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listener)
            serving = asyncio.ensure_future(self._serve(accepted))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        connection = Connection(accepted)
        self.open[connection] = 0
        # uvloop raises RuntimeError for a connection that was closed.
        with suppress(
            OSError, asyncio.IncompleteReadError, asyncio.BrokenBarrierError, RuntimeError
        ):
            if self._tls and self.stage == "tls":
                await self._hold()
            reader, writer = await connection.start(self_signed_context() if self._tls else None)
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.running += 1
                try:
                    await self._receive_body(reader, head)
                    self.open[connection] += 1
                    await self._answer_unless_closed(reader, writer)
                finally:
                    self.running -= 1
        connection.abort()
        del self.open[connection]

    async def _hold(self) -> None:
        self.reached.put_nowait(None)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.released.wait(), random.uniform(0, self.hold))

    async def _receive_body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if self.stage == "body":
            await self._hold()
        await reader.readexactly(length)

    async def _answer_unless_closed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer; the answer ends at once when the client closes the connection."""
        answering = asyncio.ensure_future(self._answer(writer))
        closed = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionError
            answering.result()
        finally:
            answering.cancel()
            closed.cancel()
            await asyncio.gather(answering, closed, return_exceptions=True)

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self._barrier is not None:
            async with asyncio.timeout(2):
                await self._barrier.wait()
        stage, is_whole = self.stage, self.stage in {"", "barrier", "closing"}
        if stage == "head":
            writer.write(_HEAD[:40])
            await self._hold()
            writer.write(_HEAD[40:])
        else:
            writer.write(_HEAD)
        if stage == "first byte":
            await self._hold()
        writer.write(_chunk(_FIRST))
        if not is_whole:
            await self._send_frames(writer)
        writer.write(_chunk(_REST))
        if stage == "closing":
            await self._hold()
        writer.write(_chunk(b""))
        await writer.drain()

    async def _send_frames(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(_MOST_FRAMES):
            await asyncio.sleep(_SECONDS_BETWEEN_FRAMES)
            writer.write(_chunk(_FIRST))
            await writer.drain()
            if self.stage == "frames":
                self.reached.put_nowait(None)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
