"""The four methods that call a model, for tests of behaviour that all of them share."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


async def _astream(model: Any) -> list[Any]:
    return [chunk async for chunk in model.astream("?")]


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "stream": lambda model: list(model.stream("?")),
    "astream": lambda model: asyncio.run(_astream(model)),
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
