"""Minds that fail, workers that crash, servers that are stopped in the middle."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from request_helpers import RESPONSES, responses

from langchain_qwen_ci.emulator import EmulatorServer, Limits, Run, Say, Script
from langchain_qwen_ci.emulator.sandbox import Sandbox, _Program

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

TEXT = "/api/v1/services/aigc/text-generation/generation"
HEADERS = {"Authorization": "Bearer any", "X-DashScope-SSE": "enable"}
PARAMETERS = {
    "result_format": "message",
    "incremental_output": True,
    "enable_thinking": True,
    "enable_code_interpreter": True,
}
BODY: dict[str, Any] = {
    "model": "qwen3-max",
    "input": {"messages": [{"role": "user", "content": "?"}]},
    "parameters": PARAMETERS,
}


def post(server: EmulatorServer, content: dict[str, Any] = BODY) -> httpx.Response:
    return httpx.post(server.url + TEXT, json=content, headers=HEADERS)


def fails_at_once(request):
    raise KeyError("my mistake")


def fails_half_way(request):
    yield Say("one two")
    raise KeyError("my mistake")


def test_responder_error_at_the_start_is_a_500():
    with EmulatorServer(responder=Script(fails_at_once)) as server:
        response = post(server)
    assert response.status_code == 500
    assert response.json()["message"] == "KeyError: 'my mistake'"


def test_responder_error_after_the_start_is_an_error_frame():
    with EmulatorServer(responder=Script(fails_half_way)) as server:
        response = post(server)
    last = response.text.removesuffix("\n\n").split("\n\n")[-1]
    assert last.startswith("id:3\nevent:error\n:HTTP_STATUS/500\ndata:")
    assert "KeyError: 'my mistake'" in last


def test_run_step_requires_the_interpreter():
    content = BODY | {"parameters": PARAMETERS | {"enable_code_interpreter": False}}
    with EmulatorServer(responder=Script([Run("1")])) as server:
        response = post(server, content)
    assert response.status_code == 500
    assert "interpreter is off" in response.json()["message"]


async def test_crashed_worker_fails_one_run_only():
    async with Sandbox(Limits(seconds=60)) as sandbox:
        program = _Program(sandbox, "while True: pass", variables=None)
        running = asyncio.ensure_future(asyncio.to_thread(program.run))
        while program._process is None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        os.kill(program._process, signal.SIGKILL)
        crashed, _ = await running
        after = await sandbox.session().run("2 + 2")
    assert crashed.failed
    assert "crashed" in crashed.output
    assert (after.failed, after.output) == (False, "4")


STOPPED_WHILE = {
    "a run": "responder=Script([Say('a '), Run('while True: pass')]), limits=Limits(seconds=60)",
    "a sandbox is open": "responder=Script([Run('1'), Say('a ' * 900)]), pace=0.01",
    "a stall": "responder=Script([Run('1'), Say('a b c')]), faults=(Stall(5, 60),)",
}


def test_disconnect_ends_an_unstreamed_run():
    endless = [Run("while True: pass")]
    turns = [*[endless] * 20, [Run("1"), Say("done")]]
    body = responses(stream=False)
    with EmulatorServer(responder=Script(*turns), limits=Limits(seconds=60)) as server:

        async def leave() -> None:
            async with httpx.AsyncClient() as client:
                with pytest.raises(httpx.ReadTimeout):
                    await client.post(
                        server.url + RESPONSES, json=body, headers=HEADERS, timeout=0.5
                    )

        async def many() -> None:
            await asyncio.gather(*(leave() for _ in range(20)))

        asyncio.run(many())
        # More runs than there are workers have been left: one must be free again.
        response = httpx.post(server.url + RESPONSES, json=body, headers=HEADERS, timeout=20)
    assert response.json()["output"][-1]["content"][0]["text"] == "done"


@pytest.mark.parametrize("name", STOPPED_WHILE)
def test_stop_is_fast_and_silent(name):
    program = f"""if True:
        import httpx, threading, time
        from langchain_qwen_ci.emulator import *
        server = EmulatorServer({STOPPED_WHILE[name]}).start()
        url = server.url + {TEXT!r}
        with httpx.stream("POST", url, json={BODY!r}, headers={HEADERS!r}) as response:
            arriving = response.iter_raw()
            next(arriving)
            time.sleep(0.3)
            began = time.monotonic()
            server.stop()
            print(time.monotonic() - began < 1, threading.active_count())
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("True 1\n", "")


def test_server_can_be_restarted_but_not_started_twice():
    before = threading.active_count()
    server = EmulatorServer(responder=Script([Say("a")], [Say("b")]))
    with server:
        with pytest.raises(RuntimeError, match="running"):
            server.start()
        assert post(server).status_code == 200
    with server:
        assert post(server).status_code == 200
    assert threading.active_count() == before


def test_long_question_does_not_block_the_server(qwen_emulator):
    for text in (
        "9" * 30_000 + " of",
        "1." * 15_000,
        "percent" * 5000 + "1" * 20_000,
        '{"properties":' * 9000,
    ):
        content = BODY | {"input": {"messages": [{"role": "user", "content": text}]}}
        # Read in a time that grows with its square, each would take longer than httpx waits.
        assert post(qwen_emulator, content).status_code == 200


@pytest.fixture
def no_garbage_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
def test_disconnect_frees_the_workers_of_a_stream():
    left = threading.Semaphore(0)

    class Endless:
        def respond(self, request):
            try:
                result = yield Run("6 * 7")
                while request.text == "go on":
                    yield Say("again ")
                yield Say(f"It is {result.output}.")
            finally:
                left.release()

    with EmulatorServer(responder=Endless(), pace=0.001) as server:
        url = server.url + RESPONSES
        for _ in range(16):  # as many as there are workers
            with httpx.stream("POST", url, json=responses("go on"), headers=HEADERS) as stream:
                assert any("again" in line for line in stream.iter_lines())
            assert left.acquire(timeout=30)
        response = httpx.post(url, json=responses("?", stream=False), headers=HEADERS)
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
            asking = [client.post(url, json=responses(), headers=HEADERS) for _ in range(many)]
            answers = await asyncio.gather(*asking)
    assert all("It is 43." in answer.text for answer in answers)
