"""What each wire tells, event by event; Responses has more in `test_responses_events.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import chat_completions_streams
import pytest
import responses_streams
from dashscope_streams import frame, stream, tool_info
from decode import WIRES, decoded
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
        "dashscope": stream(frame(finish_reason="stop", usage=told)),
        "responses": responses_streams.complete_stream(usage=told),
        "chat_completions": chat_completions_streams.stream(
            chat_completions_streams.chunk("stop"),
            chat_completions_streams.usage_chunk(0, 0, **told),
        ),
    }
    input_details = {"cache_read": 0, "text": 2**53}
    counts = {"code_interpreter": {"count": 1, "seconds": 2.5}}
    used = TokensUsed(3, 4, 9, input_details, {"reasoning": 2}, counts)
    assert used in decoded(bodies[api], api=api)


def test_tokens_that_are_told_without_their_sum_or_wrongly():
    def used(**told: Any) -> TokensUsed:
        events = decoded(stream(frame(finish_reason="stop", usage=told)))
        return next(event for event in events if isinstance(event, TokensUsed))

    assert used(input_tokens=3, output_tokens=4) == TokensUsed(3, 4, 7)
    assert used(input_tokens=3, output_tokens="4", total_tokens=True) == TokensUsed(3, 0, 3)
    assert used(input_tokens=3, output_tokens_details=[1], plugins=[1]) == TokensUsed(3, 0, 3)
    assert used(input_tokens=3, plugins={"a": 1}) == TokensUsed(3, 0, 3)


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"arguments": ""}, **fields}


CALLS = {
    "dashscope": lambda *calls: stream(
        *(frame(tool_calls=[one]) for one in calls), frame(finish_reason="tool_calls")
    ),
    "chat_completions": lambda *calls: chat_completions_streams.stream(
        *(chat_completions_streams.chunk(tool_calls=[one]) for one in calls),
        chat_completions_streams.chunk("tool_calls"),
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
        call(index=5, id="a", function=more),
        call(index=2, id="c", function=named),
    ) == [
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(0, None, None, "}"),
        ToolCallDelta(1, "b", "f", "{"),
        ToolCallDelta(0, None, None, "!"),
        ToolCallDelta(0, None, None, "}"),
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
    "dashscope": lambda reason: stream(frame(content="Hi", finish_reason=reason)),
    "chat_completions": lambda reason: chat_completions_streams.stream(
        chat_completions_streams.chunk(reason, content="Hi")
    ),
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


@pytest.mark.parametrize("api", FINISHES)
def test_log_probabilities_are_told_together_and_may_be_missing(api):
    def with_logprobs(told: Any, finish: str | None = None) -> dict[str, Any]:
        payload = (
            frame(content="Hi") if api == "dashscope" else chat_completions_streams.text_chunk("Hi")
        )
        (choice,) = payload.get("output", payload)["choices"]
        choice.update(logprobs=told, finish_reason=finish or choice["finish_reason"])
        return payload

    first, second = {"token": "H", "logprob": -0.5}, {"token": "i", "logprob": -1}
    payloads = (
        with_logprobs({"content": [first]}),
        with_logprobs({"content": None}),
        with_logprobs(None),
        with_logprobs({}),
        with_logprobs({"content": [second]}, "stop"),
    )
    write = stream if api == "dashscope" else chat_completions_streams.stream
    assert decoded(write(*payloads), api=api)[-2:] == [
        Extra("logprobs", {"content": [first, second]}),
        Finished("stop"),
    ]


@pytest.mark.parametrize("number", [-(2**63), 0, 7, 2**64 - 1, 0.5, True])
def test_numbers_that_can_be_stored_are_kept(number):
    events = decoded(
        stream(frame(finish_reason="stop", search_info={"found": [{"index": number}]}))
    )
    assert Extra("search_info", {"found": [{"index": number}]}) in events


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, float("inf")])
def test_numbers_that_cannot_be_stored_are_an_error(number):
    with pytest.raises(QwenError, match="a number is too large"):
        decoded(stream(frame(finish_reason="stop", search_info={"found": [{"index": number}]})))


def test_an_entry_may_come_before_its_code():
    empty = [{"type": "code_interpreter", "code_interpreter": {"code": None}}]
    none = [{"type": "code_interpreter", "code_interpreter": None}]
    events = decoded(
        stream(
            *(frame(tool_info=runs) for runs in (none, empty, tool_info("1"))),
            frame(finish_reason="stop"),
        )
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
    ("api", "key", "say"),
    [
        ("dashscope", "request_id", lambda: frame(content="Hi", finish_reason="stop")),
        ("chat_completions", "id", lambda: chat_completions_streams.chunk("stop", content="Hi")),
        ("responses", "id", lambda: responses_streams.completed_event({})["response"]),
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
    first, second = (frame(content=said)["output"]["choices"][0] for said in ("first", "second"))
    both = {"output": {"choices": [first, second]}, "request_id": REQUEST_ID}
    assert TextDelta("first") in decoded(stream(both, frame(finish_reason="stop")))
    chunk = chat_completions_streams.text_chunk("first")
    chunk["choices"] += chat_completions_streams.text_chunk("second")["choices"]
    events = decoded(
        chat_completions_streams.stream(chunk, chat_completions_streams.chunk("stop")),
        api="chat_completions",
    )
    assert events[1:] == [TextDelta("first"), Finished("stop")]


def test_a_code_beside_an_answer_is_no_error():
    events = decoded(stream({**frame(content="Hi", finish_reason="stop"), "code": "200"}))
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]
    chunk = {**chat_completions_streams.chunk("stop", content="Hi"), "code": "200"}
    events = decoded(chat_completions_streams.stream(chunk), api="chat_completions")
    assert events[1:] == [TextDelta("Hi"), Finished("stop")]


@pytest.mark.parametrize("api", WIRES)
@pytest.mark.parametrize("payload", [{}, {"message": "No."}, {"output": {"choices": []}}])
def test_a_frame_named_error_is_one_whatever_is_in_it(api, payload):
    body = b"event:error\n:HTTP_STATUS/503\ndata:" + json.dumps(payload).encode() + b"\n\n"
    with pytest.raises(QwenServerError, match=payload.get("message", "gives no reason")):
        decoded(body, api=api)


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
    assert decoded(stream(frame(content=parts, finish_reason="stop")))[1] == TextDelta("ab")


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


def test_what_stands_beside_the_choices_is_told_once_as_it_last_was():
    sources = {"search_results": [{"url": "https://qwen.example"}]}
    early = {
        **chat_completions_streams.text_chunk("a"),
        "system_fingerprint": "fp",
        "search_info": {"search_results": []},
    }
    late = {**chat_completions_streams.chunk("stop"), "search_info": sources}
    body = chat_completions_streams.stream(
        early, late, {**chat_completions_streams.chunk(), "search_info": None, "choices": []}
    )
    told = decoded(body, api="chat_completions")[2:]
    assert told == [
        Extra("search_info", sources),
        Extra("system_fingerprint", "fp"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        (
            chat_completions_streams.text_chunk("Hi"),
            {"id": REQUEST_ID},
            {"choices": [{"finish_reason": "stop"}]},
        ),
        (
            chat_completions_streams.text_chunk("Hi"),
            {"choices": [{"delta": None}]},
            chat_completions_streams.chunk("stop"),
        ),
        (
            chat_completions_streams.text_chunk("Hi"),
            {"choices": None, "code": "200"},
            chat_completions_streams.chunk("stop"),
        ),
        (
            chat_completions_streams.text_chunk("Hi"),
            chat_completions_streams.chunk("stop"),
            b"data:  [DONE] \n\n",
        ),
    ],
)
def test_chunks_without_what_most_have(chunks):
    events = decoded(chat_completions_streams.stream(*chunks), api="chat_completions")
    assert events == [ResponseStarted(REQUEST_ID), TextDelta("Hi"), Finished("stop")]


GHOSTS = {
    "dashscope": stream(frame(content="ghost")),
    "responses": responses_streams.stream(responses_streams.message("msg_9", "ghost")),
    "chat_completions": chat_completions_streams.stream(
        chat_completions_streams.text_chunk("ghost")
    ),
}


@pytest.mark.parametrize("name", [name for name in CORPUS if "document" not in name])
def test_what_comes_after_the_end_means_nothing(name):
    body, api = CORPUS[name].body, CORPUS[name].api
    if b"[DONE]" not in body and api == "chat_completions":
        body += b"\n\ndata: [DONE]"
    for ghost in (GHOSTS[api], b"data:{\n\n", b"event:error\ndata:{}\n\n"):
        assert decoded(body + b"\n\n" + ghost, api=api) == decoded(body, api=api)


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
            runs = runs if one == "said" else tool_info(*one)
            yield frame(content="x" if one == "said" else "", tool_info=runs)

    names = {
        CodeDelta: lambda event: event.code,
        CodeReplaced: lambda event: f"= {event.code}",
        CodeFinished: lambda event: "ended",
    }
    events = [
        e for e in decoded(stream(*frames(), frame(finish_reason="stop"))) if type(e) in names
    ]
    assert [names[type(event)](event) for event in events] == told
    assert {event.call_id for event in events} == {RUN}


def test_code_of_a_wrong_type_is_an_error_even_after_it_has_run():
    ran = (frame(tool_info=tool_info("1")), frame(content="x", tool_info=tool_info("1")))
    with pytest.raises(QwenError, match="a string was expected"):
        decoded(
            stream(*ran, frame(tool_info=[{**tool_info("1")[0], "code_interpreter": {"code": 7}}]))
        )


def test_programs_that_end_together_end_in_their_order():
    runs = [{"type": "telescope"}] * 9
    runs[1], runs[8] = tool_info("first", "second")
    events = decoded(
        stream(frame(tool_info=runs), frame(content="x", tool_info=runs, finish_reason="stop"))
    )
    ended = [event.call_id for event in events if isinstance(event, CodeFinished)]
    assert ended == [f"ci_{REQUEST_ID}_1", f"ci_{REQUEST_ID}_8"]


def test_code_is_found_in_whatever_order_and_with_whatever_spaces_a_frame_is_written():
    frames = [frame(content=said, tool_info=tool_info("1")) for said in ("a", "b")]
    frames.append(frame(tool_info=tool_info("1", "2"), finish_reason="stop"))
    reordered = [{"request_id": one["request_id"], "output": one["output"]} for one in frames]
    spaced = b"".join(b"data:" + json.dumps(one).encode() + b"\n\n" for one in reordered)
    assert decoded(spaced) == decoded(stream(*reordered)) == decoded(stream(*frames))
