"""Events of Responses' items: opened, filled by deltas, and closed, in any order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from decode import REQUEST, WIRES, decode
from responses_streams import completed_event, event, message, response, stream, usage
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci.errors import QwenStreamError
from langchain_qwen_ci.wire.events import (
    CodeComplete,
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

ITEM_ID = "msg_1"
CODE_CALL = "code_interpreter_call"
ADDED_CALL = ToolCallDelta(0, "call_a", "add", "")
LOGS = {"type": "logs", "logs": "```\nprinted\n```"}
TRACEBACK = {"type": "logs", "logs": "Traceback (most recent call last)"}
IMAGE = {"type": "image", "url": "https://plot.example/1"}
IMAGE_LINKS = {
    "type": "logs",
    "logs": "![a](https://plot.example/2) and ![](https://plot.example/3)",
}


def added(item_type: str, **fields: Any) -> dict[str, Any]:
    return event("output_item.added", item={"type": item_type, "id": ITEM_ID, **fields})


def item_event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event between the two of the item, such as a delta."""
    return event(kind, item_id=ITEM_ID, **fields)


def done(item_type: str, **fields: Any) -> dict[str, Any]:
    return event("output_item.done", item={"type": item_type, "id": ITEM_ID, **fields})


def decode_unfinished(*events: Any) -> list[Event]:
    """Decode the beginning of a stream; the first event, `ResponseStarted`, is left out."""
    decoder = WIRES["responses"].decoder(REQUEST)
    decoded: list[Event] = []
    decoder.feed(stream(*events), decoded)
    return decoded[1:]


@pytest.mark.parametrize(
    "name", ["one run", "reasoning under its older name", "reasoning under both names"]
)
def test_events_of_one_execution(name):
    assert decode(CORPUS[f"responses: {name}"].body, api="responses") == [
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


def test_events_of_function_calls_and_server_tools():
    function_calls = decode(CORPUS["responses: parallel function calls"].body, api="responses")
    assert function_calls[1:] == [
        ToolCallDelta(0, "call_a", "add", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ": 1}"),
        ToolCallDelta(1, "call_b", "mul", ""),
        ToolCallDelta(1, None, None, '{"b": 2}'),
        TokensUsed(90, 12, 102),
        Finished("tool_calls"),
    ]
    server_tools = decode(CORPUS["responses: other tools of the service"].body, api="responses")
    search = {"type": "search", "query": "Qwen"}
    sources = [{"type": "url", "url": "https://qwen.example"}]
    assert server_tools[1:6] == [
        ServerToolCalled("msg_1", "web_search", {"action": search}),
        ServerToolReturned("msg_1", "success", {"action": {**search, "sources": sources}}),
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
def test_finish_reason_of_an_incomplete_response(details, reason):
    incomplete = response("incomplete", incomplete_details=details)
    for body in (
        stream(event("incomplete", response=incomplete)),
        json.dumps(incomplete).encode(),
    ):
        assert decode(body, api="responses")[-1] == Finished(reason)


UNFINISHED: dict[str, tuple[list[Any], list[Event]]] = {
    "reasoning": (
        [added("reasoning"), item_event("reasoning_text.delta", delta="Hm.")],
        [ReasoningDelta("Hm.")],
    ),
    "reasoning under its older name": (
        [added("reasoning"), item_event("reasoning_summary_text.delta", delta="Hm.")],
        [ReasoningDelta("Hm.")],
    ),
    "complete text after a delta": (
        [
            added("message"),
            item_event("output_text.delta", delta="He"),
            item_event("output_text.done", text="Hello"),
            item_event("output_text.done", text="Hello"),
        ],
        [TextDelta("He"), TextDelta("llo")],
    ),
    "two content parts": (
        [
            added("message"),
            item_event("output_text.delta", delta="He", content_index=0),
            item_event("output_text.delta", delta="wo", content_index=1),
            item_event("output_text.done", text="Hello", content_index=0),
            item_event("output_text.done", text="world", content_index=1),
        ],
        [TextDelta("He"), TextDelta("wo"), TextDelta("llo"), TextDelta("rld")],
    ),
    "complete code": (
        [
            added("code_interpreter_call"),
            item_event("code_interpreter_call_code.done", code="1+1"),
            item_event("code_interpreter_call_code.done", code="1+1"),
            item_event("code_interpreter_call_code.done", code=None),
        ],
        [
            CodeDelta("msg_1", ""),
            CodeDelta("msg_1", "1+1"),
            CodeComplete("msg_1"),
            CodeComplete("msg_1"),
        ],
    ),
    "complete code after a part of it": (
        [
            added("code_interpreter_call", code="1"),
            item_event("code_interpreter_call_code.done", code="1+1"),
        ],
        [CodeDelta("msg_1", "1"), CodeDelta("msg_1", "+1"), CodeComplete("msg_1")],
    ),
    "code in pieces, then replaced": (
        [
            added("code_interpreter_call", code="1"),
            item_event("code_interpreter_call_code.delta", delta="+"),
            item_event("code_interpreter_call_code.delta", delta=""),
            item_event("code_interpreter_call_code.delta", delta="1"),
            item_event("code_interpreter_call_code.done", code="2+2"),
            item_event("code_interpreter_call_code.delta", delta="+2"),
            item_event("code_interpreter_call_code.done", code="2+2+2"),
        ],
        [
            CodeDelta("msg_1", "1"),
            CodeDelta("msg_1", "+"),
            CodeDelta("msg_1", "1"),
            CodeReplaced("msg_1", "2+2"),
            CodeComplete("msg_1"),
            CodeDelta("msg_1", "+2"),
            CodeComplete("msg_1"),
        ],
    ),
    "arguments after a delta": (
        [
            added("function_call", call_id="call_a", name="add"),
            added("function_call", call_id="call_a", name="add"),
            item_event("function_call_arguments.delta", delta="{"),
            item_event("function_call_arguments.done", arguments="{}"),
            item_event("function_call_arguments.done", arguments="{}"),
        ],
        [ADDED_CALL, ToolCallDelta(0, None, None, "{"), ToolCallDelta(0, None, None, "}")],
    ),
    "arguments in the added item": (
        [added("function_call", call_id="call_a", name="add", arguments="{}")],
        [ADDED_CALL, ToolCallDelta(0, None, None, "{}")],
    ),
    "arguments in the complete item": (
        [
            added("function_call", call_id="call_a", name="add"),
            item_event("function_call_arguments.delta", delta="{"),
            done("function_call", arguments="{}"),
        ],
        [ADDED_CALL, ToolCallDelta(0, None, None, "{"), ToolCallDelta(0, None, None, "}")],
    ),
    "function call without call id and name": (
        [added("function_call", call_id="", name=None)],
        [ToolCallDelta(0, "msg_1", None, "")],
    ),
    "server tool that is added twice": (
        [added("web_search_call", status="in_progress", q=1), added("web_search_call", q=2)],
        [ServerToolCalled("msg_1", "web_search", {"q": 1})],
    ),
}


@pytest.mark.parametrize(("events", "expected"), UNFINISHED.values(), ids=UNFINISHED)
def test_events_are_emitted_before_an_item_is_closed(events, expected):
    assert decode_unfinished(*events) == expected


COMPLETE_ITEMS: dict[str, tuple[dict[str, Any], list[Event]]] = {
    "reasoning in its summary": (
        done("reasoning", summary=[{"text": "A"}, {"text": None}, {"text": "B"}]),
        [ReasoningDelta("AB")],
    ),
    "reasoning in its content": (
        done("reasoning", summary=[], content=[{"text": "A"}]),
        [ReasoningDelta("A")],
    ),
    "empty reasoning": (done("reasoning"), []),
    "message": (
        done("message", content=[{"text": "A"}, {"refusal": "?"}, {"text": "B"}]),
        [TextDelta("A"), TextDelta("?"), TextDelta("B")],
    ),
    "empty message": (done("message", content=None), []),
    "execution with two outputs": (
        done(CODE_CALL, code="1", status="completed", outputs=[LOGS, {"type": "logs"}, LOGS]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "completed", "printed\nprinted")],
    ),
    "execution without a list of outputs": (
        done(CODE_CALL, code="1", outputs=[]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "completed", None)],
    ),
    "execution that printed nothing": (
        done(CODE_CALL, code="1", outputs=[{"type": "logs", "logs": "```\n\n```"}]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "completed", "")],
    ),
    "execution without code and output": (
        done(CODE_CALL, outputs=None),
        [CodeDelta("msg_1", ""), CodeFinished("msg_1", "completed", None)],
    ),
    "failed execution": (
        done(CODE_CALL, code="1", status="failed", outputs=None),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", None)],
    ),
    "incomplete execution": (
        done(CODE_CALL, code="1", status="incomplete", outputs=None),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", None)],
    ),
    "execution with a traceback": (
        done(CODE_CALL, code="1", status="completed", outputs=[TRACEBACK]),
        [CodeDelta("msg_1", "1"), CodeFinished("msg_1", "failed", TRACEBACK["logs"])],
    ),
    "execution with images": (
        done(CODE_CALL, code="1", outputs=[IMAGE, IMAGE_LINKS]),
        [
            CodeDelta("msg_1", "1"),
            CodeFinished(
                "msg_1",
                "completed",
                IMAGE_LINKS["logs"],
                tuple(f"https://plot.example/{number}" for number in (2, 3, 1)),
            ),
        ],
    ),
    "failed search": (
        done("web_search_call", status="failed", action={"q": "?"}),
        [
            ServerToolCalled("msg_1", "web_search", {"action": {"q": "?"}}),
            ServerToolReturned("msg_1", "error", {}),
        ],
    ),
}


@pytest.mark.parametrize(("item", "expected"), COMPLETE_ITEMS.values(), ids=COMPLETE_ITEMS)
def test_item_that_was_not_added_is_emitted_once(item, expected):
    assert decode_unfinished(item, item) == expected
    repeated = completed_event({}, [item])
    assert decode(stream(item, repeated), api="responses")[1:-1] == expected


def test_new_fields_of_a_server_tool_item_are_its_result():
    call = added("mcp_call", name="f", arguments="{}", output=None)
    result = {"name": "f", "arguments": "{}", "server": "s"}
    for more, output in [
        ({"output": "o"}, {"server": "s", "output": "o"}),
        ({"output": None}, {"server": "s"}),
    ]:
        events = decode_unfinished(call, done("mcp_call", **result, **more))
        assert events[1:] == [ServerToolReturned("msg_1", "success", output)]


def test_server_tool_result_that_cannot_be_stored_raises():
    call, result = added("web_search_call"), done("web_search_call", score=float("inf"))
    with pytest.raises(QwenStreamError, match="a number is too large"):
        decode_unfinished(call, result)


def test_open_executions_finish_in_order_at_the_end():
    first = {"type": CODE_CALL, "id": "msg_2", "code": "2"}
    body = stream(
        event("output_item.added", item=first),
        added(CODE_CALL, code="1"),
        item_event("output_text.delta", delta="Hi"),
        completed_event(usage(1, 1)),
    )
    assert decode(body, api="responses")[4:] == [
        CodeFinished("msg_2", "completed"),
        CodeFinished("msg_1", "completed"),
        TokensUsed(1, 1, 2),
        Finished("stop"),
    ]


@pytest.mark.parametrize("kind", ["created", "queued", "in_progress"])
def test_response_id_is_read_from_each_initial_event(kind):
    initial = event(kind, response={"id": "resp_7"})
    events = decode(
        stream(initial, message("msg_1", "Hi"))
        + b'data:{"type":"response.completed","response":{}}\n\n',
        api="responses",
    )
    assert events == [ResponseStarted("resp_7"), TextDelta("Hi"), Finished("stop")]


def test_response_field_that_is_not_an_object_is_ignored():
    delta = item_event("output_text.delta", delta="Hi", response="resp_7")
    assert decode_unfinished(delta) == [TextDelta("Hi")]


def test_text_delta_without_item_id_belongs_to_the_last_added_message():
    first = {"type": "message", "id": "msg_0"}
    events = decode_unfinished(
        event("output_item.added", item=first),
        event("output_text.delta", item_id="msg_0", delta="A"),
        added("message"),
        event("output_text.delta", item_id="msg_0", delta="A"),
        event("output_text.delta", delta="B"),
        event("output_text.done", text="BC"),
        done("message", content=[{"text": "BCD"}]),
        event("output_item.done", item={**first, "content": [{"text": "AAA"}]}),
    )
    assert events == [TextDelta(text) for text in ("A", "A", "B", "C", "D", "A")]


def test_text_delta_before_any_message_is_not_repeated_by_the_item():
    delta = event("output_text.delta", delta="A")
    events = decode_unfinished(delta, done("message", content=[{"text": "A"}, {"text": "B"}]))
    assert events == [TextDelta("A"), TextDelta("B")]


@pytest.mark.parametrize(
    "payload", [{"type": "ping"}, {"type": "telescope"}, {"type": "response.new", "code": "x"}, {}]
)
def test_unknown_events_are_ignored(payload):
    unknown = f"data:{json.dumps(payload)}\n\n".encode()
    body = stream(message("msg_1", "Hi")) + unknown + stream(completed_event({}))
    assert decode(body, api="responses")[1:] == [TextDelta("Hi"), Finished("stop")]


def test_unknown_items_are_ignored():
    item = {"type": "telescope", "id": "msg_1"}
    events = [event(f"output_item.{kind}", item=item) for kind in ("added", "done")]
    body = stream(events, completed_event({}, events))
    assert decode(body, api="responses")[1:] == [Finished("stop")]


def test_finish_reason_is_length_if_a_function_call_was_cut():
    incomplete = response("incomplete", output=None)
    body = stream(
        added("function_call", call_id="call_a", name="add"),
        event("incomplete", response=incomplete),
    )
    assert decode(body, api="responses")[1:] == [ADDED_CALL, Finished("length")]


def test_code_delta_of_wrong_type_raises():
    delta = item_event("code_interpreter_call_code.delta", delta=["1"])
    with pytest.raises(QwenStreamError, match="a string was expected"):
        decode_unfinished(added(CODE_CALL, code="1"), delta)
