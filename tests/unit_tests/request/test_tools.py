"""Function tools and the interpreter exclude each other, by every way in, before any request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel

from langchain_qwen_ci.errors import QwenError, ToolsNotAllowedError

ANSWER = STREAMS["one run"].body
CALLS = STREAMS["parallel function calls in pieces"].body


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Sum(BaseModel):
    """A sum."""

    total: int


FUNCTION = convert_to_openai_function(add)
SCHEMA = {"type": "function", "function": FUNCTION}


async def _events(model: Any, **kwargs: Any) -> None:
    async for _ in model.astream_events("?", version="v2", **kwargs):
        pass


async def _astream(model: Any, **kwargs: Any) -> None:
    async for _ in model.astream("?", **kwargs):
        pass


ENTRIES = {
    "invoke": lambda model, **given: model.invoke("?", **given),
    "ainvoke": lambda model, **given: asyncio.run(model.ainvoke("?", **given)),
    "stream": lambda model, **given: list(model.stream("?", **given)),
    "astream": lambda model, **given: asyncio.run(_astream(model, **given)),
    "batch": lambda model, **given: model.batch(["?"], **given),
    "abatch": lambda model, **given: asyncio.run(model.abatch(["?"], **given)),
    "stream_events": lambda model, **given: list(model.stream_events("?", version="v3", **given)),
    "astream_events": lambda model, **given: asyncio.run(_events(model, **given)),
}
GIVEN = {
    "tools": {"tools": [SCHEMA]},
    "tools, not converted": {"tools": [add]},
    "functions": {"functions": [FUNCTION]},
    "tools beside the interpreter's switch": {"tools": [{"type": "code_interpreter"}, SCHEMA]},
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("how", ["bind", "call"])
def test_tools_are_refused_by_every_entry_point(service, how: str, entry: str, given: str):
    served = service(ANSWER)
    model = served.model()
    bound, passed = (model.bind(**GIVEN[given]), {}) if how == "bind" else (model, GIVEN[given])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        ENTRIES[entry](bound, **passed)
    assert served.requests == []


@pytest.mark.parametrize(
    "way",
    [
        lambda model: model.bind_tools([add]),
        lambda model: model.bind_tools([SCHEMA]),
        lambda model: model.bind_tools([Sum]),
        lambda model: model.bind_tools([{"type": "code_interpreter"}, add]),
        lambda model: create_agent(model, [add]).invoke({"messages": [("user", "?")]}),
        lambda model: asyncio.run(
            create_agent(model, [add]).ainvoke({"messages": [("user", "?")]})
        ),
    ],
)
def test_tools_are_refused_where_they_are_bound(service, way):
    served = service(ANSWER)
    with pytest.raises(ToolsNotAllowedError) as caught:
        way(served.model())
    assert served.requests == []
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, QwenError)
    assert "enable_code_interpreter=False" in str(caught.value)


def test_turning_the_interpreter_on_for_a_call_refuses_bound_tools(service):
    served = service(CALLS)
    bound = served.model(enable_code_interpreter=False).bind_tools([add])
    with pytest.raises(ToolsNotAllowedError):
        bound.invoke("?", enable_code_interpreter=True)
    assert served.requests == []


def test_no_tools_at_all_are_accepted(service):
    served = service(ANSWER)
    served.model().bind_tools([]).invoke("?")
    create_agent(served.model(), []).invoke({"messages": [("user", "?")]})
    for body in served.bodies:
        assert body["parameters"]["enable_code_interpreter"] is True
        assert "tools" not in body["parameters"]


@pytest.mark.parametrize("how", ["bind_tools", "bind"])
def test_the_switch_turns_the_interpreter_on(service, how: str):
    served = service(ANSWER)
    model = served.model(enable_code_interpreter=False)
    switch = [{"type": "code_interpreter"}]
    bound = model.bind_tools(switch) if how == "bind_tools" else model.bind(tools=switch)
    bound.invoke("?")
    parameters = served.bodies[0]["parameters"]
    assert parameters["enable_code_interpreter"] is True
    assert parameters["enable_thinking"] is True
    assert "tools" not in parameters


@pytest.mark.parametrize(
    "bound",
    [
        lambda served: served.model(enable_code_interpreter=False).bind_tools([add]),
        lambda served: served.model().bind_tools([add], enable_code_interpreter=False),
        lambda served: served.model().bind(tools=[add], enable_code_interpreter=False),
        lambda served: served.model().bind(functions=[FUNCTION], enable_code_interpreter=False),
    ],
)
def test_with_the_interpreter_off_tools_are_called(service, bound):
    served = service(CALLS)
    message = bound(served).invoke("?")
    assert [call["name"] for call in message.tool_calls] == ["add", "mul"]
    parameters = served.bodies[0]["parameters"]
    assert parameters["tools"] == [SCHEMA]
    assert "enable_code_interpreter" not in parameters


def test_argument_pieces_are_streamed(service):
    model = service(CALLS).model(enable_code_interpreter=False).bind_tools([add])
    pieces = [
        (piece["index"], piece["args"])
        for chunk in model.stream("?")
        for piece in chunk.tool_call_chunks
    ]
    assert pieces == [(0, '{"a"'), (0, ": 1}"), (1, ""), (1, '{"b": 2}')]


def test_tool_results_go_back_with_their_calls(service):
    served = service(CALLS, ANSWER)
    model = served.model(enable_code_interpreter=False).bind_tools([add])
    asked = model.invoke("?")
    model.invoke(["?", asked, ToolMessage("3", tool_call_id="call_a")])
    _, assistant, result = served.bodies[1]["input"]["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_a", "call_b"]
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert result == {"role": "tool", "content": "3", "tool_call_id": "call_a"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ("any", {"type": "function", "function": {"name": "add"}}),
        (True, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_tool_choice(service, choice, sent):
    served = service(CALLS)
    model = served.model(enable_code_interpreter=False)
    model.bind_tools([add], tool_choice=choice).invoke("?")
    assert served.bodies[0]["parameters"]["tool_choice"] == sent
    # Thinking, where it is on by default, excludes a forced call; who wants both may try.
    forced = isinstance(sent, dict)
    assert served.bodies[0]["parameters"].get("enable_thinking") == (False if forced else None)
    model.bind_tools([add], tool_choice=choice, enable_thinking=True).invoke("?")
    assert served.bodies[1]["parameters"]["enable_thinking"] is True


def test_a_choice_that_is_no_tool_is_refused(service):
    served = service(CALLS)
    model = served.model(enable_code_interpreter=False)
    with pytest.raises(ValueError, match="subtract"):
        model.bind_tools([add], tool_choice="subtract").invoke("?")
    assert served.requests == []


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("how", ["instance", "call"])
def test_model_kwargs_are_no_way_round_the_refusal(service, how: str, given: str):
    served = service(ANSWER)
    wishes = {"model_kwargs": GIVEN[given]}
    model, passed = (served.model(**wishes), {}) if how == "instance" else (served.model(), wishes)
    with pytest.raises(ToolsNotAllowedError, match="add"):
        model.invoke("?", **passed)
    assert served.requests == []
