"""A forked process shares no connection with its parent, and waits for no lock of its threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langchain_qwen_ci.emulator import EmulatorServer, Run, Say, Think

PROGRAM = Path(__file__).parents[2] / "support" / "fork_program.py"
PROCESSES = [
    *("first", "one", "two", "three", "four", "parent"),
    *("loop", "child of a loop", "stream", "child of a stream", "child of a lock"),
]


class Echo:
    """Answers with what it was asked, in several frames."""

    def respond(self, request: Any) -> Any:
        for step in (Think("Let me see. " * 5), Run("1"), Say(request.text)):  # noqa: UP028
            yield step


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_forked_processes_get_their_own_answers(transport: str):
    with EmulatorServer(responder=Echo(), pace=0.01) as server:
        done = subprocess.run(
            [sys.executable, PROGRAM, server.url, transport],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(f"{who}: {who}" for who in PROCESSES)
