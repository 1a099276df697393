"""The lifetime of the server: threads, ports, event loops, and stopping at any time."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time

import pytest
from emulator_requests import QUESTION, RESULT, STREAM_HEADERS, TEXT, dashscope_body, model_of, send

from langchain_qwen_ci.emulator import EmulatorServer, Limits, Run, Say, Script
from langchain_qwen_ci.errors import QwenError

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

HEADERS = {"Authorization": "Bearer any", **STREAM_HEADERS}
STOPPED_WHILE = {
    "a run": "responder=Script([Say('a '), Run('while True: pass')]), limits=Limits(seconds=60)",
    "a paced stream with a sandbox": "responder=Script([Run('1'), Say('a ' * 900)]), pace=0.01",
    "a stall": "responder=Script([Run('1'), Say('a b c')]), faults=(Stall(5, 60),)",
}


@pytest.mark.parametrize("name", STOPPED_WHILE)
def test_stop_is_fast_and_silent(name):
    program = f"""if True:
        import httpx, threading, time
        from langchain_qwen_ci.emulator import *
        server = EmulatorServer({STOPPED_WHILE[name]}).start()
        url = server.url + {TEXT!r}
        with httpx.stream("POST", url, json={dashscope_body()!r}, headers={HEADERS!r}) as response:
            arriving = response.iter_raw()
            next(arriving)
            time.sleep(0.3)
            before_stop = time.monotonic()
            server.stop()
            print(time.monotonic() - before_stop < 1, threading.active_count())
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
        assert send(server, "dashscope").status_code == 200
    with server:
        assert send(server, "dashscope").status_code == 200
    assert threading.active_count() == before


def test_stopped_server_leaves_nothing_behind():
    before = threading.active_count()
    servers = [EmulatorServer().start() for _ in range(3)]
    assert len({server.url for server in servers}) == 3
    for server in servers:
        assert RESULT in model_of(server).invoke(QUESTION).content
        server.stop()
        server.stop()
    assert threading.active_count() == before
    with pytest.raises(QwenError):
        model_of(servers[0], max_retries=0).invoke("?")


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.4])
def test_server_stops_while_code_runs(after):
    endless = [Run("while True: pass")]
    server = EmulatorServer(responder=Script(endless), limits=Limits(seconds=30)).start()
    started = threading.Event()

    def call_model() -> None:
        started.set()
        with contextlib.suppress(QwenError):
            model_of(server, max_retries=0).invoke("?")

    thread = threading.Thread(target=call_model)
    thread.start()
    started.wait()
    time.sleep(after)
    before = time.monotonic()
    server.stop()
    assert time.monotonic() - before < 5
    thread.join()


def test_used_port_raises_an_error(qwen_emulator):
    port = int(qwen_emulator.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        EmulatorServer(port=port).start()


async def test_server_works_inside_a_running_loop(qwen_emulator):
    model = model_of(qwen_emulator)
    answers = await asyncio.gather(*(model.ainvoke(f"What is {n} squared?") for n in range(20)))
    assert [f"= {n * n}." in answer.content for n, answer in enumerate(answers)] == [True] * 20
    await model.aclose()


def test_long_question_does_not_block_the_server(qwen_emulator):
    for text in (
        "9" * 30_000 + " of",
        "1." * 15_000,
        "percent" * 5000 + "1" * 20_000,
        '{"properties":' * 9000,
    ):
        # With quadratic time, each would take longer than the timeout of httpx.
        assert send(qwen_emulator, "dashscope", text).status_code == 200
