"""The decoder, on streams that hypothesis makes up and cuts up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import chat_completions_streams
import pytest
import responses_streams
from dashscope_streams import frame, stream, tool_info, usage
from decode import REQUEST, WIRES, decoded
from hypothesis import given
from hypothesis import strategies as some
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import code_executions
from langchain_qwen_ci.response.chunks import chunk_encoder
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.response.protocol_events import ProtocolEvents
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished, Event, Finished
from langchain_qwen_ci.wire.sse import SSEParser


@pytest.mark.parametrize("name", CORPUS)
def test_one_split_anywhere_makes_no_difference(name: str):
    body, api = CORPUS[name].body, CORPUS[name].api
    whole = decoded(body, api=api)
    for at in range(len(body)):
        assert decoded(body[:at], body[at:], api=api) == whole


words = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
stages = some.lists(
    some.one_of(
        some.tuples(some.just("think"), words),
        some.tuples(some.just("say"), words),
        some.tuples(some.just("run"), some.lists(words, min_size=1, max_size=3)),
    ),
    max_size=8,
)


Story = list[tuple[str, Any]]
BLOCKS = {"think": "reasoning", "say": "text", "run": "server_tool_call"}


def blocks_of(story: Story, *, results: bool = False) -> list[tuple[str, str]]:
    """The blocks that a story must become: what is said or thought in a row is one."""
    blocks: list[tuple[str, str]] = []
    for kind, what in story:
        if kind == "run":
            blocks.append((BLOCKS[kind], "".join(what)))
            if results:
                blocks.append(("server_tool_result", f"printed {''.join(what)}"))
        elif blocks and blocks[-1][0] == BLOCKS[kind]:
            blocks[-1] = (BLOCKS[kind], blocks[-1][1] + what)
        else:
            blocks.append((BLOCKS[kind], what))
    return blocks


def in_native_frames(story: Story, *, lists: bool = False) -> bytes:
    frames: list[dict[str, Any]] = []
    runs: list[str] = []
    for number, (kind, what) in enumerate(story):
        shown: dict[str, Any] = {"usage": usage(10 + len(runs), number, executions=len(runs))}
        if kind == "run":
            runs.append("")
            for piece in ["", *what]:
                runs[-1] += piece
                frames.append(frame(tool_info=tool_info(*runs), **shown))
            continue
        shown["tool_info"] = tool_info(*runs) if runs else None
        if kind == "think":
            frames.append(frame(reasoning=what, content=[] if lists else "", **shown))
        else:
            said = [{"text": what}] if lists else what
            frames.append(frame(reasoning=None if lists else "", content=said, **shown))
    end = usage(10 + len(runs), len(story), executions=len(runs))
    frames.append(
        frame(finish_reason="stop", tool_info=tool_info(*runs) if runs else None, usage=end)
    )
    return stream(*frames)


def in_responses_events(story: Story) -> bytes:
    items = []
    for number, (kind, what) in enumerate(story):
        item_id = f"msg_{number}"
        if kind == "run":
            ran = "".join(what)
            items.append(
                responses_streams.code_interpreter_call(item_id, ran, f"```\nprinted {ran}\n```")
            )
        elif kind == "think":
            items.append(responses_streams.reasoning(item_id, what))
        else:
            items.append(responses_streams.message(item_id, what))
    return responses_streams.complete_stream(*items, usage=responses_streams.usage(10, 1))


def in_chat_chunks(story: Story) -> bytes:
    pieces = {
        "think": chat_completions_streams.reasoning_chunk,
        "say": chat_completions_streams.text_chunk,
    }
    chunks = [pieces[kind](what) for kind, what in story if kind in pieces]
    return chat_completions_streams.stream(
        *chunks,
        chat_completions_streams.chunk("stop", content=""),
        chat_completions_streams.usage_chunk(10, 1),
    )


def cut(data: some.DataObject, body: bytes) -> Iterator[bytes]:
    places = data.draw(some.lists(some.integers(0, len(body)), max_size=6).map(sorted))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


def read(body: Iterator[bytes], api: str) -> MessageBuilder:
    answer = MessageBuilder("qwen3-max")
    for event in decoded(*body, api=api):
        answer.add(event)
    return answer


def told(answer: MessageBuilder) -> list[tuple[str, str]]:
    names = {"reasoning": "reasoning", "text": "text", "server_tool_result": "output"}
    return [
        (block["type"], block["args"]["code"] if "args" in block else block[names[block["type"]]])
        for block in map(dict, answer.message().content_blocks)
    ]


@given(stages, some.booleans(), some.data())
def test_any_native_stream_cut_anywhere_becomes_its_story(story, lists, data):
    answer = read(cut(data, in_native_frames(story, lists=lists)), "dashscope")
    assert told(answer) == blocks_of(story)
    message = answer.message()
    assert message.content == "".join(text for kind, text in story if kind == "say")
    assert [run["code"] for run in code_executions(message)] == [
        "".join(text) for kind, text in story if kind == "run"
    ]
    assert message.response_metadata["request_id"] == REQUEST_ID


@given(stages, some.data())
def test_any_responses_stream_cut_anywhere_becomes_its_story(story, data):
    answer = read(cut(data, in_responses_events(story)), "responses")
    assert told(answer) == blocks_of(story, results=True)


@given(stages, some.data())
def test_any_chat_stream_cut_anywhere_becomes_its_story(story, data):
    answer = read(cut(data, in_chat_chunks(story)), "chat_completions")
    assert told(answer) == blocks_of([stage for stage in story if stage[0] != "run"])


@given(stages, some.booleans())
def test_what_is_recognised_by_its_bytes_is_read_as_what_is_parsed(story, lists):
    """With spaces in its JSON no frame is recognised, and every one is parsed whole."""
    body = in_native_frames(story, lists=lists)
    spaced = re.sub(
        rb"data:(.*)", lambda match: b"data:" + json.dumps(json.loads(match[1])).encode(), body
    )
    assert decoded(body) == decoded(spaced)


def test_text_that_looks_like_tool_info_is_text():
    told = '"tool_info":[{"code_interpreter":{"code":"1"},"type":"code_interpreter"}]'
    body = stream(
        frame(tool_info=tool_info("1"), usage=usage(10, 1)),
        frame(content=told, tool_info=tool_info("1"), usage=usage(10, 2)),
        frame(content=told, tool_info=tool_info("1", told), usage=usage(10, 3)),
        frame(
            content=told, finish_reason="stop", tool_info=tool_info("1", told), usage=usage(10, 4)
        ),
    )
    answer = MessageBuilder("qwen3-max")
    for event in decoded(body):
        answer.add(event)
    assert answer.message().content == told * 3
    assert [run["code"] for run in code_executions(answer.message())] == ["1", told]


@given(some.sampled_from(sorted(CORPUS)), some.data())
def test_a_damaged_stream_gives_an_error_of_the_tree_or_an_answer(name, data):
    body = bytearray(CORPUS[name].body)
    for _ in range(data.draw(some.integers(1, 4))):
        place = data.draw(some.integers(0, len(body) - 1))
        body[place : place + data.draw(some.integers(0, 3))] = data.draw(some.binary(max_size=3))
    decoder = WIRES[CORPUS[name].api].decoder(REQUEST)
    events: list[Event] = []
    try:
        for piece in cut(data, bytes(body)):
            events.extend(decoder.feed(piece))
        events.extend(decoder.close())
    except QwenError:
        pass
    else:
        assert isinstance(events[-1], Finished)
    # Whatever was told before the damage can be folded and encoded in every way.
    texts, blocks = (chunk_encoder(MessageBuilder("m"), version) for version in (None, "v1"))
    protocol = ProtocolEvents(MessageBuilder("m"), None)
    for event in events:
        texts.feed(event)
        blocks.feed(event)
        list(protocol.feed(event))


@given(some.binary(max_size=300), some.data())
def test_garbage_is_cut_into_the_same_frames_however_it_comes(body, data):
    def frames(*pieces: bytes) -> list[Any]:
        reader = SSEParser()
        return [*(frame for piece in pieces for frame in reader.feed(piece)), *reader.close()]

    assert frames(*cut(data, body)) == frames(body)


def test_code_that_is_corrected_is_recorded_as_corrected():
    events = decoded(
        stream(
            frame(tool_info=tool_info("1+1"), usage=usage(10, 1)),
            frame(tool_info=tool_info("2+2"), usage=usage(10, 2)),
            frame(content="4", tool_info=tool_info("2+2"), usage=usage(10, 3)),
            frame(tool_info=tool_info("2+2+0"), usage=usage(10, 4)),
            frame(finish_reason="stop", tool_info=tool_info("2+2+0"), usage=usage(10, 4)),
        )
    )
    answer = MessageBuilder("qwen3-max")
    for event in events:
        answer.add(event)
    assert [run["code"] for run in code_executions(answer.message())] == ["2+2+0"]
    (block,) = [b for b in answer.message().content_blocks if b["type"] == "server_tool_call"]
    assert block["args"] == {"code": "2+2+0"}


def test_entries_that_are_filled_in_out_of_order():
    events = decoded(
        stream(
            frame(tool_info=tool_info("", ""), usage=usage(10, 1)),
            frame(tool_info=tool_info("", "b"), usage=usage(10, 2)),
            frame(content="…", tool_info=tool_info("", "b"), usage=usage(10, 3)),
            frame(tool_info=tool_info("a", "b"), usage=usage(10, 4)),
            frame(finish_reason="stop", tool_info=tool_info("a", "b"), usage=usage(10, 4)),
        )
    )
    told = [event for event in events if isinstance(event, CodeDelta | CodeFinished)]
    first, second = f"ci_{REQUEST_ID}_0", f"ci_{REQUEST_ID}_1"
    assert told == [
        CodeDelta(first, ""),
        CodeDelta(second, ""),
        CodeDelta(second, "b"),
        CodeFinished(second, "completed"),
        CodeDelta(first, "a"),
        CodeFinished(first, "completed"),
    ]
