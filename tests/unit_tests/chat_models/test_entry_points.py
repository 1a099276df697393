"""Every way in gives the same message, however the bytes are cut."""

from __future__ import annotations

import asyncio
import functools
import json
import operator
from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from mock_service import Pieces, Service
from stream_corpus import CORPUS, REQUEST_ID, Stream

from langchain_qwen_ci import code_executions, plugin_counts

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

QUESTION = "What is 7 to the power of 5?"


def summed(chunks: list[Any]) -> Any:
    return functools.reduce(operator.add, chunks)


async def collected(model: Any) -> list[Any]:
    return [chunk async for chunk in model.astream(QUESTION)]


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke(QUESTION),
    "ainvoke": lambda model: asyncio.run(model.ainvoke(QUESTION)),
    "stream": lambda model: summed(list(model.stream(QUESTION))),
    "astream": lambda model: summed(asyncio.run(collected(model))),
    "batch": lambda model: model.batch([QUESTION])[0],
    "abatch": lambda model: asyncio.run(model.abatch([QUESTION]))[0],
}


async def finished(model: Any) -> Any:
    return await (await model.astream_events(QUESTION, version="v3"))


PROTOCOL = {
    "stream_events": lambda model: model.stream_events(QUESTION, version="v3").output,
    "astream_events": lambda model: asyncio.run(finished(model)),
}


def fields(message: Any) -> dict[str, Any]:
    """All of a message, but for the id (LangChain's own, of the run) and what makes a chunk."""
    if hasattr(message, "chunk_position"):
        message = message_chunk_to_message(message)
    return {**message.model_dump(exclude={"id"}), "blocks": message.content_blocks}


def result(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "reasoning":
            return block["reasoning"]
        case "server_tool_call":
            return block["args"].get("code", block["args"])
        case "server_tool_result":
            return block["output"]
        case "tool_call" | "invalid_tool_call":
            return block["name"]
    return block["text"]


def check(message: Any, expected: Stream) -> None:
    assert message.text == expected.content
    assert message.additional_kwargs.get("reasoning_content", "") == expected.reasoning
    assert [(block["type"], result(block)) for block in message.content_blocks] == expected.blocks
    records = [dict(run) for run in code_executions(message)]
    assert len({run.pop("id") for run in records}) == len(records)
    assert records == expected.executions
    assert message.response_metadata["finish_reason"] == expected.finish_reason
    assert message.response_metadata["model_name"] == "qwen3-max"
    assert message.response_metadata["model_provider"] == "qwen"
    assert message.response_metadata["request_id"] == REQUEST_ID
    assert message.response_metadata.get("plugins") == expected.plugins
    used = message.usage_metadata
    assert (used["input_tokens"], used["output_tokens"], used["total_tokens"]) == expected.usage
    calls = [(call["name"], call["args"], call["id"]) for call in message.tool_calls]
    assert calls == expected.tool_calls
    broken = [(call["name"], call["args"]) for call in message.invalid_tool_calls]
    assert broken == expected.invalid_tool_calls


def model_for(stream: Stream, body: bytes | Pieces | None = None, **options: Any) -> Any:
    return Service([body or stream.body]).model(**{"api": stream.api, **options})


@pytest.mark.parametrize("entry_point", [*ENTRY_POINTS, *PROTOCOL])
@pytest.mark.parametrize("name", CORPUS)
def test_every_entry_point_returns_the_expected_message(name: str, entry_point: str):
    message = {**ENTRY_POINTS, **PROTOCOL}[entry_point](model_for(CORPUS[name]))
    check(message, CORPUS[name])
    if entry_point in ENTRY_POINTS:
        assert message.content == CORPUS[name].content


@pytest.mark.parametrize("name", CORPUS)
def test_entry_points_return_equal_messages(name: str):
    messages = [
        fields(entry_point(model_for(CORPUS[name]))) for entry_point in ENTRY_POINTS.values()
    ]
    assert all(message == messages[0] for message in messages[1:])


@pytest.mark.parametrize("entry_point", [*ENTRY_POINTS, *PROTOCOL])
@pytest.mark.parametrize("name", CORPUS)
def test_v1_messages_and_protocol_events_have_the_same_blocks(name: str, entry_point: str):
    stream = CORPUS[name]
    message = {**ENTRY_POINTS, **PROTOCOL}[entry_point](model_for(stream, output_version="v1"))
    if stream.invalid_tool_calls and "stream" in entry_point and entry_point in ENTRY_POINTS:
        # LangChain leaves the chunks of a call that it cannot read as they are.
        assert message.content[-1]["type"] == "tool_call_chunk"
        assert [call["name"] for call in message.invalid_tool_calls] == ["add"]
        return
    check(message, stream)
    assert fields(message) == fields(model_for(stream, output_version="v1").invoke(QUESTION))


@pytest.mark.parametrize("name", CORPUS)
def test_message_does_not_depend_on_split_of_bytes(name: str):
    stream = CORPUS[name]
    pieces = [stream.body[at : at + 1] for at in range(len(stream.body))]
    whole = fields(model_for(stream).invoke(QUESTION))
    assert fields(model_for(stream, Pieces(*pieces)).invoke(QUESTION)) == whole
    assert fields(summed(list(model_for(stream, Pieces(*pieces)).stream(QUESTION)))) == whole
    assert fields(asyncio.run(model_for(stream, Pieces(*pieces)).ainvoke(QUESTION))) == whole


@pytest.mark.parametrize("entry_point", [*ENTRY_POINTS, *PROTOCOL])
@pytest.mark.parametrize("name", ["one run", "responses: one run", "chat_completions: an answer"])
def test_body_is_read_to_its_end_for_reuse_of_the_connection(name: str, entry_point: str):
    stream = CORPUS.get(name) or STREAMS[name]
    body = Pieces(*(frame + b"\n\n" for frame in stream.body.split(b"\n\n")), b"\n")
    {**ENTRY_POINTS, **PROTOCOL}[entry_point](model_for(stream, body))
    assert body.read_to_the_end
    assert body.closed


@pytest.mark.parametrize("name", CORPUS)
def test_sum_of_chunks_equals_message(name: str):
    """Nothing is held back to the end: the pieces before the last chunk are the whole text."""
    stream = CORPUS[name]
    *chunks, last = model_for(stream).stream(QUESTION)
    assert last.chunk_position == "last"
    assert last.content == ""
    assert "".join(chunk.content for chunk in chunks) == stream.content
    live = code_executions(summed(chunks))
    assert [run["code"] for run in live] == stream.codes
    known = [run.get("output") for run in stream.executions]
    assert [run.get("output") for run in live] == known
    assert [run["status"] for run in live] == [
        run["status"] if "output" in run else "in_progress" for run in stream.executions
    ]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("name", CORPUS)
def test_protocol_events_are_valid(name: str, version: str | None):
    stream = CORPUS[name]
    events = list(model_for(stream, output_version=version).stream_events(QUESTION, version="v3"))
    assert_valid_event_stream(events)
    assert [event["event"] for event in events[:1]] == ["message-start"]
    assert events[0]["metadata"] == {"provider": "qwen", "model": "qwen3-max"}
    assert events[0]["id"].startswith("lc_run--")
    ended = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [(block["type"], result(block)) for block in ended] == stream.blocks


@pytest.mark.parametrize("name", [name for name, stream in CORPUS.items() if stream.codes])
def test_protocol_events_close_a_program_before_the_next_block(name: str):
    """Code is live: it ends when it has run, and not at the end of the message."""
    events = list(model_for(CORPUS[name]).stream_events(QUESTION, version="v3"))
    open_blocks: set[int] = set()
    for event in events:
        if event["event"] == "content-block-start":
            if event["content"]["type"] in ("text", "reasoning"):
                assert not open_blocks
            open_blocks.add(event["index"])
        elif event["event"] == "content-block-finish":
            open_blocks.discard(event["index"])


def test_code_is_streamed_as_soon_as_it_is_received():
    chunks = list(model_for(STREAMS["one run"]).stream(QUESTION))
    displayed = [
        index
        for index, chunk in enumerate(chunks)
        for block in chunk.content_blocks
        if block["type"] == "server_tool_call" and block["args"] == {"code": "7**5"}
    ]
    spoken = [index for index, chunk in enumerate(chunks) if chunk.content]
    assert len(displayed) == 1
    assert displayed[0] < spoken[0] < len(chunks) - 1


def test_messages_survive_a_json_round_trip():
    message = model_for(STREAMS["two runs in a row"]).invoke(QUESTION)
    (again,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    for form in (again, message.model_dump(), {"type": "ai", "data": message.model_dump()}):
        assert code_executions(form) == code_executions(message)
        assert plugin_counts(form) == {"code_interpreter": 2}
    assert again.content_blocks == message.content_blocks


def test_execution_ids_are_unique_across_messages():
    first, second = (
        model_for(
            STREAMS["two runs in a row"],
            STREAMS["two runs in a row"].body.replace(REQUEST_ID.encode(), name),
        ).invoke("?")
        for name in (b"request-1", b"request-2")
    )
    ids = [run["id"] for message in (first, second) for run in code_executions(message)]
    assert len(set(ids)) == 4


def test_tool_info_entry_of_unknown_type_is_kept():
    message = model_for(STREAMS["an entry of unknown type"]).invoke(QUESTION)
    assert message.response_metadata["tool_info"] == [
        {"type": "telescope", "telescope": {"star": "Vega"}}
    ]


def test_token_details_have_langchain_names():
    body = STREAMS["multimodal, list content"].body.replace(
        b'"input_tokens":760,',
        b'"input_tokens":760,"prompt_tokens_details":{"cached_tokens":5},'
        b'"output_tokens_details":{"reasoning_tokens":4},',
    )
    message = model_for(STREAMS["multimodal, list content"], body).invoke(QUESTION)
    assert message.usage_metadata["input_token_details"] == {"cache_read": 5}
    assert message.usage_metadata["output_token_details"] == {"reasoning": 4}


def test_inference_usage_is_reported_on_the_native_api():
    def inferences(stream: Stream) -> Any:
        message = model_for(stream).invoke(QUESTION)
        usage = message.response_metadata.get("inference_usage")
        if usage:
            total = message.usage_metadata
            assert sum(one["input_tokens"] for one in usage) == total["input_tokens"]
            assert sum(one["output_tokens"] for one in usage) == total["output_tokens"]
        return usage

    assert inferences(STREAMS["one run"]) == [
        {"input_tokens": 290, "output_tokens": 24},
        {"input_tokens": 440, "output_tokens": 17},
    ]
    assert [one["input_tokens"] for one in inferences(STREAMS["two runs in a row"])] == [
        300,
        450,
        480,
    ]
    assert inferences(CORPUS["responses: one run"]) is None
    assert inferences(CORPUS["chat_completions: an answer"]) is None


def test_callbacks_receive_every_token_of_an_invoke():
    received: list[ChatGenerationChunk] = []

    class Ear(BaseCallbackHandler):
        def on_llm_new_token(self, token, *, chunk=None, **kwargs):
            received.append(chunk)

    config = {"callbacks": [Ear()]}
    message = model_for(STREAMS["one run"]).invoke(QUESTION, config)
    check(message, STREAMS["one run"])
    assert fields(summed([chunk.message for chunk in received])) == fields(message)
    received.clear()
    asyncio.run(model_for(STREAMS["one run"]).ainvoke(QUESTION, config))
    assert fields(summed([chunk.message for chunk in received])) == fields(message)
