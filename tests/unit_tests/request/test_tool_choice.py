"""`tool_choice` and `parallel_tool_calls`: what each API and host is sent, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from chat_completions_streams import chunk, text_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import STREAMS
from langchain_core.tools import tool
from responses_streams import STREAMS as RESPONSES_STREAMS

from langchain_qwen_ci.errors import QwenInputError

ANSWERS = {
    "dashscope": STREAMS["one run"].body,
    "responses": RESPONSES_STREAMS["one run"].body,
    "chat_completions": chat_stream(text_chunk("Hi"), chunk("stop")),
}
OTHER_HOST = "http://127.0.0.1:8000/v1"
INTERPRETER = {"type": "code_interpreter"}
SEARCH = {"type": "web_search"}
ALLOWED = {
    "type": "allowed_tools",
    "mode": "auto",
    "tools": [{"type": "function", "name": "add"}],
}
ANY = ["any", "required", True]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def mul(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def sent(mock_service: Any, api: str, tools: list[Any], **bound: Any) -> dict[str, Any]:
    """Return the parameters of a request with these tools; the interpreter is on as a tool only."""
    fields = {name: bound.pop(name) for name in ("base_url", "model") if name in bound}
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api, **{"enable_code_interpreter": False, **fields})
    model.bind_tools(tools, **bound).invoke("Hi")
    body = backend.bodies[0]
    return body["parameters"] if api == "dashscope" else body


@pytest.mark.parametrize("choice", ANY)
@pytest.mark.parametrize("tools", [[add], [SEARCH], [INTERPRETER]])
def test_any_is_required_for_the_only_tool_of_responses(mock_service, choice, tools):
    assert sent(mock_service, "responses", tools, tool_choice=choice)["tool_choice"] == "required"


@pytest.mark.parametrize("choice", ANY)
@pytest.mark.parametrize("tools", [[add, mul], [SEARCH, INTERPRETER]])
def test_any_of_several_tools_is_auto_with_a_warning(mock_service, choice, tools):
    with pytest.warns(UserWarning, match="any one of several tools"):
        body = sent(mock_service, "responses", tools, tool_choice=choice)
    assert body["tool_choice"] == "auto"


def test_any_is_the_only_function_beside_tools_of_the_service(mock_service):
    body = sent(mock_service, "responses", [add, SEARCH], tool_choice="any")
    assert body["tool_choice"] == {"type": "function", "name": "add"}


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_any_of_several_tools_is_required_on_other_hosts(mock_service, api: str):
    body = sent(mock_service, api, [add, mul], tool_choice="any", base_url=OTHER_HOST)
    assert body["tool_choice"] == "required"
    assert body["enable_thinking"] is False


@pytest.mark.parametrize("host", [{}, {"base_url": OTHER_HOST}])
def test_any_is_the_only_function_of_chat_completions(mock_service, host):
    body = sent(mock_service, "chat_completions", [add], tool_choice="any", **host)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "add"}}


@pytest.mark.parametrize("choice", ["any", ALLOWED | {"mode": "required"}])
def test_forced_call_turns_thinking_off(mock_service, choice):
    body = sent(mock_service, "responses", [add], tool_choice=choice)
    assert body["enable_thinking"] is False


def test_allowed_tools_are_sent_to_responses(mock_service):
    body = sent(mock_service, "responses", [add, mul], tool_choice=ALLOWED)
    assert body["tool_choice"] == ALLOWED
    assert "enable_thinking" not in body  # no call is forced


def test_allowed_tools_are_sent_to_chat_completions_of_other_hosts(mock_service):
    nested = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    body = sent(mock_service, "chat_completions", [add], tool_choice=nested, base_url=OTHER_HOST)
    assert body["tool_choice"] == nested
    assert "enable_thinking" not in body


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_allowed_tools_raise_on_the_other_apis(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api, enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match='use api="responses"'):
        model.bind_tools([add], tool_choice=ALLOWED).invoke("Hi")
    assert backend.requests == []


def test_choice_of_the_interpreter_warns_on_the_native_api(mock_service):
    with pytest.warns(UserWarning, match="'any' is not sent: this API has no choice of the code"):
        body = sent(mock_service, "dashscope", [INTERPRETER], tool_choice="any")
    assert "tool_choice" not in body
    assert body["enable_code_interpreter"] is True


def test_choice_without_tools_warns(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    model = backend.model(enable_code_interpreter=False)
    with pytest.warns(UserWarning, match="'any' is not sent: the request has no tools"):
        model.invoke("Hi", tool_choice="any")
    assert "tool_choice" not in backend.bodies[0]["parameters"]


def test_limit_of_parallel_calls_that_responses_ignores_warns(mock_service):
    with pytest.warns(UserWarning, match="ignores parallel_tool_calls=False"):
        body = sent(mock_service, "responses", [add], parallel_tool_calls=False)
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("api", "fields"),
    [("dashscope", {}), ("chat_completions", {}), ("responses", {"base_url": OTHER_HOST})],
)
def test_limit_of_parallel_calls_is_sent_without_warning_elsewhere(mock_service, api, fields):
    body = sent(mock_service, api, [add], parallel_tool_calls=False, **fields)
    assert body["parallel_tool_calls"] is False
