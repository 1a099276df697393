"""Rules about thinking and reasoning effort, by API."""

from __future__ import annotations

from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain_core.tools import tool
from request_bodies import ANSWERS as COMPATIBLE_ANSWERS

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenInputError

ANSWERS = {"dashscope": STREAMS["one run"].body, **COMPATIBLE_ANSWERS}
APIS = ("dashscope", "responses", "chat_completions")
FOREIGN = "https://gate.example"

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore:The code interpreter of"),
]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def sent(mock_service, fields: dict[str, Any], **call: Any) -> dict[str, Any]:
    """Return the parameters of the request of a model with these fields."""
    backend = mock_service(ANSWERS[fields["api"]])
    backend.model(**fields).invoke("Hi", **call)
    (body,) = backend.bodies
    return body.get("parameters", body)


def assert_rejected(mock_service, fields: dict[str, Any], wrong: dict[str, Any], text: str) -> None:
    """Require an error before sending, for a field and for an argument of a call."""
    backend = mock_service(b"")
    with pytest.raises(ValueError, match=text):
        backend.model(**fields, **wrong)
    with pytest.raises(QwenInputError, match=text):
        backend.model(**fields).invoke("Hi", **wrong)
    assert backend.requests == []


@pytest.mark.parametrize("off", [{"enable_thinking": False}, {"reasoning_effort": "none"}])
@pytest.mark.parametrize("name", ["qwen3-max", "qwen3.5-plus", "qwen3.8-max-0902", "qwen3.9-new"])
@pytest.mark.filterwarnings("ignore:.*is not among the models")
def test_responses_requires_thinking_for_code(mock_service, name, off):
    fields = {"api": "responses", "model": name}
    assert_rejected(mock_service, fields, off, "thinking off on api='responses'")
    assert sent(mock_service, {**fields, "enable_code_interpreter": False}, **off)


def test_effort_in_the_format_of_responses_requires_thinking_too(mock_service):
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match="thinking off"):
        backend.model(api="responses").invoke("Hi", reasoning={"effort": "none"})
    assert backend.requests == []


def test_effort_of_responses_takes_precedence_over_enable_thinking(mock_service):
    fields = {"api": "responses", "enable_thinking": False}
    body = sent(mock_service, {**fields, "reasoning_effort": "low"})
    assert body["reasoning"] == {"effort": "low"}
    assert_rejected(
        mock_service,
        {"api": "responses", "enable_thinking": True},
        {"reasoning_effort": "none"},
        "off",
    )


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3.7-max", "qwen3.7-max-2026-11-05"])
def test_native_api_requires_thinking_of_some_models(mock_service, name):
    fields = {"api": "dashscope", "model": name}
    assert_rejected(
        mock_service, fields, {"enable_thinking": False}, "thinking off on api='dashscope'"
    )


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3.7-max", "qwen3.5-plus"])
def test_chat_completions_runs_code_without_thinking(mock_service, name):
    fields = {"api": "chat_completions", "model": name}
    body = sent(mock_service, fields, enable_thinking=False)
    assert (body["enable_code_interpreter"], body["enable_thinking"]) == (True, False)
    body = sent(mock_service, {**fields, "reasoning_effort": "none"})
    assert body["reasoning_effort"] == "none"
    assert "enable_thinking" not in body


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_efforts(mock_service, effort):
    off = {"enable_code_interpreter": False}
    fields = {"api": "responses", **off, "reasoning_effort": effort}
    assert sent(mock_service, fields)["reasoning"] == {"effort": effort}
    fields = {"api": "dashscope", "model": "qwen3.8-max", "reasoning_effort": effort}
    assert sent(mock_service, fields)["reasoning_effort"] == effort


@pytest.mark.parametrize(
    "fields", [{"api": "responses"}, {"api": "dashscope", "model": "qwen3.8-flash"}]
)
def test_unknown_effort_raises_with_the_allowed_ones(mock_service, fields):
    text = "'huge' is none of none, minimal, low, medium, high, xhigh, max"
    assert_rejected(mock_service, fields, {"reasoning_effort": "huge"}, text)


def test_native_api_takes_effort_for_some_models_only(mock_service):
    wrong = {"reasoning_effort": "low"}
    assert_rejected(
        mock_service, {"api": "dashscope"}, wrong, "qwen3-max takes no reasoning_effort"
    )
    fields = {"api": "dashscope", "model": "qwen3.8-max"}
    assert_rejected(mock_service, fields, {**wrong, "thinking_budget": 9}, "takes only one")


@pytest.mark.filterwarnings("ignore:.*is not among the models")
def test_native_api_takes_effort_for_unknown_models(mock_service):
    fields = {"api": "dashscope", "model": "qwen3.9-new", "reasoning_effort": "low"}
    assert sent(mock_service, fields)["reasoning_effort"] == "low"


@pytest.mark.parametrize("base_url", [None, FOREIGN])
def test_chat_completions_sends_any_effort(mock_service, base_url):
    fields = {"api": "chat_completions", "base_url": base_url, "reasoning_effort": "default"}
    assert sent(mock_service, fields)["reasoning_effort"] == "default"


@pytest.mark.parametrize("api", APIS)
def test_other_hosts_may_have_other_efforts(mock_service, api):
    fields = {"api": api, "base_url": FOREIGN, "reasoning_effort": "huge"}
    body = sent(mock_service, fields)
    assert body.get("reasoning", {"effort": body.get("reasoning_effort")}) == {"effort": "huge"}


def test_call_can_remove_the_effort(mock_service):
    fields = {"api": "responses", "reasoning_effort": "high"}
    assert "reasoning" not in sent(mock_service, fields, reasoning_effort=None)


@pytest.mark.parametrize(("effort", "expected"), [(None, False), ("none", False), ("low", None)])
def test_forced_tool_keeps_thinking_that_an_effort_turned_on(mock_service, effort, expected):
    backend = mock_service(ANSWERS["chat_completions"])
    model = backend.model(
        api="chat_completions", enable_code_interpreter=False, reasoning_effort=effort
    )
    model.bind_tools([add], tool_choice="add").invoke("Hi")
    assert backend.bodies[0].get("enable_thinking") is expected


def test_effort_is_a_traced_parameter():
    model = ChatQwenCodeInterpreter(api="responses", api_key="sk", reasoning_effort="low")
    assert model._get_invocation_params()["reasoning_effort"] == "low"
