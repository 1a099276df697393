"""Decoders on generated streams, split anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from chat_completions_streams import chunk, reasoning_chunk, text_chunk, usage_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import frame, tool_info, usage
from dashscope_streams import stream as native_stream
from decode import REQUEST, WIRES, decode
from hypothesis import given
from hypothesis import strategies as st
from responses_streams import code_interpreter_call, complete_stream, message, reasoning
from responses_streams import usage as responses_usage
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import code_executions
from langchain_qwen_ci.response.chunks import chunk_encoder
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.response.protocol_events import ProtocolEvents
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished, Event, Finished
from langchain_qwen_ci.wire.sse import SSEParser

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
# A generated answer: pieces of reasoning and text, and executions with their code in pieces.
Steps = list[tuple[str, Any]]
steps_strategy = st.lists(
    st.one_of(
        st.tuples(st.just("reasoning"), words),
        st.tuples(st.just("text"), words),
        st.tuples(st.just("server_tool_call"), st.lists(words, min_size=1, max_size=3)),
    ),
    max_size=8,
)


def expected_blocks(steps: Steps, *, with_results: bool = False) -> list[tuple[str, str]]:
    """The content blocks of an answer; successive pieces of text or reasoning are one block."""
    blocks: list[tuple[str, str]] = []
    for kind, value in steps:
        if kind == "server_tool_call":
            code = "".join(value)
            blocks.append((kind, code))
            if with_results:
                blocks.append(("server_tool_result", f"printed {code}"))
        elif blocks and blocks[-1][0] == kind:
            blocks[-1] = (kind, blocks[-1][1] + value)
        else:
            blocks.append((kind, value))
    return blocks


def to_native_stream(steps: Steps, *, content_in_parts: bool = False) -> bytes:
    frames: list[dict[str, Any]] = []
    programs: list[str] = []
    for number, (kind, value) in enumerate(steps):
        fields: dict[str, Any] = {
            "usage": usage(10 + len(programs), number, executions=len(programs))
        }
        if kind == "server_tool_call":
            programs.append("")
            for piece in ["", *value]:
                programs[-1] += piece
                frames.append(frame(tool_info=tool_info(*programs), **fields))
            continue
        fields["tool_info"] = tool_info(*programs) if programs else None
        if kind == "reasoning":
            frames.append(frame(reasoning=value, content=[] if content_in_parts else "", **fields))
        else:
            content = [{"text": value}] if content_in_parts else value
            missing = None if content_in_parts else ""
            frames.append(frame(reasoning=missing, content=content, **fields))
    last = frame(
        finish_reason="stop",
        tool_info=tool_info(*programs) if programs else None,
        usage=usage(10 + len(programs), len(steps), executions=len(programs)),
    )
    return native_stream(*frames, last)


def to_responses_stream(steps: Steps) -> bytes:
    items = []
    for number, (kind, value) in enumerate(steps):
        item_id = f"msg_{number}"
        if kind == "server_tool_call":
            code = "".join(value)
            items.append(code_interpreter_call(item_id, code, f"```\nprinted {code}\n```"))
        elif kind == "reasoning":
            items.append(reasoning(item_id, value))
        else:
            items.append(message(item_id, value))
    return complete_stream(*items, usage=responses_usage(10, 1))


def to_chat_stream(steps: Steps) -> bytes:
    builders = {"reasoning": reasoning_chunk, "text": text_chunk}
    chunks = [builders[kind](value) for kind, value in steps if kind in builders]
    return chat_stream(*chunks, chunk("stop", content=""), usage_chunk(10, 1))


def split(data: st.DataObject, body: bytes) -> Iterator[bytes]:
    """Split a body at places that hypothesis chooses."""
    places = data.draw(st.lists(st.integers(0, len(body)), max_size=6).map(sorted))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


def build_message(events: list[Event]) -> MessageBuilder:
    builder = MessageBuilder("qwen3-max")
    for event in events:
        builder.add(event)
    return builder


def block_values(builder: MessageBuilder) -> list[tuple[str, str]]:
    """The type and the main value of each content block."""
    keys = {"reasoning": "reasoning", "text": "text", "server_tool_result": "output"}
    return [
        (block["type"], block["args"]["code"] if "args" in block else block[keys[block["type"]]])
        for block in map(dict, builder.message().content_blocks)
    ]


@pytest.mark.parametrize("name", CORPUS)
def test_events_do_not_depend_on_where_a_stream_is_split(name: str):
    body, api = CORPUS[name].body, CORPUS[name].api
    events = decode(body, api=api)
    for at in range(len(body)):
        assert decode(body[:at], body[at:], api=api) == events


@given(steps_strategy, st.booleans(), st.data())
def test_generated_native_stream_results_in_its_blocks(steps, content_in_parts, data):
    body = to_native_stream(steps, content_in_parts=content_in_parts)
    builder = build_message(decode(*split(data, body)))
    assert block_values(builder) == expected_blocks(steps)
    message = builder.message()
    assert message.content == "".join(text for kind, text in steps if kind == "text")
    assert [execution["code"] for execution in code_executions(message)] == [
        "".join(pieces) for kind, pieces in steps if kind == "server_tool_call"
    ]
    assert message.response_metadata["request_id"] == REQUEST_ID


@given(steps_strategy, st.data())
def test_generated_responses_stream_results_in_its_blocks(steps, data):
    pieces = split(data, to_responses_stream(steps))
    builder = build_message(decode(*pieces, api="responses"))
    assert block_values(builder) == expected_blocks(steps, with_results=True)


@given(steps_strategy, st.data())
def test_generated_chat_stream_results_in_its_blocks(steps, data):
    pieces = split(data, to_chat_stream(steps))
    builder = build_message(decode(*pieces, api="chat_completions"))
    without_code = [step for step in steps if step[0] != "server_tool_call"]
    assert block_values(builder) == expected_blocks(without_code)


@given(steps_strategy, st.booleans())
def test_skipping_unchanged_tool_info_does_not_change_events(steps, content_in_parts):
    """The decoder skips `tool_info` only in JSON without spaces, and parses it otherwise."""
    body = to_native_stream(steps, content_in_parts=content_in_parts)
    with_spaces = re.sub(
        rb"data:(.*)", lambda match: b"data:" + json.dumps(json.loads(match[1])).encode(), body
    )
    assert decode(body) == decode(with_spaces)


def test_text_that_looks_like_tool_info_is_text():
    text = '"tool_info":[{"code_interpreter":{"code":"1"},"type":"code_interpreter"}]'
    two_entries = tool_info("1", text)
    body = native_stream(
        frame(tool_info=tool_info("1"), usage=usage(10, 1)),
        frame(content=text, tool_info=tool_info("1"), usage=usage(10, 2)),
        frame(content=text, tool_info=two_entries, usage=usage(10, 3)),
        frame(content=text, finish_reason="stop", tool_info=two_entries, usage=usage(10, 4)),
    )
    message = build_message(decode(body)).message()
    assert message.content == text * 3
    assert [execution["code"] for execution in code_executions(message)] == ["1", text]


@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_damaged_stream_results_in_an_answer_or_a_qwen_error(name, data):
    body = bytearray(CORPUS[name].body)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    decoder = WIRES[CORPUS[name].api].decoder(REQUEST)
    events: list[Event] = []
    try:
        for piece in split(data, bytes(body)):
            decoder.feed(piece, events)
        decoder.close(events)
    except QwenError:
        pass
    else:
        assert isinstance(events[-1], Finished)
    # All encoders must accept the events before the damage.
    text_encoder, v1_encoder = (
        chunk_encoder(MessageBuilder("m"), form, None) for form in (None, "v1")
    )
    protocol_events = ProtocolEvents(MessageBuilder("m"), None)
    for event in events:
        text_encoder.feed(event)
        v1_encoder.feed(event)
        list(protocol_events.feed(event))


@given(st.binary(max_size=300), st.data())
def test_frames_of_random_bytes_do_not_depend_on_splits(body, data):
    def parse(*pieces: bytes) -> list[Any]:
        parser = SSEParser()
        return [*(frame for piece in pieces for frame in parser.feed(piece)), *parser.close()]

    assert parse(*split(data, body)) == parse(body)


def test_replaced_code_is_recorded():
    events = decode(
        native_stream(
            frame(tool_info=tool_info("1+1"), usage=usage(10, 1)),
            frame(tool_info=tool_info("2+2"), usage=usage(10, 2)),
            frame(content="4", tool_info=tool_info("2+2"), usage=usage(10, 3)),
            frame(tool_info=tool_info("2+2+0"), usage=usage(10, 4)),
            frame(finish_reason="stop", tool_info=tool_info("2+2+0"), usage=usage(10, 4)),
        )
    )
    message = build_message(events).message()
    assert [execution["code"] for execution in code_executions(message)] == ["2+2+0"]
    (block,) = [b for b in message.content_blocks if b["type"] == "server_tool_call"]
    assert block["args"] == {"code": "2+2+0"}


def test_tool_info_entries_may_be_filled_out_of_order():
    events = decode(
        native_stream(
            frame(tool_info=tool_info("", ""), usage=usage(10, 1)),
            frame(tool_info=tool_info("", "b"), usage=usage(10, 2)),
            frame(content="…", tool_info=tool_info("", "b"), usage=usage(10, 3)),
            frame(tool_info=tool_info("a", "b"), usage=usage(10, 4)),
            frame(finish_reason="stop", tool_info=tool_info("a", "b"), usage=usage(10, 4)),
        )
    )
    first, second = f"ci_{REQUEST_ID}_0", f"ci_{REQUEST_ID}_1"
    assert [event for event in events if isinstance(event, CodeDelta | CodeFinished)] == [
        CodeDelta(first, ""),
        CodeDelta(second, ""),
        CodeDelta(second, "b"),
        CodeFinished(second, "completed"),
        CodeDelta(first, "a"),
        CodeFinished(first, "completed"),
    ]
