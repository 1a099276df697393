"""Events of each API; `test_responses_events.py` has those of Responses' items."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from chat_completions_streams import chunk, text_chunk, usage_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import frame, tool_info
from dashscope_streams import stream as native_stream
from decode import WIRES, decode
from responses_streams import complete_stream, completed_event, message
from responses_streams import stream as responses_stream
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci.errors import QwenError, QwenServerError
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Extra,
    Finished,
    InferenceEnded,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
    TokensUsed,
    ToolCallDelta,
)

# Prefixes of the input and output counts, and the key of the plugin counts.
USAGE_NAMES = {
    "dashscope": ("input", "output", "plugins"),
    "responses": ("input", "output", "x_tools"),
    "chat_completions": ("prompt", "completion", "plugins"),
}


@pytest.mark.parametrize("api", USAGE_NAMES)
def test_usage_is_read_under_the_names_of_each_api(api):
    inputs, outputs, plugins = USAGE_NAMES[api]
    usage = {
        f"{inputs}_tokens": 3,
        f"{outputs}_tokens": 4,
        "total_tokens": 9,
        f"{inputs}_tokens_details": {"cached_tokens": 0, "text_tokens": 2**53, "other": 2**53 + 1},
        f"{outputs}_tokens_details": {"reasoning_tokens": 2},
        plugins: {"code_interpreter": {"count": 1, "seconds": 2.5}, "none": 1},
    }
    bodies = {
        "dashscope": native_stream(frame(finish_reason="stop", usage=usage)),
        "responses": complete_stream(usage=usage),
        "chat_completions": chat_stream(chunk("stop"), usage_chunk(0, 0, **usage)),
    }
    input_details = {"cache_read": 0, "text": 2**53}
    plugin_counts = {"code_interpreter": {"count": 1, "seconds": 2.5}}
    expected = TokensUsed(3, 4, 9, input_details, {"reasoning": 2}, plugin_counts)
    assert expected in decode(bodies[api], api=api)


@pytest.mark.parametrize("in_details", [True, False], ids=["in the details", "in the usage"])
@pytest.mark.parametrize("api", USAGE_NAMES)
def test_tokens_written_to_the_cache_have_langchains_name(api, in_details):
    inputs, outputs, _ = USAGE_NAMES[api]
    written = {"cache_creation_input_tokens": 1100}
    usage = {
        f"{inputs}_tokens": 1500,
        f"{outputs}_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 300, **(written if in_details else {})},
        **({} if in_details else written),
    }
    bodies = {
        "dashscope": native_stream(frame(finish_reason="stop", usage=usage)),
        "responses": complete_stream(usage=usage),
        "chat_completions": chat_stream(chunk("stop"), usage_chunk(0, 0, **usage)),
    }
    events = decode(bodies[api], api=api)
    tokens_used = next(event for event in events if isinstance(event, TokensUsed))
    assert tokens_used.input_details == {"cache_read": 300, "cache_creation": 1100}
    assert tokens_used.input_tokens == 1500


def test_missing_and_malformed_counts_are_zero():
    def tokens_used(**usage: Any) -> TokensUsed:
        events = decode(native_stream(frame(finish_reason="stop", usage=usage)))
        return next(event for event in events if isinstance(event, TokensUsed))

    assert tokens_used(input_tokens=3, output_tokens=4) == TokensUsed(3, 4, 7)
    assert tokens_used(input_tokens=3, output_tokens="4", total_tokens=True) == TokensUsed(3, 0, 3)
    assert tokens_used(input_tokens=3, output_tokens_details=[1], plugins=[1]) == TokensUsed(
        3, 0, 3
    )
    assert tokens_used(input_tokens=3, plugins={"a": 1}) == TokensUsed(3, 0, 3)


def piece(**fields: Any) -> dict[str, Any]:
    """An entry of `tool_calls`."""
    return {"type": "function", "function": {"arguments": ""}, **fields}


TOOL_CALL_STREAMS = {
    "dashscope": lambda *pieces: native_stream(
        *(frame(tool_calls=[piece]) for piece in pieces), frame(finish_reason="tool_calls")
    ),
    "chat_completions": lambda *pieces: chat_stream(
        *(chunk(tool_calls=[piece]) for piece in pieces), chunk("tool_calls")
    ),
}


def tool_call_deltas(api: str, *pieces: dict[str, Any]) -> list[ToolCallDelta]:
    events = decode(TOOL_CALL_STREAMS[api](*pieces), api=api)
    return [event for event in events if isinstance(event, ToolCallDelta)]


@pytest.mark.parametrize("api", TOOL_CALL_STREAMS)
def test_function_calls_are_numbered_by_start_and_named_once(api):
    opening, closing = {"name": "f", "arguments": "{"}, {"name": "f", "arguments": "}"}
    assert tool_call_deltas(
        api,
        piece(index=5, id="a", function=opening),
        piece(index=5, id="", function=closing),
        piece(index=5, id="a", function=closing),
        piece(index=2, id="b", function=opening),
        piece(index=5, id=None, function={"arguments": "!"}),
        piece(index=5, id="a", function=closing),
        piece(index=2, id="c", function=opening),
    ) == [
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(1, "b", "f", "{"),
        ToolCallDelta(0, None, None, "!"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(2, "c", "f", "{"),
    ]


@pytest.mark.parametrize("api", TOOL_CALL_STREAMS)
def test_id_and_name_of_a_function_call_may_come_in_later_pieces(api):
    assert tool_call_deltas(
        api,
        piece(function=None),
        piece(index=None, id="a"),
        piece(index=0, id="", function={"name": None, "arguments": None}),
        piece(index=0, function={"name": "f", "arguments": "{}"}),
        piece(index=0, id="a", function={"name": "f"}),
    ) == [
        ToolCallDelta(0, None, None, ""),
        ToolCallDelta(0, "a", None, ""),
        ToolCallDelta(0, None, None, ""),
        ToolCallDelta(0, None, "f", "{}"),
        ToolCallDelta(0, None, None, ""),
    ]


FINISHED_STREAMS = {
    "dashscope": lambda reason: native_stream(frame(content="Hi", finish_reason=reason)),
    "chat_completions": lambda reason: chat_stream(chunk(reason, content="Hi")),
}


@pytest.mark.parametrize("api", FINISHED_STREAMS)
@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "stop"),
    ],
)
def test_finish_reasons(api, received, expected):
    assert decode(FINISHED_STREAMS[api](received), api=api)[-1] == Finished(expected)


@pytest.mark.parametrize("api", FINISHED_STREAMS)
def test_logprobs_are_emitted_together_and_may_be_missing(api):
    def with_logprobs(logprobs: Any, reason: str | None = None) -> dict[str, Any]:
        payload = frame(content="Hi") if api == "dashscope" else text_chunk("Hi")
        (choice,) = payload.get("output", payload)["choices"]
        choice.update(logprobs=logprobs, finish_reason=reason or choice["finish_reason"])
        return payload

    first, second = {"token": "H", "logprob": -0.5}, {"token": "i", "logprob": -1}
    payloads = (
        with_logprobs({"content": [first]}),
        with_logprobs({"content": None}),
        with_logprobs(None),
        with_logprobs({}),
        with_logprobs({"content": [second]}, "stop"),
    )
    encode = native_stream if api == "dashscope" else chat_stream
    assert decode(encode(*payloads), api=api)[-2:] == [
        Extra("logprobs", {"content": [first, second]}),
        Finished("stop"),
    ]


@pytest.mark.parametrize("number", [-(2**63), 0, 7, 2**64 - 1, 0.5, True])
def test_storable_numbers_are_kept(number):
    search_info = {"found": [{"index": number}]}
    events = decode(native_stream(frame(finish_reason="stop", search_info=search_info)))
    assert Extra("search_info", {"found": [{"index": number}]}) in events


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, float("inf")])
def test_number_that_cannot_be_stored_raises(number):
    search_info = {"found": [{"index": number}]}
    with pytest.raises(QwenError, match="a number is too large"):
        decode(native_stream(frame(finish_reason="stop", search_info=search_info)))


def test_tool_info_entry_may_come_before_its_code():
    null_code = [{"type": "code_interpreter", "code_interpreter": {"code": None}}]
    null_entry = [{"type": "code_interpreter", "code_interpreter": None}]
    events = decode(
        native_stream(
            *(frame(tool_info=entries) for entries in (null_entry, null_code, tool_info("1"))),
            frame(finish_reason="stop"),
        )
    )
    call_id = f"ci_{REQUEST_ID}_0"
    assert [event for event in events if isinstance(event, CodeDelta | CodeFinished)] == [
        CodeDelta(call_id, ""),
        CodeDelta(call_id, "1"),
        CodeFinished(call_id, "completed"),
    ]


def test_latest_search_info_is_emitted_at_the_end():
    first, last = {"found": [1]}, {"found": [1, 2], "tool_info": [{"type": "telescope"}]}
    events = decode(
        native_stream(
            frame(content="a", tool_info=tool_info("1"), search_info=first),
            frame(content="b", tool_info=tool_info("1"), search_info=last),
            frame(content="c", tool_info=tool_info("1", "2"), search_info=last),
            frame(content="d", tool_info=tool_info("1", "2"), search_info=last),
            frame(finish_reason="stop", tool_info=tool_info("1", "2"), search_info=None),
        )
    )
    assert [event for event in events if isinstance(event, Extra)] == [Extra("search_info", last)]
    assert [event.code for event in events if isinstance(event, CodeDelta)] == ["1", "2"]


@pytest.mark.parametrize(
    ("api", "key", "make_payload"),
    [
        ("dashscope", "request_id", lambda: frame(content="Hi", finish_reason="stop")),
        ("chat_completions", "id", lambda: chunk("stop", content="Hi")),
        ("responses", "id", lambda: completed_event({})["response"]),
    ],
)
def test_request_id_is_a_string_and_random_if_missing(api, key, make_payload):
    def request_id(**fields: Any) -> str:
        payload = {**make_payload(), **fields}
        payload = {name: value for name, value in payload.items() if value is not None}
        first = decode(json.dumps(payload).encode(), api=api)[0]
        assert isinstance(first, ResponseStarted)
        return first.request_id

    assert request_id() == REQUEST_ID
    assert request_id(**{key: 7}) == "7"
    random_ids = request_id(**{key: None}), request_id(**{key: ""})
    assert random_ids[0] != random_ids[1]
    assert all(re.fullmatch("[0-9a-f]{32}", random_id) for random_id in random_ids)


def test_only_the_first_choice_is_read():
    first, second = (frame(content=text)["output"]["choices"][0] for text in ("first", "second"))
    both = {"output": {"choices": [first, second]}, "request_id": REQUEST_ID}
    assert TextDelta("first") in decode(native_stream(both, frame(finish_reason="stop")))
    chunk_with_both = text_chunk("first")
    chunk_with_both["choices"] += text_chunk("second")["choices"]
    events = decode(chat_stream(chunk_with_both, chunk("stop")), api="chat_completions")
    assert events[1:] == [TextDelta("first"), Finished("stop")]


def test_code_field_of_an_answer_is_not_an_error():
    events = decode(native_stream({**frame(content="Hi", finish_reason="stop"), "code": "200"}))
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]
    chunk_with_code = {**chunk("stop", content="Hi"), "code": "200"}
    events = decode(chat_stream(chunk_with_code), api="chat_completions")
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]


@pytest.mark.parametrize("api", WIRES)
@pytest.mark.parametrize("payload", [{}, {"message": "No."}, {"output": {"choices": []}}])
def test_frame_with_event_error_raises(api, payload):
    body = b"event:error\n:HTTP_STATUS/503\ndata:" + json.dumps(payload).encode() + b"\n\n"
    with pytest.raises(QwenServerError, match=payload.get("message", "gives no reason")):
        decode(body, api=api)


CALL_ID = f"ci_{REQUEST_ID}_0"


def test_native_events():
    plugins = {"code_interpreter": {"count": 1}}
    assert decode(CORPUS["dashscope: one run"].body) == [
        ResponseStarted(REQUEST_ID),
        TokensUsed(290, 2, 292),
        ReasoningDelta("I need"),
        ReasoningDelta(" the exact value."),
        CodeDelta(CALL_ID, "7**5"),
        InferenceEnded(290, 24),
        TokensUsed(730, 30, 760, plugins=plugins),
        CodeFinished(CALL_ID, "completed"),
        ReasoningDelta("It is 16807."),
        TextDelta("7 to the power of 5 "),
        TextDelta("is 16807."),
        InferenceEnded(440, 17),
        TokensUsed(730, 41, 771, plugins=plugins),
        Finished("stop"),
    ]


def test_native_content_parts_without_text_are_ignored():
    parts = [{"image": "https://plot.example"}, {"text": "a"}, {"text": None}, {"text": "b"}]
    events = decode(native_stream(frame(content=parts, finish_reason="stop")))
    assert events[1] == TextDelta("ab")


def test_chat_completions_events():
    assert decode(CORPUS["chat_completions: an answer"].body, api="chat_completions") == [
        ResponseStarted(REQUEST_ID),
        ReasoningDelta("I need"),
        ReasoningDelta(" the exact value."),
        TextDelta("7 to the power of 5 "),
        TextDelta("is 16807."),
        TokensUsed(730, 41, 771),
        Finished("stop"),
    ]


def test_latest_extra_fields_of_chunks_are_emitted_once():
    sources = {"search_results": [{"url": "https://qwen.example"}]}
    first = {
        **text_chunk("a"),
        "system_fingerprint": "fp",
        "search_info": {"search_results": []},
    }
    second = {**chunk("stop"), "search_info": sources}
    third = {**chunk(), "search_info": None, "choices": []}
    assert decode(chat_stream(first, second, third), api="chat_completions")[2:] == [
        Extra("search_info", sources),
        Extra("system_fingerprint", "fp"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        (text_chunk("Hi"), {"id": REQUEST_ID}, {"choices": [{"finish_reason": "stop"}]}),
        (text_chunk("Hi"), {"choices": [{"delta": None}]}, chunk("stop")),
        (text_chunk("Hi"), {"choices": None, "code": "200"}, chunk("stop")),
        (text_chunk("Hi"), chunk("stop"), b"data:  [DONE] \n\n"),
    ],
)
def test_chunks_may_lack_fields(chunks):
    events = decode(chat_stream(*chunks), api="chat_completions")
    assert events == [ResponseStarted(REQUEST_ID), TextDelta("Hi"), Finished("stop")]


LATE_TEXT = {
    "dashscope": native_stream(frame(content="late")),
    "responses": responses_stream(message("msg_9", "late")),
    "chat_completions": chat_stream(text_chunk("late")),
}


@pytest.mark.parametrize("name", [name for name in CORPUS if "JSON document" not in name])
def test_frames_after_the_end_are_ignored(name):
    body, api = CORPUS[name].body, CORPUS[name].api
    if b"[DONE]" not in body and api == "chat_completions":
        body += b"\n\ndata: [DONE]"
    for late_frame in (LATE_TEXT[api], b"data:{\n\n", b"event:error\ndata:{}\n\n"):
        assert decode(body + b"\n\n" + late_frame, api=api) == decode(body, api=api)


TEXT = "a frame with text"
CODE_CHANGES: dict[str, tuple[list[Any], list[str]]] = {
    "grows while it is open": ([["1"], ["1+"], ["1+1"]], ["1", "+", "1", "finished"]),
    "grows after it has finished": ([["1"], TEXT, ["1+1"]], ["1", "finished", "= 1+1"]),
    "is replaced while it is open": ([["1+1"], ["2"], ["2+2"]], ["1+1", "= 2", "+2", "finished"]),
    "is replaced after it has finished": (
        [["1"], TEXT, ["2"], TEXT],
        ["1", "finished", "= 2"],
    ),
    "is empty until after text": ([[""], TEXT, ["1"]], ["", "1", "finished"]),
    "becomes empty and is filled again": ([["1"], [""], TEXT, ["2"]], ["1", "= ", "2", "finished"]),
    "stays empty": ([[""], TEXT], ["", "finished"]),
}


@pytest.mark.parametrize(("steps", "expected"), CODE_CHANGES.values(), ids=CODE_CHANGES)
def test_changes_of_code(steps, expected):
    def frames() -> Iterator[dict[str, Any]]:
        entries: list[Any] = []
        for step in steps:
            if step != TEXT:
                entries = tool_info(*step)
            yield frame(content="x" if step == TEXT else "", tool_info=entries)

    descriptions = {
        CodeDelta: lambda event: event.code,
        CodeReplaced: lambda event: f"= {event.code}",
        CodeFinished: lambda event: "finished",
    }
    events = decode(native_stream(*frames(), frame(finish_reason="stop")))
    code_events = [event for event in events if type(event) in descriptions]
    assert [descriptions[type(event)](event) for event in code_events] == expected
    assert {event.call_id for event in code_events} == {CALL_ID}


def test_code_of_wrong_type_raises_even_after_the_execution_has_finished():
    frames = (frame(tool_info=tool_info("1")), frame(content="x", tool_info=tool_info("1")))
    malformed = [{**tool_info("1")[0], "code_interpreter": {"code": 7}}]
    with pytest.raises(QwenError, match="a string was expected"):
        decode(native_stream(*frames, frame(tool_info=malformed)))


def test_executions_that_finish_together_finish_in_order():
    entries = [{"type": "telescope"}] * 9
    entries[1], entries[8] = tool_info("first", "second")
    events = decode(
        native_stream(
            frame(tool_info=entries), frame(content="x", tool_info=entries, finish_reason="stop")
        )
    )
    finished = [event.call_id for event in events if isinstance(event, CodeFinished)]
    assert finished == [f"ci_{REQUEST_ID}_1", f"ci_{REQUEST_ID}_8"]


def test_order_of_keys_and_spaces_in_frames_do_not_matter():
    frames = [frame(content=text, tool_info=tool_info("1")) for text in ("a", "b")]
    frames.append(frame(tool_info=tool_info("1", "2"), finish_reason="stop"))
    reordered = [{"request_id": one["request_id"], "output": one["output"]} for one in frames]
    with_spaces = b"".join(b"data:" + json.dumps(one).encode() + b"\n\n" for one in reordered)
    events = decode(native_stream(*frames))
    assert decode(with_spaces) == events
    assert decode(native_stream(*reordered)) == events
