"""`with_structured_output`, with the interpreter on and off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import chat_completions_streams as chat_completions
import dashscope_streams as dashscope
import pytest
import responses_streams as responses
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.errors import QwenInputError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

APIS = ["dashscope", "responses", "chat_completions"]
OTHER_HOST = "http://127.0.0.1:8000/v1"
# Where `response_format` has an effect: Responses on Alibaba's hosts ignores it.
HONOURED = [
    ("dashscope", "https://dashscope.aliyuncs.com"),
    ("chat_completions", "https://dashscope.aliyuncs.com"),
    ("chat_completions", OTHER_HOST),
    ("responses", OTHER_HOST),
]


class Result(BaseModel):
    """The result."""

    value: int = Field(description="the number")
    unit: str = "none"


class ResultDict(TypedDict):
    """The result."""

    value: int


SCHEMA = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
OPENAI_FUNCTION = {"name": "result", "description": "The result.", "parameters": SCHEMA}
SCHEMAS: dict[str, Any] = {
    "TypedDict": ResultDict,
    "JSON schema": SCHEMA,
    "JSON schema with a title": {"title": "result", "description": "…", **SCHEMA},
    "function": OPENAI_FUNCTION,
}


def text_answer(*texts: str, api: str = "dashscope") -> bytes:
    """An answer with reasoning, one execution (native API only) and these deltas of text."""
    if api == "responses":
        items = [responses.reasoning("msg_1", "Hm."), responses.message("msg_3", *texts)]
        return responses.complete_stream(*items, usage=responses.usage(9, 9))
    if api == "chat_completions":
        return chat_completions.stream(
            chat_completions.reasoning_chunk("Hm."),
            *(chat_completions.text_chunk(text) for text in texts),
            chat_completions.chunk("stop", content=""),
            chat_completions.usage_chunk(9, 9),
        )
    executed = {
        "tool_info": dashscope.tool_info("6*7"),
        "usage": dashscope.usage(9, 2, executions=1),
    }
    return dashscope.stream(
        dashscope.frame(reasoning="Hm.", usage=dashscope.usage(9, 1)),
        *(dashscope.frame(content=text, **executed) for text in texts),
        dashscope.frame(finish_reason="stop", **executed),
    )


def function_call_answer(name: str, arguments: str, api: str) -> bytes:
    if api == "responses":
        call = responses.function_call("msg_1", "call_a", name, arguments)
        return responses.complete_stream(call, usage=responses.usage(9, 9))
    if api == "chat_completions":
        return chat_completions.stream(
            chat_completions.tool_call_chunk(0, "call_a", name, arguments),
            chat_completions.chunk("tool_calls", content=""),
            chat_completions.usage_chunk(9, 9),
        )
    usage = dashscope.usage(9, 9)
    return dashscope.stream(
        dashscope.frame(
            tool_calls=[dashscope.tool_call(0, "call_a", name, arguments)], usage=usage
        ),
        dashscope.frame(finish_reason="tool_calls", usage=usage),
    )


def parameters_of(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request, which the native API has in an object of their own."""
    return {**body, **body.get("parameters", {})}


def system_prompt(body: dict[str, Any]) -> str:
    messages = body.get("messages") or body["input"]
    return (messages["messages"] if isinstance(messages, dict) else messages)[0]["content"]


def response_format(parameters: dict[str, Any], api: str) -> dict[str, Any]:
    return parameters["text"]["format"] if api == "responses" else parameters["response_format"]


@pytest.mark.parametrize("api", APIS)
def test_schema_is_added_to_the_prompt_with_the_interpreter(mock_service, api: str):
    backend = mock_service(text_answer('{"value": 42, ', '"unit": "m"}', api=api))
    model = backend.model(api=api)
    repr_before = repr(model)
    chain = model.with_structured_output(Result)
    assert chain.invoke("What is 6 times 7?") == Result(value=42, unit="m")
    assert asyncio.run(chain.ainvoke("What is 6 times 7?")) == Result(value=42, unit="m")
    for body in backend.bodies:
        assert '"the number"' in system_prompt(body)
        parameters = parameters_of(body)
        assert parameters["enable_thinking"] is True
        assert not {"response_format", "text", "tool_choice"} & parameters.keys()
        tools = [{"type": "code_interpreter"}] if api == "responses" else None
        assert parameters.get("tools") == tools
    assert repr(model) == repr_before


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_other_schemas_return_dictionaries(mock_service, schema):
    backend = mock_service(text_answer('{"value": 42}'))
    assert backend.model().with_structured_output(schema).invoke("?") == {"value": 42}
    assert '"value"' in system_prompt(backend.bodies[0])


def test_schema_is_appended_to_a_system_message(mock_service):
    backend = mock_service(text_answer('{"value": 42}'))
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
    chain = prompt | backend.model().with_structured_output(Result)
    chain.invoke({"question": "?"})
    backend.model().with_structured_output(Result).invoke([HumanMessage("?")])
    first, second = (body["input"]["messages"] for body in backend.bodies)
    assert [message["role"] for message in first] == ["system", "user"]
    assert first[0]["content"].startswith("Be brief.\n\nAnswer with one JSON object")
    assert [message["role"] for message in second] == ["system", "user"]


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode", "prompt"])
def test_excluded_methods_become_prompt(mock_service, method: str):
    backend = mock_service(text_answer('```json\n{"value": 42}\n```'))
    chain = backend.model().with_structured_output(Result, method=method)
    assert chain.invoke("?").value == 42
    assert not {"response_format", "tools"} & parameters_of(backend.bodies[0]).keys()


def test_partial_objects_are_streamed(mock_service):
    backend = mock_service(text_answer('{"value"', ": 42", ', "unit": "met', 'res"}'))
    dictionaries = list(backend.model().with_structured_output(ResultDict).stream("?"))
    assert dictionaries[-1] == {"value": 42, "unit": "metres"}
    assert {"value": 42, "unit": "met"} in dictionaries
    objects = list(backend.model().with_structured_output(Result).stream("?"))
    assert objects[-1] == Result(value=42, unit="metres")


def test_include_raw_returns_the_message(mock_service):
    backend = mock_service(text_answer('{"value": 42}'), text_answer("It is 42."))
    chain = backend.model().with_structured_output(Result, include_raw=True)
    fitting, unfitting = chain.invoke("?"), chain.invoke("?")
    assert fitting["parsed"] == Result(value=42)
    assert fitting["parsing_error"] is None
    assert [execution["code"] for execution in code_executions(fitting["raw"])] == ["6*7"]
    assert unfitting["parsed"] is None
    assert isinstance(unfitting["parsing_error"], OutputParserException)
    assert unfitting["raw"].content == "It is 42."


@pytest.mark.parametrize(("api", "base_url"), HONOURED)
def test_reformat_converts_an_answer_that_does_not_fit(mock_service, api: str, base_url: str):
    unfitting, fitting = text_answer("It is 42.", api=api), text_answer('{"value": 42}', api=api)
    backend = mock_service(unfitting, fitting, unfitting)
    model = backend.model(api=api, base_url=base_url)
    chain = model.with_structured_output(Result, reformat=True)
    assert chain.invoke("What is 6 times 7?") == Result(value=42)
    first, second = map(parameters_of, backend.bodies)
    assert first["enable_thinking"] is True
    assert second["enable_thinking"] is False
    assert "enable_code_interpreter" not in second
    assert "tools" not in second
    assert response_format(second, api) == {"type": "json_object"}
    assert "It is 42." in json.dumps(backend.bodies[1])
    with pytest.raises(OutputParserException):
        chain.invoke("?")
    assert len(backend.requests) == 4


def test_reformat_on_responses_of_alibaba_relies_on_the_prompt(mock_service):
    backend = mock_service(
        text_answer("It is 42.", api="responses"), text_answer('{"value": 42}', api="responses")
    )
    chain = backend.model(api="responses").with_structured_output(Result, reformat=True)
    assert chain.invoke("?") == Result(value=42)
    second = backend.bodies[1]
    assert "text" not in second
    assert "It must fit this JSON schema" in system_prompt(second)
    assert second["input"][1]["content"] == "It is 42."


def test_reformat_does_not_send_an_answer_that_fits(mock_service):
    backend = mock_service(text_answer('{"value": 42}'))
    chain = backend.model().with_structured_output(Result, reformat=True, include_raw=True)
    assert chain.invoke("?")["parsed"] == Result(value=42)
    assert len(backend.requests) == 1


def test_answer_that_does_not_fit_raises_an_error(mock_service):
    backend = mock_service(text_answer("It is 42."))
    with pytest.raises(OutputParserException):
        backend.model().with_structured_output(Result).invoke("?")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("api", APIS)
def test_function_calling_without_the_interpreter(mock_service, api: str):
    backend = mock_service(function_call_answer("Result", '{"value": 42}', api))
    model = backend.model(api=api, enable_code_interpreter=False)
    assert model.with_structured_output(Result).invoke("?") == Result(value=42)
    body = parameters_of(backend.bodies[0])
    assert (
        body["enable_thinking"] is False
    )  # the service rejects tool_choice while the model thinks
    assert "Result" in json.dumps(body["tool_choice"])
    raw = model.with_structured_output(Result, include_raw=True).invoke("?")
    assert raw["parsed"] == Result(value=42)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_function_calling_with_other_schemas_returns_dictionaries(mock_service, schema):
    name = schema.get("title") or schema.get("name", "answer") if isinstance(schema, dict) else None
    backend = mock_service(function_call_answer(name or "ResultDict", '{"value": 42}', "dashscope"))
    model = backend.model(enable_code_interpreter=False)
    assert model.with_structured_output(schema).invoke("?") == {"value": 42}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize(("api", "base_url"), HONOURED)
def test_response_format_without_the_interpreter(
    mock_service, api: str, base_url: str, method: str
):
    backend = mock_service(text_answer('{"value": 42}', api=api))
    model = backend.model(api=api, base_url=base_url, enable_code_interpreter=False)
    chain = model.with_structured_output(Result, method=method, strict=True)
    assert chain.invoke("?") == Result(value=42)
    body = parameters_of(backend.bodies[0])
    sent_format = response_format(body, api)
    assert sent_format["type"] == {"json_mode": "json_object"}.get(method, method)
    if method == "json_schema":
        schema = sent_format if api == "responses" else sent_format["json_schema"]
        assert schema["name"] == "Result"
        assert schema["description"] == "The result."
        assert schema["strict"] is True
        assert schema["schema"]["properties"]["value"]["type"] == "integer"
    assert body["enable_thinking"] is False


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_response_format_ignored_by_responses_becomes_function_calling(mock_service, method: str):
    backend = mock_service(function_call_answer("Result", '{"value": 42}', "responses"))
    model = backend.model(api="responses", enable_code_interpreter=False)
    assert model.with_structured_output(Result, method=method).invoke("?") == Result(value=42)
    body = backend.bodies[0]
    assert "text" not in body
    assert body["tools"][0]["name"] == "Result"
    assert body["tool_choice"] == {"type": "function", "name": "Result"}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize(
    "fields", [{}, {"enable_code_interpreter": False, "enable_thinking": True}]
)
def test_response_format_ignored_by_responses_becomes_prompt(mock_service, fields, method: str):
    backend = mock_service(text_answer('{"value": 42}', api="responses"))
    model = backend.model(api="responses", **fields)
    assert model.with_structured_output(Result, method=method).invoke("?") == Result(value=42)
    assert "text" not in backend.bodies[0]
    assert '"the number"' in system_prompt(backend.bodies[0])


@pytest.mark.parametrize(("api", "base_url"), HONOURED)
def test_json_mode_names_json_if_no_message_does(mock_service, api: str, base_url: str):
    backend = mock_service(text_answer('{"value": 42}', api=api))
    model = backend.model(api=api, base_url=base_url, enable_code_interpreter=False)
    chain = model.with_structured_output(Result, method="json_mode")
    assert chain.invoke("What is 6 times 7?") == Result(value=42)
    assert "JSON" in system_prompt(backend.bodies[0])
    assert '"the number"' in system_prompt(backend.bodies[0])


@pytest.mark.parametrize(
    "messages",
    [
        [("user", "6 times 7 as json")],
        [("system", "Answer in Json."), ("user", "What is 6 times 7?")],
        [("user", [{"type": "text", "text": "What is 6 times 7? JSON, please."}])],
    ],
)
def test_json_mode_leaves_messages_that_name_json(mock_service, messages):
    backend = mock_service(text_answer('{"value": 42}'))
    model = backend.model(enable_code_interpreter=False)
    model.with_structured_output(Result, method="json_mode").invoke(messages)
    sent = backend.bodies[0]["input"]["messages"]
    assert [message["role"] for message in sent] == [role for role, _ in messages]
    assert "the number" not in json.dumps(sent)


@pytest.mark.parametrize("method", [None, "json_schema", "json_mode"])
def test_thinking_without_the_interpreter_uses_the_prompt(mock_service, method: str | None):
    backend = mock_service(text_answer('{"value": 42}'))
    model = backend.model(enable_code_interpreter=False, enable_thinking=True)
    chain = model.with_structured_output(Result, method=method)
    assert chain.invoke("?") == Result(value=42)
    body = parameters_of(backend.bodies[0])
    assert body["enable_thinking"] is True
    assert not {"response_format", "tools"} & body.keys()


def test_explicit_function_calling_with_thinking_is_kept(mock_service):
    backend = mock_service(function_call_answer("Result", '{"value": 42}', "dashscope"))
    # Alibaba's hosts reject it (tests/unit_tests/request/test_service_rules.py).
    fields = {"enable_code_interpreter": False, "enable_thinking": True}
    model = backend.model(base_url="https://gate.example", **fields)
    chain = model.with_structured_output(Result, method="function_calling")
    assert chain.invoke("?") == Result(value=42)
    assert parameters_of(backend.bodies[0])["enable_thinking"] is True


def test_bound_arguments_are_sent_with_every_call(mock_service):
    backend = mock_service(text_answer('{"value": 42}'))
    chain = backend.model().with_structured_output(
        Result, enable_code_interpreter=False, method="json_mode", temperature=0.1
    )
    chain.invoke("?")
    body = parameters_of(backend.bodies[0])
    assert body["temperature"] == 0.1
    assert body["response_format"] == {"type": "json_object"}
    assert "enable_code_interpreter" not in body


def test_invalid_methods_raise_an_error(mock_service):
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match="telepathy"):
        backend.model().with_structured_output(Result, method="telepathy")
    without_interpreter = backend.model(enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match="reformat"):
        without_interpreter.with_structured_output(Result, reformat=True)
    assert backend.requests == []


def test_system_message_with_blocks_is_kept(mock_service):
    backend = mock_service(text_answer('{"value": 42}'))
    blocks = SystemMessage([{"type": "text", "text": "Be brief."}])
    backend.model().with_structured_output(Result).invoke([blocks, HumanMessage("?")])
    assert system_prompt(backend.bodies[0]).startswith("Be brief.\n\n")


@pytest.mark.parametrize(("effort", "method"), [("low", "prompt"), ("none", "function_calling")])
def test_effort_turns_thinking_on_or_off(mock_service, effort: str, method: str):
    answers = {
        "prompt": text_answer('{"value": 42}', api="responses"),
        "function_calling": function_call_answer("Result", '{"value": 42}', "responses"),
    }
    backend = mock_service(answers[method])
    fields = {"api": "responses", "enable_code_interpreter": False, "reasoning_effort": effort}
    assert backend.model(**fields).with_structured_output(Result).invoke("?") == Result(value=42)
    body = backend.bodies[0]
    assert ("tools" in body) is (method == "function_calling")
    assert body["reasoning"] == {"effort": effort}


def test_reformat_request_has_no_effort(mock_service):
    backend = mock_service(
        text_answer("It is 42.", api="responses"), text_answer('{"value": 42}', api="responses")
    )
    model = backend.model(api="responses", reasoning_effort="high")
    chain = model.with_structured_output(Result, reformat=True)
    assert chain.invoke("?") == Result(value=42)
    first, second = backend.bodies
    assert first["reasoning"] == {"effort": "high"}
    assert "reasoning" not in second
    assert second["enable_thinking"] is False


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_other_hosts_receive_text_format_and_the_schema_in_the_prompt(mock_service, method):
    backend = mock_service(text_answer('{"value": 42}', api="responses"))
    model = backend.model(api="responses", base_url=OTHER_HOST, enable_code_interpreter=False)
    assert model.with_structured_output(Result, method=method).invoke("?") == Result(value=42)
    body = backend.bodies[0]
    assert body["text"]["format"]["type"] in ("json_schema", "json_object")
    assert '"value"' in body["input"][0]["content"]
