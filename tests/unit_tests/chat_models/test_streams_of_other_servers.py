"""Streams of Alibaba, self-hosted servers and gateways are one message by every entry point."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph
from streams_by_host import STREAMS

from langchain_qwen_ci import CodeInterpreterState, QwenCodeInterpreterNode, code_executions

CASES = [
    (api, kind, number)
    for api, kinds in STREAMS.items()
    for kind, bodies in kinds.items()
    for number in range(len(bodies))
]

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


def add(chunks: list[Any]) -> AIMessage:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


async def astream(model: Any) -> AIMessage:
    return add([chunk async for chunk in model.astream("?")])


def run_node(model: Any) -> AIMessage:
    graph = StateGraph(CodeInterpreterState)
    graph.add_node("interpreter", QwenCodeInterpreterNode(model))
    graph.add_edge(START, "interpreter")
    return graph.compile().invoke({"messages": [HumanMessage("?")]})["messages"][-1]


def meaning(message: AIMessage) -> dict[str, Any]:
    """All parts of a message that do not depend on its form, without generated ids."""
    return {
        "text": message.text,
        "blocks": [block["type"] for block in message.content_blocks],
        "executions": [
            {name: value for name, value in execution.items() if name != "id"}
            for execution in code_executions(message)
        ],
        "calls": [(call["name"], call["args"]) for call in message.tool_calls],
        "finish_reason": message.response_metadata["finish_reason"],
        "usage": message.usage_metadata,
    }


@pytest.mark.parametrize(("api", "kind", "number"), CASES)
def test_message_is_the_same_by_every_entry_point(mock_service, api, kind, number):
    base_url = None if kind == "Alibaba" else "http://127.0.0.1:8000/v1"

    def model(**fields: Any) -> Any:
        backend = mock_service(STREAMS[api][kind][number])
        # The node takes no function tools with the interpreter on, but a server may call one.
        return backend.model(api=api, base_url=base_url, **fields)

    expected = meaning(model().invoke("?"))
    assert expected["text"]
    messages = {
        "ainvoke": asyncio.run(model().ainvoke("?")),
        "stream": add(list(model().stream("?"))),
        "astream": asyncio.run(astream(model())),
        "v1": model(output_version="v1").invoke("?"),
        "v1 stream": add(list(model(output_version="v1").stream("?"))),
        "v3": model().stream_events("?", version="v3").output,
        "node": run_node(model()),
    }
    for entry_point, message in messages.items():
        assert meaning(message) == expected, entry_point
