"""Requests that Alibaba's service is known to reject raise before sending, on its hosts only."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.tools import tool
from pydantic import BaseModel
from request_bodies import ANSWERS, APIS, api_body

from langchain_qwen_ci.errors import QwenInputError

FOREIGN = "https://gate.example"
CHAT_APIS = ("dashscope", "chat_completions")

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def subtract(a: int, b: int) -> int:
    """Subtract two numbers."""
    return a - b


class Sum(BaseModel):
    """A sum."""

    total: int


def call_of(*ids: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": name, "name": "add", "args": {}} for name in ids])


def result_of(name: str) -> ToolMessage:
    return ToolMessage("3", tool_call_id=name)


USER = HumanMessage("?")
REJECTED_HISTORIES: dict[str, tuple[list[BaseMessage], str]] = {
    "result without a call": (
        [USER, result_of("c1")],
        r"messages\[1\]: the tool message for the call 'c1' has no AI message.*trim_messages",
    ),
    "result of another call": ([USER, call_of("c1"), result_of("c2")], "the call 'c2' has no AI"),
    "result before its call": (
        [USER, result_of("c1"), call_of("c1"), result_of("c1")],
        r"messages\[1\]",
    ),
    "calls without results": (
        [USER, call_of("c1", "c2", "c3"), result_of("c2"), HumanMessage("Go on")],
        "The tool calls 'c1', 'c3' have no tool messages.*add a ToolMessage",
    ),
    "last message has a call": ([USER, call_of("c1")], "'c1'"),
    "result is not directly after its call": (
        [USER, call_of("c1"), HumanMessage("Wait"), result_of("c1")],
        "'c1' have no tool messages directly after",
    ),
    "invalid call without a result": (
        [
            USER,
            AIMessage(
                "",
                invalid_tool_calls=[
                    {"type": "invalid_tool_call", "id": "c9", "name": "f", "args": "{", "error": ""}
                ],
            ),
            USER,
        ],
        "'c9'",
    ),
    "no user message": (
        [SystemMessage("Be brief."), AIMessage("Hi")],
        r"no human message.*start_on=\"human\"",
    ),
}


@pytest.mark.parametrize("name", REJECTED_HISTORIES)
@pytest.mark.parametrize("api", CHAT_APIS)
def test_history_that_alibaba_rejects_raises(mock_service, api: str, name: str):
    history, text = REJECTED_HISTORIES[name]
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match=text):
        backend.model(api=api).invoke(history)
    with pytest.raises(QwenInputError, match=text):
        list(backend.model(api=api).stream(history))
    assert backend.requests == []
    assert api_body(mock_service, api, history, base_url=FOREIGN)


@pytest.mark.parametrize("name", REJECTED_HISTORIES)
def test_responses_has_no_such_rules(mock_service, name: str):
    history, _ = REJECTED_HISTORIES[name]
    assert api_body(mock_service, "responses", history)["input"]


@pytest.mark.parametrize("api", APIS)
def test_complete_history_is_sent(mock_service, api: str):
    history = [
        SystemMessage("Be brief."),
        USER,
        call_of("c1", "c2"),
        result_of("c2"),
        result_of("c1"),
        call_of("c1"),  # some servers number the calls of each answer anew
        result_of("c1"),
        AIMessage("6"),
        USER,
    ]
    assert api_body(mock_service, api, history)


def test_trim_messages_makes_a_history_valid(mock_service):
    history = [USER, call_of("c1"), result_of("c1"), AIMessage("3"), HumanMessage("And 2 + 2?")]
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match=r'start_on="human"'):
        backend.model().invoke(trim_messages(history, max_tokens=3, token_counter=len))
    trimmed = trim_messages(history, max_tokens=3, token_counter=len, start_on="human")
    assert api_body(mock_service, "dashscope", trimmed)["input"]["messages"] == [
        {"role": "user", "content": "And 2 + 2?"}
    ]


CHOICES: list[Any] = ["add", "any", "required", True, {"type": "function", "function": {}}]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("api", CHAT_APIS)
def test_forced_tool_while_thinking_raises(mock_service, api: str, choice: Any):
    backend = mock_service(b"")
    model = backend.model(api=api, enable_code_interpreter=False)
    thinking = backend.model(api=api, enable_code_interpreter=False, enable_thinking=True)
    with pytest.raises(QwenInputError, match=r"enable_thinking=True.*method=\"prompt\""):
        thinking.bind_tools([add], tool_choice=choice)
    with pytest.raises(QwenInputError, match="no forced tool_choice"):
        model.bind_tools([add], tool_choice=choice, enable_thinking=True)
    bound = model.bind_tools([add], tool_choice=choice)
    with pytest.raises(QwenInputError, match="no forced tool_choice"):
        bound.invoke("?", enable_thinking=True)
    with pytest.raises(QwenInputError, match="no forced tool_choice"):
        thinking.invoke("?", tools=[add], tool_choice=choice)
    assert backend.requests == []


@pytest.mark.parametrize("api", CHAT_APIS)
def test_function_calling_while_thinking_raises(mock_service, api: str):
    model = mock_service(b"").model(api=api, enable_code_interpreter=False, enable_thinking=True)
    with pytest.raises(QwenInputError, match=r"method=\"prompt\" works with thinking"):
        model.with_structured_output(Sum, method="function_calling")
    assert model.with_structured_output(Sum)  # uses the prompt


def test_forced_tool_while_thinking_is_sent_where_no_rule_is_known(mock_service):
    fields = {"enable_code_interpreter": False, "enable_thinking": True}
    for api, base_url in (("responses", None), ("chat_completions", FOREIGN)):
        backend = mock_service(ANSWERS[api])
        model = backend.model(api=api, base_url=base_url, **fields)
        model.bind_tools([add], tool_choice="add").invoke("?")
        assert backend.bodies[0]["enable_thinking"] is True
        assert backend.bodies[0]["tool_choice"]["type"] == "function"


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_tool_choice_that_forces_nothing_is_sent_while_thinking(mock_service, choice: str):
    backend = mock_service(ANSWERS["chat_completions"])
    fields = {"enable_code_interpreter": False, "enable_thinking": True}
    model = backend.model(api="chat_completions", **fields)
    model.bind_tools([add], tool_choice=choice).invoke("?")
    assert backend.bodies[0]["tool_choice"] == choice


def test_any_of_several_tools_is_sent_as_auto_while_thinking(mock_service):
    backend = mock_service(ANSWERS["chat_completions"])
    fields = {"enable_code_interpreter": False, "enable_thinking": True}
    model = backend.model(api="chat_completions", **fields)
    with pytest.warns(UserWarning, match='sent as "auto"'):
        model.bind_tools([add, subtract], tool_choice="any").invoke("?")
    assert backend.bodies[0]["tool_choice"] == "auto"
