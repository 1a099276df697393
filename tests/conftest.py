"""Fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from mock_service import Service

# A process in the background of a shell ignores Ctrl-C, and so do the processes that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def service() -> Callable[..., Service]:
    """`service(answer, …)`: each request gets the next answer, the last one again and again."""
    return lambda *answers: Service(list(answers))


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "BASE_URL", "REGION", "WORKSPACE"):
        monkeypatch.delenv(f"DASHSCOPE_{name}", raising=False)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries wait no time here; what they would have waited is recorded."""
    recorded: list[float] = []

    async def asleep(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr("langchain_qwen_ci.http.exchanges.time.sleep", recorded.append)
    monkeypatch.setattr("langchain_qwen_ci.http.exchanges.asyncio.sleep", asleep)
    return recorded
