"""Function tools: rejected with the interpreter on, by every entry point; sent with it off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import responses_streams
from dashscope_streams import STREAMS
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool, tool
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel
from request_bodies import ANSWERS

from langchain_qwen_ci.errors import QwenError, QwenInputError, ToolsNotAllowedError

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


ENTRY_POINTS = {
    "invoke": lambda model, **arguments: model.invoke("?", **arguments),
    "ainvoke": lambda model, **arguments: asyncio.run(model.ainvoke("?", **arguments)),
    "stream": lambda model, **arguments: list(model.stream("?", **arguments)),
    "astream": lambda model, **arguments: asyncio.run(_astream(model, **arguments)),
    "batch": lambda model, **arguments: model.batch(["?"], **arguments),
    "abatch": lambda model, **arguments: asyncio.run(model.abatch(["?"], **arguments)),
    "stream_events": lambda model, **arguments: list(
        model.stream_events("?", version="v3", **arguments)
    ),
    "astream_events": lambda model, **arguments: asyncio.run(_events(model, **arguments)),
}
TOOL_ARGUMENTS = {
    "tools": {"tools": [SCHEMA]},
    "tools that are not converted": {"tools": [add]},
    "functions": {"functions": [FUNCTION]},
    "code_interpreter and a function": {"tools": [{"type": "code_interpreter"}, SCHEMA]},
}


@pytest.mark.parametrize("name", TOOL_ARGUMENTS)
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("passed_by", ["bind", "call"])
def test_every_entry_point_rejects_function_tools(
    mock_service, passed_by: str, entry_point: str, name: str
):
    backend = mock_service(ANSWER)
    model = backend.model()
    bound = model.bind(**TOOL_ARGUMENTS[name]) if passed_by == "bind" else model
    arguments = {} if passed_by == "bind" else TOOL_ARGUMENTS[name]
    with pytest.raises(ToolsNotAllowedError, match="add"):
        ENTRY_POINTS[entry_point](bound, **arguments)
    assert backend.requests == []


@pytest.mark.parametrize(
    "bind",
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
def test_binding_function_tools_raises(mock_service, bind):
    backend = mock_service(ANSWER)
    with pytest.raises(ToolsNotAllowedError) as caught:
        bind(backend.model())
    assert backend.requests == []
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, QwenError)
    assert "enable_code_interpreter=False" in str(caught.value)


def test_enabling_the_interpreter_for_a_call_rejects_bound_tools(mock_service):
    backend = mock_service(CALLS)
    bound = backend.model(enable_code_interpreter=False).bind_tools([add])
    with pytest.raises(ToolsNotAllowedError):
        bound.invoke("?", enable_code_interpreter=True)
    assert backend.requests == []


def test_empty_list_of_tools_is_accepted(mock_service):
    backend = mock_service(ANSWER)
    backend.model().bind_tools([]).invoke("?")
    create_agent(backend.model(), []).invoke({"messages": [("user", "?")]})
    for body in backend.bodies:
        assert body["parameters"]["enable_code_interpreter"] is True
        assert "tools" not in body["parameters"]


INTERPRETERS = {
    "Qwen": {"type": "code_interpreter"},
    "OpenAI": {"type": "code_interpreter", "container": {"type": "auto"}},
    "Anthropic": {"type": "code_execution_20250825", "name": "code_execution"},
    "Anthropic, an older version": {"type": "code_execution_20250522", "name": "code_execution"},
    "Google": {"code_execution": {}},
}
every_interpreter = pytest.mark.parametrize("interpreter", INTERPRETERS.values(), ids=INTERPRETERS)


@every_interpreter
@pytest.mark.parametrize("passed_by", ["bind_tools", "bind", "agent"])
def test_code_interpreter_tool_enables_the_interpreter(mock_service, passed_by: str, interpreter):
    backend = mock_service(ANSWER)
    model = backend.model(enable_code_interpreter=False)
    if passed_by == "agent":
        create_agent(model, [interpreter]).invoke({"messages": [("user", "?")]})
    elif passed_by == "bind_tools":
        model.bind_tools([interpreter]).invoke("?")
    else:
        model.bind(tools=[interpreter]).invoke("?")
    parameters = backend.bodies[0]["parameters"]
    assert parameters["enable_code_interpreter"] is True
    assert parameters["enable_thinking"] is True
    assert "tools" not in parameters


@every_interpreter
def test_no_function_tools_beside_the_interpreter_of_any_provider(mock_service, interpreter):
    backend = mock_service(ANSWER)
    model = backend.model(enable_code_interpreter=False)
    with pytest.raises(ToolsNotAllowedError, match="add"):
        model.bind_tools([interpreter, add])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        model.bind(tools=[interpreter, add]).invoke("?")
    assert backend.requests == []


@every_interpreter
@pytest.mark.parametrize("passed_by", ["bind_tools", "bind"])
def test_container_is_sent_to_responses(mock_service, passed_by: str, interpreter):
    backend = mock_service(responses_streams.STREAMS["one run"].body)
    model = backend.model(api="responses")
    tools = [interpreter, {"type": "web_search"}]
    bound = model.bind_tools(tools) if passed_by == "bind_tools" else model.bind(tools=tools)
    bound.invoke("?")
    container = {"container": interpreter["container"]} if "container" in interpreter else {}
    assert backend.bodies[0]["tools"] == [
        {"type": "code_interpreter", **container},
        {"type": "web_search"},
    ]


@pytest.mark.filterwarnings("ignore:Chat Completions runs code")
@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_container_that_the_api_cannot_take_is_a_warning(mock_service, api: str):
    backend = mock_service(ANSWER if api == "dashscope" else ANSWERS[api])
    tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}
    bound = backend.model(api=api).bind_tools([tool])
    with pytest.warns(UserWarning, match="container of the code interpreter is not sent"):
        bound.invoke("?")
    assert "container" not in json.dumps(backend.bodies[0])


@pytest.mark.parametrize(
    "interpreter",
    [
        {"type": "code_execution_20250825", "name": "code_execution", "cache_control": {}},
        {"code_execution": {"cache_control": {}}},
    ],
)
def test_unknown_options_of_the_interpreter_are_rejected(mock_service, interpreter):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="cache_control"):
        backend.model().bind_tools([interpreter])
    assert backend.requests == []


@pytest.mark.parametrize(
    "bound",
    [
        lambda backend: backend.model(enable_code_interpreter=False).bind_tools([add]),
        lambda backend: backend.model().bind_tools([add], enable_code_interpreter=False),
        lambda backend: backend.model().bind(tools=[add], enable_code_interpreter=False),
        lambda backend: backend.model().bind(functions=[FUNCTION], enable_code_interpreter=False),
    ],
)
def test_function_tools_are_sent_with_the_interpreter_off(mock_service, bound):
    backend = mock_service(CALLS)
    message = bound(backend).invoke("?")
    assert [call["name"] for call in message.tool_calls] == ["add", "mul"]
    parameters = backend.bodies[0]["parameters"]
    assert parameters["tools"] == [SCHEMA]
    assert "enable_code_interpreter" not in parameters


def test_pieces_of_arguments_are_streamed(mock_service):
    model = mock_service(CALLS).model(enable_code_interpreter=False).bind_tools([add])
    pieces = [
        (piece["index"], piece["args"])
        for chunk in model.stream("?")
        for piece in chunk.tool_call_chunks
    ]
    assert pieces == [(0, '{"a"'), (0, ": 1}"), (1, ""), (1, '{"b": 2}')]


def test_tool_results_are_sent_with_their_calls(mock_service):
    backend = mock_service(CALLS, ANSWER)
    model = backend.model(enable_code_interpreter=False).bind_tools([add])
    answer = model.invoke("?")
    results = [ToolMessage("3", tool_call_id="call_a"), ToolMessage("4", tool_call_id="call_b")]
    model.invoke(["?", answer, *results])
    _, assistant, result, _ = backend.bodies[1]["input"]["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_a", "call_b"]
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert result == {"role": "tool", "content": "3", "tool_call_id": "call_a"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ("any", {"type": "function", "function": {"name": "add"}}),
        (True, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_tool_choice_is_converted(mock_service, choice, expected):
    backend = mock_service(CALLS)
    model = backend.model(enable_code_interpreter=False)
    model.bind_tools([add], tool_choice=choice).invoke("?")
    assert backend.bodies[0]["parameters"]["tool_choice"] == expected
    # The service rejects a forced call while the model thinks, so thinking is turned off unless
    # the caller turns it on.
    forced = isinstance(expected, dict)
    assert backend.bodies[0]["parameters"].get("enable_thinking") == (False if forced else None)
    # A host that is not Alibaba's may accept both.
    model = backend.model(base_url="https://gate.example", enable_code_interpreter=False)
    model.bind_tools([add], tool_choice=choice, enable_thinking=True).invoke("?")
    assert backend.bodies[1]["parameters"]["enable_thinking"] is True


def test_tool_choice_that_is_not_a_tool_raises(mock_service):
    backend = mock_service(CALLS)
    model = backend.model(enable_code_interpreter=False)
    with pytest.raises(ValueError, match="subtract"):
        model.bind_tools([add], tool_choice="subtract").invoke("?")
    assert backend.requests == []


@pytest.mark.parametrize("name", TOOL_ARGUMENTS)
@pytest.mark.parametrize("passed_by", ["instance", "call"])
def test_function_tools_in_model_kwargs_are_rejected(mock_service, passed_by: str, name: str):
    backend = mock_service(ANSWER)
    fields = {"model_kwargs": TOOL_ARGUMENTS[name]}
    model = backend.model(**fields) if passed_by == "instance" else backend.model()
    with pytest.raises(ToolsNotAllowedError, match="add"):
        model.invoke("?", **({} if passed_by == "instance" else fields))
    assert backend.requests == []


@pytest.mark.parametrize(
    ("fields", "tools", "sent"),
    [
        ({}, [], {"type": "code_interpreter"}),
        (
            {"base_url": "http://127.0.0.1:8000/v1"},
            [],
            {"type": "code_interpreter", "container": {"type": "auto"}},
        ),
        (
            {"base_url": "http://127.0.0.1:8000/v1"},
            [{"type": "code_interpreter", "container": "cntr_1"}],
            {"type": "code_interpreter", "container": "cntr_1"},
        ),
    ],
)
def test_container_of_the_interpreter_is_automatic_where_the_host_is_not_alibabas(
    mock_service, fields, tools, sent
):
    backend = mock_service(responses_streams.STREAMS["one run"].body)
    backend.model(api="responses", **fields).bind_tools(tools).invoke("?")
    assert backend.bodies[0]["tools"] == [sent]


class Node(BaseModel):
    """A node of a tree."""

    value: int
    children: list[Node] = []


class TreeArguments(BaseModel):
    root: Node


@tool(args_schema=TreeArguments)
def draw(root: Any) -> str:
    """Draw a tree."""
    return str(root)


def draw_all(root: Node, title: str = "") -> str:
    """Draw trees.

    Args:
        root: the first tree.
        title: the title of the drawing.
    """
    return f"{title} {root}"


TREE_TOOL = StructuredTool(
    name="Node", description="A node of a tree.", args_schema=Node.model_json_schema()
)
RECURSIVE_TOOLS = {
    "class": (Node, "Node", "A node of a tree."),
    "JSON schema": (Node.model_json_schema(), "Node", "A node of a tree."),
    "tool with a JSON schema": (TREE_TOOL, "Node", "A node of a tree."),
    "tool": (draw, "draw", "Draw a tree."),
    "function": (draw_all, "draw_all", "Draw trees."),
}


@pytest.mark.parametrize(
    ("given", "name", "description"), RECURSIVE_TOOLS.values(), ids=RECURSIVE_TOOLS
)
@pytest.mark.parametrize("strict", [None, True])
def test_recursive_schema_is_sent_whole(mock_service, given, name, description, strict):
    backend = mock_service(ANSWER)
    model = backend.model(enable_code_interpreter=False)
    model.bind_tools([given], strict=strict).invoke("?")
    (sent,) = backend.bodies[0]["parameters"]["tools"]
    function = sent["function"]
    assert (function["name"], function["description"]) == (name, description)
    assert function.get("strict") == strict
    node = function["parameters"]["$defs"]["Node"]
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert node.get("additionalProperties") is (False if strict else None)
    if given is draw_all:
        assert function["parameters"]["properties"]["title"]["description"].startswith("the title")
    # If this fails, LangChain keeps recursive references, and the conversion here is needless.
    assert "$defs" not in convert_to_openai_function(draw)["parameters"]
