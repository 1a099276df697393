"""Chat Completions from the emulator: answers and rejections, read with plain httpx."""

from __future__ import annotations

import json
import re

import pytest
from emulator_requests import CHAT, chat_body, payloads, post, text_of

from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Search, Think

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

ANSWER = [Think("Let me see."), Run("12**3"), Think("So."), Say("It is 1728.")]
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}


def test_stream_bytes():
    with EmulatorServer(responder=Script(ANSWER)) as server:
        response = post(server, CHAT, chat_body())
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.removesuffix("\n\n").split("\n\n")
    assert all(re.fullmatch(r"data: \{.*\}", frame) for frame in frames[:-1])
    assert frames[-1] == "data: [DONE]"
    *chunks, usage = payloads(response)
    names = ("id", "model", "object", "created", "system_fingerprint")
    assert len({tuple(chunk[name] for name in names) for chunk in [*chunks, usage]}) == 1
    assert usage["id"] == f"chatcmpl-{response.headers['x-request-id']}"
    assert usage["object"] == "chat.completion.chunk"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"content": None, "reasoning_content": "", "role": "assistant"}
    texts = [(delta["reasoning_content"], delta["content"]) for delta in deltas[1:]]
    assert texts == [
        ("Let", None),
        (" me", None),
        (" see.", None),
        ("So.", None),
        (None, "It"),
        (None, " is"),
        (None, " 1728."),
        (None, ""),
    ]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}


def test_stream_has_neither_code_nor_counts():
    with EmulatorServer(responder=Script(ANSWER)) as server:
        text = post(server, CHAT, chat_body()).text
    assert "12**3" not in text
    assert "code_interpreter" not in text
    assert "plugins" not in text


def test_usage_requires_include_usage():
    with EmulatorServer(responder=Script(ANSWER)) as server:
        chunks = payloads(post(server, CHAT, chat_body(stream_options=None)))
    assert all(chunk["choices"] for chunk in chunks)
    assert {chunk["usage"] for chunk in chunks} == {None}


def test_unstreamed_answer():
    turn = [Think("Hm."), Say("Yes, "), Say("it is.")]
    with EmulatorServer(responder=Script(turn)) as server:
        body = chat_body(interpreter=False, enable_thinking=True, stream=False)
        response = post(server, CHAT, body)
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document["object"] == "chat.completion"
    (choice,) = document["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "Yes, it is.",
        "reasoning_content": "Hm.",
    }
    assert choice["finish_reason"] == "stop"
    assert document["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("stream", [True, False])
def test_function_calls(stream):
    turn = [Call("f", {"x": "é"}, id="call_1"), Call("g", {}, id="call_2")]
    with EmulatorServer(responder=Script(turn)) as server:
        response = post(server, CHAT, chat_body(interpreter=False, stream=stream, tools=[FUNCTION]))
    if stream:
        choices = [chunk["choices"][0] for chunk in payloads(response)[:-1]]
        pieces = [c for choice in choices for c in choice["delta"].get("tool_calls", [])]
        assert [(piece["index"], piece["id"]) for piece in pieces] == [
            (0, "call_1"),
            (0, ""),
            (1, "call_2"),
            (1, ""),
        ]
        assert ["name" in piece["function"] for piece in pieces] == [True, False, True, False]
        arguments = "".join(piece["function"]["arguments"] for piece in pieces[:2])
        reason = choices[-1]["finish_reason"]
    else:
        (choice,) = response.json()["choices"]
        calls = choice["message"]["tool_calls"]
        assert [(c["id"], c["function"]["name"]) for c in calls] == [
            ("call_1", "f"),
            ("call_2", "g"),
        ]
        arguments, reason = calls[0]["function"]["arguments"], choice["finish_reason"]
    assert json.loads(arguments) == {"x": "é"}
    assert reason == "tool_calls"


CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "content": "", "tool_calls": [CALLED]}
USER = {"role": "user", "content": "?"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
OFF = {"interpreter": False}
AGENT_MODE = (
    "Agent mode does not support tools. You need to either avoid using "
    "enable_code_interpreter or avoid using the agent mode with enable_search."
)
REJECTIONS = {
    "no streaming": (
        chat_body(stream=False),
        "Non-streaming mode does not support Code interpreter.",
    ),
    "functions with the interpreter": (
        chat_body(tools=[FUNCTION]),
        AGENT_MODE,
    ),
    "model without the interpreter on this API": (
        chat_body(model="qwen3.8-max"),
        "qwen3.8-max does not support the code_interpreter tool",
    ),
    "the interpreter as a tool": (
        chat_body(tools=[{"type": "code_interpreter"}]),
        "'function' is a required property",
    ),
    "no model": (chat_body(model=None), "model"),
    "no messages": (chat_body(messages=[]), "messages"),
    "messages are not a list": (chat_body(messages=5), "messages"),
    "unknown role": (chat_body(messages=[{"role": "x", "content": "?"}]), "Role must be"),
    "images for a text model": (
        chat_body(messages=[{"role": "user", "content": [IMAGE]}]),
        "takes text only",
    ),
    "result without a call": (
        chat_body(messages=[USER, {"role": "tool", "tool_call_id": "c", "content": "1"}]),
        'messages with role "tool" must be a response',
    ),
    "result of an unknown call": (
        chat_body(
            messages=[USER, ASSISTANT, {"role": "tool", "tool_call_id": "d", "content": "1"}]
        ),
        'messages with role "tool" must be a response',
    ),
    "calls without results": (
        chat_body(messages=[USER, ASSISTANT, USER]),
        (
            'An assistant message with "tool_calls" must be followed by tool messages responding '
            'to each "tool_call_id". The following tool_call_ids did not have response messages: c'
        ),
    ),
    "no user message": (
        chat_body(messages=[{"role": "system", "content": "Be brief."}]),
        "The input messages do not contain elements with the role of user",
    ),
    "forced tool while thinking": (
        chat_body(
            tools=[FUNCTION],
            tool_choice={"type": "function", "function": {"name": "f"}},
            **OFF | {"enable_thinking": True},
        ),
        (
            "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support "
            "being set to required or object in thinking mode"
        ),
    ),
    "malformed calls": (
        chat_body(messages=[USER, {**ASSISTANT, "tool_calls": [{"id": "c"}]}]),
        "tool_calls must be",
    ),
    "tool_choice names an unknown tool": (
        chat_body(
            tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "g"}}, **OFF
        ),
        "none of the tools",
    ),
    "unknown tool_choice": (
        chat_body(tools=[FUNCTION], tool_choice="any", **OFF),
        "tool_choice",
    ),
    "temperature too high": (chat_body(temperature=2), "temperature"),
    "max_tokens is 0": (chat_body(max_tokens=0), "max_tokens"),
    "negative thinking_budget": (chat_body(thinking_budget=-1), "thinking_budget"),
    "number as a string": (chat_body(top_p="1"), "top_p"),
    "stop of a wrong type": (chat_body(stop=[1]), "stop"),
    "JSON while thinking": (
        chat_body("json?", enable_thinking=True, response_format={"type": "json_object"}, **OFF),
        "Json mode response is not supported when enable_thinking is true",
    ),
    "JSON with the interpreter": (
        chat_body("json?", response_format=JSON_SCHEMA),
        "Json mode response is not supported when enable_code_interpreter is true",
    ),
    "JSON without the word JSON": (
        chat_body(response_format={"type": "json_object"}, **OFF),
        "'messages' must contain the word 'json' in some form",
    ),
    "unknown format": (chat_body(response_format={"type": "xml"}, **OFF), "response_format"),
    "format without a schema": (
        chat_body(response_format={"type": "json_schema"}, **OFF),
        "needs a schema",
    ),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_error_messages(qwen_emulator, name):
    body, text = REJECTIONS[name]
    response = post(qwen_emulator, CHAT, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert text in error["message"]
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        None,
        "invalid_parameter_error",
    )
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_unknown_keys_and_models():
    with EmulatorServer(api_key="right") as server:
        wrong = post(server, CHAT, chat_body())
        unknown = post(server, CHAT, chat_body(model="gpt-x"), Authorization="Bearer right")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    assert wrong.json()["error"]["message"].startswith("Incorrect API key provided.")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("model", ["qwen3-max", "qwen3.7-max"])
def test_code_runs_without_thinking(model):
    with EmulatorServer(responder=Script([Run("6 * 7"), Say("It is 42.")])) as server:
        response = post(server, CHAT, chat_body(model=model, enable_thinking=False))
    assert response.status_code == 200
    assert text_of("chat_completions", response) == "It is 42."


@pytest.mark.parametrize("model", ["qwen-max", "qwen3-max-preview", "qwen3.5-omni-plus"])
def test_some_models_ignore_the_interpreter_flag(qwen_emulator, model):
    body = chat_body("2 + 2", model=model, enable_thinking=False, stream=False)
    response = post(qwen_emulator, CHAT, body)
    assert "off" in response.json()["choices"][0]["message"]["content"]


def test_media_are_passed_to_models_with_vision(qwen_emulator):
    video = {"type": "video_url", "video_url": {"url": "https://example.com/v.mp4"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    content = [{"type": "text", "text": "What is this?"}, IMAGE, IMAGE, video, audio]
    messages = [{"role": "user", "content": content}]
    body = chat_body(
        model="qwen3.5-plus", messages=messages, enable_thinking=False, stream=False, **OFF
    )
    answer = post(qwen_emulator, CHAT, body).json()["choices"][0]["message"]["content"]
    assert "2 images and 1 video and 1 audio" in answer


def test_list_of_text_parts_is_text(qwen_emulator):
    content = [{"type": "text", "text": "Compute "}, {"type": "text", "text": "6 times 7."}]
    body = chat_body(messages=[{"role": "user", "content": content}])
    chunks = payloads(post(qwen_emulator, CHAT, body))[:-1]
    answer = "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)
    assert answer == "6 * 7 = 42."


def test_conversation_with_tool_messages(qwen_emulator):
    result = {"role": "tool", "tool_call_id": "c", "content": "It is sunny."}
    body = chat_body(messages=[USER, ASSISTANT, result], tools=[FUNCTION], stream=False, **OFF)
    content = post(qwen_emulator, CHAT, body).json()["choices"][0]["message"]["content"]
    assert content == "The tool answered: It is sunny."


@pytest.mark.parametrize(
    ("text", "wanted", "keys"),
    [
        ("json, please", {"type": "json_object"}, {"answer"}),
        ("A JSON with 'setup' and 'punchline' keys", {"type": "json_object"}, None),
        ("What is the answer?", JSON_SCHEMA, {"answer"}),
    ],
)
def test_json_response_format(qwen_emulator, text, wanted, keys):
    body = chat_body(text, response_format=wanted, stream=False, **OFF)
    content = post(qwen_emulator, CHAT, body).json()["choices"][0]["message"]["content"]
    assert set(json.loads(content)) == (keys or {"setup", "punchline"})


def test_max_completion_tokens():
    with EmulatorServer(responder=Script([Say("a b c d")])) as server:
        body = chat_body(interpreter=False, stream=False, max_completion_tokens=2)
        (choice,) = post(server, CHAT, body).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("a b", "length")


def test_search_is_not_returned_and_must_be_enabled():
    turns = [[Search("?", ("https://example.com/",)), Say("Found.")]] * 2
    with EmulatorServer(responder=Script(*turns)) as server:
        off = post(server, CHAT, chat_body())
        on = post(server, CHAT, chat_body(enable_search=True))
    assert off.status_code == 500
    assert "web_search" in off.json()["error"]["message"]
    assert "example.com" not in on.text
    assert "Found." in on.text
