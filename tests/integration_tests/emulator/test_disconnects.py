"""When a client disconnects, the answer ends: its programs stop and its workers are free."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import httpx
import pytest
from emulator_requests import RESPONSES, model_of, responses_body

from langchain_qwen_ci.emulator import EmulatorServer, Limits, Run, Say, Script, Think
from langchain_qwen_ci.errors import QwenTimeoutError

HEADERS = {"Authorization": "Bearer any"}


def test_disconnect_ends_a_run():
    endless, short = [Think("Hm."), Run("while True: pass")], [Run("1"), Say("done")]
    with EmulatorServer(
        responder=Script(*[endless] * 20, short), limits=Limits(seconds=60)
    ) as server:
        impatient = model_of(server, stream_chunk_timeout=0.3)

        async def call_model() -> None:
            with contextlib.suppress(QwenTimeoutError):
                await impatient.ainvoke("?")

        async def many() -> None:
            await asyncio.gather(*(call_model() for _ in range(20)))

        asyncio.run(many())
        # More programs were started than there are workers, so at least one must be free again.
        assert model_of(server, stream_chunk_timeout=20).invoke("?").content == "done"


def test_disconnect_ends_an_unstreamed_run():
    endless = [Run("while True: pass")]
    turns = [*[endless] * 20, [Run("1"), Say("done")]]
    body = responses_body(stream=False)
    with EmulatorServer(responder=Script(*turns), limits=Limits(seconds=60)) as server:

        async def disconnect() -> None:
            async with httpx.AsyncClient() as client:
                with pytest.raises(httpx.ReadTimeout):
                    await client.post(
                        server.url + RESPONSES, json=body, headers=HEADERS, timeout=0.5
                    )

        async def many() -> None:
            await asyncio.gather(*(disconnect() for _ in range(20)))

        asyncio.run(many())
        # More programs were started than there are workers, so at least one must be free again.
        response = httpx.post(server.url + RESPONSES, json=body, headers=HEADERS, timeout=20)
    assert response.json()["output"][-1]["content"][0]["text"] == "done"


@pytest.fixture
def no_garbage_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
def test_disconnect_frees_the_workers_of_a_stream():
    closed = threading.Semaphore(0)

    class Endless:
        def respond(self, request):
            try:
                result = yield Run("6 * 7")
                while request.text == "go on":
                    yield Say("again ")
                yield Say(f"It is {result.output}.")
            finally:
                closed.release()

    with EmulatorServer(responder=Endless(), pace=0.001) as server:
        url = server.url + RESPONSES
        for _ in range(16):  # as many as there are workers
            with httpx.stream("POST", url, json=responses_body("go on"), headers=HEADERS) as stream:
                assert any("again" in line for line in stream.iter_lines())
            assert closed.acquire(timeout=30)
        response = httpx.post(url, json=responses_body("?", stream=False), headers=HEADERS)
    assert response.json()["output"][-1]["content"][0]["text"] == "It is 42."


async def test_slow_streams_do_not_block_workers():
    many = 40  # more than there are workers

    class AllAtOnce:
        ran = 0

        def respond(self, request):
            result = yield Run("6 * 7")
            self.ran += 1
            while self.ran < many:
                yield Say("wait ")
            result = yield Run(f"{result.output} + 1")
            yield Say(f"It is {result.output}.")

    with EmulatorServer(responder=AllAtOnce(), pace=0.001) as server:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
            url = server.url + RESPONSES
            requests = [
                client.post(url, json=responses_body(), headers=HEADERS) for _ in range(many)
            ]
            answers = await asyncio.gather(*requests)
    assert all("It is 43." in answer.text for answer in answers)
