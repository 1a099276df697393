"""The tables of docs/self-hosted.md: each cell is checked against a stream of that server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end import check_stream
from langchain_core.messages import AIMessage
from streams_by_host import CODES, REASONING, STREAMS, TEXT, URL

from langchain_qwen_ci import code_executions, plugin_counts

PAGE = Path(__file__).parents[3] / "docs" / "self-hosted.md"
KINDS = ("Alibaba", "vLLM, SGLang", "gateways")
URLS = {
    "Alibaba": None,
    "vLLM, SGLang": "http://127.0.0.1:8000/v1",
    "gateways": "https://g.example/v1",
}
COUNTS = {"code_interpreter": len(CODES)}

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


def _run_counts(message: AIMessage) -> str:
    if "plugins" in message.response_metadata:
        assert message.response_metadata["plugins"] == {"code_interpreter": {"count": len(CODES)}}
        return "yes"
    return "counted by this package" if plugin_counts(message) == COUNTS else "no"


def _unique_ids(message: AIMessage) -> bool:
    executions = [execution["id"] for execution in code_executions(message)]
    ids = [*executions, *(call["id"] for call in message.tool_calls)]
    return len(ids) == len(CODES) == len(set(ids)) and all(ids)


def _citations(message: AIMessage) -> list[str]:
    blocks: list[Any] = message.content_blocks
    return [found["url"] for block in blocks for found in block.get("annotations", [])]


FEATURES: dict[str, Callable[[AIMessage], bool | str]] = {
    "text": lambda message: message.text == TEXT,
    "reasoning": lambda message: message.additional_kwargs.get("reasoning_content") == REASONING,
    "executed code": lambda message: [one["code"] for one in code_executions(message)] == CODES,
    "output of code": lambda message: (
        [one.get("output") for one in code_executions(message)] == ["16807"] * len(CODES)
    ),
    "number of executions": _run_counts,
    "unique ids of executions and calls": _unique_ids,
    "citations": lambda message: _citations(message) == [URL],
    "usage": lambda message: (message.usage_metadata or {}).get("total_tokens") == 360,
}


def documented_cells(api: str) -> dict[tuple[str, str], str]:
    """Return the cells of the table below the heading of an API, by feature and kind of server."""
    _, _, section = PAGE.read_text().partition(f'\n### `api="{api}"`\n')
    table = re.findall(r"^\|(.*)\|$", section.partition("\n#")[0], re.MULTILINE)
    (_, *kinds), _, *rows = ([cell.strip() for cell in row.split("|")] for row in table)
    assert tuple(kinds) == KINDS
    return {
        (feature, kind): cell
        for feature, *cells in rows
        for kind, cell in zip(kinds, cells, strict=True)
    }


@pytest.mark.parametrize("api", STREAMS)
def test_every_feature_of_every_kind_of_server_is_documented(api):
    assert list(documented_cells(api)) == [(name, kind) for name in FEATURES for kind in KINDS]


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_what_the_streams_contain(mock_service, api, kind):
    for body in STREAMS[api][kind]:
        assert check_stream(api, body).error is None
        message = mock_service(body).model(api=api, base_url=URLS[kind]).invoke("?")
        for name, feature in FEATURES.items():
            found = feature(message)
            cell = found if isinstance(found, str) else ("no", "yes")[found]
            assert documented_cells(api)[name, kind] == cell, name
