"""What Responses tells: items that are opened, filled in and closed, in whatever order."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses_streams
from decode import REQUEST, WIRES, decoded
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci.errors import QwenStreamError
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Finished,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    TokensUsed,
    ToolCallDelta,
)

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
    "name", ["one run", "reasoning under its older name", "reasoning under both names"]
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
    searched = decoded(CORPUS["responses: other tools of the service"].body, api="responses")
    search = {"type": "search", "query": "Qwen"}
    found = [{"type": "url", "url": "https://qwen.example"}]
    assert searched[1:6] == [
        ServerToolCalled("msg_1", "web_search", {"action": search}),
        ServerToolReturned("msg_1", "success", {"action": {**search, "sources": found}}),
        ServerToolCalled("msg_2", "web_extractor", {"urls": ["https://qwen.example"]}),
        ServerToolReturned("msg_2", "success", "A model."),
        TextDelta("Found."),
    ]


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
    ended = responses_streams.response("incomplete", incomplete_details=details)
    for body in (
        responses_streams.stream(responses_streams.event("incomplete", response=ended)),
        json.dumps(ended).encode(),
    ):
        assert decoded(body, api="responses")[-1] == Finished(reason)


def told_so_far(*events: Any) -> list[Event]:
    """What Responses has told before its answer has ended."""
    decoder = WIRES["responses"].decoder(REQUEST)
    return list(decoder.feed(responses_streams.stream(*events)))[1:]


def opened(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_streams.event(
        "output_item.added", item={"type": kind, "id": "msg_1", **fields}
    )


def of_item(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_streams.event(kind, item_id="msg_1", **fields)


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
    "the rest of code": (
        [
            opened("code_interpreter_call", code="1"),
            of_item("code_interpreter_call_code.done", code="1+1"),
        ],
        [CodeDelta("msg_1", "1"), CodeDelta("msg_1", "+1")],
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
    "arguments that a call ends with": (
        [
            opened("function_call", call_id="call_a", name="add"),
            of_item("function_call_arguments.delta", delta="{"),
            responses_streams.event(
                "output_item.done", item={"type": "function_call", "id": "msg_1", "arguments": "{}"}
            ),
        ],
        [ADDED, ToolCallDelta(0, None, None, "{"), ToolCallDelta(0, None, None, "}")],
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
    return responses_streams.event("output_item.done", item={"type": kind, "id": "msg_1", **fields})


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
    again = responses_streams.completed_event({}, [item], [item])
    assert decoded(responses_streams.stream(item, again), api="responses")[1:-1] == told


def test_what_is_new_when_a_tool_of_the_service_returns_is_its_result():
    begun = opened("mcp_call", name="f", arguments="{}", output=None)
    returned = {"name": "f", "arguments": "{}", "server": "s"}
    for more, output in [
        ({"output": "o"}, {"server": "s", "output": "o"}),
        ({"output": None}, {"server": "s"}),
    ]:
        told = told_so_far(begun, ended("mcp_call", **returned, **more))
        assert told[1:] == [ServerToolReturned("msg_1", "success", output)]


def test_a_result_that_cannot_be_stored_is_an_error():
    begun, returned = opened("web_search_call"), ended("web_search_call", score=float("inf"))
    with pytest.raises(QwenStreamError, match="a number is too large"):
        told_so_far(begun, returned)


def test_programs_that_have_not_ended_end_with_the_answer_in_their_order():
    other = {"type": PROGRAM, "id": "msg_2", "code": "2"}
    body = responses_streams.stream(
        responses_streams.event("output_item.added", item=other),
        opened(PROGRAM, code="1"),
        of_item("output_text.delta", delta="Hi"),
        responses_streams.completed_event(responses_streams.usage(1, 1)),
    )
    assert decoded(body, api="responses")[4:] == [
        CodeFinished("msg_2", "completed"),
        CodeFinished("msg_1", "completed"),
        TokensUsed(1, 1, 2),
        Finished("stop"),
    ]


@pytest.mark.parametrize("kind", ["created", "queued", "in_progress"])
def test_any_event_may_name_a_response(kind):
    named = responses_streams.event(kind, response={"id": "resp_7"})
    told = decoded(
        responses_streams.stream(named, responses_streams.message("msg_1", "Hi"))
        + b'data:{"type":"response.completed","response":{}}\n\n',
        api="responses",
    )
    assert told == [ResponseStarted("resp_7"), TextDelta("Hi"), Finished("stop")]


def test_a_response_that_is_no_object_names_none():
    odd = of_item("output_text.delta", delta="Hi", response="resp_7")
    assert told_so_far(odd) == [TextDelta("Hi")]


def test_deltas_without_an_id_belong_to_the_message_that_is_open():
    nameless = [
        responses_streams.event("output_text.delta", delta="B"),
        responses_streams.event("output_text.done", text="BC"),
    ]
    first = {"type": "message", "id": "msg_0"}
    told = told_so_far(
        responses_streams.event("output_item.added", item=first),
        responses_streams.event("output_text.delta", item_id="msg_0", delta="A"),
        opened("message"),
        responses_streams.event("output_text.delta", item_id="msg_0", delta="A"),
        *nameless,
        ended("message", content=[{"text": "BCD"}]),
        responses_streams.event("output_item.done", item={**first, "content": [{"text": "AAA"}]}),
    )
    assert told == [TextDelta(text) for text in ("A", "A", "B", "C", "D", "A")]


def test_a_text_that_belonged_to_no_message_is_not_told_again():
    nameless = responses_streams.event("output_text.delta", delta="A")
    told = told_so_far(nameless, ended("message", content=[{"text": "A"}, {"text": "B"}]))
    assert told == [TextDelta("A"), TextDelta("B")]


@pytest.mark.parametrize(
    "payload", [{"type": "ping"}, {"type": "telescope"}, {"type": "response.new", "code": "x"}, {}]
)
def test_events_that_are_not_known_are_passed_over(payload):
    unknown = f"data:{json.dumps(payload)}\n\n".encode()
    body = responses_streams.stream(responses_streams.message("msg_1", "Hi")) + unknown
    whole = body + responses_streams.stream(responses_streams.completed_event({}))
    assert decoded(whole, api="responses")[1:] == [TextDelta("Hi"), Finished("stop")]


def test_items_that_are_not_known_are_passed_over():
    item = {"type": "telescope", "id": "msg_1"}
    events = [
        responses_streams.event(f"output_item.{kind}", item=item) for kind in ("added", "done")
    ]
    body = responses_streams.stream(events, responses_streams.completed_event({}, events))
    assert decoded(body, api="responses")[1:] == [Finished("stop")]


def test_a_call_that_was_cut_by_length_is_no_call_to_answer():
    cut_off = responses_streams.response("incomplete", output=None)
    body = responses_streams.stream(
        opened("function_call", call_id="call_a", name="add"),
        responses_streams.event("incomplete", response=cut_off),
    )
    assert decoded(body, api="responses")[1:] == [ADDED, Finished("length")]


def test_a_piece_of_code_that_is_no_text_is_an_error():
    piece = of_item("code_interpreter_call_code.delta", delta=["1"])
    with pytest.raises(QwenStreamError, match="a string was expected"):
        told_so_far(opened(PROGRAM, code="1"), piece)
