"""DashScope's official SDK reads from the emulator what the chat model reads."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import dashscope
import pytest
from dashscope import Generation, MultiModalConversation
from dashscope.api_entities.http_request import close_shared_sync_session
from emulator_requests import QUESTION, model_of

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import ErrorFrame

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]


@pytest.fixture
def sdk(qwen_emulator, monkeypatch):
    """The official SDK, pointed at the emulator."""
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{qwen_emulator.url}/api/v1")
    yield qwen_emulator
    close_shared_sync_session()


SDK_OPTIONS: dict[str, Any] = {
    "api_key": "any",
    "stream": True,
    "incremental_output": True,
    "result_format": "message",
    "enable_thinking": True,
    "enable_code_interpreter": True,
}


def test_dashscope_sdk_reads_text_generation(sdk):
    messages = [{"role": "user", "content": QUESTION}]
    *_, last = responses = list(
        Generation.call(model="qwen3-max", messages=messages, **SDK_OPTIONS)
    )
    ours = model_of(sdk).invoke(QUESTION)
    assert {response.status_code for response in responses} == {HTTPStatus.OK}
    text = [response.output.choices[0].message for response in responses]
    assert "".join(message.content for message in text) == ours.content
    reasoning = "".join(message.reasoning_content for message in text)
    assert reasoning == ours.additional_kwargs["reasoning_content"]
    codes = [entry["code_interpreter"]["code"] for entry in last.output["tool_info"]]
    assert codes == [run["code"] for run in code_executions(ours)]
    assert last.usage["plugins"] == ours.response_metadata["plugins"]
    assert last.usage["input_tokens"] == ours.usage_metadata["input_tokens"]
    assert last.usage["output_tokens"] == ours.usage_metadata["output_tokens"]


def test_dashscope_sdk_reads_multimodal_generation(sdk):
    messages = [{"role": "user", "content": [{"text": QUESTION}]}]
    *_, last = responses = list(
        MultiModalConversation.call(model="qwen3.5-plus", messages=messages, **SDK_OPTIONS)
    )
    ours = model_of(sdk, model="qwen3.5-plus").invoke(QUESTION)
    parts = [
        part for response in responses for part in response.output.choices[0].message.content or []
    ]
    assert "".join(part["text"] for part in parts) == ours.content
    codes = [entry["code_interpreter"]["code"] for entry in last.output["tool_info"]]
    assert codes == [run["code"] for run in code_executions(ours)]
    assert last.usage["plugins"] == ours.response_metadata["plugins"]


def test_dashscope_sdk_raises_the_same_errors(sdk):
    messages = [{"role": "user", "content": QUESTION}]
    (rejected,) = Generation.call(model="qwen3.5-plus", messages=messages, **SDK_OPTIONS)
    assert (rejected.status_code, rejected.code) == (400, "InvalidParameter")
    assert rejected.message.startswith("url error")
    sdk.inject_fault(ErrorFrame(after=3, status=500, code="InternalError", message="Broken."))
    *_, broken = Generation.call(model="qwen3-max", messages=messages, **SDK_OPTIONS)
    assert (broken.code, broken.message) == ("InternalError", "Broken.")
