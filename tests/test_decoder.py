"""The decoder, on streams that hypothesis makes up and cuts up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import chat_wire
import pytest
import responses_wire
from corpus import CORPUS, REQUEST_ID
from hypothesis import given
from hypothesis import strategies as some
from native import code, frame, stream, usage

from langchain_qwen_ci.answer import Answer
from langchain_qwen_ci.chunks import chunk_encoder
from langchain_qwen_ci.errors import QwenError, QwenServerError
from langchain_qwen_ci.metadata import code_executions
from langchain_qwen_ci.protocol import ProtocolEvents
from langchain_qwen_ci.wire import Wire, WireRequest
from langchain_qwen_ci.wire.chat_completions import ChatCompletionsWire
from langchain_qwen_ci.wire.dashscope import DashScopeWire
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Extra,
    Finished,
    InferenceEnded,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    TokensUsed,
    ToolCallDelta,
)
from langchain_qwen_ci.wire.responses import ResponsesWire
from langchain_qwen_ci.wire.sse import Frame, FrameReader

REQUEST = WireRequest(model="qwen3-max", path="/", body=b"")


WIRES: dict[str, Wire] = {
    "dashscope": DashScopeWire(),
    "responses": ResponsesWire(),
    "chat_completions": ChatCompletionsWire(),
}


def decoded(*pieces: bytes, api: str = "dashscope") -> list[Event]:
    decoder = WIRES[api].decoder(REQUEST)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.close()]


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
        shown: dict[str, Any] = {"used": usage(10 + len(runs), number, runs=len(runs))}
        if kind == "run":
            runs.append("")
            for piece in ["", *what]:
                runs[-1] += piece
                frames.append(frame(runs=code(*runs), **shown))
            continue
        shown["runs"] = code(*runs) if runs else None
        if kind == "think":
            frames.append(frame(thought=what, said=[] if lists else "", **shown))
        else:
            said = [{"text": what}] if lists else what
            frames.append(frame(thought=None if lists else "", said=said, **shown))
    end = usage(10 + len(runs), len(story), runs=len(runs))
    frames.append(frame(finish="stop", runs=code(*runs) if runs else None, used=end))
    return stream(*frames)


def in_responses_events(story: Story) -> bytes:
    items = []
    for number, (kind, what) in enumerate(story):
        item_id = f"msg_{number}"
        if kind == "run":
            ran = "".join(what)
            items.append(responses_wire.program(item_id, ran, f"```\nprinted {ran}\n```"))
        elif kind == "think":
            items.append(responses_wire.reasoning(item_id, what))
        else:
            items.append(responses_wire.message(item_id, what))
    return responses_wire.story(*items, usage=responses_wire.used(10, 1))


def in_chat_chunks(story: Story) -> bytes:
    pieces = {"think": chat_wire.thinks, "say": chat_wire.says}
    chunks = [pieces[kind](what) for kind, what in story if kind in pieces]
    return chat_wire.stream(*chunks, chat_wire.chunk("stop", content=""), chat_wire.used(10, 1))


def cut(data: some.DataObject, body: bytes) -> Iterator[bytes]:
    places = data.draw(some.lists(some.integers(0, len(body)), max_size=6).map(sorted))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


def read(body: Iterator[bytes], api: str) -> Answer:
    answer = Answer("qwen3-max")
    for event in decoded(*body, api=api):
        answer.add(event)
    return answer


def told(answer: Answer) -> list[tuple[str, str]]:
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
        frame(runs=code("1"), used=usage(10, 1)),
        frame(said=told, runs=code("1"), used=usage(10, 2)),
        frame(said=told, runs=code("1", told), used=usage(10, 3)),
        frame(said=told, finish="stop", runs=code("1", told), used=usage(10, 4)),
    )
    answer = Answer("qwen3-max")
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
    texts, blocks = (chunk_encoder(Answer("m"), version) for version in (None, "v1"))
    protocol = ProtocolEvents(Answer("m"), None)
    for event in events:
        texts.feed(event)
        blocks.feed(event)
        list(protocol.feed(event))


def frames_of(*pieces: bytes) -> list[Frame]:
    reader = FrameReader()
    return [*(frame for piece in pieces for frame in reader.feed(piece)), *reader.close()]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\n \n"])
def test_frames_however_lines_end_and_wherever_bytes_are_cut(before, newline):
    stream = (
        b"data:first\n\nevent: error \nid:7\n:HTTP_STATUS/400\n:ping\ndata: one\n"
        b"data:  two\n\nid:8\n\nevent:dropped\n:HTTP_STATUS/500\n\ndata:\n\ndata:last"
    )
    body = (before + stream).replace(b"\n", newline)
    frames = [Frame(b"first"), Frame(b"one\n two", "error", 400), Frame(b""), Frame(b"last")]
    assert frames_of(body) == frames
    assert frames_of(*(body[at : at + 1] for at in range(len(body)))) == frames
    for at in range(len(body)):
        assert frames_of(body[:at], body[at:]) == frames
        assert frames_of(body[:at], b"", body[at : at + 1], body[at + 1 :]) == frames


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b":HTTP_STATUS/429", 429),
        (b":HTTP_STATUS/ 429 ", 429),
        (b":HTTP_STATUS/42", None),
        (b":HTTP_STATUS/4290", None),
        (b":HTTP_STATUS/4x9", None),
        (b":HTTP_STATUS/429\n:HTTP_STATUS/x", None),
        (b":HTTP_STATUS/429\n:HTTP_STATUS", 429),
        (b"HTTP_STATUS/429", None),
    ],
)
def test_the_status_of_a_frame(line, status):
    assert frames_of(line + b"\ndata:1\n\n") == [Frame(b"1", "", status)]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n\t ", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("document", [b'{\n "a": 1,\n\n "data": 2\n}\n', b"[\n\n1]", b"{}"])
def test_a_document_is_one_frame_however_it_is_written(before, document):
    body = before + document
    assert frames_of(body) == [Frame(document)]
    (frame,) = frames_of(*(body[at : at + 1] for at in range(len(body))))
    assert frame.data.strip() == document.strip()


def test_the_name_of_a_frame_may_be_no_utf8():
    assert frames_of(b"event:\xff\ndata:1\n\n") == [Frame(b"1", "\ufffd")]


def test_a_mark_of_byte_order_stands_at_the_beginning_or_is_none():
    assert frames_of(b"\n\xef\xbb\xbfdata:1\n\n") == []
    assert frames_of(b"\n", b"\xef\xbb\xbfdata:1\n\n") == []
    assert frames_of(b"\xef\xbb") == []
    assert frames_of() == []


@given(some.binary(max_size=300), some.data())
def test_garbage_is_cut_into_the_same_frames_however_it_comes(body, data):
    assert frames_of(*cut(data, body)) == frames_of(body)


NAMES = {"dashscope": ("input", "output", "plugins"), "responses": ("input", "output", "x_tools")}
NAMES["chat_completions"] = ("prompt", "completion", "plugins")


@pytest.mark.parametrize("api", NAMES)
def test_tokens_are_counted_as_each_api_names_them(api):
    inputs, outputs, plugins = NAMES[api]
    told = {
        f"{inputs}_tokens": 3,
        f"{outputs}_tokens": 4,
        "total_tokens": 9,
        f"{inputs}_tokens_details": {"cached_tokens": 0, "text_tokens": 2**53, "other": 2**53 + 1},
        f"{outputs}_tokens_details": {"reasoning_tokens": 2},
        plugins: {"code_interpreter": {"count": 1, "seconds": 2.5}, "none": 1},
    }
    bodies = {
        "dashscope": stream(frame(finish="stop", used=told)),
        "responses": responses_wire.story(usage=told),
        "chat_completions": chat_wire.stream(chat_wire.chunk("stop"), chat_wire.used(0, 0, **told)),
    }
    input_details = {"cache_read": 0, "text": 2**53}
    counts = {"code_interpreter": {"count": 1, "seconds": 2.5}}
    used = TokensUsed(3, 4, 9, input_details, {"reasoning": 2}, counts)
    assert used in decoded(bodies[api], api=api)


def test_tokens_that_are_told_without_their_sum_or_wrongly():
    def used(**told: Any) -> TokensUsed:
        events = decoded(stream(frame(finish="stop", used=told)))
        return next(event for event in events if isinstance(event, TokensUsed))

    assert used(input_tokens=3, output_tokens=4) == TokensUsed(3, 4, 7)
    assert used(input_tokens=3, output_tokens="4", total_tokens=True) == TokensUsed(3, 0, 3)
    assert used(input_tokens=3, output_tokens_details=[1], plugins=[1]) == TokensUsed(3, 0, 3)
    assert used(input_tokens=3, plugins={"a": 1}) == TokensUsed(3, 0, 3)


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"arguments": ""}, **fields}


CALLS = {
    "dashscope": lambda *calls: stream(
        *(frame(calls=[one]) for one in calls), frame(finish="tool_calls")
    ),
    "chat_completions": lambda *calls: chat_wire.stream(
        *(chat_wire.chunk(tool_calls=[one]) for one in calls), chat_wire.chunk("tool_calls")
    ),
}


def calls_in(api: str, *pieces: dict[str, Any]) -> list[ToolCallDelta]:
    events = decoded(CALLS[api](*pieces), api=api)
    return [event for event in events if isinstance(event, ToolCallDelta)]


@pytest.mark.parametrize("api", CALLS)
def test_calls_are_numbered_as_they_begin_and_named_once(api):
    named, more = {"name": "f", "arguments": "{"}, {"name": "f", "arguments": "}"}
    assert calls_in(
        api,
        call(index=5, id="a", function=named),
        call(index=5, id="", function=more),
        call(index=5, id="a", function=more),
        call(index=2, id="b", function=named),
        call(index=5, id=None, function={"arguments": "!"}),
        call(index=2, id="c", function=named),
    ) == [
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(1, "b", "f", "{"),
        ToolCallDelta(0, None, None, "!"),
        ToolCallDelta(2, "c", "f", "{"),
    ]


@pytest.mark.parametrize("api", CALLS)
def test_what_is_missing_in_a_piece_of_a_call_may_come_later(api):
    assert calls_in(
        api,
        call(function=None),
        call(index=None, id="a"),
        call(index=0, id="", function={"name": None, "arguments": None}),
        call(index=0, function={"name": "f", "arguments": "{}"}),
        call(index=0, id="a", function={"name": "f"}),
    ) == [
        ToolCallDelta(0, None, None, ""),
        ToolCallDelta(0, "a", None, ""),
        ToolCallDelta(0, None, None, ""),
        ToolCallDelta(0, None, "f", "{}"),
        ToolCallDelta(0, None, None, ""),
    ]


FINISHES = {
    "dashscope": lambda reason: stream(frame(said="Hi", finish=reason)),
    "chat_completions": lambda reason: chat_wire.stream(chat_wire.chunk(reason, content="Hi")),
}


@pytest.mark.parametrize("api", FINISHES)
@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "stop"),
    ],
)
def test_reasons_to_finish(api, told, meant):
    assert decoded(FINISHES[api](told), api=api)[-1] == Finished(meant)


@pytest.mark.parametrize("number", [-(2**63), 0, 7, 2**64 - 1, 0.5, True])
def test_numbers_that_can_be_stored_are_kept(number):
    events = decoded(stream(frame(finish="stop", search_info={"found": [{"index": number}]})))
    assert Extra("search_info", {"found": [{"index": number}]}) in events


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, float("inf")])
def test_numbers_that_cannot_be_stored_are_an_error(number):
    with pytest.raises(QwenError, match="a number is too large"):
        decoded(stream(frame(finish="stop", search_info={"found": [{"index": number}]})))


def test_an_entry_may_come_before_its_code():
    empty = [{"type": "code_interpreter", "code_interpreter": {"code": None}}]
    none = [{"type": "code_interpreter", "code_interpreter": None}]
    events = decoded(
        stream(*(frame(runs=runs) for runs in (none, empty, code("1"))), frame(finish="stop"))
    )
    call_id = f"ci_{REQUEST_ID}_0"
    assert [event for event in events if isinstance(event, CodeDelta | CodeFinished)] == [
        CodeDelta(call_id, ""),
        CodeDelta(call_id, "1"),
        CodeFinished(call_id, "completed"),
    ]


def test_search_results_are_told_at_the_end_as_they_last_were():
    first, last = {"found": [1]}, {"found": [1, 2], "tool_info": [{"type": "telescope"}]}
    events = decoded(
        stream(
            frame(said="a", runs=code("1"), search_info=first),
            frame(said="b", runs=code("1"), search_info=last),
            frame(said="c", runs=code("1", "2"), search_info=last),
            frame(said="d", runs=code("1", "2"), search_info=last),
            frame(finish="stop", runs=code("1", "2"), search_info=None),
        )
    )
    assert [event for event in events if isinstance(event, Extra)] == [Extra("search_info", last)]
    assert [event.code for event in events if isinstance(event, CodeDelta)] == ["1", "2"]


@pytest.mark.parametrize(
    ("api", "key", "say"),
    [
        ("dashscope", "request_id", lambda: frame(said="Hi", finish="stop")),
        ("chat_completions", "id", lambda: chat_wire.chunk("stop", content="Hi")),
        ("responses", "id", lambda: responses_wire.completed({})["response"]),
    ],
)
def test_the_id_of_a_request_is_a_string_and_there_always_is_one(api, key, say):
    def request_id(**fields: Any) -> str:
        payload = {name: one for name, one in {**say(), **fields}.items() if one is not None}
        first = decoded(json.dumps(payload).encode(), api=api)[0]
        assert isinstance(first, ResponseStarted)
        return first.request_id

    assert request_id() == REQUEST_ID
    assert request_id(**{key: 7}) == "7"
    made_up = request_id(**{key: None}), request_id(**{key: ""})
    assert made_up[0] != made_up[1]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made_up)


def test_only_the_first_choice_is_read():
    first, second = (frame(said=said)["output"]["choices"][0] for said in ("first", "second"))
    both = {"output": {"choices": [first, second]}, "request_id": REQUEST_ID}
    assert TextDelta("first") in decoded(stream(both, frame(finish="stop")))
    chunk = chat_wire.says("first")
    chunk["choices"] += chat_wire.says("second")["choices"]
    events = decoded(chat_wire.stream(chunk, chat_wire.chunk("stop")), api="chat_completions")
    assert events[1:] == [TextDelta("first"), Finished("stop")]


def test_a_code_beside_an_answer_is_no_error():
    events = decoded(stream({**frame(said="Hi", finish="stop"), "code": "200"}))
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]
    chunk = {**chat_wire.chunk("stop", content="Hi"), "code": "200"}
    events = decoded(chat_wire.stream(chunk), api="chat_completions")
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]


@pytest.mark.parametrize("api", WIRES)
@pytest.mark.parametrize("payload", [{}, {"message": "No."}, {"output": {"choices": []}}])
def test_a_frame_named_error_is_one_whatever_is_in_it(api, payload):
    body = b"event:error\n:HTTP_STATUS/503\ndata:" + json.dumps(payload).encode() + b"\n\n"
    with pytest.raises(QwenServerError, match=payload.get("message", "gives no reason")):
        decoded(body, api=api)


def test_code_that_is_corrected_is_recorded_as_corrected():
    events = decoded(
        stream(
            frame(runs=code("1+1"), used=usage(10, 1)),
            frame(runs=code("2+2"), used=usage(10, 2)),
            frame(said="4", runs=code("2+2"), used=usage(10, 3)),
            frame(runs=code("2+2+0"), used=usage(10, 4)),
            frame(finish="stop", runs=code("2+2+0"), used=usage(10, 4)),
        )
    )
    answer = Answer("qwen3-max")
    for event in events:
        answer.add(event)
    assert [run["code"] for run in code_executions(answer.message())] == ["2+2+0"]
    (block,) = [b for b in answer.message().content_blocks if b["type"] == "server_tool_call"]
    assert block["args"] == {"code": "2+2+0"}


RUN = f"ci_{REQUEST_ID}_0"


def test_what_a_native_stream_tells_event_by_event():
    ran = {"code_interpreter": {"count": 1}}
    assert decoded(CORPUS["dashscope: one run"].body) == [
        ResponseStarted(REQUEST_ID),
        TokensUsed(290, 2, 292),
        ReasoningDelta("I need"),
        ReasoningDelta(" the exact value."),
        CodeDelta(RUN, "7**5"),
        InferenceEnded(290, 24),
        TokensUsed(730, 30, 760, plugins=ran),
        CodeFinished(RUN, "completed"),
        ReasoningDelta("It is 16807."),
        TextDelta("7 to the power of 5 "),
        TextDelta("is 16807."),
        InferenceEnded(440, 17),
        TokensUsed(730, 41, 771, plugins=ran),
        Finished("stop"),
    ]


def test_parts_of_a_native_message_that_are_no_text_are_passed_over():
    parts = [{"image": "https://plot.example"}, {"text": "a"}, {"text": None}, {"text": "b"}]
    assert decoded(stream(frame(said=parts, finish="stop")))[1] == TextDelta("ab")


def test_what_chat_completions_tells_event_by_event():
    assert decoded(CORPUS["chat_completions: an answer"].body, api="chat_completions") == [
        ResponseStarted(REQUEST_ID),
        ReasoningDelta("I need"),
        ReasoningDelta(" the exact value."),
        TextDelta("7 to the power of 5 "),
        TextDelta("is 16807."),
        TokensUsed(730, 41, 771),
        Finished("stop"),
    ]


ONE_RUN_OF_RESPONSES = [
    ResponseStarted(REQUEST_ID),
    ReasoningDelta("I need"),
    ReasoningDelta(" the exact value."),
    CodeDelta("msg_2", "7**5"),
    CodeFinished("msg_2", "completed", "16807"),
    ReasoningDelta("It is 16807."),
    TextDelta("7 to the power of 5 "),
    TextDelta("is 16807."),
    TokensUsed(1160, 195, 1355, plugins={"code_interpreter": {"count": 1}}),
    Finished("stop"),
]


@pytest.mark.parametrize(
    "name", ["one run", "the older name of reasoning", "both names of reasoning"]
)
def test_what_responses_tells_event_by_event(name):
    assert decoded(CORPUS[f"responses: {name}"].body, api="responses") == ONE_RUN_OF_RESPONSES


def test_what_responses_tells_of_calls_and_of_tools_of_the_service():
    called = decoded(CORPUS["responses: parallel function calls"].body, api="responses")
    assert called[1:] == [
        ToolCallDelta(0, "call_a", "add", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ": 1}"),
        ToolCallDelta(1, "call_b", "mul", ""),
        ToolCallDelta(1, None, None, '{"b": 2}'),
        TokensUsed(90, 12, 102),
        Finished("tool_calls"),
    ]
    searched = decoded(CORPUS["responses: a search and a page"].body, api="responses")
    search = {"type": "search", "query": "Qwen"}
    found = [{"type": "url", "url": "https://qwen.example"}]
    assert searched[1:6] == [
        ServerToolCalled("msg_1", "web_search", {"action": search}),
        ServerToolReturned("msg_1", "success", {"action": {**search, "sources": found}}),
        ServerToolCalled("msg_2", "web_extractor", {"urls": ["https://qwen.example"]}),
        ServerToolReturned("msg_2", "success", "A model."),
        TextDelta("Found."),
    ]


def test_what_stands_beside_the_choices_is_told_once_as_it_last_was():
    sources = {"search_results": [{"url": "https://qwen.example"}]}
    early = {
        **chat_wire.says("a"),
        "system_fingerprint": "fp",
        "search_info": {"search_results": []},
    }
    late = {**chat_wire.chunk("stop"), "search_info": sources}
    body = chat_wire.stream(early, late, {**chat_wire.chunk(), "search_info": None, "choices": []})
    told = decoded(body, api="chat_completions")[2:]
    assert told == [
        Extra("search_info", sources),
        Extra("system_fingerprint", "fp"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        (chat_wire.says("Hi"), {"id": REQUEST_ID}, {"choices": [{"finish_reason": "stop"}]}),
        (chat_wire.says("Hi"), {"choices": [{"delta": None}]}, chat_wire.chunk("stop")),
        (chat_wire.says("Hi"), {"choices": None, "code": "200"}, chat_wire.chunk("stop")),
        (chat_wire.says("Hi"), chat_wire.chunk("stop"), b"data:  [DONE] \n\n"),
    ],
)
def test_chunks_without_what_most_have(chunks):
    events = decoded(chat_wire.stream(*chunks), api="chat_completions")
    assert events == [ResponseStarted(REQUEST_ID), TextDelta("Hi"), Finished("stop")]


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "max_output_tokens"}, "length"),
        ({}, "length"),
        (None, "length"),
    ],
)
def test_why_responses_has_not_completed_an_answer(details, reason):
    ended = responses_wire.response("incomplete", incomplete_details=details)
    for body in (
        responses_wire.stream(responses_wire.event("incomplete", response=ended)),
        json.dumps(ended).encode(),
    ):
        assert decoded(body, api="responses")[-1] == Finished(reason)


def told_so_far(*events: Any) -> list[Event]:
    """What Responses has told before its answer has ended."""
    decoder = WIRES["responses"].decoder(REQUEST)
    return list(decoder.feed(responses_wire.stream(*events)))[1:]


def opened(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_wire.event("output_item.added", item={"type": kind, "id": "msg_1", **fields})


def of_item(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_wire.event(kind, item_id="msg_1", **fields)


ADDED = ToolCallDelta(0, "call_a", "add", "")
ONE_BY_ONE = {
    "a thought": (
        [opened("reasoning"), of_item("reasoning_text.delta", delta="Hm.")],
        [ReasoningDelta("Hm.")],
    ),
    "a thought by its other name": (
        [opened("reasoning"), of_item("reasoning_summary_text.delta", delta="Hm.")],
        [ReasoningDelta("Hm.")],
    ),
    "the rest of a text": (
        [
            opened("message"),
            of_item("output_text.delta", delta="He"),
            of_item("output_text.done", text="Hello"),
            of_item("output_text.done", text="Hello"),
        ],
        [TextDelta("He"), TextDelta("llo")],
    ),
    "texts of two parts": (
        [
            opened("message"),
            of_item("output_text.delta", delta="He", content_index=0),
            of_item("output_text.delta", delta="wo", content_index=1),
            of_item("output_text.done", text="Hello", content_index=0),
            of_item("output_text.done", text="world", content_index=1),
        ],
        [TextDelta("He"), TextDelta("wo"), TextDelta("llo"), TextDelta("rld")],
    ),
    "code that comes whole": (
        [
            opened("code_interpreter_call"),
            of_item("code_interpreter_call_code.done", code="1+1"),
            of_item("code_interpreter_call_code.done", code="1+1"),
            of_item("code_interpreter_call_code.done", code=None),
        ],
        [CodeDelta("msg_1", ""), CodeDelta("msg_1", "1+1")],
    ),
    "code in pieces, and corrected": (
        [
            opened("code_interpreter_call", code="1"),
            of_item("code_interpreter_call_code.delta", delta="+"),
            of_item("code_interpreter_call_code.delta", delta=""),
            of_item("code_interpreter_call_code.delta", delta="1"),
            of_item("code_interpreter_call_code.done", code="2+2"),
            of_item("code_interpreter_call_code.delta", delta="+2"),
            of_item("code_interpreter_call_code.done", code="2+2+2"),
        ],
        [
            CodeDelta("msg_1", "1"),
            CodeDelta("msg_1", "+"),
            CodeDelta("msg_1", "1"),
            CodeReplaced("msg_1", "2+2"),
            CodeDelta("msg_1", "+2"),
        ],
    ),
    "arguments of a call": (
        [
            opened("function_call", call_id="call_a", name="add"),
            opened("function_call", call_id="call_a", name="add"),
            of_item("function_call_arguments.delta", delta="{"),
            of_item("function_call_arguments.done", arguments="{}"),
            of_item("function_call_arguments.done", arguments="{}"),
        ],
        [ADDED, ToolCallDelta(0, None, None, "{"), ToolCallDelta(0, None, None, "}")],
    ),
    "arguments that a call begins with": (
        [opened("function_call", call_id="call_a", name="add", arguments="{}")],
        [ADDED, ToolCallDelta(0, None, None, "{}")],
    ),
    "a call without an id or a name of its own": (
        [opened("function_call", call_id="", name=None)],
        [ToolCallDelta(0, "msg_1", None, "")],
    ),
    "a tool of the service that is begun twice": (
        [opened("web_search_call", status="in_progress", q=1), opened("web_search_call", q=2)],
        [ServerToolCalled("msg_1", "web_search", {"q": 1})],
    ),
}


@pytest.mark.parametrize(("events", "told"), ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_what_responses_tells_at_once(events, told):
    assert told_so_far(*events) == told


def ended(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_wire.event("output_item.done", item={"type": kind, "id": "msg_1", **fields})


PROGRAM = "code_interpreter_call"
LOGS = {"type": "logs", "logs": "```\nprinted\n```"}
TRACE = {"type": "logs", "logs": "Traceback (most recent call last)"}
IMAGE = {"type": "image", "url": "https://plot.example/1"}
LINKED = {"type": "logs", "logs": "![a](https://plot.example/2) and ![](https://plot.example/3)"}
ITEMS = {
    "a thought by its summary": (
        ended("reasoning", summary=[{"text": "A"}, {"text": None}, {"text": "B"}]),
        [ReasoningDelta("AB")],
    ),
    "a thought by its content": (
        ended("reasoning", summary=[], content=[{"text": "A"}]),
        [ReasoningDelta("A")],
    ),
    "an empty thought": (ended("reasoning"), []),
    "a message": (
        ended("message", content=[{"text": "A"}, {"refusal": "?"}, {"text": "B"}]),
        [TextDelta("A"), TextDelta("B")],
    ),
    "an empty message": (ended("message", content=None), []),
    "a program that printed twice": (
        ended(PROGRAM, code="1", status="completed", outputs=[LOGS, {"type": "logs"}, LOGS]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "completed", "printed\nprinted")],
    ),
    "a program that printed nothing": (
        ended(PROGRAM, code="1", outputs=[]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "completed", "")],
    ),
    "a program of which nothing is known": (
        ended(PROGRAM, outputs=None),
        [CodeDelta("msg_1", ""), CodeFinished("msg_1", "completed", None)],
    ),
    "a program that failed": (
        ended(PROGRAM, code="1", status="failed", outputs=None),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", None)],
    ),
    "a program that was broken off": (
        ended(PROGRAM, code="1", status="incomplete", outputs=None),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", None)],
    ),
    "a program that raised": (
        ended(PROGRAM, code="1", status="completed", outputs=[TRACE]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", TRACE["logs"])],
    ),
    "a program that drew": (
        ended(PROGRAM, code="1", outputs=[IMAGE, LINKED]),
        [
            CodeDelta("msg_1", "1"),
            CodeFinished(
                "msg_1",
                "completed",
                LINKED["logs"],
                tuple(f"https://plot.example/{number}" for number in (2, 3, 1)),
            ),
        ],
    ),
    "a search that failed": (
        ended("web_search_call", status="failed", action={"q": "?"}),
        [
            ServerToolCalled("msg_1", "web_search", {"action": {"q": "?"}}),
            ServerToolReturned("msg_1", "error", {}),
        ],
    ),
}


@pytest.mark.parametrize(("item", "told"), ITEMS.values(), ids=ITEMS)
def test_an_item_that_was_not_opened_is_told_whole_and_once(item, told):
    assert told_so_far(item, item) == told
    again = responses_wire.completed({}, [item], [item])
    assert decoded(responses_wire.stream(item, again), api="responses")[1:-1] == told


def test_what_is_new_when_a_tool_of_the_service_returns_is_its_result():
    begun = opened("mcp_call", name="f", arguments="{}", output=None)
    returned = {"name": "f", "arguments": "{}", "server": "s"}
    for more, output in [
        ({"output": "o"}, {"server": "s", "output": "o"}),
        ({"output": None}, {"server": "s"}),
    ]:
        told = told_so_far(begun, ended("mcp_call", **returned, **more))
        assert told[1:] == [ServerToolReturned("msg_1", "success", output)]


def test_programs_that_have_not_ended_end_with_the_answer_in_their_order():
    other = {"type": PROGRAM, "id": "msg_2", "code": "2"}
    body = responses_wire.stream(
        responses_wire.event("output_item.added", item=other),
        opened(PROGRAM, code="1"),
        of_item("output_text.delta", delta="Hi"),
        responses_wire.completed(responses_wire.used(1, 1)),
    )
    assert decoded(body, api="responses")[4:] == [
        CodeFinished("msg_2", "completed"),
        CodeFinished("msg_1", "completed"),
        TokensUsed(1, 1, 2),
        Finished("stop"),
    ]


@pytest.mark.parametrize("kind", ["created", "queued", "in_progress"])
def test_any_event_may_name_a_response(kind):
    named = responses_wire.event(kind, response={"id": "resp_7"})
    told = decoded(
        responses_wire.stream(named, responses_wire.message("msg_1", "Hi"))
        + b'data:{"type":"response.completed","response":{}}\n\n',
        api="responses",
    )
    assert told == [ResponseStarted("resp_7"), TextDelta("Hi"), Finished("stop")]


def test_deltas_without_an_id_belong_to_the_message_that_is_open():
    nameless = [
        responses_wire.event("output_text.delta", delta="B"),
        responses_wire.event("output_text.done", text="BC"),
    ]
    first = {"type": "message", "id": "msg_0"}
    told = told_so_far(
        responses_wire.event("output_item.added", item=first),
        responses_wire.event("output_text.delta", item_id="msg_0", delta="A"),
        opened("message"),
        *nameless,
        ended("message", content=[{"text": "BCD"}]),
        responses_wire.event("output_item.done", item={**first, "content": [{"text": "AA"}]}),
    )
    assert told == [TextDelta(text) for text in ("A", "B", "C", "D", "A")]


def test_a_text_that_belonged_to_no_message_is_not_told_again():
    nameless = responses_wire.event("output_text.delta", delta="A")
    told = told_so_far(nameless, ended("message", content=[{"text": "A"}, {"text": "B"}]))
    assert told == [TextDelta("A"), TextDelta("B")]


GHOSTS = {
    "dashscope": stream(frame(said="ghost")),
    "responses": responses_wire.stream(responses_wire.message("msg_9", "ghost")),
    "chat_completions": chat_wire.stream(chat_wire.says("ghost")),
}


@pytest.mark.parametrize("name", [name for name in CORPUS if "document" not in name])
def test_what_comes_after_the_end_means_nothing(name):
    body, api = CORPUS[name].body, CORPUS[name].api
    if b"[DONE]" not in body and api == "chat_completions":
        body += b"\n\ndata: [DONE]"
    for ghost in (GHOSTS[api], b"data:{\n\n", b"event:error\ndata:{}\n\n"):
        assert decoded(body + b"\n\n" + ghost, api=api) == decoded(body, api=api)


@pytest.mark.parametrize(
    "payload", [{"type": "ping"}, {"type": "telescope"}, {"type": "response.new", "code": "x"}, {}]
)
def test_events_that_are_not_known_are_passed_over(payload):
    unknown = f"data:{json.dumps(payload)}\n\n".encode()
    body = responses_wire.stream(responses_wire.message("msg_1", "Hi")) + unknown
    whole = body + responses_wire.stream(responses_wire.completed({}))
    assert decoded(whole, api="responses")[1:] == [TextDelta("Hi"), Finished("stop")]


def test_items_that_are_not_known_are_passed_over():
    item = {"type": "telescope", "id": "msg_1"}
    events = [responses_wire.event(f"output_item.{kind}", item=item) for kind in ("added", "done")]
    body = responses_wire.stream(events, responses_wire.completed({}, events))
    assert decoded(body, api="responses")[1:] == [Finished("stop")]


def test_a_call_that_was_cut_by_length_is_no_call_to_answer():
    cut_off = responses_wire.response("incomplete", output=None)
    body = responses_wire.stream(
        opened("function_call", call_id="call_a", name="add"),
        responses_wire.event("incomplete", response=cut_off),
    )
    assert decoded(body, api="responses")[1:] == [ADDED, Finished("length")]


GROWN = {
    "while it is written": ([["1"], ["1+"], ["1+1"]], ["1", "+", "1", "ended"]),
    "after it has run": ([["1"], "said", ["1+1"]], ["1", "ended", "= 1+1"]),
    "into another one": ([["1+1"], ["2"], ["2+2"]], ["1+1", "= 2", "+2", "ended"]),
    "into another one, too late": ([["1"], "said", ["2"], "said"], ["1", "ended", "= 2"]),
    "from nothing, after more was said": ([[""], "said", ["1"]], ["", "1", "ended"]),
    "to nothing and back": ([["1"], [""], "said", ["2"]], ["1", "= ", "2", "ended"]),
    "not at all": ([[""], "said"], ["", "ended"]),
}


@pytest.mark.parametrize(("shown", "told"), GROWN.values(), ids=GROWN)
def test_how_code_grows(shown, told):
    def frames() -> Iterator[dict[str, Any]]:
        runs: list[Any] = []
        for one in shown:
            runs = runs if one == "said" else code(*one)
            yield frame(said="x" if one == "said" else "", runs=runs)

    names = {
        CodeDelta: lambda event: event.code,
        CodeReplaced: lambda event: f"= {event.code}",
        CodeFinished: lambda event: "ended",
    }
    events = [e for e in decoded(stream(*frames(), frame(finish="stop"))) if type(e) in names]
    assert [names[type(event)](event) for event in events] == told
    assert {event.call_id for event in events} == {RUN}


def test_entries_that_are_filled_in_out_of_order():
    events = decoded(
        stream(
            frame(runs=code("", ""), used=usage(10, 1)),
            frame(runs=code("", "b"), used=usage(10, 2)),
            frame(said="…", runs=code("", "b"), used=usage(10, 3)),
            frame(runs=code("a", "b"), used=usage(10, 4)),
            frame(finish="stop", runs=code("a", "b"), used=usage(10, 4)),
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
