"""The emulator with a scripted answer, every entry point, and the run tree each one records."""

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
from secret_values import SECRETS

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.agents import code_interpreter_tool
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Think

TURN = [Think("I compute."), Run("6 * 7"), Think("Again."), Run("1 / 0"), Say("It is 42.")]


class Responder:
    """Runs two programs if the interpreter is on; otherwise calls the code interpreter tool."""

    def respond(self, request):
        if request.code_interpreter:
            yield from (step for step in TURN)  # send() needs a generator, not a list
        elif request.tools and request.messages[-1].role != "tool":
            yield Call("code_interpreter", {"task": "Six times seven."})
        else:
            yield Say("They say 42.")


@pytest.fixture(scope="module")
def emulator():
    with EmulatorServer(responder=Responder()) as server:
        yield server


ModelFactory = Callable[..., ChatQwenCodeInterpreter]


@pytest.fixture
def make_model(emulator) -> ModelFactory:
    """Creates models that send their requests to the emulator."""
    return lambda **fields: ChatQwenCodeInterpreter(
        **{"base_url": emulator.url, "api_key": "any", "api": "responses", **fields}
    )


async def _astream(model: Any) -> None:
    async for _ in model.astream("?"):
        pass


async def _av3(model: Any) -> None:
    await (await model.astream_events("?", version="v3"))


def _traceable(make_model: ModelFactory) -> None:
    traceable(lambda question: make_model().invoke(question).text, name="traced")("?")


def _graph(make_model: ModelFactory) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("one", QwenCodeInterpreterNode(make_model(), name="one"))
    builder.add_node("two", QwenCodeInterpreterNode(make_model(), name="two"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    return builder.compile()


def _agent(make_model: ModelFactory) -> None:
    tools = [code_interpreter_tool(make_model())]
    agent = create_agent(make_model(enable_code_interpreter=False), tools, name="agent")
    agent.invoke({"messages": [("user", "?")]})


GRAPH_INPUT = {"messages": [("user", "?")]}
ENTRY_POINTS: dict[str, Callable[[ModelFactory], Any]] = {
    "invoke": lambda make_model: make_model().invoke("?"),
    "ainvoke": lambda make_model: asyncio.run(make_model().ainvoke("?")),
    "stream": lambda make_model: list(make_model().stream("?")),
    "astream": lambda make_model: asyncio.run(_astream(make_model())),
    "v3": lambda make_model: make_model().stream_events("?", version="v3").output,
    "async v3": lambda make_model: asyncio.run(_av3(make_model())),
    "batch": lambda make_model: make_model().batch(["?", "?"]),
    "chain": lambda make_model: (RunnableLambda(str) | make_model()).invoke("?"),
    "traceable": _traceable,
    "graph": lambda make_model: _graph(make_model).invoke(GRAPH_INPUT),
    "async graph": lambda make_model: asyncio.run(_graph(make_model).ainvoke(GRAPH_INPUT)),
    "graph, v3": lambda make_model: (
        _graph(make_model).stream_events(GRAPH_INPUT, version="v3").output
    ),
    "agent": _agent,
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS)

MODEL_TREE = [
    "llm ChatQwenCodeInterpreter",
    "  tool code_interpreter",
    "  tool code_interpreter",
]


def indent(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


GRAPH_TREE = [
    "chain LangGraph",
    "  chain one",
    *indent(indent(MODEL_TREE)),
    "  chain two",
    *indent(indent(MODEL_TREE)),
]
RUN_TREES = {
    **dict.fromkeys(ENTRY_POINTS, MODEL_TREE),
    "batch": MODEL_TREE * 2,
    "chain": ["chain RunnableSequence", "  chain str", *indent(MODEL_TREE)],
    "traceable": ["chain traced", *indent(MODEL_TREE)],
    "graph": GRAPH_TREE,
    "async graph": GRAPH_TREE,
    "graph, v3": GRAPH_TREE,
    "agent": [
        "chain agent",
        "  chain model",
        "    llm ChatQwenCodeInterpreter",
        "  chain tools",
        "    tool code_interpreter",
        *indent(indent(indent(MODEL_TREE))),
        "  chain model",
        "    llm ChatQwenCodeInterpreter",
    ],
}


@pytest.fixture
def make_model_with_secrets(make_model: ModelFactory) -> Iterator[ModelFactory]:
    """Creates models that have all secrets."""
    proxy = f"http://user:{SECRETS['proxy']}@127.0.0.1:9"
    mounts = {"http://other.example": httpx.HTTPTransport(proxy=proxy)}
    with httpx.Client(mounts=mounts) as client:
        fields = {
            "api_key": SECRETS["api_key"],
            "default_headers": {"X-Token": SECRETS["header"]},
            "workspace": SECRETS["workspace"],
            "http_client": client,
        }
        yield lambda **more: make_model(**fields, **more)
