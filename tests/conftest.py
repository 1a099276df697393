"""Fixtures of all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from mock_service import Answer, MockService

# A shell starts background processes with SIGINT ignored, and their children inherit that. The
# tests of Ctrl-C need Python's handler.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mock_service() -> Callable[..., MockService]:
    """Build a `MockService`: `mock_service(first_answer, second_answer)`."""

    def build(*answers: Answer) -> MockService:
        return MockService(list(answers))

    return build


@pytest.fixture(autouse=True)
def _without_dashscope_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DASHSCOPE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def recorded_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before retries in seconds; they are recorded and take no time."""
    recorded: list[float] = []

    async def record(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr("langchain_qwen_ci.http.exchanges.time.sleep", recorded.append)
    monkeypatch.setattr("langchain_qwen_ci.http.exchanges.asyncio.sleep", record)
    return recorded
