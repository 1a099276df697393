"""The native API of the emulator: frames, usage and error messages, read with plain httpx."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import httpx
import pytest
from emulator_requests import (
    MULTIMODAL,
    QUESTION,
    RESULT,
    TEXT,
    dashscope_body,
    model_of,
    post_native,
)

from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.errors import QwenAuthenticationError

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]


def read_frames(response: httpx.Response) -> list[dict[str, Any]]:
    """Read the frames strictly, as the documentation describes them."""
    frame = re.compile(r"id:(\d+)\nevent:result\n:HTTP_STATUS/200\ndata:(\{.*\})")
    found = [frame.fullmatch(text) for text in response.text.removesuffix("\n\n").split("\n\n")]
    assert all(found)
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    return [json.loads(match[2]) for match in found]


def test_text_generation_frames(qwen_emulator):
    response = post_native(qwen_emulator, dashscope_body(QUESTION))
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = read_frames(response)
    ids = {frame["request_id"] for frame in frames}
    assert ids == {response.headers["x-request-id"]}
    choices = [frame["output"]["choices"][0] for frame in frames]
    assert [choice["finish_reason"] for choice in choices] == [
        *["null"] * (len(frames) - 1),
        "stop",
    ]
    messages = [choice["message"] for choice in choices]
    assert all(isinstance(message["content"], str) for message in messages)
    assert all(isinstance(message["reasoning_content"], str) for message in messages)
    assert messages[-1] == {"content": "", "reasoning_content": "", "role": "assistant"}
    assert RESULT in "".join(message["content"] for message in messages)


def test_tool_info_and_usage_are_cumulative(qwen_emulator):
    frames = read_frames(
        post_native(qwen_emulator, dashscope_body("first 2**5, then divide that by 7"))
    )
    tool_infos = [frame["output"].get("tool_info") for frame in frames]
    first = {"code_interpreter": {"code": "2**5"}, "type": "code_interpreter"}
    second = {"code_interpreter": {"code": "2**5 / 7"}, "type": "code_interpreter"}
    steps = [next(iter(group)) for _, group in itertools.groupby(tool_infos)]
    assert steps == [None, [first], [first, second]]
    counts = [frame["usage"].get("plugins") for frame in frames]
    expected = {
        None: None,
        1: {"code_interpreter": {"count": 1}},
        2: {"code_interpreter": {"count": 2}},
    }
    assert counts == [expected[len(info) if info else None] for info in tool_infos]
    inputs = [frame["usage"]["input_tokens"] for frame in frames]
    assert inputs == sorted(inputs)
    assert len(set(inputs)) == 3
    outputs = [frame["usage"]["output_tokens"] for frame in frames]
    assert outputs == sorted(outputs)
    empty_before_code = frames[tool_infos.index([first]) - 1]["output"]["choices"][0]["message"]
    assert empty_before_code["content"] == empty_before_code["reasoning_content"] == ""


def test_multimodal_generation_frames(qwen_emulator):
    body = dashscope_body([{"text": QUESTION}], model="qwen3.5-plus")
    frames = read_frames(post_native(qwen_emulator, body, MULTIMODAL))
    messages = [frame["output"]["choices"][0]["message"] for frame in frames]
    thinking = [message for message in messages if message["content"] == []]
    speaking = messages[len(thinking) :]
    assert all("reasoning_content" in message for message in thinking)
    assert all(list(message) == ["content", "role"] for message in speaking)
    assert all(list(message["content"][0]) == ["text"] for message in speaking)
    assert frames[-1]["output"]["choices"][0]["finish_reason"] == "stop"
    assert speaking[-1]["content"][0]["text"]


def test_accept_header_alone_streams(qwen_emulator):
    response = post_native(
        qwen_emulator,
        dashscope_body(QUESTION),
        **{"X-DashScope-SSE": "", "Accept": "text/event-stream"},
    )
    assert read_frames(response)


def test_unstreamed_answer_without_the_interpreter(qwen_emulator):
    body = dashscope_body("Hello", enable_code_interpreter=False, enable_thinking=False)
    response = post_native(qwen_emulator, body, **{"X-DashScope-SSE": ""})
    choice = response.json()["output"]["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "off" in choice["message"]["content"]


REJECTIONS = {
    "no streaming": (
        dashscope_body(QUESTION),
        {"X-DashScope-SSE": ""},
        "Non-streaming mode does not support",
    ),
    "tools": (
        dashscope_body(QUESTION, tools=[{"type": "function", "function": {"name": "f"}}]),
        {},
        "Agent mode",
    ),
    "thinking off": (
        dashscope_body(QUESTION, enable_thinking=False),
        {},
        "Please set enable_thinking to true",
    ),
    "not incremental": (
        dashscope_body(QUESTION, incremental_output=False),
        {},
        "incremental_output",
    ),
    "no message format": (dashscope_body(QUESTION, result_format="text"), {}, "result_format"),
    "list content": (dashscope_body([{"text": "x"}]), {}, "input content must be a string."),
    "wrong path": (
        dashscope_body(QUESTION, model="qwen3.5-plus"),
        {},
        "url error, please check url\uff01",
    ),
    "no model": (dashscope_body(QUESTION, model=""), {}, "model"),
    "no messages": ({"model": "qwen3-max", "input": {"messages": []}}, {}, "messages"),
    "unknown role": (
        {"model": "qwen3-max", "input": {"messages": [{"role": "x", "content": ""}]}},
        {},
        "Role must be",
    ),
    "temperature too high": (dashscope_body(QUESTION, temperature=2), {}, "temperature"),
    "body is not an object": ([1], {}, "JSON object"),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_error_messages(qwen_emulator, name):
    body, headers, text = REJECTIONS[name]
    response = post_native(qwen_emulator, body, **headers)
    assert response.status_code == 400
    assert text in response.json()["message"]
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.json()["code"] in ("InvalidParameter", "BadRequest")


def test_unknown_models_paths_and_keys():
    with EmulatorServer(api_key="right") as server:
        assert post_native(server, dashscope_body(QUESTION)).json()["code"] == "InvalidApiKey"
        with pytest.raises(QwenAuthenticationError, match="Invalid API-key"):
            model_of(server).invoke("?")
        right = {"Authorization": "Bearer right"}
        assert (
            post_native(server, dashscope_body(QUESTION, model="gpt-x"), **right).json()["code"]
            == "ModelNotFound"
        )
        assert (
            post_native(server, dashscope_body(QUESTION), "/api/v1/nothing", **right).status_code
            == 404
        )
        assert httpx.post(server.url + TEXT, json=dashscope_body(QUESTION)).status_code == 401
        assert server.requests[0].headers["authorization"] == "***"
        assert server.requests[0].body == dashscope_body(QUESTION)
