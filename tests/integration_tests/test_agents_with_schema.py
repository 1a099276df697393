"""`create_agent(response_format=…)` with the interpreter on: a second request fits the answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import (
    AutoStrategy,
    ProviderStrategy,
    StructuredOutputValidationError,
    ToolStrategy,
)
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.agents import CodeInterpreterMiddleware
from langchain_qwen_ci.emulator import (
    Call,
    EmulatorServer,
    Run,
    Say,
    Script,
    Status,
    Think,
)
from langchain_qwen_ci.errors import QwenAPIError, QwenStreamError, ToolsNotAllowedError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]


class Result(BaseModel):
    """The result of a calculation."""

    value: int = Field(description="the result")


class Failure(BaseModel):
    """Why there is no result."""

    reason: str


@tool
def orders(year: int) -> str:
    """Return the values of a year's orders."""
    return f"{year}: 12, 30"


SCHEMA = Result.model_json_schema()
RESPONSE_FORMATS = {
    "class": Result,
    "dict": SCHEMA,
    "AutoStrategy": AutoStrategy(Result),
    "ToolStrategy": ToolStrategy(Result),
    "ToolStrategy, dict": ToolStrategy(SCHEMA),
    "ProviderStrategy": ProviderStrategy(Result),
    "ProviderStrategy, dict": ProviderStrategy(SCHEMA),
}
every_format = pytest.mark.parametrize("name", RESPONSE_FORMATS)
every_api = pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])

ENTRY_POINTS = {
    "invoke": lambda agent, given: agent.invoke(given),
    "ainvoke": lambda agent, given: asyncio.run(agent.ainvoke(given)),
    "stream": lambda agent, given: list(agent.stream(given, stream_mode="values"))[-1],
    "v3": lambda agent, given: agent.stream_events(given, version="v3").output,
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
QUESTION = {"messages": [("user", "What is 7 to the power of 5?")]}
ANSWER = [Think("I compute."), Run("7**5"), Think("Done."), Say("It is 16807.")]
CALL = [Call("Result", {"value": 16807})]


def qwen(server: EmulatorServer, api: str = "dashscope", **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=server.url, api_key="any", api=api, **fields)


def sent(server: EmulatorServer) -> list[dict[str, Any]]:
    """Return the parameters of each request."""
    return [{**r.body, **r.body.get("parameters", {})} for r in server.requests]


def conversation(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages") or body["input"]
    return messages["messages"] if isinstance(messages, dict) else messages


def has_interpreter(body: dict[str, Any]) -> bool:
    in_tools = any(item["type"] == "code_interpreter" for item in body.get("tools", []))
    return in_tools or bool(body.get("enable_code_interpreter"))


@every_api
@every_format
@every_entry_point
def test_structured_response_of_an_agent(entry_point, name: str, api: str):
    by_tool = "Provider" not in name
    turn = CALL if by_tool else [Say('{"value": 16807}')]
    with EmulatorServer(responder=Script(ANSWER, turn)) as server:
        agent = create_agent(qwen(server, api), [], response_format=RESPONSE_FORMATS[name])
        state = entry_point(agent, QUESTION)
        first, second = sent(server)
    expected = {"value": 16807} if name.endswith("dict") else Result(value=16807)
    assert state["structured_response"] == expected
    assert [has_interpreter(body) for body in (first, second)] == [True, False]
    assert second["enable_thinking"] is False
    assert conversation(second)[-1]["content"] == "It is 16807."
    answer = state["messages"][1]
    assert answer.text == ("It is 16807." if by_tool else '{"value": 16807}')
    assert [call["args"] for call in answer.tool_calls] == ([{"value": 16807}] if by_tool else [])
    if api != "chat_completions":
        assert [run["code"] for run in code_executions(answer)] == ["7**5"]
        kinds = [block["type"] for block in answer.content_blocks]
        assert kinds.index("server_tool_call") < kinds.index("text")


class Tree(BaseModel):
    """A tree of numbers."""

    value: int = Field(description="the number of the node")
    children: list[Tree] = []


TREE = {"value": 7, "children": [{"value": 5, "children": []}]}


@every_api
@pytest.mark.parametrize("strategy", [AutoStrategy, ToolStrategy, ProviderStrategy])
@pytest.mark.parametrize("interpreter", [True, False])
def test_docstring_and_recursive_schema_reach_the_model(strategy, api: str, *, interpreter: bool):
    by_tool = strategy is not ProviderStrategy
    turn = [Call("Tree", TREE)] if by_tool else [Say(json.dumps(TREE))]
    with EmulatorServer(responder=Script(*[ANSWER] * interpreter, turn)) as server:
        model = qwen(server, api, enable_code_interpreter=interpreter)
        agent = create_agent(model, [], response_format=strategy(Tree))
        assert agent.invoke(QUESTION)["structured_response"] == Tree(**TREE)
        request = json.dumps(server.requests[-1].body)
    assert "A tree of numbers." in request
    assert "the number of the node" in request
    assert "#/$defs/Tree" in request


@every_api
@every_format
def test_default_responder_fills_the_schema(name: str, api: str):
    with EmulatorServer() as server:
        agent = create_agent(qwen(server, api), [], response_format=RESPONSE_FORMATS[name])
        state = agent.invoke(QUESTION)
    expected = {"value": 16807} if name.endswith("dict") else Result(value=16807)
    assert state["structured_response"] == expected


@every_format
def test_content_blocks_with_output_version_v1(name: str):
    by_tool = "Provider" not in name
    turn = CALL if by_tool else [Say('{"value": 16807}')]
    with EmulatorServer(responder=Script(ANSWER, turn)) as server:
        model = qwen(server, output_version="v1")
        agent = create_agent(model, [], response_format=RESPONSE_FORMATS[name])
        answer = agent.invoke(QUESTION)["messages"][1]
    blocks = ["reasoning", "server_tool_call", "reasoning", "text"]
    assert [block["type"] for block in answer.content] == blocks + ["tool_call"] * by_tool
    assert answer.text == ("It is 16807." if by_tool else '{"value": 16807}')


@every_format
def test_usage_and_ids_of_both_requests_are_kept(name: str):
    usage = UsageMetadataCallbackHandler()
    turn = [Say('{"value": 16807}')] if "Provider" in name else CALL
    with EmulatorServer(responder=Script(ANSWER, turn)) as server:
        agent = create_agent(qwen(server), [], response_format=RESPONSE_FORMATS[name])
        answer = agent.invoke(QUESTION, {"callbacks": [usage]})["messages"][1]
    # The handler adds up the usage that each request reported.
    assert answer.usage_metadata == usage.usage_metadata["qwen3-max"]
    metadata = answer.response_metadata
    inputs = sum(inference["input_tokens"] for inference in metadata["inference_usage"])
    assert inputs == answer.usage_metadata["input_tokens"]
    assert metadata["schema_request"]["request_id"] not in ("", metadata["request_id"])
    if "Provider" in name:
        assert metadata["schema_request"]["answer"] == "It is 16807."


def test_messages_stream_has_only_the_message_of_the_state():
    with EmulatorServer(responder=Script(ANSWER, CALL)) as server:
        agent = create_agent(qwen(server), [], response_format=Result)
        ids, state = set(), {}
        for mode, event in agent.stream(QUESTION, stream_mode=["messages", "values"]):
            if mode == "values":
                state = event
            else:
                ids.add(event[0].id)
    assert ids == {message.id for message in state["messages"][1:]}


@pytest.mark.parametrize("call", [Call("Result", {"value": 1}), Call("Failure", {"reason": "no"})])
def test_model_chooses_among_several_schemas(call: Call):
    with EmulatorServer(responder=Script(ANSWER, [call])) as server:
        agent = create_agent(qwen(server), [], response_format=ToolStrategy(Result | Failure))
        state = agent.invoke(QUESTION)
        second = sent(server)[1]
    schema = {"Result": Result, "Failure": Failure}[call.name]
    assert state["structured_response"] == schema(**call.arguments)
    assert [item["function"]["name"] for item in second["tools"]] == ["Result", "Failure"]
    assert second["tool_choice"] == "auto"


@every_api
def test_rejected_call_repeats_the_second_request_only(api: str):
    with EmulatorServer(responder=Script(ANSWER, [Call("Result", {"value": "x"})], CALL)) as server:
        agent = create_agent(qwen(server, api), [], response_format=ToolStrategy(Result))
        state = agent.invoke(QUESTION)
        requests = sent(server)
    assert state["structured_response"] == Result(value=16807)
    assert [has_interpreter(body) for body in requests] == [True, False, False]
    assert "It is 16807." in json.dumps(conversation(requests[2]))
    assert "int_parsing" in json.dumps(conversation(requests[2]))
    executed = [run for message in state["messages"] for run in code_executions(message)]
    assert len(executed) == (0 if api == "chat_completions" else 1)


def test_json_that_does_not_fit_raises():
    with EmulatorServer(responder=Script(ANSWER, [Say("{}")])) as server:
        agent = create_agent(qwen(server), [], response_format=ProviderStrategy(Result))
        with pytest.raises(StructuredOutputValidationError) as caught:
            agent.invoke(QUESTION)
    assert [run["code"] for run in code_executions(caught.value.ai_message)] == ["7**5"]


def test_next_question_is_sent_without_schema_calls():
    with EmulatorServer(responder=Script(ANSWER, CALL, ANSWER, CALL)) as server:
        agent = create_agent(qwen(server), [], response_format=Result)
        state = agent.invoke(QUESTION)
        agent.invoke({"messages": [*state["messages"], ("user", "Again?")]})
        third = sent(server)[2]
    assert [(m["role"], m["content"]) for m in conversation(third)] == [
        ("user", "What is 7 to the power of 5?"),
        ("assistant", "It is 16807."),
        ("user", "Again?"),
    ]
    assert all("tool_calls" not in message for message in conversation(third))


@pytest.mark.parametrize("turn", [[Say("I cannot.")], ANSWER])
def test_second_request_without_a_call_raises(turn):
    first = ANSWER if turn is not ANSWER else [Run("7**5")]
    with EmulatorServer(responder=Script(first, turn)) as server:
        agent = create_agent(qwen(server), [], response_format=Result)
        with pytest.raises(QwenStreamError, match="schema") as caught:
            agent.invoke(QUESTION)
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


@pytest.mark.parametrize("entry_point", ["invoke", "ainvoke"])
def test_error_of_the_second_request_has_the_answer(entry_point: str):
    faults = (None, Status(400, "InvalidParameter", "No."))
    with EmulatorServer(responder=Script(ANSWER, CALL), faults=faults) as server:
        agent = create_agent(qwen(server), [], response_format=Result)
        with pytest.raises(QwenAPIError) as caught:
            ENTRY_POINTS[entry_point](agent, QUESTION)
    assert caught.value.partial.text == "It is 16807."
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


def test_function_tools_are_still_rejected():
    with EmulatorServer() as server:
        agent = create_agent(qwen(server), [orders], response_format=Result)
        with pytest.raises(ToolsNotAllowedError, match=r"\(given: orders\)"):
            agent.invoke(QUESTION)
        assert server.requests == []


def test_interpreter_and_other_tools_of_the_service_as_tools_of_the_agent():
    tools = [{"type": "code_interpreter"}, {"type": "web_search"}]
    with EmulatorServer(responder=Script(ANSWER, CALL)) as server:
        model = qwen(server, "responses", enable_code_interpreter=False)
        state = create_agent(model, tools, response_format=Result).invoke(QUESTION)
        first, second = sent(server)
    assert state["structured_response"] == Result(value=16807)
    # The emulator is not an Alibaba host, so the interpreter has the default container.
    assert first["tools"] == [{**tools[0], "container": {"type": "auto"}}, tools[1]]
    assert [item["name"] for item in second["tools"]] == ["Result"]


def test_second_request_has_the_settings_of_the_call_but_not_of_the_answer():
    with EmulatorServer(responder=Script(ANSWER, CALL)) as server:
        model = qwen(server, "responses", instructions="Be brief.", temperature=0.5)
        create_agent(model, [], response_format=Result).invoke(QUESTION)
        first, second = sent(server)
    assert (first["instructions"], first["temperature"]) == ("Be brief.", 0.5)
    assert "instructions" not in second
    assert second["temperature"] == 0.5


TURNS = [
    [Call("orders", {"year": 2025})],
    [Call("use_code_interpreter", {"task": "the sum"})],
    [Think("I compute."), Run("12 + 30"), Say("The sum is 42.")],
    [Call("Result", {"value": 42})],
]


@every_api
@every_entry_point
def test_middleware_fits_the_interpreters_answer_to_the_schema(entry_point, api: str):
    with EmulatorServer(responder=Script(*TURNS)) as server:
        agent = create_agent(
            qwen(server, api),
            [orders],
            middleware=[CodeInterpreterMiddleware()],
            response_format=ToolStrategy(Result),
        )
        # The compatible APIs of other hosts than Alibaba's are sent "required".
        warning = (
            pytest.warns(UserWarning, match="any one of several tools")
            if api == "dashscope"
            else nullcontext()
        )
        with warning:
            state = entry_point(agent, {"messages": [("user", "What is the sum of 2025?")]})
        requests = sent(server)
    assert state["structured_response"] == Result(value=42)
    assert [has_interpreter(body) for body in requests] == [False, False, True, False]
    assert isinstance(state["messages"][-1], ToolMessage)
    assert state["messages"][-2].text == "The sum is 42."
    if api != "chat_completions":
        assert [run["code"] for run in state["code_executions"]] == ["12 + 30"]
        assert state["code_executions"][0]["message_id"] == state["messages"][-2].id
        assert state["plugin_counts"] == {"code_interpreter": 1}
