"""A cancelled task closes its own connection and no other."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dashscope_streams
import httpx
import httpx2
import pytest
from connection_counter import ANSWER, TIMEOUT_SECONDS

from langchain_qwen_ci import ChatQwenCodeInterpreter, QwenCodeInterpreterNode
from langchain_qwen_ci.errors import QwenTimeoutError


async def ask(model: ChatQwenCodeInterpreter, entry_point: str, question: str) -> None:
    if entry_point == "ainvoke":
        await model.ainvoke(question)
    elif entry_point == "node":
        await QwenCodeInterpreterNode(model).ainvoke({"messages": [("user", question)]})
    else:
        async for _ in model.astream(question):
            pass


async def steps(count: int) -> None:
    """Let the event loop run this number of iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("question", ["silent", "endless"])
@pytest.mark.parametrize("entry_point", ["ainvoke", "astream"])
async def test_cancelled_task_closes_its_connection(
    connection_counter, model, question, entry_point
):
    asking = asyncio.ensure_future(ask(model, entry_point, question))
    assert await connection_counter.areaches(1, requests=1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await connection_counter.areaches(0)


@pytest.mark.parametrize("question", ["silent", "endless"])
@pytest.mark.parametrize("entry_point", ["ainvoke", "astream", "node"])
async def test_task_cancelled_twice_closes_its_connection(
    connection_counter, model, question, entry_point
):
    """The second cancellation arrives while the first one closes the connection."""
    for count, between in enumerate([1, 1, 1, 2, 3], 1):
        asking = asyncio.ensure_future(ask(model, entry_point, question))
        assert await connection_counter.areaches(1, requests=count)
        asking.cancel()
        await steps(between)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await connection_counter.areaches(0)


@pytest.mark.parametrize("question", ["silent", "endless"])
async def test_timeout_beside_total_timeout_closes_the_connection(connection_counter, question):
    """Both cancel the task, and httpx's own timeout ends at the same time."""
    model = connection_counter.model(total_timeout=0.05)
    for _ in range(20):
        with pytest.raises((TimeoutError, QwenTimeoutError)):
            async with asyncio.timeout(0.05):
                await model.ainvoke(question)
    assert await connection_counter.areaches(0, requests=1)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_task_cancelled_at_any_step_loses_no_connection(connection_counter, library):
    """The only connection of the pool would be lost for ever."""
    async with library.AsyncClient(limits=library.Limits(max_connections=1)) as client:
        model = connection_counter.model(http_async_client=client, timeout=TIMEOUT_SECONDS)
        for is_connected, count in itertools.product((False, True), range(40)):
            if not is_connected:
                await asyncio.gather(cancelled_after(model, 200))  # closes the connection
            await cancelled_after(model, count)
            assert (await model.ainvoke("complete")).text == ANSWER
        assert connection_counter.connections == 1


async def cancelled_after(model: ChatQwenCodeInterpreter, count: int) -> None:
    asking = asyncio.ensure_future(model.ainvoke("endless"))
    await steps(count)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("count", range(12))
async def test_task_cancelled_while_it_gets_a_connection_loses_none(
    connection_counter, count, library
):
    """A call leaves the queue of the pool when the connection of another call becomes free."""
    async with library.AsyncClient(limits=library.Limits(max_connections=1)) as client:
        model = connection_counter.model(http_async_client=client, timeout=TIMEOUT_SECONDS)
        first = asyncio.ensure_future(model.ainvoke("endless"))
        assert await connection_counter.areaches(1, requests=1)
        queued = asyncio.ensure_future(model.ainvoke("endless"))
        await asyncio.sleep(0.05)
        first.cancel()
        await steps(count)
        queued.cancel()
        await asyncio.wait([first, queued])
        assert (await model.ainvoke("complete")).text == ANSWER


class LockedTransport(httpx.AsyncBaseTransport):
    """Answers, and closes each response when `lock` is free, with httpcore's events."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=LockedStream(self, request.extensions["trace"]))


class LockedStream(httpx.AsyncByteStream):
    def __init__(self, transport: LockedTransport, trace: Any) -> None:
        self._transport, self._trace = transport, trace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield dashscope_streams.stream(*dashscope_streams.ONE_RUN)

    async def aclose(self) -> None:
        await self._trace("http11.response_closed.started", {})
        async with self._transport.lock:
            self._transport.closed += 1
        await self._trace("http11.response_closed.complete", {})


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_task_cancelled_while_another_request_holds_its_connection_closes_it(cancellations):
    transport = LockedTransport()
    async with httpx.AsyncClient(transport=transport) as client:
        model = ChatQwenCodeInterpreter(api_key="any", http_async_client=client)
        async with transport.lock:
            asking = asyncio.ensure_future(model.ainvoke("?"))
            await asyncio.sleep(0.05)
            for _ in range(cancellations):
                asking.cancel()
                await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert transport.closed == 1


async def test_task_cancelled_while_its_connection_cannot_be_closed_ends():
    transport = LockedTransport()
    async with httpx.AsyncClient(transport=transport) as client:
        model = ChatQwenCodeInterpreter(api_key="any", http_async_client=client)
        async with transport.lock, asyncio.timeout(TIMEOUT_SECONDS):
            asking = asyncio.ensure_future(model.ainvoke("?"))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_task_cancelled_during_the_tls_handshake_closes_its_connection():
    connected, disconnected = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        connected.set()
        while await reader.read(1000):
            pass
        disconnected.set()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
        asking = asyncio.ensure_future(model.ainvoke("?"))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await connected.wait()
            asking.cancel()
            await disconnected.wait()


async def test_cancelled_tasks_do_not_affect_others(connection_counter, model):
    left = [asyncio.ensure_future(model.ainvoke("endless")) for _ in range(20)]
    stays = [asyncio.ensure_future(model.ainvoke("endless")) for _ in range(5)]
    assert await connection_counter.areaches(25, requests=25)
    for asking in left:
        asking.cancel()
    await asyncio.wait(left)
    assert await connection_counter.areaches(5)
    assert not any(asking.done() for asking in stays)
    for asking in stays:
        asking.cancel()
    await asyncio.wait(stays)
    assert await connection_counter.areaches(0)


@asynccontextmanager
async def url_that_never_connects() -> AsyncIterator[str]:
    """Yield a URL to which connecting never ends: the accept queue is full and is not read."""
    loop = asyncio.get_running_loop()
    queued = [socket.socket() for _ in range(8)]
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for one in queued:
            one.setblocking(False)
            waiting.append(asyncio.ensure_future(loop.sock_connect(one, listener.getsockname())))
        await asyncio.wait(waiting, timeout=0.2)
        assert not all(one.done() for one in waiting), "the accept queue is not full"
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)
            for one in queued:
                one.close()


def open_socket_count() -> int:
    """Count the open sockets of this process."""
    return sum(entry.is_socket() for entry in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems refuse connections when the accept queue is full"
)
async def test_task_cancelled_while_connecting_leaves_no_socket():
    async with url_that_never_connects() as url:
        model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
        before = open_socket_count()
        asking = asyncio.ensure_future(model.ainvoke("?"))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while open_socket_count() == before:  # noqa: ASYNC110  # there is no event for a new socket
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert open_socket_count() == before
