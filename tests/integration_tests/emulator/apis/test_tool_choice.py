"""Functions of a request to the emulator: the choice among them, and the interpreter with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator_requests import RESPONSES, error_of, payloads, post, responses_body, send

from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Think

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

OFF = {"interpreter": False, "stream": False}
FORCED = {"type": "function", "function": {"name": "look_up"}}
THINKING_TEXT = (
    "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being "
    "set to required or object in thinking mode"
)


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}


def nested(name: str) -> dict[str, Any]:
    return {"type": "function", "function": function(name)}


def called(server: EmulatorServer, text: str, **fields: Any) -> list[str]:
    """Return the names of the functions that an answer of Responses calls."""
    response = post(server, RESPONSES, responses_body(text, **{**OFF, **fields}))
    assert response.status_code == 200, response.text
    return [item["name"] for item in response.json()["output"] if item["type"] == "function_call"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", []),
        ("auto", []),
        ("required", ["look_up"]),
        ({"type": "function", "name": "look_up"}, ["look_up"]),
    ],
)
def test_choice_of_the_only_function(qwen_emulator, choice, expected):
    tools = [function("look_up")]
    assert called(qwen_emulator, "Hello", tools=tools, tool_choice=choice) == expected


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("auto", "Call add and multiply.", ["multiply"]),
        ("auto", "Hello", []),
        ("required", "Hello", ["multiply"]),
    ],
)
def test_allowed_tools_restrict_the_functions(qwen_emulator, mode, text, expected):
    allowed = [{"type": "function", "name": "multiply"}, {"type": "web_search"}]
    choice = {"type": "allowed_tools", "mode": mode, "tools": allowed}
    tools = [function("add"), function("multiply")]
    assert called(qwen_emulator, text, tools=tools, tool_choice=choice) == expected


def test_allowed_tools_without_the_interpreter_turn_it_off(qwen_emulator):
    tools = [{"type": "code_interpreter"}, function("add")]
    for allowed, text in ((tools[1], "The code interpreter is off"), (tools[0], "6 * 7 = 42.")):
        choice = {"type": "allowed_tools", "mode": "auto", "tools": [allowed]}
        body = responses_body("6 * 7", tools=tools, tool_choice=choice, stream=False)
        (*_, message) = post(qwen_emulator, RESPONSES, body).json()["output"]
        assert text in message["content"][0]["text"]


def test_parallel_tool_calls_false_is_ignored(qwen_emulator):
    tools = [function("add"), function("multiply")]
    names = called(qwen_emulator, "Call add and multiply.", tools=tools, parallel_tool_calls=False)
    assert names == ["add", "multiply"]


def test_code_and_calls_of_one_answer_of_responses():
    turn = [Think("Both."), Run("6 * 7"), Say("So: "), Call("add", {"a": 42}, id="call_1")]
    tools = [{"type": "code_interpreter"}, function("add")]
    with EmulatorServer(responder=Script(turn)) as server:
        last = payloads(post(server, RESPONSES, responses_body(tools=tools)))[-1]["response"]
    assert last["status"] == "completed"
    _, run, _, call = last["output"]
    assert (run["code"], run["outputs"][0]["logs"]) == ("6 * 7", "```\n42\n```")
    assert (call["type"], json.loads(call["arguments"])) == ("function_call", {"a": 42})
    assert last["usage"]["x_tools"] == {"code_interpreter": {"count": 1}}


def test_planner_runs_code_and_calls_a_function(qwen_emulator):
    tools = [{"type": "code_interpreter"}, function("look_up")]
    body = responses_body("Call look_up with 6 * 7.", tools=tools)
    output = payloads(post(qwen_emulator, RESPONSES, body))[-1]["response"]["output"]
    kinds = [item["type"] for item in output]
    assert kinds == ["reasoning", "code_interpreter_call", "reasoning", "function_call"]
    assert output[1]["code"] == "6 * 7"


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_other_apis_reject_functions_with_the_interpreter(qwen_emulator, api):
    response = send(qwen_emulator, api, tools=[nested("look_up")])
    assert response.status_code == 400
    assert "Agent mode does not support tools." in error_of(api, response.json())[1]


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
@pytest.mark.parametrize("choice", ["required", FORCED])
@pytest.mark.parametrize(
    "thinking",
    [{"enable_thinking": True}, {"enable_thinking": None, "model": "qwen3.6-max-preview"}],
)
def test_forced_call_while_thinking_is_rejected(qwen_emulator, api, choice, thinking):
    fields = {"interpreter": False, "tools": [nested("look_up")], "tool_choice": choice}
    response = send(qwen_emulator, api, **fields, **thinking)
    assert response.status_code == 400
    code, message = error_of(api, response.json())
    assert code in ("InvalidParameter", "invalid_parameter_error")
    assert message == THINKING_TEXT


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
@pytest.mark.parametrize(
    ("choice", "thinking"), [(FORCED, False), ("required", False), ("auto", True), ("none", True)]
)
def test_other_choices_are_accepted(qwen_emulator, api, choice, thinking):
    tools = [nested("look_up")]
    response = send(
        qwen_emulator,
        api,
        interpreter=False,
        tools=tools,
        tool_choice=choice,
        enable_thinking=thinking,
    )
    assert response.status_code == 200
    assert ("look_up" in response.text) is (choice in ("required", FORCED))


def test_forced_call_while_thinking_is_accepted_on_responses(qwen_emulator):
    tools = [function("look_up")]
    names = called(
        qwen_emulator, "Hello", tools=tools, tool_choice="required", enable_thinking=True
    )
    assert names == ["look_up"]
