"""A service made of a function: it records the requests and returns the answers it was given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from langchain_qwen_ci import ChatQwenCodeInterpreter

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
                "base_url": "https://dashscope.aliyuncs.com",
                "http_client": httpx.Client(transport=httpx.MockTransport(self)),
                "http_async_client": httpx.AsyncClient(
                    transport=httpx.MockTransport(self.asynchronously)
                ),
                **fields,
            }
        )
