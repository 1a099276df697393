"""What is kept of a graph: places to keep it in, and how to compare what came back."""

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


def strict() -> JsonPlusSerializer:
    """What LANGGRAPH_STRICT_MSGPACK makes the default: no class but those known to be safe."""
    return JsonPlusSerializer(allowed_msgpack_modules=None)


@contextmanager
def saver(place: str, serde: JsonPlusSerializer | None = None) -> Iterator[Any]:
    """A checkpointer that keeps in a place: "memory", a file's path, or PostgreSQL's address."""
    serde = serde or strict()
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
    """`saver`, for asyncio."""
    if place == "memory":
        yield InMemorySaver(serde=strict())
    elif place.startswith("postgresql:"):
        async with AsyncPostgresSaver.from_conn_string(place, serde=strict()) as postgres:
            await postgres.setup()
            yield postgres
    else:
        async with AsyncSqliteSaver.from_conn_string(place) as sqlite:
            sqlite.serde = strict()
            yield sqlite


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A state with its messages as dictionaries, field by field."""
    return {**values, "messages": [message_to_dict(message) for message in values["messages"]]}


def comparable(values: dict[str, Any]) -> dict[str, Any]:
    """A state whose random ids are numbered as they first appear, to compare it with another's."""
    observed: dict[str, str] = {}
    text = json.dumps(plain(values), sort_keys=True)
    numbered = RANDOM_ID.sub(
        lambda found: observed.setdefault(found[0], f"id {len(observed)}"), text
    )
    return json.loads(numbered)
