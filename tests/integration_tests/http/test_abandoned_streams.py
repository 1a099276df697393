"""A stream that its reader abandons closes its connection."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import suppress
from typing import Any

import httpx
import httpx2
import pytest
from connection_counter import ANSWER, TIMEOUT_SECONDS, abreak_out, break_out
from langchain_core.callbacks import BaseCallbackHandler

from langchain_qwen_ci import ChatQwenCodeInterpreter

pytestmark = pytest.mark.filterwarnings("ignore:.*is in beta")


class ReaderError(Exception):
    """Raised by the code that reads a stream."""


def raise_in_reader(model: ChatQwenCodeInterpreter) -> None:
    def read() -> None:
        for _ in model.stream("endless"):
            raise ReaderError

    with pytest.raises(ReaderError):
        read()


def close_stream(model: ChatQwenCodeInterpreter) -> None:
    stream: Any = model.stream("endless")
    next(stream)
    stream.close()


def drop_stream(model: ChatQwenCodeInterpreter) -> None:
    next(model.stream("endless"))
    gc.collect()


def drop_event_stream(model: ChatQwenCodeInterpreter) -> None:
    next(iter(model.stream_events("endless", version="v3")))
    gc.collect()


def drop_stream_in_cycle(model: ChatQwenCodeInterpreter) -> None:
    stored: list[Any] = [model.stream("endless")]
    stored.append(stored)
    next(stored[0])
    del stored
    gc.collect()


@pytest.mark.parametrize(
    "leave",
    [
        break_out,
        raise_in_reader,
        close_stream,
        drop_stream,
        drop_event_stream,
        drop_stream_in_cycle,
    ],
)
def test_abandoned_stream_closes_its_connection(connection_counter, model, leave):
    leave(model)
    assert connection_counter.reaches(0, requests=1)
    assert model.invoke("complete").content == ANSWER


async def araise_in_reader(model: ChatQwenCodeInterpreter) -> None:
    async def read() -> None:
        async for _ in model.astream("endless"):
            raise ReaderError

    with pytest.raises(ReaderError):
        await read()


async def aclose_stream(model: ChatQwenCodeInterpreter) -> None:
    stream: Any = model.astream("endless")
    await anext(stream)
    await stream.aclose()


async def adrop_stream(model: ChatQwenCodeInterpreter) -> None:
    stream = aiter(model.astream("endless"))
    await anext(stream)
    del stream
    gc.collect()


async def aclose_event_stream(model: ChatQwenCodeInterpreter) -> None:
    """Close it explicitly: LangChain reads it in a task, which goes on without a consumer."""
    async with await model.astream_events("endless", version="v3") as stream:
        await anext(aiter(stream))


async def adrop_stream_in_cycle(model: ChatQwenCodeInterpreter) -> None:
    stored: list[Any] = [model.astream("endless")]
    stored.append(stored)
    await anext(stored[0])
    del stored
    gc.collect()


LEAVE_ASYNC = [
    abreak_out,
    araise_in_reader,
    aclose_stream,
    adrop_stream,
    aclose_event_stream,
    adrop_stream_in_cycle,
]


@pytest.mark.parametrize("leave", LEAVE_ASYNC)
async def test_abandoned_async_stream_closes_its_connection(connection_counter, model, leave):
    await leave(model)
    assert await connection_counter.areaches(0, requests=1)
    assert (await model.ainvoke("complete")).content == ANSWER


@pytest.mark.parametrize("leave", LEAVE_ASYNC)
def test_async_stream_left_at_the_end_of_its_loop_closes(connection_counter, model, leave):
    asyncio.run(leave(model))
    assert connection_counter.reaches(0, requests=1)


def test_open_stream_ends_with_its_loop(connection_counter, model):
    stream = aiter(model.astream("endless"))

    async def begin() -> None:
        await anext(stream)

    asyncio.run(begin())
    assert connection_counter.reaches(0, requests=1)


LOOPS = {"asyncio": asyncio.new_event_loop}
with suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


async def begin(streams: list[Any]) -> None:
    for stream in streams:
        await anext(stream)


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("library", [None, httpx, httpx2])
def test_open_stream_ends_with_a_loop_that_is_only_closed(connection_counter, library, new_loop):
    """`loop.close` does not call `shutdown_asyncgens`, as `asyncio.run` does."""
    fields = {"http_async_client": library.AsyncClient()} if library else {}
    model = connection_counter.model(**fields)
    streams = [aiter(model.astream("endless")) for _ in range(3)]

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(begin(streams), TIMEOUT_SECONDS))
    with warnings.catch_warnings():
        # Python warns of what this test does: its connections were not closed before the loop.
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        assert connection_counter.reaches(0, requests=3)
        del model, fields, streams, loop
        gc.collect()


@pytest.mark.parametrize(
    "callbacks", [[], [BaseCallbackHandler()]], ids=["no_callbacks", "callbacks"]
)
def test_open_stream_ends_with_its_loop_without_output(connection_counter, model, callbacks):
    """The stream is open at the end of its loop, because the error's traceback references it."""
    text: list[dict[str, Any]] = []

    async def fail() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, result: text.append(result))
        await model.ainvoke("complete")
        stream = model.astream("endless", {"callbacks": callbacks})
        async for _ in stream:
            raise ReaderError

    for _ in range(20):  # the order in which the loop closes generators varies
        with pytest.raises(ReaderError):
            asyncio.run(fail())
    assert text == []
    assert connection_counter.reaches(0)
