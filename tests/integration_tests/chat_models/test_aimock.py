"""The client with a server of others, if it is installed: `npm install -g @copilotkit/aimock`."""

from __future__ import annotations

import asyncio
import functools
import json
import operator
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.errors import QwenModelNotFoundError

AIMOCK = shutil.which("aimock")
API_NAMES = ("responses", "chat_completions")
START_SECONDS = 30
CALLS = [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
FIXTURES = {
    "plain": {"content": "It is 4, of course it is."},
    "reasoning": {"content": "It is 4.", "reasoning": "I add two and two and find four."},
    "length": {"content": "It is", "finishReason": "length"},
    "calls": {
        "content": "Let me add.",
        "toolCalls": [{"name": name, "arguments": json.dumps(args)} for name, args in CALLS],
    },
}
TAGS = {"content": "<think>I add two and two.</think>\n\nIt is 4."}

pytestmark = [
    pytest.mark.skipif(AIMOCK is None, reason="aimock is not installed"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]


@pytest.fixture(scope="module")
def base_url(tmp_path_factory) -> Iterator[str]:
    config: Path = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures = [
        {"match": {"userMessage": question}, "response": answer}
        for question, answer in {**FIXTURES, "tags": TAGS}.items()
    ]
    config.write_text(json.dumps({"fixtures": fixtures}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    llmock = Path(str(AIMOCK)).with_name("llmock")
    process = subprocess.Popen(
        [llmock, "-p", str(port), "-f", config],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(START_SECONDS * 10):
            try:
                httpx.get(url)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait()


async def _astream(model: Any, question: str) -> Any:
    return functools.reduce(operator.add, [chunk async for chunk in model.astream(question)])


def _node(model: Any, question: str) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    builder.add_edge(START, "code_interpreter")
    return builder.compile().invoke({"messages": [HumanMessage(question)]})["messages"][-1]


ENTRY_POINTS = {
    "invoke": lambda model, question: model.invoke(question),
    "ainvoke": lambda model, question: asyncio.run(model.ainvoke(question)),
    "stream": lambda model, question: functools.reduce(operator.add, model.stream(question)),
    "astream": lambda model, question: asyncio.run(_astream(model, question)),
    "v3": lambda model, question: model.stream_events(question, version="v3").output,
}


def _content(message: Any) -> tuple[str, str, list[Any], str]:
    blocks = message.content_blocks
    reasoning = "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning")
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    return message.text, reasoning, calls, message.response_metadata["finish_reason"]


def _expected(question: str) -> tuple[str, str, list[Any], str]:
    answer: dict[str, Any] = FIXTURES[question]
    reason = {"length": "length", "calls": "tool_calls"}.get(question, "stop")
    calls = CALLS if question == "calls" else []
    return answer["content"], answer.get("reasoning", ""), calls, reason


@pytest.mark.parametrize("api", API_NAMES)
@pytest.mark.parametrize("question", FIXTURES)
@pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_every_entry_point_returns_the_answer(base_url, api, question, entry_point, output_version):
    model = ChatQwenCodeInterpreter(
        api=api,
        base_url=base_url,
        api_key="",
        enable_code_interpreter=False,
        output_version=output_version,
    )
    message = entry_point(model.bind_tools([ADD]) if question == "calls" else model, question)
    assert _content(message) == _expected(question)
    ids = [call["id"] for call in message.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("api", API_NAMES)
def test_node_and_the_interpreter_of_a_server_without_one(base_url, api):
    model = ChatQwenCodeInterpreter(api=api, base_url=base_url, api_key="")
    message = _node(model, "reasoning")
    assert _content(message) == _expected("reasoning")
    assert message.response_metadata["code_executions"] == []


@pytest.mark.parametrize("api", API_NAMES)
def test_think_tags_are_reasoning(base_url, api):
    model = ChatQwenCodeInterpreter(api=api, base_url=base_url, api_key="")
    assert _content(model.invoke("tags"))[:2] == ("It is 4.", "I add two and two.")


@pytest.mark.parametrize("api", API_NAMES)
def test_error_of_the_server(base_url, api):
    model = ChatQwenCodeInterpreter(api=api, base_url=base_url, api_key="")
    with pytest.raises(QwenModelNotFoundError, match="No fixture matched"):
        model.invoke("unknown question")
