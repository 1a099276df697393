"""Every entry point returns the same message, for every stream and every split of its bytes."""

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
from mock_service import MockService, StreamedBody
from stream_corpus import CORPUS, REQUEST_ID, Stream

from langchain_qwen_ci import code_executions, plugin_counts

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

QUESTION = "What is 7 to the power of 5?"


def sum_of(chunks: list[Any]) -> Any:
    return functools.reduce(operator.add, chunks)


async def astream_chunks(model: Any) -> list[Any]:
    return [chunk async for chunk in model.astream(QUESTION)]


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke(QUESTION),
    "ainvoke": lambda model: asyncio.run(model.ainvoke(QUESTION)),
    "stream": lambda model: sum_of(list(model.stream(QUESTION))),
    "astream": lambda model: sum_of(asyncio.run(astream_chunks(model))),
    "batch": lambda model: model.batch([QUESTION])[0],
    "abatch": lambda model: asyncio.run(model.abatch([QUESTION]))[0],
}


async def astream_events_output(model: Any) -> Any:
    return await (await model.astream_events(QUESTION, version="v3"))


PROTOCOL_ENTRY_POINTS = {
    "stream_events": lambda model: model.stream_events(QUESTION, version="v3").output,
    "astream_events": lambda model: asyncio.run(astream_events_output(model)),
}
ALL_ENTRY_POINTS = {**ENTRY_POINTS, **PROTOCOL_ENTRY_POINTS}


def fields_of(message: Any) -> dict[str, Any]:
    """All fields of a message or of a sum of chunks, except the id, which is that of the run."""
    if hasattr(message, "chunk_position"):
        message = message_chunk_to_message(message)
    return {**message.model_dump(exclude={"id"}), "blocks": message.content_blocks}


def main_value(block: dict[str, Any]) -> Any:
    """The value of a block that `Stream.blocks` lists."""
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


def check_message(message: Any, expected: Stream) -> None:
    assert message.text == expected.content
    assert message.additional_kwargs.get("reasoning_content", "") == expected.reasoning
    assert [
        (block["type"], main_value(block)) for block in message.content_blocks
    ] == expected.blocks
    records = [dict(execution) for execution in code_executions(message)]
    assert len({record.pop("id") for record in records}) == len(records)
    assert records == expected.executions
    assert message.response_metadata["finish_reason"] == expected.finish_reason
    assert message.response_metadata["model_name"] == "qwen3-max"
    assert message.response_metadata["model_provider"] == "qwen"
    assert message.response_metadata["request_id"] == REQUEST_ID
    assert message.response_metadata.get("plugins") == expected.plugins
    usage = message.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == expected.usage
    calls = [(call["name"], call["args"], call["id"]) for call in message.tool_calls]
    assert calls == expected.tool_calls
    invalid_calls = [(call["name"], call["args"]) for call in message.invalid_tool_calls]
    assert invalid_calls == expected.invalid_tool_calls


def model_for(stream: Stream, body: bytes | StreamedBody | None = None, **options: Any) -> Any:
    return MockService([body or stream.body]).model(**{"api": stream.api, **options})


@pytest.mark.parametrize("entry_point", ALL_ENTRY_POINTS)
@pytest.mark.parametrize("name", CORPUS)
def test_every_entry_point_returns_the_expected_message(name: str, entry_point: str):
    message = ALL_ENTRY_POINTS[entry_point](model_for(CORPUS[name]))
    check_message(message, CORPUS[name])
    if entry_point in ENTRY_POINTS:
        assert message.content == CORPUS[name].content


@pytest.mark.parametrize("name", CORPUS)
def test_entry_points_return_equal_messages(name: str):
    messages = [
        fields_of(entry_point(model_for(CORPUS[name]))) for entry_point in ENTRY_POINTS.values()
    ]
    assert all(message == messages[0] for message in messages[1:])


@pytest.mark.parametrize("entry_point", ALL_ENTRY_POINTS)
@pytest.mark.parametrize("name", CORPUS)
def test_v1_messages_and_protocol_events_have_the_same_blocks(name: str, entry_point: str):
    stream = CORPUS[name]
    message = ALL_ENTRY_POINTS[entry_point](model_for(stream, output_version="v1"))
    if stream.invalid_tool_calls and "stream" in entry_point and entry_point in ENTRY_POINTS:
        # When LangChain adds chunks, it does not convert the chunks of an invalid call.
        assert message.content[-1]["type"] == "tool_call_chunk"
        assert [call["name"] for call in message.invalid_tool_calls] == ["add"]
        return
    check_message(message, stream)
    assert fields_of(message) == fields_of(model_for(stream, output_version="v1").invoke(QUESTION))


@pytest.mark.parametrize("name", CORPUS)
def test_message_does_not_depend_on_split_of_bytes(name: str):
    stream = CORPUS[name]
    single_bytes = [stream.body[at : at + 1] for at in range(len(stream.body))]
    expected = fields_of(model_for(stream).invoke(QUESTION))

    def model() -> Any:
        return model_for(stream, StreamedBody(*single_bytes))

    assert fields_of(model().invoke(QUESTION)) == expected
    assert fields_of(sum_of(list(model().stream(QUESTION)))) == expected
    assert fields_of(asyncio.run(model().ainvoke(QUESTION))) == expected


@pytest.mark.parametrize("entry_point", ALL_ENTRY_POINTS)
@pytest.mark.parametrize("name", ["one run", "responses: one run", "chat_completions: an answer"])
def test_body_is_read_to_its_end_for_reuse_of_the_connection(name: str, entry_point: str):
    stream = CORPUS.get(name) or STREAMS[name]
    body = StreamedBody(*(frame + b"\n\n" for frame in stream.body.split(b"\n\n")), b"\n")
    ALL_ENTRY_POINTS[entry_point](model_for(stream, body))
    assert body.fully_read
    assert body.closed


@pytest.mark.parametrize("name", CORPUS)
def test_chunks_before_the_last_have_all_text_and_code(name: str):
    stream = CORPUS[name]
    *chunks, last = model_for(stream).stream(QUESTION)
    assert last.chunk_position == "last"
    assert last.content == ""
    assert "".join(chunk.content for chunk in chunks) == stream.content
    executions = code_executions(sum_of(chunks))
    assert [execution["code"] for execution in executions] == stream.codes
    outputs = [execution.get("output") for execution in stream.executions]
    assert [execution.get("output") for execution in executions] == outputs
    assert [execution["status"] for execution in executions] == [
        execution["status"] if "output" in execution else "in_progress"
        for execution in stream.executions
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
    blocks = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [(block["type"], main_value(block)) for block in blocks] == stream.blocks


@pytest.mark.parametrize("name", [name for name, stream in CORPUS.items() if stream.codes])
def test_protocol_events_close_a_program_before_the_next_block(name: str):
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
    with_code = [
        index
        for index, chunk in enumerate(chunks)
        for block in chunk.content_blocks
        if block["type"] == "server_tool_call" and block["args"] == {"code": "7**5"}
    ]
    with_text = [index for index, chunk in enumerate(chunks) if chunk.content]
    assert len(with_code) == 1
    assert with_code[0] < with_text[0] < len(chunks) - 1


def test_messages_survive_a_json_round_trip():
    message = model_for(STREAMS["two runs in a row"]).invoke(QUESTION)
    (restored,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    for form in (restored, message.model_dump(), {"type": "ai", "data": message.model_dump()}):
        assert code_executions(form) == code_executions(message)
        assert plugin_counts(form) == {"code_interpreter": 2}
    assert restored.content_blocks == message.content_blocks


def test_execution_ids_are_unique_across_messages():
    stream = STREAMS["two runs in a row"]
    bodies = [
        stream.body.replace(REQUEST_ID.encode(), request_id)
        for request_id in (b"request-1", b"request-2")
    ]
    messages = [model_for(stream, body).invoke("?") for body in bodies]
    ids = [execution["id"] for message in messages for execution in code_executions(message)]
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
    def inference_usage(stream: Stream) -> Any:
        message = model_for(stream).invoke(QUESTION)
        inferences = message.response_metadata.get("inference_usage")
        if inferences:
            total = message.usage_metadata
            assert sum(usage["input_tokens"] for usage in inferences) == total["input_tokens"]
            assert sum(usage["output_tokens"] for usage in inferences) == total["output_tokens"]
        return inferences

    assert inference_usage(STREAMS["one run"]) == [
        {"input_tokens": 290, "output_tokens": 24},
        {"input_tokens": 440, "output_tokens": 17},
    ]
    two_runs = inference_usage(STREAMS["two runs in a row"])
    assert [usage["input_tokens"] for usage in two_runs] == [300, 450, 480]
    assert inference_usage(CORPUS["responses: one run"]) is None
    assert inference_usage(CORPUS["chat_completions: an answer"]) is None


def test_callbacks_receive_every_token_of_an_invoke():
    generations: list[ChatGenerationChunk] = []

    class TokenRecorder(BaseCallbackHandler):
        def on_llm_new_token(self, token, *, chunk=None, **kwargs):
            generations.append(chunk)

    config = {"callbacks": [TokenRecorder()]}
    message = model_for(STREAMS["one run"]).invoke(QUESTION, config)
    check_message(message, STREAMS["one run"])
    assert fields_of(sum_of([generation.message for generation in generations])) == fields_of(
        message
    )
    generations.clear()
    asyncio.run(model_for(STREAMS["one run"]).ainvoke(QUESTION, config))
    assert fields_of(sum_of([generation.message for generation in generations])) == fields_of(
        message
    )
