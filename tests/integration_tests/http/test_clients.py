"""Clients are shared by threads and within an event loop, and closed with their loop or model."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import httpx2
import pytest
from connection_counter import ANSWER, TIMEOUT_SECONDS, abreak_out, break_out
from slow_server import SlowServer
from strict_python import STRICT_PYTHON

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.emulator import EmulatorServer, Run, Say, Script
from langchain_qwen_ci.errors import QwenConnectionError, QwenError, QwenStreamError

AT_ONCE = 6


@pytest.fixture
def url():
    with EmulatorServer(responder=Script(*[[Run("6 * 7"), Say("42")]] * 50)) as server:
        yield server.url


async def ask_at_once(url: str) -> None:
    """Drop the model on return, just before the loop ends."""
    model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
    await asyncio.gather(*(model.ainvoke("?") for _ in range(AT_ONCE)))


def test_model_collected_with_its_loop_leaves_no_sockets(url):
    with warnings.catch_warnings(record=True) as text:
        warnings.simplefilter("always")
        for _ in range(3):
            asyncio.run(ask_at_once(url))
            gc.collect()
    assert [str(one.message) for one in text if one.category is ResourceWarning] == []


def test_model_collected_before_its_loop_closes_connections(url):
    async def outlive() -> bool:
        model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
        await model.ainvoke("?")
        client = await model._cached_transport._async_clients.get()
        assert not client.is_closed
        del model
        gc.collect()
        async with asyncio.timeout(10):
            while not client.is_closed:  # noqa: ASYNC110  # the close has no event
                await asyncio.sleep(0.01)
        return client.is_closed

    assert asyncio.run(outlive())


def test_one_model_works_in_several_loops(url):
    model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
    for _ in range(3):
        assert asyncio.run(model.ainvoke("?")).content == "42"


def test_model_can_be_closed_twice_and_used_again(url):
    async def close_and_ask() -> str:
        model = ChatQwenCodeInterpreter(base_url=url, api_key="any")
        await model.ainvoke("?")
        await asyncio.gather(model.aclose(), model.aclose())
        return (await model.ainvoke("?")).content

    assert asyncio.run(close_and_ask()) == "42"


def test_with_statement_closes_connections(url):
    with ChatQwenCodeInterpreter(base_url=url, api_key="any") as model:
        assert model.invoke("?").content == "42"
        client = model._cached_transport._client.get()
        assert not client.is_closed
    assert client.is_closed
    assert model.invoke("?").content == "42"  # with a new client

    async def within() -> bool:
        async with ChatQwenCodeInterpreter(base_url=url, api_key="any") as model:
            assert (await model.ainvoke("?")).content == "42"
            client = await model._cached_transport._async_clients.get()
            assert not client.is_closed
        return client.is_closed

    assert asyncio.run(within())


def test_model_leaves_nothing_open_in_many_loops(connection_counter, model):
    for number in range(10):
        assert asyncio.run(model.ainvoke("complete")).content == ANSWER
        assert connection_counter.reaches(0, requests=number + 1)


def clients_and_loops() -> int:
    gc.collect()
    kinds = (httpx.AsyncClient, asyncio.AbstractEventLoop)
    return sum(isinstance(one, kinds) for one in gc.get_objects())


def test_model_keeps_no_clients_of_ended_loops(connection_counter, model):
    stored = []
    for _ in range(3):
        asyncio.run(model.ainvoke("complete"))
        stored.append(clients_and_loops())
    assert stored[0] == stored[2]


def test_restarted_loop_reuses_its_connection(connection_counter, model):
    """pytest-asyncio does this: setup, test and teardown are separate runs of one loop."""
    with asyncio.Runner() as runner:
        for _ in range(3):
            assert runner.run(model.ainvoke("complete")).content == ANSWER
            assert connection_counter.reaches(1)
        runner.run(abreak_out(model))
    assert connection_counter.reaches(0, requests=4)


def test_threads_with_own_loops_share_a_model(connection_counter, model):
    together = threading.Barrier(8)

    async def ask() -> list[str]:
        together.wait(TIMEOUT_SECONDS)
        answers = await asyncio.gather(*(model.ainvoke("complete") for _ in range(3)))
        return [message.text for message in answers]

    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(lambda: asyncio.run(ask())) for _ in range(8)]
        assert [answers.result() for answers in sent] == [[ANSWER] * 3] * 8
    assert connection_counter.reaches(0, requests=24)


def test_threads_share_the_sync_client(connection_counter, model):
    together = threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait(TIMEOUT_SECONDS)
        break_out(model)
        return model.invoke("complete").text

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [ANSWER] * 8
    model.close()
    assert connection_counter.reaches(0, requests=16)


def test_sync_and_async_calls_alternate(connection_counter, model):
    async def both() -> list[str]:
        return [model.invoke("complete").text, (await model.ainvoke("complete")).text]

    assert asyncio.run(both()) == [ANSWER] * 2
    assert connection_counter.reaches(1)  # of the sync client; the one of the ended loop is closed
    model.close()
    assert connection_counter.reaches(0)


def test_close_closes_connections_and_the_next_call_opens_new_ones(connection_counter, model):
    for _ in range(3):
        assert model.invoke("complete").content == ANSWER
        assert connection_counter.reaches(1)
        model.close()
        assert connection_counter.reaches(0)
    model.close()


async def test_aclose_closes_connections_and_the_next_call_opens_new_ones(
    connection_counter, model
):
    for _ in range(3):
        await asyncio.gather(*(model.ainvoke("complete") for _ in range(4)))
        await asyncio.to_thread(model.invoke, "complete")
        assert connection_counter.connections > 1
        await model.aclose()
        assert await connection_counter.areaches(0)
    await model.aclose()


def test_stream_of_a_closed_model_raises_an_error(connection_counter, model):
    stream = model.stream("endless")
    next(stream)
    model.close()
    assert connection_counter.reaches(0, requests=1)
    with pytest.raises(QwenError):
        list(stream)


async def test_async_stream_of_a_closed_model_raises_an_error(connection_counter, model):
    stream = aiter(model.astream("endless"))
    await anext(stream)
    await model.aclose()
    assert await connection_counter.areaches(0, requests=1)
    with pytest.raises(QwenError):
        await anext(stream)


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "reused connection"])
def test_closing_a_model_wakes_threads_before_the_head(connection_counter, model, warm):
    if warm:
        model.invoke("complete")
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(model.invoke, "silent") for _ in range(3)]
        assert connection_counter.reaches(3, requests=3 + warm)
        model.close()
        for one in waiting:
            with pytest.raises(QwenConnectionError, match="model was closed"):
                one.result(TIMEOUT_SECONDS)
    assert connection_counter.reaches(0)
    assert model.invoke("complete").content == ANSWER


def test_closing_a_model_wakes_a_thread_in_the_tls_handshake():
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        model = ChatQwenCodeInterpreter(
            base_url=url, api_key="any", max_retries=0, connect_timeout=None
        )
        calling = threads.submit(model.invoke, "?")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1)
            model.close()
            with pytest.raises(QwenConnectionError, match="model was closed"):
                calling.result(TIMEOUT_SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="the queue of a listener is Linux's")
def test_closing_a_model_ends_a_thread_that_connects():
    with socket.socket() as listener, ExitStack() as stack, ThreadPoolExecutor(1) as threads:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # more than the queue holds: the next connection gets no reply
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        model = ChatQwenCodeInterpreter(
            base_url=url, api_key="any", max_retries=5, connect_timeout=1
        )
        calling = threads.submit(model.invoke, "?")
        time.sleep(0.2)
        model.close()
        with pytest.raises(QwenConnectionError, match="model was closed"):
            calling.result(TIMEOUT_SECONDS)


def test_collected_sync_model_closes_its_connections(connection_counter):
    model = connection_counter.model()
    model.invoke("complete")
    assert connection_counter.reaches(1)
    del model
    gc.collect()
    assert connection_counter.reaches(0)


def test_copy_has_its_own_connections(connection_counter, model):
    copy = model.model_copy(deep=True)
    assert copy.invoke("complete").content == model.invoke("complete").content == ANSWER
    copy.close()
    assert connection_counter.reaches(1)
    assert model.invoke("complete").content == ANSWER
    assert connection_counter.requests == 3


NEVER_CLOSED = """
import asyncio, sys
from langchain_qwen_ci import ChatQwenCodeInterpreter

model = ChatQwenCodeInterpreter(base_url=sys.argv[1], api_key="any")
stream = model.stream("endless")
next(stream)
model.invoke("complete")

async def ask():
    return (await model.ainvoke("complete")).text

print(asyncio.run(ask()))
"""


READ_BY_DAEMON_THREAD = """
import sys, threading, warnings
from langchain_qwen_ci import ChatQwenCodeInterpreter

model = ChatQwenCodeInterpreter(base_url=sys.argv[1], api_key="any")
started = threading.Event()

def read():
    for _ in model.stream("endless"):
        started.set()

warnings.filterwarnings("ignore", ".*is in beta")
model.invoke("complete")
events = iter(model.stream_events("endless", version="v3"))
next(events)
threading.Thread(target=read, daemon=True).start()
started.wait()
print("7 to the power of 5 is 16807.")
"""


@pytest.mark.parametrize("program", [NEVER_CLOSED, READ_BY_DAEMON_THREAD], ids=["left", "daemon"])
def test_program_that_closes_nothing_exits_without_output(connection_counter, program):
    done = subprocess.run(
        [*STRICT_PYTHON, "-c", program, connection_counter.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{ANSWER}\n", "", 0)
    assert connection_counter.reaches(0, requests=3)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_custom_client_is_never_closed(connection_counter, library):
    with library.Client() as client:
        model = connection_counter.model(http_client=client)
        break_out(model)
        assert model.invoke("complete").content == ANSWER
        model.close()
        del model
        gc.collect()
        assert not client.is_closed
        assert connection_counter.reaches(1)
    assert connection_counter.reaches(0)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_custom_async_client_is_never_closed(connection_counter, library):
    async with library.AsyncClient() as client:
        model = connection_counter.model(http_async_client=client)
        await abreak_out(model)
        assert (await model.ainvoke("complete")).content == ANSWER
        await model.aclose()
        del model
        gc.collect()
        assert not client.is_closed
        assert await connection_counter.areaches(1)
    assert await connection_counter.areaches(0)


def test_closing_a_model_wakes_a_reading_thread():
    code_received = threading.Event()

    def read(model: ChatQwenCodeInterpreter) -> None:
        for chunk in model.stream("?"):
            if code_executions(chunk):
                code_received.set()

    with SlowServer(b"", 0.0) as server, ThreadPoolExecutor(1) as threads:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="k")
        reading = threads.submit(read, model)
        assert code_received.wait(10)
        model.close()
        with pytest.raises(QwenStreamError, match="broke off") as caught:
            reading.result(10)
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
