"""Runs a copy of `examples/app` with `langgraph dev`, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

APP = Path(__file__).parents[2] / "examples" / "app"
README = (APP / "README.md").read_text()
GUIDE = (APP.parent.parent / "docs" / "langgraph-server.md").read_text()
COMMAND = re.search(r"^LANGGRAPH.* langgraph dev.*$", README, re.MULTILINE)
_START_SECONDS = 60
_STOP_SECONDS = 20

# A graph that blocks the event loop; a test checks that the server detects this.
BLOCKING = """
import time

from langgraph.graph import START, MessagesState, StateGraph

async def block(state: MessagesState):
    time.sleep(0)

graph = StateGraph(MessagesState).add_node(block).add_edge(START, "block").compile()
"""

# A `sitecustomize.py`, which Python runs at its start. It logs connections to other machines.
CONNECTION_LOGGER = """
import sys

def log_connection(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = arguments[1] if event == "socket.connect" else arguments
        host = where[0] if isinstance(where, tuple) else "localhost"
        if host not in ("127.0.0.1", "::1", "localhost", "", None):
            print(f"CONNECTED TO ANOTHER MACHINE: {event} {host}", file=sys.stderr, flush=True)

sys.addaudithook(log_connection)
"""


@dataclass
class App:
    """A running server and its log."""

    url: str
    process: subprocess.Popen[bytes]
    path: Path

    @property
    def log(self) -> str:
        return self.path.read_text()

    @property
    def records(self) -> list[dict]:
        lines = (line for line in self.log.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ok").is_success:
                    return
            time.sleep(0.1)
        raise AssertionError(f"The server does not answer:\n{self.log}")


@contextmanager
def run_app(folder: Path, environment: dict[str, str]) -> Iterator[App]:
    """Start the server with the README's command; at the end, stop it and its child processes."""
    shutil.copytree(APP, folder)
    _add_blocking_graph(folder)
    (folder / "sitecustomize").mkdir()
    (folder / "sitecustomize" / "sitecustomize.py").write_text(CONNECTION_LOGGER)
    port = _free_port()
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            f"exec env {COMMAND[0]} --no-reload --port {port}",
            shell=True,
            cwd=folder,
            env=_clean_environment(folder) | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield App(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _add_blocking_graph(folder: Path) -> None:
    (folder / "blocking.py").write_text(BLOCKING)
    config = json.loads((folder / "langgraph.json").read_text())
    config["graphs"]["blocking"] = "./blocking.py:graph"
    (folder / "langgraph.json").write_text(json.dumps(config))


def _clean_environment(folder: Path) -> dict[str, str]:
    removed_prefixes = ("DASHSCOPE_", "LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "PYTEST_")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(removed_prefixes)
    }
    return environment | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "sitecustomize"),
        "LOG_JSON": "true",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
