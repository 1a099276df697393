"""Checkpointers for each kind of storage, and functions that compare stored states."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain_core.messages import message_to_dict
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

# LangChain adds "-0" to the id of a message that was not streamed.
RANDOM_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?:-0)?")


def strict_serializer() -> JsonPlusSerializer:
    """Return the serializer that LANGGRAPH_STRICT_MSGPACK makes the default.

    It loads only classes that are known to be safe.
    """
    return JsonPlusSerializer(allowed_msgpack_modules=None)


@contextmanager
def saver(place: str, serde: JsonPlusSerializer | None = None) -> Iterator[Any]:
    """Open a checkpointer: "memory", the path of an SQLite file, or a PostgreSQL address."""
    serde = serde or strict_serializer()
    if place == "memory":
        yield InMemorySaver(serde=serde)
    elif place.startswith("postgresql:"):
        with PostgresSaver.from_conn_string(place) as postgres:
            postgres.serde = serde
            postgres.setup()
            yield postgres
    else:
        with SqliteSaver.from_conn_string(place) as sqlite:
            sqlite.serde = serde
            yield sqlite


@asynccontextmanager
async def async_saver(place: str) -> AsyncIterator[Any]:
    """Asynchronous form of `saver`."""
    if place == "memory":
        yield InMemorySaver(serde=strict_serializer())
    elif place.startswith("postgresql:"):
        async with AsyncPostgresSaver.from_conn_string(
            place, serde=strict_serializer()
        ) as postgres:
            await postgres.setup()
            yield postgres
    else:
        async with AsyncSqliteSaver.from_conn_string(place) as sqlite:
            sqlite.serde = strict_serializer()
            yield sqlite


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return a state with its messages as dictionaries."""
    return {**values, "messages": [message_to_dict(message) for message in values["messages"]]}


def comparable(values: dict[str, Any]) -> dict[str, Any]:
    """Return a state with its random ids replaced by numbers, in the order of their appearance."""
    numbers: dict[str, str] = {}
    text = json.dumps(plain(values), sort_keys=True)
    text = RANDOM_ID.sub(lambda found: numbers.setdefault(found[0], f"id {len(numbers)}"), text)
    return json.loads(text)
