"""A server that counts its open connections, so that a socket left open is detected."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

import dashscope_streams

from langchain_qwen_ci import ChatQwenCodeInterpreter

TIMEOUT_SECONDS = 20
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FIRST = dashscope_streams.stream(dashscope_streams.ONE_RUN[0])
_REST = dashscope_streams.stream(*dashscope_streams.ONE_RUN[1:])
ANSWER = "7 to the power of 5 is 16807."


class ConnectionCounter:
    """Counts requests and open connections; the prompt selects the answer.

    "complete" gets a whole answer, "endless" its first frame only, "silent" no response. The
    connection of the latter two stays open until the client closes it.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._open: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(TIMEOUT_SECONDS)
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def connections(self) -> int:
        return len(self._open)

    def reaches(self, connections: int, requests: int = 0) -> bool:
        """Wait until this number of connections is open after at least so many requests."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.connections == connections and self.requests >= requests,
                TIMEOUT_SECONDS,
            )

    def model(self, **fields: Any) -> ChatQwenCodeInterpreter:
        """Build a model that sends its requests here."""
        return ChatQwenCodeInterpreter(base_url=self.url, api_key="any", max_retries=0, **fields)

    async def areaches(self, connections: int, requests: int = 0) -> bool:
        return await asyncio.to_thread(self.reaches, connections, requests)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._on_connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._end.wait()
        server.close()
        for connection in self._open:
            connection.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._count(self._open.add, connection)
        try:
            while body := await _request(reader):
                self._count(self._add_request)
                await _answer(body, reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self._count(self._open.discard, connection)

    def _count(self, change: Any, *what: object) -> None:
        with self._changed:
            change(*what)
            self._changed.notify_all()

    def _add_request(self) -> None:
        self.requests += 1


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Return the body of the next request; `b""` if the client has disconnected."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return await reader.readexactly(int(length))


async def _answer(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if b'"silent"' in body:
        await reader.read()
        return
    writer.write(_HEAD + _chunk(_FIRST))
    if b'"endless"' in body:
        await reader.read()
        return
    writer.write(_chunk(_REST) + _chunk(b""))
    await writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def break_out(model: ChatQwenCodeInterpreter) -> None:
    for _ in model.stream("endless"):
        break


async def abreak_out(model: ChatQwenCodeInterpreter) -> None:
    async for _ in model.astream("endless"):
        break
