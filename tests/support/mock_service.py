"""A service in the test's own process, connected through `httpx.MockTransport`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from langchain_qwen_ci import ChatQwenCodeInterpreter


class StreamedBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response body of these pieces; after them it ends, or raises `error`."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error
        self.closed = False
        self.fully_read = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        self.fully_read = True
        if self._error:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


# A body of a 200 response, an exception to raise, or a function that builds the response.
Answer = bytes | StreamedBody | Exception | Callable[[], httpx.Response]


@dataclass
class MockService:
    """Records requests and returns one answer to each; the last answer is repeated."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return httpx.Response(200, stream=StreamedBody(answer))
        if isinstance(answer, StreamedBody):
            return httpx.Response(200, stream=answer)
        return answer()

    async def handle_async(self, request: httpx.Request) -> httpx.Response:
        return self(request)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The JSON bodies of the requests."""
        return [json.loads(request.content) for request in self.requests]

    def model(self, **fields: Any) -> ChatQwenCodeInterpreter:
        """Build a model that sends its requests to this service."""
        return ChatQwenCodeInterpreter(
            **{
                "api_key": "sk-test",
                "base_url": "https://dashscope.aliyuncs.com",
                "http_client": httpx.Client(transport=httpx.MockTransport(self)),
                "http_async_client": httpx.AsyncClient(
                    transport=httpx.MockTransport(self.handle_async)
                ),
                **fields,
            }
        )
