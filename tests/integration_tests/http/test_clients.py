"""Connections of async calls: shared within a loop, and closed with it or with their owner."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer, Run, Say, Script

AT_ONCE = 6


@pytest.fixture
def url():
    with EmulatorServer(responder=Script(*[[Run("6 * 7"), Say("42")]] * 50)) as server:
        yield server.url


async def ask_at_once(url: str) -> None:
    """The model goes when this returns: just before its loop does."""
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
            while not client.is_closed:  # noqa: ASYNC110  # nothing tells of it
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
    assert model.invoke("?").content == "42"  # by a new one

    async def within() -> bool:
        async with ChatQwenCodeInterpreter(base_url=url, api_key="any") as model:
            assert (await model.ainvoke("?")).content == "42"
            client = await model._cached_transport._async_clients.get()
            assert not client.is_closed
        return client.is_closed

    assert asyncio.run(within())
