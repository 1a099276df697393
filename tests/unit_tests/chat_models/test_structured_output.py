"""Answers in the form of a schema: beside the interpreter, and without it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import chat_completions_streams
import dashscope_streams
import pytest
import responses_streams
from dashscope_streams import frame, usage
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.errors import QwenInputError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

APIS = ["dashscope", "responses", "chat_completions"]


class Result(BaseModel):
    """What came out."""

    value: int = Field(description="the number")
    unit: str = "none"


class ResultDict(TypedDict):
    """What came out."""

    value: int


SCHEMA = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
OPENAI_FUNCTION = {"name": "result", "description": "What came out.", "parameters": SCHEMA}
SCHEMAS: dict[str, Any] = {
    "TypedDict": ResultDict,
    "JSON schema": SCHEMA,
    "JSON schema with a title": {"title": "result", "description": "…", **SCHEMA},
    "function": OPENAI_FUNCTION,
}


def answering(*texts: str, api: str = "dashscope") -> bytes:
    """An answer that thinks, runs code where the API shows it, and says these texts."""
    if api == "responses":
        items = [
            responses_streams.reasoning("msg_1", "Hm."),
            responses_streams.message("msg_3", *texts),
        ]
        return responses_streams.complete_stream(*items, usage=responses_streams.usage(9, 9))
    if api == "chat_completions":
        content = [chat_completions_streams.text_chunk(text) for text in texts]
        end = chat_completions_streams.chunk("stop", content="")
        return chat_completions_streams.stream(
            chat_completions_streams.reasoning_chunk("Hm."),
            *content,
            end,
            chat_completions_streams.usage_chunk(9, 9),
        )
    runs = dashscope_streams.tool_info("6*7")
    return dashscope_streams.stream(
        frame(reasoning="Hm.", usage=usage(9, 1)),
        *(frame(content=text, tool_info=runs, usage=usage(9, 2, executions=1)) for text in texts),
        frame(finish_reason="stop", tool_info=runs, usage=usage(9, 2, executions=1)),
    )


def calling(name: str, arguments: str, api: str) -> bytes:
    if api == "responses":
        called = responses_streams.function_call("msg_1", "call_a", name, arguments)
        return responses_streams.complete_stream(called, usage=responses_streams.usage(9, 9))
    if api == "chat_completions":
        end = chat_completions_streams.chunk("tool_calls", content="")
        called = chat_completions_streams.tool_call_chunk(0, "call_a", name, arguments)
        return chat_completions_streams.stream(
            called, end, chat_completions_streams.usage_chunk(9, 9)
        )
    function = {"name": name, "arguments": arguments}
    call = {"index": 0, "id": "call_a", "type": "function", "function": function}
    return dashscope_streams.stream(
        frame(tool_calls=[call], usage=usage(9, 9)),
        frame(finish_reason="tool_calls", usage=usage(9, 9)),
    )


def request_sent(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request, wherever its API has them."""
    return {**body, **body.get("parameters", {})}


def system(body: dict[str, Any]) -> str:
    messages = body.get("messages") or body["input"]
    return (messages["messages"] if isinstance(messages, dict) else messages)[0]["content"]


@pytest.mark.parametrize("api", APIS)
def test_schema_is_added_to_the_prompt_with_the_interpreter(service, api: str):
    served = service(answering('{"value": 42, ', '"unit": "m"}', api=api))
    model = served.model(api=api)
    before = repr(model)
    chain = model.with_structured_output(Result)
    assert chain.invoke("What is 6 times 7?") == Result(value=42, unit="m")
    assert asyncio.run(chain.ainvoke("What is 6 times 7?")) == Result(value=42, unit="m")
    for body in served.bodies:
        assert '"the number"' in system(body)
        parameters = request_sent(body)
        assert parameters["enable_thinking"] is True
        assert not {"response_format", "text", "tool_choice"} & parameters.keys()
        switch = [{"type": "code_interpreter"}] if api == "responses" else None
        assert parameters.get("tools") == switch
    assert repr(model) == before


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_other_schemas_return_dictionaries(service, schema):
    served = service(answering('{"value": 42}'))
    assert served.model().with_structured_output(schema).invoke("?") == {"value": 42}
    assert '"value"' in system(served.bodies[0])


def test_schema_is_appended_to_a_system_message(service):
    served = service(answering('{"value": 42}'))
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
    chain = prompt | served.model().with_structured_output(Result)
    chain.invoke({"question": "?"})
    served.model().with_structured_output(Result).invoke([HumanMessage("?")])
    first, second = (body["input"]["messages"] for body in served.bodies)
    assert [message["role"] for message in first] == ["system", "user"]
    assert first[0]["content"].startswith("Be brief.\n\nAnswer with one JSON object")
    assert [message["role"] for message in second] == ["system", "user"]


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode", "prompt"])
def test_excluded_methods_become_prompt(service, method: str):
    served = service(answering('```json\n{"value": 42}\n```'))
    chain = served.model().with_structured_output(Result, method=method)
    assert chain.invoke("?").value == 42
    assert not {"response_format", "tools"} & request_sent(served.bodies[0]).keys()


def test_partial_objects_are_streamed(service):
    served = service(answering('{"value"', ": 42", ', "unit": "met', 'res"}'))
    partial = list(served.model().with_structured_output(ResultDict).stream("?"))
    assert partial[-1] == {"value": 42, "unit": "metres"}
    assert {"value": 42, "unit": "met"} in partial
    objects = list(served.model().with_structured_output(Result).stream("?"))
    assert objects[-1] == Result(value=42, unit="metres")


def test_include_raw_returns_the_message(service):
    served = service(answering('{"value": 42}'), answering("It is 42."))
    chain = served.model().with_structured_output(Result, include_raw=True)
    good, bad = chain.invoke("?"), chain.invoke("?")
    assert good["parsed"] == Result(value=42)
    assert good["parsing_error"] is None
    assert [run["code"] for run in code_executions(good["raw"])] == ["6*7"]
    assert bad["parsed"] is None
    assert isinstance(bad["parsing_error"], OutputParserException)
    assert bad["raw"].content == "It is 42."


@pytest.mark.parametrize("api", APIS)
def test_reformat_converts_an_answer_that_does_not_fit(service, api: str):
    prose, fitting = answering("It is 42.", api=api), answering('{"value": 42}', api=api)
    served = service(prose, fitting, prose)
    chain = served.model(api=api).with_structured_output(Result, reformat=True)
    assert chain.invoke("What is 6 times 7?") == Result(value=42)
    first, second = map(request_sent, served.bodies)
    assert first["enable_thinking"] is True
    assert second["enable_thinking"] is False
    assert "enable_code_interpreter" not in second
    assert "tools" not in second
    form = second["text"]["format"] if api == "responses" else second["response_format"]
    assert form == {"type": "json_object"}
    assert "It is 42." in json.dumps(served.bodies[1])
    with pytest.raises(OutputParserException):
        chain.invoke("?")
    assert len(served.requests) == 4


def test_reformat_does_not_send_an_answer_that_fits(service):
    served = service(answering('{"value": 42}'))
    chain = served.model().with_structured_output(Result, reformat=True, include_raw=True)
    assert chain.invoke("?")["parsed"] == Result(value=42)
    assert len(served.requests) == 1


def test_answer_that_does_not_fit_raises_an_error(service):
    served = service(answering("It is 42."))
    with pytest.raises(OutputParserException):
        served.model().with_structured_output(Result).invoke("?")
    assert len(served.requests) == 1


@pytest.mark.parametrize("api", APIS)
def test_function_calling_without_the_interpreter(service, api: str):
    served = service(calling("Result", '{"value": 42}', api))
    model = served.model(api=api, enable_code_interpreter=False)
    assert model.with_structured_output(Result).invoke("?") == Result(value=42)
    body = request_sent(served.bodies[0])
    assert body["enable_thinking"] is False  # on by default, it would exclude the choice
    assert "Result" in json.dumps(body["tool_choice"])
    raw = model.with_structured_output(Result, include_raw=True).invoke("?")
    assert raw["parsed"] == Result(value=42)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_function_calling_with_other_schemas_returns_dictionaries(service, schema):
    name = schema.get("title") or schema.get("name", "answer") if isinstance(schema, dict) else None
    served = service(calling(name or "ResultDict", '{"value": 42}', "dashscope"))
    model = served.model(enable_code_interpreter=False)
    assert model.with_structured_output(schema).invoke("?") == {"value": 42}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize("api", APIS)
def test_response_format_without_the_interpreter(service, api: str, method: str):
    served = service(answering('{"value": 42}', api=api))
    model = served.model(api=api, enable_code_interpreter=False)
    chain = model.with_structured_output(Result, method=method, strict=True)
    assert chain.invoke("?") == Result(value=42)
    body = request_sent(served.bodies[0])
    form = body["text"]["format"] if api == "responses" else body["response_format"]
    assert form["type"] == {"json_mode": "json_object"}.get(method, method)
    if method == "json_schema":
        schema = form if api == "responses" else form["json_schema"]
        assert schema["name"] == "Result"
        assert schema["strict"] is True
        assert schema["schema"]["properties"]["value"]["type"] == "integer"
    assert body["enable_thinking"] is False


@pytest.mark.parametrize("method", [None, "json_schema", "json_mode"])
def test_thinking_without_the_interpreter_uses_the_prompt(service, method: str | None):
    served = service(answering('{"value": 42}'))
    model = served.model(enable_code_interpreter=False, enable_thinking=True)
    chain = model.with_structured_output(Result, method=method)
    assert chain.invoke("?") == Result(value=42)
    sent = request_sent(served.bodies[0])
    assert sent["enable_thinking"] is True
    assert not {"response_format", "tools"} & sent.keys()


def test_explicit_function_calling_with_thinking_is_kept(service):
    served = service(calling("Result", '{"value": 42}', "dashscope"))
    model = served.model(enable_code_interpreter=False, enable_thinking=True)
    chain = model.with_structured_output(Result, method="function_calling")
    assert chain.invoke("?") == Result(value=42)
    assert request_sent(served.bodies[0])["enable_thinking"] is True


def test_bound_arguments_are_sent_with_every_call(service):
    served = service(answering('{"value": 42}'))
    chain = served.model().with_structured_output(
        Result, enable_code_interpreter=False, method="json_mode", temperature=0.1
    )
    chain.invoke("?")
    body = request_sent(served.bodies[0])
    assert body["temperature"] == 0.1
    assert body["response_format"] == {"type": "json_object"}
    assert "enable_code_interpreter" not in body


def test_invalid_methods_raise_an_error(service):
    served = service(b"")
    with pytest.raises(QwenInputError, match="telepathy"):
        served.model().with_structured_output(Result, method="telepathy")
    off = served.model(enable_code_interpreter=False)
    with pytest.raises(QwenInputError, match="reformat"):
        off.with_structured_output(Result, reformat=True)
    assert served.requests == []


def test_system_message_with_blocks_is_kept(service):
    served = service(answering('{"value": 42}'))
    blocks = SystemMessage([{"type": "text", "text": "Be brief."}])
    served.model().with_structured_output(Result).invoke([blocks, HumanMessage("?")])
    assert system(served.bodies[0]).startswith("Be brief.\n\n")
