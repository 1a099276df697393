"""Every way in gives the same message, however the bytes are cut."""

from __future__ import annotations

import asyncio
import functools
import json
import operator
from typing import Any

import pytest
from conftest import Pieces, Service
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.outputs import ChatGenerationChunk
from native import REQUEST_ID, STREAMS, Stream

from langchain_qwen_ci import code_executions, plugin_counts

QUESTION = "What is 7 to the power of 5?"


def summed(chunks: list[Any]) -> Any:
    return functools.reduce(operator.add, chunks)


async def collected(model: Any) -> list[Any]:
    return [chunk async for chunk in model.astream(QUESTION)]


WAYS = {
    "invoke": lambda model: model.invoke(QUESTION),
    "ainvoke": lambda model: asyncio.run(model.ainvoke(QUESTION)),
    "stream": lambda model: summed(list(model.stream(QUESTION))),
    "astream": lambda model: summed(asyncio.run(collected(model))),
    "batch": lambda model: model.batch([QUESTION])[0],
    "abatch": lambda model: asyncio.run(model.abatch([QUESTION]))[0],
}


def fields(message: Any) -> dict[str, Any]:
    """All of a message, but for the id (LangChain's own, of the run) and what makes a chunk."""
    if hasattr(message, "chunk_position"):
        message = message_chunk_to_message(message)
    return {**message.model_dump(exclude={"id"}), "blocks": message.content_blocks}


def told(block: dict[str, Any]) -> str:
    match block["type"]:
        case "reasoning":
            return block["reasoning"]
        case "server_tool_call":
            return block["args"]["code"]
        case "tool_call":
            return block["name"]
    return block["text"]


def check(message: Any, expected: Stream) -> None:
    assert message.content == expected.content
    assert message.additional_kwargs.get("reasoning_content", "") == expected.reasoning
    assert [(block["type"], told(block)) for block in message.content_blocks] == expected.blocks
    assert [run["code"] for run in code_executions(message)] == expected.codes
    assert {run["status"] for run in code_executions(message)} <= {"completed"}
    assert message.response_metadata["finish_reason"] == expected.finish_reason
    assert message.response_metadata["model_name"] == "qwen3-max"
    assert message.response_metadata["model_provider"] == "qwen"
    assert message.response_metadata["request_id"] == REQUEST_ID
    assert message.response_metadata.get("plugins") == expected.plugins
    used = message.usage_metadata
    assert (used["input_tokens"], used["output_tokens"], used["total_tokens"]) == expected.usage
    calls = [(call["name"], call["args"], call["id"]) for call in message.tool_calls]
    assert calls == expected.tool_calls


def model_for(body: bytes | Pieces, **options: Any) -> Any:
    interpreter = {"enable_code_interpreter": True, **options}
    return Service([body]).model(**interpreter)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STREAMS)
def test_every_way_in_gives_the_message_that_the_stream_means(name: str, way: str):
    message = WAYS[way](model_for(STREAMS[name].body))
    check(message, STREAMS[name])


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_ways_agree_to_the_letter(name: str, version: str):
    messages = [
        fields(way(model_for(STREAMS[name].body, output_version=version))) for way in WAYS.values()
    ]
    assert all(message == messages[0] for message in messages[1:])


@pytest.mark.parametrize("name", STREAMS)
def test_v1_holds_the_same_blocks_in_content(name: str):
    message = model_for(STREAMS[name].body, output_version="v1").invoke(QUESTION)
    assert [(block["type"], told(block)) for block in message.content] == STREAMS[name].blocks
    assert message.text == STREAMS[name].content


@pytest.mark.parametrize("name", STREAMS)
def test_bytes_one_by_one_make_no_difference(name: str):
    body = STREAMS[name].body
    pieces = [body[at : at + 1] for at in range(len(body))]
    whole = fields(model_for(body).invoke(QUESTION))
    assert fields(model_for(Pieces(*pieces)).invoke(QUESTION)) == whole
    assert fields(summed(list(model_for(Pieces(*pieces)).stream(QUESTION)))) == whole
    assert fields(asyncio.run(model_for(Pieces(*pieces)).ainvoke(QUESTION))) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_chunks_show_what_the_message_will_hold(name: str):
    """Nothing is held back to the end: the pieces before the last chunk are the whole text."""
    *chunks, last = model_for(STREAMS[name].body).stream(QUESTION)
    assert last.chunk_position == "last"
    assert last.content == ""
    assert "".join(chunk.content for chunk in chunks) == STREAMS[name].content
    if chunks:
        live = summed(chunks)
        assert [run["code"] for run in code_executions(live)] == STREAMS[name].codes
        assert all(run["status"] == "in_progress" for run in code_executions(live))


def test_code_is_seen_as_soon_as_the_wire_shows_it():
    chunks = list(model_for(STREAMS["one run"].body).stream(QUESTION))
    shown = [
        index
        for index, chunk in enumerate(chunks)
        for block in chunk.content_blocks
        if block["type"] == "server_tool_call" and block["args"] == {"code": "7**5"}
    ]
    spoken = [index for index, chunk in enumerate(chunks) if chunk.content]
    assert len(shown) == 1
    assert shown[0] < spoken[0] < len(chunks) - 1


def test_messages_read_the_same_after_json():
    message = model_for(STREAMS["two runs in a row"].body).invoke(QUESTION)
    (again,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    for form in (again, message.model_dump(), {"type": "ai", "data": message.model_dump()}):
        assert code_executions(form) == code_executions(message)
        assert plugin_counts(form) == {"code_interpreter": 2}
    assert again.content_blocks == message.content_blocks


def test_ids_are_unique_across_messages():
    first, second = (
        model_for(STREAMS["two runs in a row"].body.replace(REQUEST_ID.encode(), name)).invoke("?")
        for name in (b"request-1", b"request-2")
    )
    ids = [run["id"] for message in (first, second) for run in code_executions(message)]
    assert len(set(ids)) == 4


def test_an_entry_of_unknown_type_is_kept():
    message = model_for(STREAMS["an entry of unknown type"].body).invoke(QUESTION)
    assert message.response_metadata["tool_info"] == [
        {"type": "telescope", "telescope": {"star": "Vega"}}
    ]


def test_token_details_have_langchain_names():
    body = STREAMS["multimodal, list content"].body.replace(
        b'"input_tokens":760,',
        b'"input_tokens":760,"prompt_tokens_details":{"cached_tokens":5},'
        b'"output_tokens_details":{"reasoning_tokens":4},',
    )
    message = model_for(body).invoke(QUESTION)
    assert message.usage_metadata["input_token_details"] == {"cache_read": 5}
    assert message.usage_metadata["output_token_details"] == {"reasoning": 4}


def test_callbacks_hear_every_token_of_an_invoke():
    heard: list[ChatGenerationChunk] = []

    class Ear(BaseCallbackHandler):
        def on_llm_new_token(self, token, *, chunk=None, **kwargs):
            heard.append(chunk)

    config = {"callbacks": [Ear()]}
    message = model_for(STREAMS["one run"].body).invoke(QUESTION, config)
    check(message, STREAMS["one run"])
    assert fields(summed([chunk.message for chunk in heard])) == fields(message)
    heard.clear()
    asyncio.run(model_for(STREAMS["one run"].body).ainvoke(QUESTION, config))
    assert fields(summed([chunk.message for chunk in heard])) == fields(message)
