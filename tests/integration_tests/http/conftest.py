"""Fixtures of the tests that count connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from connection_counter import ConnectionCounter

from langchain_qwen_ci import ChatQwenCodeInterpreter


@pytest.fixture
def connection_counter() -> Iterator[ConnectionCounter]:
    with ConnectionCounter() as service:
        yield service


@pytest.fixture(params=["httpx", "fast"])
def model(
    connection_counter: ConnectionCounter, request: pytest.FixtureRequest
) -> ChatQwenCodeInterpreter:
    return connection_counter.model(transport=request.param)
