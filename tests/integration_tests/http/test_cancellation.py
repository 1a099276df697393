"""A cancelled task closes its own connection and no other."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from connection_counter import TIMEOUT_SECONDS

from langchain_qwen_ci import ChatQwenCodeInterpreter


@pytest.mark.parametrize("question", ["silent", "endless"])
@pytest.mark.parametrize("entry_point", ["ainvoke", "astream"])
async def test_cancelled_task_closes_its_connection(
    connection_counter, model, question, entry_point
):
    async def ask() -> None:
        if entry_point == "ainvoke":
            await model.ainvoke(question)
        async for _ in model.astream(question):
            pass

    asking = asyncio.ensure_future(ask())
    assert await connection_counter.areaches(1, requests=1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await connection_counter.areaches(0)


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
