"""Requests of Responses and Chat Completions: path, parameters and tools; and rejected input."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import tool
from request_bodies import ANSWERS, request_body

from langchain_qwen_ci import ChatQwenCodeInterpreter, models
from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

OTHER_APIS = ["dashscope", "chat_completions"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


SEARCH = {"type": "web_search"}
EXTRACT = {"type": "web_extractor"}


def test_responses_request(mock_service):
    backend = mock_service(ANSWERS["responses"])
    backend.model(api="responses").invoke("Hi")
    assert backend.requests[0].url.path == "/compatible-mode/v1/responses"
    assert backend.requests[0].headers["authorization"] == "Bearer sk-test"
    assert "x-dashscope-session-cache" not in backend.requests[0].headers
    assert backend.bodies[0] == {
        "model": "qwen3-max",
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "code_interpreter"}],
        "enable_thinking": True,
        "stream": True,
    }


def test_chat_completions_request(mock_service):
    backend = mock_service(ANSWERS["chat_completions"])
    backend.model(api="chat_completions").invoke("Hi")
    assert backend.requests[0].url.path == "/compatible-mode/v1/chat/completions"
    assert backend.bodies[0] == {
        "model": "qwen3-max",
        "messages": [{"role": "user", "content": "Hi"}],
        "enable_code_interpreter": True,
        "enable_thinking": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_base_url_may_end_with_the_compatible_path(mock_service):
    for api, answer in ANSWERS.items():
        backend = mock_service(answer)
        backend.model(api=api, base_url="https://gate.example/compatible-mode/v1").invoke("Hi")
        assert str(backend.requests[0].url).startswith("https://gate.example/compatible-mode/v1/")


def test_parameters_are_renamed_for_responses(mock_service):
    body = request_body(
        mock_service,
        "responses",
        temperature=0.3,
        top_p=0.5,
        max_tokens=64,
        instructions="Be brief.",
        previous_response_id="resp_1",
        store=False,
        call={"reasoning_effort": "low"},
    )
    expected = {
        "temperature": 0.3,
        "top_p": 0.5,
        "max_output_tokens": 64,
        "instructions": "Be brief.",
        "previous_response_id": "resp_1",
        "store": False,
        "reasoning": {"effort": "low"},
    }
    assert {name: body[name] for name in expected} == expected
    assert "max_tokens" not in body


def test_parameters_are_top_level_in_chat_completions(mock_service):
    parameters = {"temperature": 0.3, "max_tokens": 8, "seed": 7, "thinking_budget": 99}
    call = {"stop": ["x"], "enable_search": True}
    body = request_body(mock_service, "chat_completions", **parameters, call=call)
    assert {name: body[name] for name in parameters} == parameters
    assert body["stop"] == ["x"]
    assert body["enable_search"] is True


def test_arguments_of_a_call_override_fields(mock_service):
    override = {"previous_response_id": "resp_2", "instructions": "Be long.", "max_tokens": 99}
    body = request_body(mock_service, "responses", previous_response_id="resp_1", call=override)
    assert body["previous_response_id"] == "resp_2"
    assert body["instructions"] == "Be long."
    assert body["max_output_tokens"] == 99


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_conversation_is_sent_to_responses(mock_service, conversation):
    fields = {"conversation": conversation}
    assert request_body(mock_service, "responses", **fields)["conversation"] == conversation
    assert request_body(mock_service, "responses", call=fields)["conversation"] == conversation
    # The call drops the field that its own argument excludes.
    override = {"conversation": conversation, "previous_response_id": None}
    body = request_body(mock_service, "responses", previous_response_id="resp_1", call=override)
    assert body["conversation"] == conversation
    assert "previous_response_id" not in body


def test_conversation_excludes_previous_response_id(mock_service):
    backend = mock_service(b"")
    both = {"conversation": "conv_1", "previous_response_id": "resp_1"}
    with pytest.raises(ValueError, match="conversation or previous_response_id"):
        backend.model(api="responses", **both)
    with pytest.raises(ValueError, match="conversation or previous_response_id"):
        backend.model(api="responses", conversation="c").invoke("Hi", previous_response_id="r")
    assert backend.requests == []


def test_session_cache_is_sent_as_a_header(mock_service):
    backend = mock_service(ANSWERS["responses"])
    backend.model(api="responses", session_cache=True).invoke("Hi")
    backend.model(api="responses").invoke("Hi", session_cache=True)
    assert [request.headers["x-dashscope-session-cache"] for request in backend.requests] == [
        "enable",
        "enable",
    ]
    assert all("session_cache" not in body for body in backend.bodies)


@pytest.mark.parametrize(
    "invalid",
    [
        {"instructions": "Be brief."},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"store": True},
        {"session_cache": True},
        {"builtin_tools": ["web_search"]},
    ],
)
@pytest.mark.parametrize("api", OTHER_APIS)
def test_parameters_of_responses_raise_on_other_apis(
    mock_service, api: str, invalid: dict[str, Any]
):
    backend = mock_service(b"")
    with pytest.raises(ValueError, match="responses"):
        backend.model(api=api, **invalid)
    with pytest.raises(QwenInputError, match="responses"):
        backend.model(api=api).invoke("Hi", **invalid)
    assert backend.requests == []


@pytest.mark.parametrize(
    ("invalid", "error_text"),
    [
        ({"thinking_budget": 9}, "reasoning_effort"),
        ({"max_tokens": 15}, "16"),
        ({"builtin_tools": ["web_extractor"]}, "web_search"),
        ({"tools": [EXTRACT]}, "web_search"),
    ],
)
def test_parameters_that_responses_does_not_support_raise(mock_service, invalid, error_text):
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match=error_text):
        backend.model(api="responses").invoke("Hi", **invalid)
    assert backend.requests == []


@pytest.mark.parametrize(
    "bound",
    [
        lambda model: model.bind_tools([SEARCH, EXTRACT]),
        lambda model: model.bind(tools=[SEARCH, EXTRACT]),
        lambda model: model.bind_tools([{"type": "code_interpreter"}, SEARCH, EXTRACT]),
        lambda model: model.bind(builtin_tools=["web_search", "web_extractor"]),
        lambda model: model.model_copy(update={"builtin_tools": ["web_search", "web_extractor"]}),
    ],
)
def test_server_tools_are_sent_with_the_interpreter(mock_service, bound):
    backend = mock_service(ANSWERS["responses"])
    bound(backend.model(api="responses")).invoke("Hi")
    assert backend.bodies[0]["tools"] == [{"type": "code_interpreter"}, SEARCH, EXTRACT]


def test_fields_of_a_server_tool_are_sent_unchanged(mock_service):
    server = {"type": "mcp", "server_label": "maps", "server_url": "https://maps.example/sse"}
    backend = mock_service(ANSWERS["responses"])
    model = backend.model(api="responses", enable_code_interpreter=False)
    model.bind_tools([server, add], tool_choice="auto").invoke("Hi")
    mcp, function = backend.bodies[0]["tools"]
    assert mcp == server
    assert (function["type"], function["name"]) == ("function", "add")
    assert backend.bodies[0]["tool_choice"] == "auto"


@pytest.mark.parametrize("api", OTHER_APIS)
def test_server_tools_raise_on_other_apis(mock_service, api: str):
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match="enable_search"):
        backend.model(api=api).bind_tools([SEARCH])
    with pytest.raises(QwenInputError, match="web_search"):
        backend.model(api=api).bind(tools=[SEARCH]).invoke("Hi")
    assert backend.requests == []


def test_web_search_that_the_error_advises_is_sent(mock_service):
    body = request_body(mock_service, "chat_completions", model_kwargs={"enable_search": True})
    assert body["enable_search"] is True


@pytest.mark.parametrize("api", ANSWERS)
def test_function_tools_raise_with_the_interpreter(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        backend.model(api=api).bind_tools([add])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        backend.model(api=api).invoke("Hi", tools=[add])
    assert backend.requests == []


def test_functions_are_not_nested_in_responses(mock_service):
    backend = mock_service(ANSWERS["responses"])
    model = backend.model(api="responses", enable_code_interpreter=False)
    model.bind_tools([add], tool_choice="add", parallel_tool_calls=True).invoke("Hi")
    body = backend.bodies[0]
    (function,) = body["tools"]
    assert function["type"] == "function"
    assert function["name"] == "add"
    assert function["parameters"]["required"] == ["a", "b"]
    assert body["tool_choice"] == {"type": "function", "name": "add"}
    assert body["parallel_tool_calls"] is True


def test_functions_are_nested_in_chat_completions(mock_service):
    backend = mock_service(ANSWERS["chat_completions"])
    model = backend.model(api="chat_completions", enable_code_interpreter=False)
    model.bind_tools([add], tool_choice="add", strict=True).invoke("Hi")
    body = backend.bodies[0]
    (function,) = body["tools"]
    assert function["function"]["name"] == "add"
    assert function["function"]["strict"] is True
    assert body["tool_choice"] == {"type": "function", "function": {"name": "add"}}


def test_response_format_of_each_api(mock_service):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    fields = {"enable_code_interpreter": False, "call": {"response_format": response_format}}
    assert (
        request_body(mock_service, "chat_completions", **fields)["response_format"]
        == response_format
    )
    text = request_body(mock_service, "responses", **fields)["text"]
    assert text == {"format": {"type": "json_schema", "name": "sum", "schema": schema}}


@pytest.mark.filterwarnings("default:Chat Completions runs code")
def test_chat_completions_warns_once_that_no_code_is_returned(recwarn):
    models.warn_code_not_returned.cache_clear()
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk", enable_code_interpreter=False)
    assert len(recwarn) == 0
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk")
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk", temperature=1)
    (warning,) = recwarn
    assert 'api="dashscope" returns both' in str(warning.message)
    assert 'api="responses" also what the code printed' in str(warning.message)


@pytest.mark.parametrize(("api", "warns"), [("responses", False), ("chat_completions", True)])
def test_model_that_runs_code_on_responses_only_warns(recwarn, api: str, warns: bool):
    models.warn_about_model.cache_clear()
    ChatQwenCodeInterpreter(model="qwen3.8-flash", api=api, api_key="sk")
    texts = [str(warning.message) for warning in recwarn if "qwen3.8" in str(warning.message)]
    assert bool(texts) is warns
    assert all("documented for api='responses'; on api=" in text for text in texts)


@pytest.mark.parametrize("api", ["dashscope", *ANSWERS])
def test_response_format_and_n_raise(mock_service, api: str):
    backend = mock_service(b"")
    model = backend.model(api=api)
    with pytest.raises(QwenInputError, match="with_structured_output"):
        model.invoke("Hi", response_format={"type": "json_object"})
    with pytest.raises(QwenInputError, match="batch"):
        model.bind(n=2).invoke("Hi")
    assert backend.requests == []


@pytest.mark.parametrize("api", ANSWERS)
def test_accept_header_requests_a_stream(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    backend.model(api=api).invoke("Hi")
    assert backend.requests[0].headers["accept"] == "text/event-stream"


def test_unset_parameters_are_not_sent_to_responses(mock_service):
    body = request_body(mock_service, "responses", enable_code_interpreter=False)
    assert body == {
        "model": "qwen3-max",
        "input": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_max_tokens_of_responses_is_at_least_16(mock_service):
    assert request_body(mock_service, "responses", max_tokens=16)["max_output_tokens"] == 16
    with pytest.raises(QwenInputError, match="max_tokens is 15"):
        request_body(mock_service, "responses", max_tokens=15)


def test_parameters_in_the_format_of_responses_are_merged(mock_service):
    response_format = {"type": "json_object"}
    body = request_body(
        mock_service,
        "responses",
        enable_code_interpreter=False,
        call={
            "reasoning_effort": "low",
            "reasoning": {"summary": "auto"},
            "response_format": response_format,
            "text": {"verbosity": "low"},
        },
    )
    assert body["reasoning"] == {"summary": "auto", "effort": "low"}
    assert body["text"] == {"verbosity": "low", "format": response_format}


@pytest.mark.parametrize("choice", ["auto", {"type": "allowed_tools", "tools": []}])
def test_tool_choice_in_the_format_of_responses_is_sent_unchanged(mock_service, choice):
    fields = {"enable_code_interpreter": False, "model_kwargs": {"tool_choice": choice}}
    call = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
    assert request_body(mock_service, "responses", **fields, call=call)["tool_choice"] == choice


@pytest.mark.parametrize(
    ("base_url", "given", "sent"),
    [
        (None, {}, {}),
        (None, {"container": "cntr_1"}, {"container": "cntr_1"}),
        # OpenAI's types require a container, and servers that validate against them do too.
        ("https://gate.example/v1", {}, {"container": {"type": "auto"}}),
        ("https://gate.example/v1", {"container": "cntr_1"}, {"container": "cntr_1"}),
    ],
)
def test_container_of_the_interpreter(mock_service, base_url, given, sent):
    tool = {"type": "code_interpreter", **given}
    for fields in ({"enable_code_interpreter": False}, {"enable_code_interpreter": True}):
        body = request_body(
            mock_service, "responses", base_url=base_url, **fields, call={"tools": [tool]}
        )
        assert body["tools"] == [{"type": "code_interpreter", **sent}]
    if not given:
        body = request_body(mock_service, "responses", base_url=base_url)
        assert body["tools"] == [{"type": "code_interpreter", **sent}]
