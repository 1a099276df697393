"""The chat model of this package with the emulator."""

from __future__ import annotations

import asyncio

import pytest
from emulator_requests import QUESTION, RESULT, model_of
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenInvalidRequestError, QwenModelNotFoundError

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3.5-plus", "qwen3.6-plus-2026-04-02"])
def test_model_answers_with_executed_code(qwen_emulator, name):
    model = model_of(qwen_emulator, model=name)
    message = model.invoke(QUESTION)
    assert RESULT in message.content
    (run,) = code_executions(message)
    assert (run["code"], run["status"]) == ("123**21", "completed")
    assert plugin_counts(message) == {"code_interpreter": 1}
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds == ["reasoning", "server_tool_call", "reasoning", "text"]
    assert message.response_metadata["request_id"]
    model.close()


def test_unknown_model_is_an_error(qwen_emulator):
    # Without a warning, which is an error in these tests: the host is not Alibaba's.
    model = model_of(qwen_emulator, model="gpt-y")
    with pytest.raises(QwenModelNotFoundError, match="Model not exist"):
        model.invoke("?")


def test_wrong_path_error_is_explained(qwen_emulator):
    model = model_of(qwen_emulator, model="qwen3.5-plus", endpoint="text-generation")
    with pytest.raises(QwenInvalidRequestError, match='endpoint="multimodal-generation"'):
        model.invoke("?")


def test_one_model_works_in_successive_loops(qwen_emulator):
    model = model_of(qwen_emulator)
    for _ in range(3):
        assert RESULT in asyncio.run(model.ainvoke(QUESTION)).content


def test_connections_are_reused(qwen_emulator):
    model = model_of(qwen_emulator)
    ports = set()

    async def many() -> None:
        for _ in range(3):
            await model.ainvoke(QUESTION)

    for _ in range(3):
        model.invoke(QUESTION)
    pool = model._cached_transport._client.get()._transport._pool
    ports |= {str(connection) for connection in pool.connections}
    assert len(ports) == 1
    asyncio.run(many())
    model.close()


def test_stored_conversation_is_continued(qwen_emulator):
    model = model_of(qwen_emulator, api="responses", conversation="conv_1")
    assert model.invoke("What is 12 cubed?").response_metadata["request_id"].startswith("resp_")
    (run,) = code_executions(model.invoke("divide that by 4"))
    assert run["output"] == "432.0"


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_any_of_several_functions_is_accepted(qwen_emulator, api):
    functions = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        for name in ("look_up", "translate")
    ]
    model = model_of(qwen_emulator, api=api, enable_code_interpreter=False)
    message = model.bind_tools(functions, tool_choice="any").invoke("Call look_up.")
    assert [call["name"] for call in message.tool_calls] == ["look_up"]
    assert qwen_emulator.requests[-1].body["tool_choice"] == "required"


def test_reasoning_is_accepted_as_input_of_responses(qwen_emulator):
    model = model_of(qwen_emulator, api="responses", preserve_thinking=True)
    first = model.invoke("What is 12 cubed?")
    (run,) = code_executions(model.invoke(["What is 12 cubed?", first, "divide that by 4"]))
    assert run["output"] == "432.0"
    sent = qwen_emulator.requests[-1].body["input"]
    assert [item["type"] for item in sent if "type" in item] == ["reasoning"]


CHAIN_INPUT = {"base": 123, "exponent": 21}


def test_chain_with_prompt_and_parser(qwen_emulator):
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be exact."), ("user", "What is {base} to the power of {exponent}?")]
    )
    chain = prompt | model_of(qwen_emulator) | StrOutputParser()
    answer = chain.invoke(CHAIN_INPUT)
    assert RESULT in answer
    assert "".join(chain.stream(CHAIN_INPUT)) == answer
    assert chain.batch([CHAIN_INPUT] * 3) == [answer] * 3

    async def asynchronously() -> None:
        assert await chain.ainvoke(CHAIN_INPUT) == answer
        assert "".join([piece async for piece in chain.astream(CHAIN_INPUT)]) == answer
        assert await chain.abatch([CHAIN_INPUT] * 3) == [answer] * 3

    asyncio.run(asynchronously())
