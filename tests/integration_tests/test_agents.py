"""Agents with function tools and the interpreter: each request has only item of the two."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.agents import (
    CodeExecutionsMiddleware,
    CodeInterpreterMiddleware,
    code_interpreter_tool,
)
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Think

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]
APIS = ["dashscope", "responses", "chat_completions"]
every_api = pytest.mark.parametrize("api", APIS)


@tool
def orders(year: int) -> str:
    """Return the values of a year's orders."""
    return f"{year}: 12.5, 30.0, 17.25"


def qwen(server: EmulatorServer, api: str = "dashscope", **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=server.url, api_key="any", api=api, **fields)


def sent(server: EmulatorServer) -> list[tuple[list[str], bool]]:
    """Return the names of the function tools, and whether the interpreter is on, by request."""
    return [_sent({**r.body, **r.body.get("parameters", {})}) for r in server.requests]


def _sent(body: dict[str, Any]) -> tuple[list[str], bool]:
    tools = body.get("tools", [])
    has_interpreter = any(item["type"] == "code_interpreter" for item in tools)
    names = [
        item.get("name") or item["function"]["name"] for item in tools if item["type"] == "function"
    ]
    return names, has_interpreter or bool(body.get("enable_code_interpreter"))


def exclusive(requests: list[tuple[list[str], bool]]) -> bool:
    return bool(requests) and all(bool(names) != on for names, on in requests)


ENTRY_POINTS = {
    "invoke": lambda agent, given: agent.invoke(given),
    "ainvoke": lambda agent, given: asyncio.run(agent.ainvoke(given)),
    "stream": lambda agent, given: list(agent.stream(given, stream_mode="values"))[-1],
    "v3": lambda agent, given: agent.stream_events(given, version="v3").output,
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
QUESTION = {"messages": [("user", "What is the mean of the orders of 2025?")]}
PROGRAM = "(12.5 + 30.0 + 17.25) / 3"

HANDED_OVER = "The code interpreter is on, and no other tool. Do this now: the mean of the orders"

AS_A_TOOL = [
    [Call("orders", {"year": 2025})],
    [Call("code_interpreter", {"task": "the mean of 12.5, 30.0, 17.25"})],
    [Think("I compute."), Run(PROGRAM), Say("The mean is 19.916666666666668.")],
    [Say("The mean of 2025 is about 19.92.")],
]
BY_TURNS = [
    [Call("orders", {"year": 2025})],
    [Call("use_code_interpreter", {"task": "the mean of the orders"})],
    [Think("I compute."), Run(PROGRAM), Say("The mean is 19.916666666666668.")],
]


@every_api
@every_entry_point
def test_agent_uses_the_interpreter_as_a_tool(entry_point, api: str):
    with EmulatorServer(responder=Script(*AS_A_TOOL)) as server:
        agent = create_agent(
            qwen(server, api, enable_code_interpreter=False),
            [orders, code_interpreter_tool(qwen(server, api))],
            middleware=[CodeExecutionsMiddleware()],
        )
        state = entry_point(agent, QUESTION)
        requests = sent(server)
    both = ["orders", "code_interpreter"]
    assert requests == [(both, False), (both, False), ([], True), (both, False)]
    assert exclusive(requests)
    answer = state["messages"][-1]
    assert answer.text == "The mean of 2025 is about 19.92."
    result = next(m for m in state["messages"] if getattr(m, "name", "") == "code_interpreter")
    assert result.text == "The mean is 19.916666666666668."
    if api != "chat_completions":
        assert [run["code"] for run in state["code_executions"]] == [PROGRAM]
        assert result.artifact["code_executions"] == state["code_executions"]
        assert state["plugin_counts"] == {"code_interpreter": 1}


@every_api
@every_entry_point
def test_middleware_switches_between_tools_and_interpreter(entry_point, api: str):
    with EmulatorServer(responder=Script(*BY_TURNS)) as server:
        agent = create_agent(qwen(server, api), [orders], middleware=[CodeInterpreterMiddleware()])
        state = entry_point(agent, QUESTION)
        requests = sent(server)
        conversation = _conversation(server.requests[-1].body)
    both = ["use_code_interpreter", "orders"]
    assert requests == [(both, False), (both, False), ([], True)]
    assert exclusive(requests)
    assert state["messages"][-1].content == "The mean is 19.916666666666668."
    assert conversation == [
        ("user", "What is the mean of the orders of 2025?"),
        ("assistant", '[I call orders({"year": 2025})]'),
        ("user", "[orders returned] 2025: 12.5, 30.0, 17.25"),
        ("assistant", '[I call use_code_interpreter({"task": "the mean of the orders"})]'),
        ("user", f"[use_code_interpreter returned] {HANDED_OVER}"),
    ]
    if api != "chat_completions":
        assert [run["code"] for run in state["code_executions"]] == [PROGRAM]
        assert state["code_executions"][0]["message_id"] == state["messages"][-1].id
        assert state["plugin_counts"] == {"code_interpreter": 1}


def _conversation(body: dict[str, Any]) -> list[tuple[str, str]]:
    messages = body.get("messages") or body["input"]
    messages = messages["messages"] if isinstance(messages, dict) else messages
    return [(message["role"], message["content"]) for message in messages]


def test_when_function_decides_the_turn():
    turns = [[Call("orders", {"year": 2025})], BY_TURNS[-1]]
    with EmulatorServer(responder=Script(*turns)) as server:
        middleware = CodeInterpreterMiddleware(
            when=lambda request: isinstance(request.messages[-1], ToolMessage), history="drop"
        )
        agent = create_agent(qwen(server), [orders], middleware=[middleware])
        state = agent.invoke(QUESTION)
        assert sent(server) == [(["orders"], False), ([], True)]
        assert _conversation(server.requests[-1].body) == [
            ("user", "What is the mean of the orders of 2025?")
        ]
    assert len(state["code_executions"]) == 1


def test_agent_model_of_another_provider():
    class Caller(FakeListChatModel):
        def bind_tools(self, tools, **kwargs):
            return self

    with EmulatorServer(responder=Script(BY_TURNS[-1])) as server:
        middleware = CodeInterpreterMiddleware(when=lambda _: True, model=qwen(server))
        agent = create_agent(Caller(responses=["never asked"]), [orders], middleware=[middleware])
        state = agent.invoke(QUESTION)
        assert sent(server) == [([], True)]
    assert state["messages"][-1].content == "The mean is 19.916666666666668."
    alone = create_agent(
        Caller(responses=["never asked"]),
        middleware=[CodeInterpreterMiddleware(when=lambda _: True)],
    )
    with pytest.raises(TypeError, match="ChatQwenCodeInterpreter"):
        alone.invoke(QUESTION)


def test_executions_are_streamed_by_tool_and_middleware():
    for turns, build in (
        (AS_A_TOOL, lambda server: ([orders, code_interpreter_tool(qwen(server))], [])),
        (BY_TURNS, lambda server: ([orders], [CodeInterpreterMiddleware()])),
    ):
        with EmulatorServer(responder=Script(*turns)) as server:
            tools, middleware = build(server)
            model = qwen(server, enable_code_interpreter=False)
            agent = create_agent(model, tools, middleware=middleware)
            events = list(agent.stream(QUESTION, stream_mode="custom"))
        assert [(event["event"], event["execution"]["code"]) for event in events] == [
            ("started", PROGRAM),
            ("ended", PROGRAM),
        ]


def test_tool_works_outside_of_graphs():
    turn = [Run("6 * 7"), Say("42")]
    with EmulatorServer(responder=Script(turn, turn)) as server:
        compute = code_interpreter_tool(
            qwen(server), name="compute", description="Computes.", system_prompt="Be brief."
        )
        assert compute.invoke({"task": "6 times 7"}) == "42"
        call = {"type": "tool_call", "id": "1", "name": "compute", "args": {"task": "6 times 7"}}
        message = asyncio.run(compute.ainvoke(call))
        assert _conversation(server.requests[0].body) == [
            ("system", "Be brief."),
            ("user", "6 times 7"),
        ]
    assert (compute.name, compute.description) == ("compute", "Computes.")
    assert message.artifact["plugin_counts"] == {"code_interpreter": 1}
    assert [run["code"] for run in message.artifact["code_executions"]] == ["6 * 7"]
