"""Values that cannot be sent: tools without a schema, numbers that JSON lacks, wrong clients."""

from __future__ import annotations

import math
import traceback
from typing import Any

import httpx
import pytest
from dashscope_streams import STREAMS

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenInputError

ANSWER = STREAMS["one run"].body
APIS = pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])


def containing_itself() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema
    return {"name": "look", "description": "Look.", "parameters": schema}


def nested_deeply() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(5000):
        schema = {"type": "object", "properties": {"next": schema}}
    return {"name": "look", "description": "Look.", "parameters": schema}


@pytest.mark.parametrize(
    ("tool", "error_text"),
    [
        ({"type": 5}, "The tool unnamed cannot.*OpenAI's format"),
        ({"type": "function", "function": 5}, "function.*OpenAI's format"),
        ({"type": "function", "function": {"name": None}}, "unnamed.*OpenAI's format"),
        ({"name": ["look"], "parameters": {}}, "OpenAI's format"),
        (5, "of type int.*Pass a function"),
        (None, "of type NoneType"),
        (object(), "of type object"),
    ],
)
def test_tool_that_langchain_cannot_convert_is_named(mock_service, tool, error_text):
    backend = mock_service(ANSWER)
    model = backend.model(enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match=error_text):
        model.bind_tools([tool])
    with pytest.raises(QwenInputError, match=error_text):
        model.invoke("Hi", tools=[tool])
    assert backend.requests == []


def test_dictionary_that_is_no_tool_is_not_shown(mock_service):
    tool = {"headers": {"Authorization": "Bearer sk-secret"}, "name": 5}
    with pytest.raises(QwenInputError, match="unnamed") as caught:
        mock_service(ANSWER).model(enable_code_interpreter=False).bind_tools([tool])
    assert "sk-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("tool", [containing_itself, nested_deeply])
def test_endless_schema_of_a_tool_is_rejected(mock_service, tool):
    backend = mock_service(ANSWER)
    model = backend.model(enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match=r"look|written as JSON"):
        model.bind_tools([tool()]).invoke("Hi")
    assert backend.requests == []


@APIS
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.filterwarnings("ignore:Chat Completions runs code")
def test_numbers_that_json_does_not_have_are_rejected(mock_service, api, number):
    backend = mock_service(ANSWER)
    for options in (
        {"model_kwargs": {"logit_bias": {"a": [number]}}},
        {"logit_bias": {"a": number}},
    ):
        with pytest.raises(QwenInputError, match=r"logit_bias\.a.* is NaN or infinite"):
            backend.model(api=api).invoke("Hi", **options)
    assert backend.requests == []


def test_number_in_an_object_that_is_serialized_is_rejected(mock_service):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="A value is NaN"):
        backend.model(model_kwargs={"values": {math.nan, 1.0}}).invoke("Hi")
    assert backend.requests == []


def test_text_about_such_numbers_is_sent(mock_service):
    backend = mock_service(ANSWER)
    backend.model(model_kwargs={"a": "NaN"}).invoke("What is NaN, and what Infinity?")
    assert len(backend.requests) == 1


def test_parameters_that_contain_themselves_are_rejected(mock_service):
    parameters: dict[str, Any] = {}
    parameters["again"] = parameters
    with pytest.raises(ValueError, match=r"(?s)model_kwargs.*JSON"):
        ChatQwenCodeInterpreter(model_kwargs=parameters, api_key="k")
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="JSON"):
        backend.model().invoke("Hi", model_kwargs=parameters)
    assert backend.requests == []


def test_out_of_range_argument_of_a_call_is_a_qwen_error_without_the_value(mock_service):
    with pytest.raises(QwenInputError, match=r"top_p: Input should be less than") as caught:
        mock_service(ANSWER).model().invoke("Hi", top_p=1234.5)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize(
    ("response_format", "error_text"),
    [
        ([], "response_format takes a dictionary, not list"),
        ({"type": "json_schema", "json_schema": "x"}, "json_schema takes a dictionary, not str"),
    ],
)
def test_response_format_of_a_wrong_type_is_rejected(mock_service, response_format, error_text):
    model = mock_service(ANSWER).model(api="responses", enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match=error_text):
        model.invoke("Hi", response_format=response_format)


@pytest.mark.parametrize(
    "name", ["connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout"]
)
@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e300, 1e10])
def test_timeout_that_no_timer_has_is_rejected(name, seconds):
    with pytest.raises(ValueError, match=name):
        ChatQwenCodeInterpreter(api_key="k", **{name: seconds})


@pytest.mark.parametrize(
    ("fields", "error_text"),
    [
        ({"http_client": httpx.AsyncClient()}, "http_client takes an httpx.Client"),
        ({"http_async_client": httpx.Client()}, "http_async_client takes an httpx.AsyncClient"),
        ({"http_client": 5}, "http_client takes an httpx.Client"),
    ],
)
def test_client_of_another_kind_is_rejected(fields, error_text):
    with pytest.raises(ValueError, match=error_text):
        ChatQwenCodeInterpreter(api_key="k", **fields)


@pytest.mark.parametrize("version", ["", "v2", "responses/v1"])
def test_unknown_output_version_is_rejected(version):
    with pytest.raises(ValueError, match='output_version takes "v0"'):
        ChatQwenCodeInterpreter(api_key="k", output_version=version)
