"""One script of the emulator, asked by every way in, and the tree of runs that each leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langsmith import traceable

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.agents import code_interpreter_tool
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Think

TURN = [Think("I compute."), Run("6 * 7"), Think("Again."), Run("1 / 0"), Say("It is 42.")]


class Responder:
    """Runs two programs where it can; else it calls the tool that can, and reports."""

    def respond(self, request):
        if request.code_interpreter:
            yield from (step for step in TURN)  # a list could not be sent results
        elif request.tools and request.messages[-1].role != "tool":
            yield Call("code_interpreter", {"task": "Six times seven."})
        else:
            yield Say("They say 42.")


@pytest.fixture(scope="module")
def emulator():
    with EmulatorServer(responder=Responder()) as server:
        yield server


Make = Callable[..., ChatQwenCodeInterpreter]


@pytest.fixture
def make(emulator) -> Make:
    """Makes models of the emulator."""
    return lambda **fields: ChatQwenCodeInterpreter(
        **{"base_url": emulator.url, "api_key": "any", "api": "responses", **fields}
    )


async def _astream(model: Any) -> None:
    async for _ in model.astream("?"):
        pass


async def _av3(model: Any) -> None:
    await (await model.astream_events("?", version="v3"))


def _traceable(make: Make) -> None:
    traceable(lambda question: make().invoke(question).text, name="mine")("?")


def _graph(make: Make) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("one", QwenCodeInterpreterNode(make(), name="one"))
    builder.add_node("two", QwenCodeInterpreterNode(make(), name="two"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    return builder.compile()


def _agent(make: Make) -> None:
    tools = [code_interpreter_tool(make())]
    agent = create_agent(make(enable_code_interpreter=False), tools, name="agent")
    agent.invoke({"messages": [("user", "?")]})


GIVEN = {"messages": [("user", "?")]}
ENTRY_POINTS: dict[str, Callable[[Make], Any]] = {
    "invoke": lambda make: make().invoke("?"),
    "ainvoke": lambda make: asyncio.run(make().ainvoke("?")),
    "stream": lambda make: list(make().stream("?")),
    "astream": lambda make: asyncio.run(_astream(make())),
    "v3": lambda make: make().stream_events("?", version="v3").output,
    "async v3": lambda make: asyncio.run(_av3(make())),
    "batch": lambda make: make().batch(["?", "?"]),
    "chain": lambda make: (RunnableLambda(str) | make()).invoke("?"),
    "traceable": _traceable,
    "graph": lambda make: _graph(make).invoke(GIVEN),
    "async graph": lambda make: asyncio.run(_graph(make).ainvoke(GIVEN)),
    "graph, v3": lambda make: _graph(make).stream_events(GIVEN, version="v3").output,
    "agent": _agent,
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS)

MODEL = [
    "llm ChatQwenCodeInterpreter",
    "  tool code_interpreter",
    "  tool code_interpreter",
]


def deeper(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


GRAPH = [
    "chain LangGraph",
    "  chain one",
    *deeper(deeper(MODEL)),
    "  chain two",
    *deeper(deeper(MODEL)),
]
TREES = {
    **dict.fromkeys(ENTRY_POINTS, MODEL),
    "batch": MODEL * 2,
    "chain": ["chain RunnableSequence", "  chain str", *deeper(MODEL)],
    "traceable": ["chain mine", *deeper(MODEL)],
    "graph": GRAPH,
    "async graph": GRAPH,
    "graph, v3": GRAPH,
    "agent": [
        "chain agent",
        "  chain model",
        "    llm ChatQwenCodeInterpreter",
        "  chain tools",
        "    tool code_interpreter",
        *deeper(deeper(deeper(MODEL))),
        "  chain model",
        "    llm ChatQwenCodeInterpreter",
    ],
}


SECRETS = {
    "api_key": "sk-very-secret",
    "header": "token-of-a-gateway",
    "proxy": "password-of-a-proxy",
    "workspace": "ws-nobodys-business",
    "mcp": "key-of-an-mcp-server",
}
MCP = {
    "type": "mcp",
    "server_label": "maps",
    "server_url": "https://maps.example",
    "headers": {"Authorization": SECRETS["mcp"]},
    "authorization": SECRETS["mcp"],
}


@pytest.fixture
def with_secrets(make: Make) -> Iterator[Make]:
    """Makes models that hold all of them."""
    proxy = f"http://user:{SECRETS['proxy']}@127.0.0.1:9"
    mounts = {"http://other.example": httpx.HTTPTransport(proxy=proxy)}
    with httpx.Client(mounts=mounts) as client:
        fields = {
            "api_key": SECRETS["api_key"],
            "default_headers": {"X-Token": SECRETS["header"]},
            "workspace": SECRETS["workspace"],
            "http_client": client,
        }
        yield lambda **more: make(**fields, **more)
