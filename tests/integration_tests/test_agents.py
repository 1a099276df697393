"""Agents with function tools and the interpreter: each request has only item of the two."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_qwen_ci import ChatQwenCodeInterpreter, with_context_usage
from langchain_qwen_ci.agents import (
    CodeExecutionsMiddleware,
    CodeInterpreterMiddleware,
    QwenSummarizationMiddleware,
    code_interpreter_tool,
)
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Think
from langchain_qwen_ci.errors import ToolsNotAllowedError

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


# The agent's own model has the interpreter.

OWN_TURN = [Think("I compute."), Run("6 * 7"), Run("6 * 8"), Say("42 and 48.")]


async def _last_value(agent: Any, given: Any) -> Any:
    return [state async for state in agent.astream(given, stream_mode="values")][-1]


async def _all_updates(agent: Any, given: Any) -> Any:
    updates = [update async for update in agent.astream(given, stream_mode="updates")]
    return {
        name: value
        for update in updates
        for value in update.values()
        for name, value in value.items()
    }


OWN_ENTRY_POINTS = {
    **ENTRY_POINTS,
    "astream": lambda agent, given: asyncio.run(_last_value(agent, given)),
    "updates": lambda agent, given: asyncio.run(_all_updates(agent, given)),
}


@every_api
@pytest.mark.parametrize("entry_point", OWN_ENTRY_POINTS.values(), ids=OWN_ENTRY_POINTS)
def test_executions_of_the_agents_own_model_are_in_the_state(entry_point, api: str):
    with EmulatorServer(responder=Script(OWN_TURN)) as server:
        agent = create_agent(qwen(server, api), [], middleware=[CodeExecutionsMiddleware()])
        state = entry_point(agent, QUESTION)
    answer = state["messages"][-1]
    assert answer.content == "42 and 48."
    if api == "chat_completions":
        assert not state.get("code_executions")
        return
    assert [run["code"] for run in state["code_executions"]] == ["6 * 7", "6 * 8"]
    assert {run["message_id"] for run in state["code_executions"]} == {answer.id}
    assert state["plugin_counts"] == {"code_interpreter": 2}


def test_executions_of_model_and_tool_are_counted_over_a_thread():
    with EmulatorServer(responder=Script(OWN_TURN, *AS_A_TOOL[1:], OWN_TURN)) as server:
        switching = CodeInterpreterMiddleware(
            when=lambda request: "compute" in request.messages[-1].text
        )
        compute = code_interpreter_tool(qwen(server))
        agent = create_agent(
            qwen(server),
            [compute],
            middleware=[switching, CodeExecutionsMiddleware()],
            checkpointer=InMemorySaver(),
        )
        thread: Any = {"configurable": {"thread_id": "1"}}
        for question in ("compute", "and the mean", "compute"):
            state = agent.invoke({"messages": [("user", question)]}, thread)
    assert [run["code"] for run in state["code_executions"]] == [
        *("6 * 7", "6 * 8"),
        PROGRAM,
        *("6 * 7", "6 * 8"),
    ]
    assert len({run["id"] for run in state["code_executions"]}) == 5
    assert state["plugin_counts"] == {"code_interpreter": 5}


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([CodeExecutionsMiddleware()], 4),
        ([CodeExecutionsMiddleware(emit_events=False)], 0),
        ([CodeExecutionsMiddleware(), CodeInterpreterMiddleware(when=lambda _: True)], 4),
    ],
    ids=["one", "off", "two write each event once"],
)
def test_events_of_the_agents_own_model(middleware, expected: int):
    with EmulatorServer(responder=Script(OWN_TURN)) as server:
        agent = create_agent(qwen(server), [], middleware=middleware)
        events = list(agent.stream(QUESTION, stream_mode="custom"))
    assert len(events) == expected
    assert {event["node"] for event in events} <= {"CodeExecutionsMiddleware"}


# Errors that say what to do.


@every_entry_point
def test_function_tools_name_both_ways_to_have_them_with_the_interpreter(entry_point):
    with EmulatorServer() as server:
        agent = create_agent(qwen(server), [orders])
        with pytest.raises(ToolsNotAllowedError, match="given: orders") as caught:
            entry_point(agent, QUESTION)
        assert server.requests == []
    assert "middleware=[CodeInterpreterMiddleware()]" in str(caught.value)
    assert "code_interpreter_tool(model)" in str(caught.value)
    assert "langchain_qwen_ci.agents" in str(caught.value)


@pytest.mark.parametrize("given", ["qwen3-max", None, orders, FakeListChatModel])
def test_tool_and_middleware_reject_what_is_no_model(given):
    with pytest.raises(TypeError, match="pass a ChatQwenCodeInterpreter"):
        code_interpreter_tool(given)
    if given is not None:
        with pytest.raises(TypeError, match=r"pass CodeInterpreterMiddleware\(model="):
            CodeInterpreterMiddleware(model=given)


def test_middleware_rejects_an_unknown_history():
    with pytest.raises(ValueError, match="none of text, drop, pass, error"):
        CodeInterpreterMiddleware(history="all")  # type: ignore[arg-type]


# The size of the context.

PROGRAMS = [Run("6 * 7"), Run("6 * 8"), Run("6 * 9"), Run("6 * 10")]
FIVE_INFERENCES = [Think("I compute."), *PROGRAMS, Say("It is 42, 48, 54 and 60.")]


def _conversation_with(middleware: Any, server: EmulatorServer, turns: int, api: str) -> Any:
    agent = create_agent(
        qwen(server, api), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    for number in range(turns):
        agent.invoke({"messages": [("user", f"Question {number}")]}, thread)
    return agent.get_state(thread).values["messages"]


def _is_summarised(messages: list[Any]) -> bool:
    return any(m.additional_kwargs.get("lc_source") == "summarization" for m in messages)


def _summarised(
    middleware_class: Any, limit: int, api: str = "dashscope", **arguments: Any
) -> bool:
    with EmulatorServer(responder=Script(*[FIVE_INFERENCES] * 4)) as server:
        middleware = middleware_class(
            qwen(server, api), trigger=("tokens", limit), keep=("messages", 1), **arguments
        )
        return _is_summarised(_conversation_with(middleware, server, 2, api))


@pytest.fixture(scope="module")
def usage() -> tuple[int, int]:
    """The tokens of the first answer: of its last inference, and of all."""
    with EmulatorServer(responder=Script(FIVE_INFERENCES)) as server:
        agent = create_agent(qwen(server), [])
        answer = agent.invoke({"messages": [("user", "Question 0")]})["messages"][-1]
    last = answer.response_metadata["inference_usage"][-1]
    return last["input_tokens"] + last["output_tokens"], answer.usage_metadata["total_tokens"]


def test_langchains_middleware_takes_the_sum_for_the_size(usage):
    size, total = usage
    assert total > 4 * size
    # If this fails, LangChain has another way to find the size, and our class may be needless.
    assert _summarised(SummarizationMiddleware, total)
    assert not _summarised(SummarizationMiddleware, total + 1)
    assert _summarised(SummarizationMiddleware, total, token_counter=lambda messages: 0)


def test_summarises_at_the_size_of_the_context(usage):
    size, total = usage
    assert _summarised(QwenSummarizationMiddleware, size)
    assert not _summarised(QwenSummarizationMiddleware, size + 1)
    assert not _summarised(QwenSummarizationMiddleware, total)


def test_size_is_estimated_where_inferences_are_not_reported(usage):
    assert not _summarised(QwenSummarizationMiddleware, usage[0], "responses")
    assert _summarised(QwenSummarizationMiddleware, 20, "responses")


def test_summarising_asynchronously_keeps_the_usage_in_the_state(usage):
    async def converse() -> list[Any]:
        with EmulatorServer(responder=Script(*[FIVE_INFERENCES] * 4)) as server:
            middleware = QwenSummarizationMiddleware(
                qwen(server), trigger=("tokens", usage[0]), keep=("messages", 2)
            )
            agent = create_agent(
                qwen(server), [], middleware=[middleware], checkpointer=InMemorySaver()
            )
            thread: Any = {"configurable": {"thread_id": "1"}}
            for number in range(2):
                await agent.ainvoke({"messages": [("user", f"Question {number}")]}, thread)
            return (await agent.aget_state(thread)).values["messages"]

    messages = asyncio.run(converse())
    assert _is_summarised(messages)
    first = next(message for message in messages if message.type == "ai")
    assert first.usage_metadata["total_tokens"] == usage[1]


def test_context_usage_for_other_functions_of_langchain():
    question = HumanMessage("word " * 4000)
    with EmulatorServer(responder=Script(FIVE_INFERENCES)) as server:
        answer = qwen(server).invoke([question])
    messages = [question, answer]
    estimate = count_tokens_approximately(messages)
    sizes = [sum(inference.values()) for inference in answer.response_metadata["inference_usage"]]

    def count(given: Any) -> int:
        return count_tokens_approximately(
            with_context_usage(given), use_usage_metadata_scaling=True
        )

    # LangChain multiplies its estimate by at most 1.25 to reach the reported tokens.
    assert estimate < sizes[-1] < 1.25 * estimate < sum(sizes)
    assert count(messages) == sizes[-1]
    assert count_tokens_approximately(messages, use_usage_metadata_scaling=True) == 1.25 * estimate
    assert answer.usage_metadata["total_tokens"] == sum(sizes)
