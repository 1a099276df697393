"""The sandbox: what code cannot do, and what a crash leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from emulator_requests import model_of

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import EmulatorServer, Limits, Run, Say, Script
from langchain_qwen_ci.emulator.sandbox import Sandbox, _Program

ATTACKS = {
    "files": "open('/etc/passwd').read()",
    "network": "import socket",
    "processes": "import subprocess",
    "environment": "import os\nos.environ['PATH']",
    "time": "while True: pass",
    "memory": "[0] * 10**9",
    "recursion": "def f(): f()\nf()",
    "a number too long to print": "10**5000",
    "a number too large to compute": "10**10**9",
    "output without end": "while True: print('x' * 100_000)",
    "nesting": "x = []\nfor _ in range(10**6): x = [x]\nx",
    "source": "(" * 100_000,
    "import by a builtin": "__import__('os').system('id')",
    "classes": "().__class__.__bases__[0].__subclasses__()",
    "the interpreter": "import sys\nsys.modules",
    "paths": "from pathlib import Path\nPath('/etc/passwd').read_text()",
    "standard input": "input()",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_sandbox_limits_code(name):
    outcome: list[Any] = []

    class Attacker:
        def respond(self, request):
            outcome.append((yield Run(ATTACKS[name])))
            yield Say("still here")

    limits = Limits(seconds=0.3, memory=32 * 1024 * 1024)
    with EmulatorServer(responder=Attacker(), limits=limits) as server:
        message = model_of(server, api="responses").invoke("?")
        assert message.content == "still here"
    assert outcome[0].failed
    assert len(outcome[0].output) < 2**20
    assert code_executions(message)[0]["status"] == "failed"  # because its output is a traceback


def test_long_output_is_truncated():
    limits = Limits(output=100)
    with EmulatorServer(
        responder=Script([Run("'x' * 10**6"), Say("done")]), limits=limits
    ) as server:
        message = model_of(server, api="responses").invoke("?")
    assert code_executions(message)[0]["output"] == f"'{'x' * 99}… (999902 more)"


async def test_crashed_worker_fails_one_run_only():
    async with Sandbox(Limits(seconds=60)) as sandbox:
        program = _Program(sandbox, "while True: pass", variables=None)
        running = asyncio.ensure_future(asyncio.to_thread(program.run))
        while program._process is None:  # noqa: ASYNC110  # no event reports it
            await asyncio.sleep(0)
        os.kill(program._process, signal.SIGKILL)
        crashed, _ = await running
        after = await sandbox.session().run("2 + 2")
    assert crashed.failed
    assert "crashed" in crashed.output
    assert (after.failed, after.output) == (False, "4")
