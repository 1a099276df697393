"""A short run through the public interface, against the package as it is installed.

It needs pytest and nothing else of the development tools, so that it can run with the oldest
dependencies that pyproject.toml allows, and on every supported Python. It imports nothing from the
rest of the tests.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

import langchain_qwen_ci
from langchain_qwen_ci import (
    QWEN_RETRY_POLICY,
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
    code_executions,
    plugin_counts,
)
from langchain_qwen_ci.agents import (
    CodeExecutionsMiddleware,
    CodeInterpreterMiddleware,
    code_interpreter_tool,
)
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Think

# Chat Completions warns that it does not show code, and stream_events that it is in beta.
pytestmark = pytest.mark.filterwarnings("ignore")

APIS = ("dashscope", "responses", "chat_completions")
TURN = (Think("I compute."), Run("print(6 * 7)"), Say("It is 42."))
QUESTION = {"messages": [("user", "What is the answer?")]}
every_api = pytest.mark.parametrize("api", APIS)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in ("API_KEY", "BASE_URL", "REGION", "WORKSPACE"):
        monkeypatch.delenv(f"DASHSCOPE_{name}", raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


def qwen(server: EmulatorServer, api: str = "dashscope", **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=server.url, api_key="any", api=api, **fields)


def test_the_installed_package_is_tested():
    package = distribution("langchain-qwen-ci")
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("an editable installation is the checkout")
    installed = package.locate_file("langchain_qwen_ci/__init__.py")
    assert Path(langchain_qwen_ci.__file__).samefile(installed)
    assert langchain_qwen_ci.__version__ == package.version


def stream(model: Any) -> Any:
    chunks = list(model.stream("?"))
    assert len(chunks) > 1
    return sum(chunks[1:], chunks[0])


async def astream(model: Any) -> Any:
    chunks = [chunk async for chunk in model.astream("?")]
    assert len(chunks) > 1
    return sum(chunks[1:], chunks[0])


async def astream_events(model: Any) -> Any:
    return await (await model.astream_events("?", version="v3"))


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "stream": stream,
    "astream": lambda model: asyncio.run(astream(model)),
    "stream_events": lambda model: model.stream_events("?", version="v3").output,
    "astream_events": lambda model: asyncio.run(astream_events(model)),
}


@every_api
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_api_answers_with_every_entry_point(api: str, entry_point: str):
    with EmulatorServer(responder=Script(TURN)) as server, qwen(server, api) as model:
        message = ENTRY_POINTS[entry_point](model)
        assert len(server.requests) == 1
    assert message.text == "It is 42."
    assert message.usage_metadata["total_tokens"] > 0
    assert message.response_metadata["finish_reason"] == "stop"
    shown = [(run["code"], run["status"], run.get("output")) for run in code_executions(message)]
    assert (
        shown
        == {
            "dashscope": [("print(6 * 7)", "completed", None)],
            "responses": [("print(6 * 7)", "completed", "42")],
            "chat_completions": [],
        }[api]
    )
    assert plugin_counts(message) == ({} if api == "chat_completions" else {"code_interpreter": 1})
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds[0] == "reasoning"
    assert kinds[-1] == "text"
    assert ("server_tool_call" in kinds) == (api != "chat_completions")


@every_api
def test_structured_output(api: str):
    schema = {
        "title": "Result",
        "description": "The result.",
        "type": "object",
        "properties": {"value": {"type": "integer"}},
        "required": ["value"],
    }
    with EmulatorServer(responder=Script([Run("6 * 7"), Say('{"value": 42}')])) as server:
        model = qwen(server, api).with_structured_output(schema)
        assert model.invoke("What is the answer?") == {"value": 42}


def graph_of(model: ChatQwenCodeInterpreter) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model), retry_policy=QWEN_RETRY_POLICY)
    builder.add_edge(START, "code_interpreter")
    return builder.compile()


GRAPH_METHODS = {
    "invoke": lambda graph: graph.invoke(QUESTION),
    "ainvoke": lambda graph: asyncio.run(graph.ainvoke(QUESTION)),
    "stream": lambda graph: list(graph.stream(QUESTION, stream_mode="values"))[-1],
    "stream_events": lambda graph: graph.stream_events(QUESTION, version="v3").output,
}


@every_api
@pytest.mark.parametrize("entry_point", GRAPH_METHODS)
def test_node_writes_executions_and_counts_to_the_state(api: str, entry_point: str):
    with EmulatorServer(responder=Script(TURN)) as server, qwen(server, api) as model:
        state = GRAPH_METHODS[entry_point](graph_of(model))
    answer = state["messages"][-1]
    assert answer.content == "It is 42."
    shown = api != "chat_completions"
    executions = state.get("code_executions", [])
    assert [run["code"] for run in executions] == (["print(6 * 7)"] if shown else [])
    assert [run["message_id"] for run in executions] == ([answer.id] if shown else [])
    assert state.get("plugin_counts", {}) == ({"code_interpreter": 1} if shown else {})


def test_node_streams_executions_while_they_run():
    with EmulatorServer(responder=Script(TURN)) as server, qwen(server) as model:
        events = list(graph_of(model).stream(QUESTION, stream_mode="custom"))
    assert [(event["event"], event["execution"]["code"]) for event in events] == [
        ("started", "print(6 * 7)"),
        ("ended", "print(6 * 7)"),
    ]


@tool
def orders(year: int) -> str:
    """The values of a year's orders."""
    return f"{year}: 12.5, 30.0"


@every_api
def test_an_agent_uses_the_interpreter_as_a_tool(api: str):
    turns = (
        [Call("orders", {"year": 2025})],
        [Call("code_interpreter", {"task": "The sum of 12.5 and 30.0"})],
        [Run("12.5 + 30.0"), Say("The sum is 42.5.")],
        [Say("In 2025 it was 42.5.")],
    )
    with EmulatorServer(responder=Script(*turns)) as server:
        agent = create_agent(
            qwen(server, api, enable_code_interpreter=False),
            [orders, code_interpreter_tool(qwen(server, api))],
            middleware=[CodeExecutionsMiddleware()],
        )
        state = agent.invoke(QUESTION)
        assert len(server.requests) == 4
    assert state["messages"][-1].text == "In 2025 it was 42.5."
    if api != "chat_completions":
        assert [run["code"] for run in state["code_executions"]] == ["12.5 + 30.0"]
        assert state["plugin_counts"] == {"code_interpreter": 1}


@every_api
def test_an_agent_takes_turns_with_tools_and_the_interpreter(api: str):
    turns = (
        [Call("orders", {"year": 2025})],
        [Call("use_code_interpreter", {"task": "the sum of the orders"})],
        [Run("12.5 + 30.0"), Say("In 2025 it was 42.5.")],
    )
    with EmulatorServer(responder=Script(*turns)) as server:
        agent = create_agent(qwen(server, api), [orders], middleware=[CodeInterpreterMiddleware()])
        state = asyncio.run(agent.ainvoke(QUESTION))
        assert len(server.requests) == 3
    assert state["messages"][-1].text == "In 2025 it was 42.5."
    if api != "chat_completions":
        assert [run["code"] for run in state["code_executions"]] == ["12.5 + 30.0"]
        assert state["plugin_counts"] == {"code_interpreter": 1}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "langchain_qwen_ci", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_line():
    done = run("--json", "--api", "responses", "What is 123 to the power of 21?")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    power = str(123**21)
    assert power in document["answer"]
    assert document["code_executions"][0]["code"] == "123**21"
    assert document["code_executions"][0]["output"] == power
    assert document["plugin_counts"] == {"code_interpreter": 1}


def test_the_command_line_shows_code_and_answer():
    done = run("What is 123 to the power of 21?")
    assert done.returncode == 0, done.stderr
    assert ">>> 123**21\n" in done.stdout
    assert str(123**21) in done.stdout
