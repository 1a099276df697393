"""Connections end when their use ends, however it ends: the other side sees them go.

The service here counts its open connections, so a socket that is kept somewhere is seen.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import dashscope_streams
import httpx
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from strict_python import STRICT_PYTHON

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenError

_GO_SECONDS = 20
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FIRST = dashscope_streams.stream(dashscope_streams.ONE_RUN[0])
_REST = dashscope_streams.stream(*dashscope_streams.ONE_RUN[1:])
_ANSWER = "7 to the power of 5 is 16807."


class Service:
    """Answers "whole"; says a word and goes "on" for ever; or is "silent" from the beginning."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._open: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(_GO_SECONDS)
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def connections(self) -> int:
        return len(self._open)

    def sees(self, connections: int, requests: int = 0) -> bool:
        """Whether it comes to so many open connections, once so many requests have been made."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.connections == connections and self.requests >= requests, _GO_SECONDS
            )

    async def asees(self, connections: int, requests: int = 0) -> bool:
        return await asyncio.to_thread(self.sees, connections, requests)

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
                self._count(self._ask)
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

    def _ask(self) -> None:
        self.requests += 1


async def _request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request; nothing if the client has gone."""
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
    if b'"on"' in body:
        await reader.read()
        return
    writer.write(_chunk(_REST) + _chunk(b""))
    await writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def counting() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture
def model(counting: Service) -> ChatQwenCodeInterpreter:
    return a_model(counting)


def a_model(service: Service, **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=service.url, api_key="any", max_retries=0, **fields)


pytestmark = pytest.mark.filterwarnings("ignore:.*is in beta")


class Mistake(Exception):  # noqa: N818  # of the consumer's, which is no error of ours
    """What goes wrong in the code that reads a stream."""


# One stream, in the midst of which its reader leaves.


def breaks(model: ChatQwenCodeInterpreter) -> None:
    for _ in model.stream("on"):
        break


def fails(model: ChatQwenCodeInterpreter) -> None:
    def read() -> None:
        for _ in model.stream("on"):
            raise Mistake

    with pytest.raises(Mistake):
        read()


def closes(model: ChatQwenCodeInterpreter) -> None:
    stream: Any = model.stream("on")
    next(stream)
    stream.close()


def forgets(model: ChatQwenCodeInterpreter) -> None:
    next(model.stream("on"))
    gc.collect()


def forgets_an_event_stream(model: ChatQwenCodeInterpreter) -> None:
    next(iter(model.stream_events("on", version="v3")))
    gc.collect()


def is_forgotten_in_a_cycle(model: ChatQwenCodeInterpreter) -> None:
    stored: list[Any] = [model.stream("on")]
    stored.append(stored)
    next(stored[0])
    del stored
    gc.collect()


@pytest.mark.parametrize(
    "leave",
    [breaks, fails, closes, forgets, forgets_an_event_stream, is_forgotten_in_a_cycle],
)
def test_abandoned_stream_closes_its_connection(counting, model, leave):
    leave(model)
    assert counting.sees(0, requests=1)
    assert model.invoke("whole").content == _ANSWER


async def abreaks(model: ChatQwenCodeInterpreter) -> None:
    async for _ in model.astream("on"):
        break


async def afails(model: ChatQwenCodeInterpreter) -> None:
    async def read() -> None:
        async for _ in model.astream("on"):
            raise Mistake

    with pytest.raises(Mistake):
        await read()


async def acloses(model: ChatQwenCodeInterpreter) -> None:
    stream: Any = model.astream("on")
    await anext(stream)
    await stream.aclose()


async def aforgets(model: ChatQwenCodeInterpreter) -> None:
    stream = aiter(model.astream("on"))
    await anext(stream)
    del stream
    gc.collect()


async def acloses_an_event_stream(model: ChatQwenCodeInterpreter) -> None:
    """One that is only forgotten goes on: LangChain reads it in a task of its own."""
    async with await model.astream_events("on", version="v3") as stream:
        await anext(aiter(stream))


async def ais_forgotten_in_a_cycle(model: ChatQwenCodeInterpreter) -> None:
    stored: list[Any] = [model.astream("on")]
    stored.append(stored)
    await anext(stored[0])
    del stored
    gc.collect()


LEAVE_ASYNC = [
    abreaks,
    afails,
    acloses,
    aforgets,
    acloses_an_event_stream,
    ais_forgotten_in_a_cycle,
]


@pytest.mark.parametrize("leave", LEAVE_ASYNC)
async def test_abandoned_async_stream_closes_its_connection(counting, model, leave):
    await leave(model)
    assert await counting.asees(0, requests=1)
    assert (await model.ainvoke("whole")).content == _ANSWER


@pytest.mark.parametrize("leave", LEAVE_ASYNC)
def test_async_stream_left_at_the_end_of_its_loop_closes(counting, model, leave):
    asyncio.run(leave(model))
    assert counting.sees(0, requests=1)


def test_open_stream_ends_with_its_loop(counting, model):
    stream = aiter(model.astream("on"))

    async def begin() -> None:
        await anext(stream)

    asyncio.run(begin())
    assert counting.sees(0, requests=1)


@pytest.mark.parametrize(
    "callbacks", [[], [BaseCallbackHandler()]], ids=["no_callbacks", "callbacks"]
)
def test_open_stream_ends_with_its_loop_without_output(counting, model, callbacks):
    """As it does where its reader fails: the traceback holds the reader, who holds the stream."""
    text: list[dict[str, Any]] = []

    async def fail() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, result: text.append(result))
        await model.ainvoke("whole")
        stream = model.astream("on", {"callbacks": callbacks})
        async for _ in stream:
            raise Mistake

    for _ in range(20):  # the order changes
        with pytest.raises(Mistake):
            asyncio.run(fail())
    assert text == []
    assert counting.sees(0)


# Tasks that are cancelled.


@pytest.mark.parametrize("question", ["silent", "on"])
@pytest.mark.parametrize("entry_point", ["ainvoke", "astream"])
async def test_cancelled_task_closes_its_connection(counting, model, question, entry_point):
    async def ask() -> None:
        if entry_point == "ainvoke":
            await model.ainvoke(question)
        async for _ in model.astream(question):
            pass

    asking = asyncio.ensure_future(ask())
    assert await counting.asees(1, requests=1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await counting.asees(0)


async def test_cancelled_tasks_do_not_affect_others(counting, model):
    left = [asyncio.ensure_future(model.ainvoke("on")) for _ in range(20)]
    stays = [asyncio.ensure_future(model.ainvoke("on")) for _ in range(5)]
    assert await counting.asees(25, requests=25)
    for asking in left:
        asking.cancel()
    await asyncio.wait(left)
    assert await counting.asees(5)
    assert not any(asking.done() for asking in stays)
    for asking in stays:
        asking.cancel()
    await asyncio.wait(stays)
    assert await counting.asees(0)


@asynccontextmanager
async def a_full_house() -> AsyncIterator[str]:
    """Where connecting has no end: the listener's queue is full, and nobody takes from it."""
    loop = asyncio.get_running_loop()
    queued = [socket.socket() for _ in range(8)]
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for one in queued:
            one.setblocking(False)
            waiting.append(asyncio.ensure_future(loop.sock_connect(one, listener.getsockname())))
        await asyncio.wait(waiting, timeout=0.2)
        assert not all(one.done() for one in waiting), "the queue takes them all"
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)
            for one in queued:
                one.close()


def sockets() -> int:
    """How many this process has open."""
    return sum(entry.is_socket() for entry in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
async def test_task_cancelled_while_connecting_leaves_no_socket():
    async with a_full_house() as url:
        model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
        before = sockets()
        asking = asyncio.ensure_future(model.ainvoke("?"))
        async with asyncio.timeout(_GO_SECONDS):
            while sockets() == before:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert sockets() == before


# Loops and threads.


def test_model_leaves_nothing_open_in_many_loops(counting, model):
    for number in range(10):
        assert asyncio.run(model.ainvoke("whole")).content == _ANSWER
        assert counting.sees(0, requests=number + 1)


def clients_and_loops() -> int:
    gc.collect()
    kinds = (httpx.AsyncClient, asyncio.AbstractEventLoop)
    return sum(isinstance(one, kinds) for one in gc.get_objects())


def test_model_keeps_no_clients_of_ended_loops(counting, model):
    stored = []
    for _ in range(3):
        asyncio.run(model.ainvoke("whole"))
        stored.append(clients_and_loops())
    assert stored[0] == stored[2]


def test_restarted_loop_reuses_its_connection(counting, model):
    """As pytest's loops do: set up, test and tear down are runs of one loop."""
    with asyncio.Runner() as runner:
        for _ in range(3):
            assert runner.run(model.ainvoke("whole")).content == _ANSWER
            assert counting.sees(1)
        runner.run(abreaks(model))
    assert counting.sees(0, requests=4)


def test_threads_with_own_loops_share_a_model(counting, model):
    together = threading.Barrier(8)

    async def ask() -> list[str]:
        together.wait(_GO_SECONDS)
        answers = await asyncio.gather(*(model.ainvoke("whole") for _ in range(3)))
        return [message.text for message in answers]

    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(lambda: asyncio.run(ask())) for _ in range(8)]
        assert [answers.result() for answers in sent] == [[_ANSWER] * 3] * 8
    assert counting.sees(0, requests=24)


def test_threads_share_the_sync_client(counting, model):
    together = threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait(_GO_SECONDS)
        breaks(model)
        return model.invoke("whole").text

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [_ANSWER] * 8
    model.close()
    assert counting.sees(0, requests=16)


def test_sync_and_async_calls_alternate(counting, model):
    async def both() -> list[str]:
        return [model.invoke("whole").text, (await model.ainvoke("whole")).text]

    assert asyncio.run(both()) == [_ANSWER] * 2
    assert counting.sees(1)  # the loop has ended, and the sync client has not
    model.close()
    assert counting.sees(0)


# Closing, and not closing.


def test_close_closes_connections_and_the_next_call_opens_new_ones(counting, model):
    for _ in range(3):
        assert model.invoke("whole").content == _ANSWER
        assert counting.sees(1)
        model.close()
        assert counting.sees(0)
    model.close()


async def test_aclose_closes_connections_and_the_next_call_opens_new_ones(counting, model):
    for _ in range(3):
        await asyncio.gather(*(model.ainvoke("whole") for _ in range(4)))
        await asyncio.to_thread(model.invoke, "whole")
        assert counting.connections > 1
        await model.aclose()
        assert await counting.asees(0)
    await model.aclose()


def test_stream_of_a_closed_model_raises_an_error(counting, model):
    stream = model.stream("on")
    next(stream)
    model.close()
    assert counting.sees(0, requests=1)
    with pytest.raises(QwenError):
        list(stream)


async def test_async_stream_of_a_closed_model_raises_an_error(counting, model):
    stream = aiter(model.astream("on"))
    await anext(stream)
    await model.aclose()
    assert await counting.asees(0, requests=1)
    with pytest.raises(QwenError):
        await anext(stream)


def test_collected_sync_model_closes_its_connections(counting):
    model = a_model(counting)
    model.invoke("whole")
    assert counting.sees(1)
    del model
    gc.collect()
    assert counting.sees(0)


def test_copy_has_its_own_connections(counting, model):
    copy = model.model_copy(deep=True)
    assert copy.invoke("whole").content == model.invoke("whole").content == _ANSWER
    copy.close()
    assert counting.sees(1)
    assert model.invoke("whole").content == _ANSWER
    assert counting.requests == 3


NEVER_CLOSED = """
import asyncio, sys
from langchain_qwen_ci import ChatQwenCodeInterpreter

model = ChatQwenCodeInterpreter(base_url=sys.argv[1], api_key="any")
stream = model.stream("on")
next(stream)
model.invoke("whole")

async def ask():
    return (await model.ainvoke("whole")).text

print(asyncio.run(ask()))
"""


READ_BY_A_DAEMON = """
import sys, threading, warnings
from langchain_qwen_ci import ChatQwenCodeInterpreter

model = ChatQwenCodeInterpreter(base_url=sys.argv[1], api_key="any")
started = threading.Event()

def read():
    for _ in model.stream("on"):
        started.set()

warnings.filterwarnings("ignore", ".*is in beta")
model.invoke("whole")
events = iter(model.stream_events("on", version="v3"))
next(events)
threading.Thread(target=read, daemon=True).start()
started.wait()
print("7 to the power of 5 is 16807.")
"""


@pytest.mark.parametrize("program", [NEVER_CLOSED, READ_BY_A_DAEMON], ids=["left", "daemon"])
def test_program_that_closes_nothing_exits_without_output(counting, program):
    done = subprocess.run(
        [*STRICT_PYTHON, "-c", program, counting.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{_ANSWER}\n", "", 0)
    assert counting.sees(0, requests=3)


# Clients that were given.


def test_custom_client_is_never_closed(counting):
    with httpx.Client() as client:
        model = a_model(counting, http_client=client)
        breaks(model)
        assert model.invoke("whole").content == _ANSWER
        model.close()
        del model
        gc.collect()
        assert not client.is_closed
        assert counting.sees(1)
    assert counting.sees(0)


async def test_custom_async_client_is_never_closed(counting):
    async with httpx.AsyncClient() as client:
        model = a_model(counting, http_async_client=client)
        await abreaks(model)
        assert (await model.ainvoke("whole")).content == _ANSWER
        await model.aclose()
        del model
        gc.collect()
        assert not client.is_closed
        assert await counting.asees(1)
    assert await counting.asees(0)
