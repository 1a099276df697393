"""A model whose service is a function: what it sends is recorded, what it gets is given."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter

# In the background of a shell a process ignores Ctrl-C, and so do those that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Handler = Callable[[httpx.Request], httpx.Response]


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that arrives in these pieces, and then ends or breaks."""

    def __init__(self, *pieces: bytes, breaks: Exception | None = None) -> None:
        self._pieces = pieces
        self._breaks = breaks
        self.closed = False
        self.read_to_the_end = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        self.read_to_the_end = True
        if self._breaks:
            raise self._breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Service:
    """What the model under test talks to."""

    answers: list[Any] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return httpx.Response(200, stream=Pieces(answer))
        if isinstance(answer, Pieces):
            return httpx.Response(200, stream=answer)
        return answer()

    async def asynchronously(self, request: httpx.Request) -> httpx.Response:
        return self(request)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def model(self, **fields: Any) -> ChatQwenCodeInterpreter:
        return ChatQwenCodeInterpreter(
            **{
                "api_key": "sk-test",
                "base_url": "http://127.0.0.1:9",
                "http_client": httpx.Client(transport=httpx.MockTransport(self)),
                "http_async_client": httpx.AsyncClient(
                    transport=httpx.MockTransport(self.asynchronously)
                ),
                **fields,
            }
        )


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

    monkeypatch.setattr("langchain_qwen_ci.transport.time.sleep", recorded.append)
    monkeypatch.setattr("langchain_qwen_ci.transport.asyncio.sleep", asleep)
    return recorded
