"""A pytest fixture: `pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_qwen_ci.emulator import EmulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def qwen_emulator() -> Iterator[EmulatorServer]:
    """A running `EmulatorServer` with the planner."""
    with EmulatorServer() as server:
        yield server
