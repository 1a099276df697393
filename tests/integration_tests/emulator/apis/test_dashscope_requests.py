"""Unusual requests and scripts on the native API of the emulator, read with plain httpx."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from emulator_requests import MULTIMODAL, TEXT

from langchain_qwen_ci.emulator import (
    Call,
    EmulatorServer,
    ErrorFrame,
    Finish,
    Run,
    Say,
    Script,
    Think,
)

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

HEADERS = {"Authorization": "Bearer any", "X-DashScope-SSE": "enable"}
UNSTREAMED_HEADERS = {"Authorization": "Bearer any"}
INPUT = {"messages": [{"role": "user", "content": "How is the weather in Paris?"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
OTHER = {"type": "function", "function": {"name": "roll_dice", "description": "A number"}}


def body(model: str = "qwen3-max", **parameters: Any) -> dict[str, Any]:
    defaults = {"result_format": "message", "incremental_output": True}
    return {"model": model, "input": INPUT, "parameters": defaults | parameters}


def messages(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line for line in response.text.split("\n") if line.startswith("data:")]
    return [json.loads(line[5:])["output"]["choices"][0]["message"] for line in lines]


@pytest.fixture
def post(qwen_emulator):
    def send(content: Any, path: str = TEXT, headers: dict[str, str] = HEADERS) -> httpx.Response:
        return httpx.post(qwen_emulator.url + path, json=content, headers=headers)

    return send


MALFORMED = {
    "input": body() | {"input": [1]},
    "messages": body() | {"input": {"messages": 5}},
    "parameters": body() | {"parameters": [1]},
    "tools are not a list": body(tools="x"),
    "a tool without a function": body(tools=[{}]),
    "function without a name": body(tools=[{"type": "function", "function": {}}]),
    "a tool_choice that is none": body(tools=[WEATHER], tool_choice="sometimes"),
    "an empty message": body() | {"input": {"messages": [{"role": "user", "content": ""}]}},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request_is_rejected(post, name):
    response = post(MALFORMED[name])
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter")
    assert response.json()["request_id"] == response.headers["x-request-id"]


USER = {"role": "user", "content": "?"}
CALLER = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for name in ("c1", "c2")
    ],
}


def tool_result(name: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": name, "content": "1"}


NO_RESULTS = (
    'An assistant message with "tool_calls" must be followed by tool messages responding to each '
    '"tool_call_id". The following tool_call_ids did not have response messages:'
)
REJECTED_HISTORIES = {
    "result without a call": (
        [USER, tool_result("c1")],
        'messages with role "tool" must be a response to a preceeding message with "tool_calls".',
    ),
    "calls without results": (
        [USER, CALLER, USER],
        f"{NO_RESULTS} c1, c2",
    ),
    "one call of two without a result": (
        [USER, CALLER, tool_result("c2")],
        f"{NO_RESULTS} c1",
    ),
    "no user message": (
        [{"role": "system", "content": "Be brief."}],
        "The input messages do not contain elements with the role of user",
    ),
}


@pytest.mark.parametrize(
    ("history", "text"), REJECTED_HISTORIES.values(), ids=list(REJECTED_HISTORIES)
)
def test_history_is_rejected(post, history, text):
    response = post(body() | {"input": {"messages": history}})
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter")
    assert response.json()["message"] == text


def test_complete_history_is_accepted(post):
    history = [USER, CALLER, tool_result("c2"), tool_result("c1")]
    assert post(body() | {"input": {"messages": history}}).status_code == 200


def test_forced_tool_while_thinking_is_rejected(post):
    forced = {"type": "function", "function": {"name": "roll_dice"}}
    for choice in (forced, "required"):
        response = post(body(tools=[OTHER], tool_choice=choice, enable_thinking=True))
        assert response.json()["message"] == (
            "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support "
            "being set to required or object in thinking mode"
        )


def test_text_generation_accepts_lists_with_cache_control_only(post):
    part = {"type": "text", "text": "What is 2 to the power of 10?"}
    marked = {**part, "cache_control": {"type": "ephemeral"}}
    for content, status in (([part], 400), ([part, marked], 200)):
        messages = [{"role": "user", "content": content}]
        assert post(body() | {"input": {"messages": messages}}).status_code == status


@pytest.mark.parametrize("content", [b"{", b"", b"[" * 200_000], ids=["broken", "empty", "deep"])
def test_invalid_json_is_rejected(qwen_emulator, content):
    response = httpx.post(qwen_emulator.url + TEXT, content=content, headers=HEADERS)
    assert response.status_code == 400
    assert response.json()["code"] == "BadRequest"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_accepted(qwen_emulator, method):
    response = httpx.request(method, qwen_emulator.url + TEXT, headers=HEADERS)
    assert response.status_code == 404
    assert response.json()["code"] == "NotFound"


def test_unstreamed_answer_has_tool_calls(post):
    choice = post(body(tools=[WEATHER]), headers=UNSTREAMED_HEADERS).json()["output"]["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    assert choice["finish_reason"] == "tool_calls"


def test_frames_without_incremental_output_are_cumulative():
    turn = [Say("one two"), Call("f", {"a": 1}, id="call_1"), Call("g", {}, id="call_2")]
    with EmulatorServer(responder=Script(turn)) as server:
        content = body(incremental_output=False)
        found = messages(httpx.post(server.url + TEXT, json=content, headers=HEADERS))
    assert [message["content"] for message in found] == ["one", *["one two"] * 4]
    ids_by_frame = [[call["id"] for call in message.get("tool_calls", [])] for message in found]
    assert ids_by_frame == [[], [], ["call_1"], ["call_1", "call_2"], ["call_1", "call_2"]]


def test_tool_choice_is_respected(post):
    forced = {"type": "function", "function": {"name": "roll_dice"}}
    names = []
    for choice in ("auto", "none", forced):
        found = messages(post(body(tools=[WEATHER, OTHER], tool_choice=choice)))
        calls = [call for message in found for call in message.get("tool_calls", [])]
        names.append([call["function"]["name"] for call in calls if call["id"]])
    assert names == [["get_weather"], [], ["roll_dice"]]


@pytest.mark.parametrize(
    "turn",
    [
        [Say("Let me look. "), Call("f", {})],
        [Say("Let me look. "), Think("Hm."), Say("So.")],
        [Say("Let me look. "), Run("1")],
    ],
)
def test_text_precedes_the_next_step(turn):
    thinking = {"enable_thinking": True, "enable_code_interpreter": True}
    with EmulatorServer(responder=Script(turn)) as server:
        content = body("qwen3.5-plus", **thinking)
        response = httpx.post(server.url + MULTIMODAL, json=content, headers=HEADERS)
    streamed_text = "".join(
        "".join(part["text"] for part in message["content"]) or "|"
        for message in messages(response)
    )
    assert streamed_text.startswith("Let me look. |")


@pytest.mark.parametrize(
    ("model", "path", "thinking"),
    [("qwen3-max", TEXT, False), ("qwen3.5-new", MULTIMODAL, True), ("qwen-plus", TEXT, False)],
)
@pytest.mark.parametrize("parameters", [{}, {"enable_thinking": None}])
def test_thinking_defaults_of_models(model, path, thinking, parameters):
    with EmulatorServer(responder=Script([Think("Hm."), Say("Yes.")])) as server:
        found = messages(
            httpx.post(server.url + path, json=body(model, **parameters), headers=HEADERS)
        )
    thoughts = [message.get("reasoning_content") for message in found]
    assert ("Hm." in thoughts) is thinking


def test_error_frame_has_the_next_number():
    with EmulatorServer(responder=Script([Say("a b c")]), faults=(ErrorFrame(after=2),)) as server:
        text = httpx.post(server.url + TEXT, json=body(), headers=HEADERS).text
    assert [line for line in text.split("\n") if line.startswith("id:")] == ["id:1", "id:2", "id:3"]


def test_nothing_follows_a_finish_step():
    turn = [Say("Cut"), Finish("length"), Say(" off")]
    with EmulatorServer(responder=Script(turn)) as server:
        found = messages(httpx.post(server.url + TEXT, json=body(), headers=HEADERS))
    assert "".join(message["content"] for message in found) == "Cut"
