"""Fixtures for pytest: `pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from langchain_qwen_ci.emulator import EmulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def qwen_emulator() -> Iterator[EmulatorServer]:
    """A running `EmulatorServer` with the planner; `set_script` gives it answers.

    A test that injects a fault which never takes effect fails at its end.
    """
    server = EmulatorServer().start()
    yield server
    server.stop()
    if server.unused_faults:
        faults = ", ".join(map(repr, server.unused_faults))
        pytest.fail(f"These injected faults never took effect: {faults}", pytrace=False)


@pytest.fixture
def qwen_emulator_env(
    qwen_emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> EmulatorServer:
    """The server of `qwen_emulator`, with the environment that connects the models to it.

    Sets `DASHSCOPE_BASE_URL` and `DASHSCOPE_API_KEY`, and removes all other variables of DashScope.
    """
    for name in list(os.environ):
        if name.startswith("DASHSCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", qwen_emulator.url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "emulator")
    return qwen_emulator
