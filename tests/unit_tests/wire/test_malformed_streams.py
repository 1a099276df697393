"""Malformed streams that failed once, each as small as possible."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_completions_streams import chunk, reasoning_chunk, text_chunk, tool_call_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import REQUEST_ID, error_frame, frame, tool_call, tool_info, usage
from dashscope_streams import stream as native_stream
from decode import REQUEST, WIRES
from end_to_end import check_stream, read_stream
from responses_streams import (
    code_interpreter_call,
    complete_stream,
    completed_event,
    event,
    function_call,
    message,
    reasoning,
)
from responses_streams import stream as responses_stream
from responses_streams import usage as responses_usage

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenError, QwenRateLimitError, QwenStreamError
from langchain_qwen_ci.wire.events import ToolCallDelta

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]
TOO_LARGE = 2**64  # for msgpack, as which LangGraph stores messages
INFINITE = float("inf")  # json.dumps writes it as Infinity, which the decoders accept
CODE = "code_interpreter_call_code"


def native_call(**fields: Any) -> dict[str, Any]:
    return frame(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}, **fields}])


def native_choice(**fields: Any) -> dict[str, Any]:
    return {"output": {"choices": [{"message": {}, **fields}]}, "request_id": "r"}


def chat_call(**fields: Any) -> dict[str, Any]:
    return chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}, **fields}])


def done(item_type: str, **fields: Any) -> dict[str, Any]:
    return event("output_item.done", item={"type": item_type, "id": "msg_9", **fields})


def with_outputs(*outputs: Any) -> dict[str, Any]:
    return done("code_interpreter_call", code="1", outputs=list(outputs))


# Most of these were once accepted by the decoder, and then an encoder or a checkpoint failed; or an
# exception other than `QwenError` was raised.
MALFORMED: dict[str, list[dict[str, Any]]] = {
    "dashscope": [
        frame(usage=[1]),
        frame(reasoning=7),
        frame(content=7),
        native_choice(finish_reason=["stop"]),
        native_choice(finish_reason=1),
        native_choice(logprobs={"content": "abc"}),
        native_choice(logprobs={"content": [{"logprob": -INFINITE}]}),
        native_call(id=7),
        native_call(id=["a"]),
        native_call(index=[0]),
        native_call(function={"name": {"f": 1}}),
        native_call(function={"name": "f", "arguments": {"a": 1}}),
        frame(search_info={"score": INFINITE}, finish_reason="stop"),
        frame(tool_info=[{"type": "telescope", "star": TOO_LARGE}], finish_reason="stop"),
        frame(tool_info=[None]),
        frame(tool_info=tool_info(7)),
        {"output": {"choices": [None]}, "request_id": "r"},
    ],
    "responses": [
        event("completed", response={"usage": "none"}),
        event("failed", response={"usage": 7}),
        done("function_call", call_id=7, name="f"),
        done("function_call", name=["f"]),
        done("web_search_call", action={"score": INFINITE}),
        with_outputs({"type": "image", "url": 7}),
        with_outputs({"type": "logs", "logs": 7}),
        with_outputs(None),
        event("code_interpreter_call_code.delta", item_id="a", delta=["1"]),
        event("code_interpreter_call_code.done", item_id="a", code=["1"]),
        event("output_text.delta", item_id="a", delta=["1"]),
        done("message", content=[{"text": ["1"]}]),
    ],
    "chat_completions": [
        {**chunk(), "usage": "none"},
        {**chunk(), "usage": 7},
        {**chunk(), "search_info": {"score": INFINITE}},
        {**chunk("stop"), "system_fingerprint": TOO_LARGE},
        chunk(["stop"]),
        text_chunk(7),
        reasoning_chunk(7),
        chat_call(id=7),
        chat_call(function={"name": ["f"]}),
    ],
}


def after_text(api: str, payload: dict[str, Any]) -> bytes:
    """A stream with the text "Before.", then this payload."""
    if api == "dashscope":
        return native_stream(frame(content="Before."), payload)
    if api == "responses":
        return responses_stream(message("msg_1", "Before."), payload)
    return chat_stream(text_chunk("Before."), payload)


@pytest.mark.parametrize(
    ("api", "payload"), [(api, payload) for api in MALFORMED for payload in MALFORMED[api]]
)
def test_malformed_value_raises_with_the_message_so_far(mock_service, api, payload):
    body = after_text(api, payload)
    with pytest.raises(QwenStreamError, match="cannot be read") as caught:
        mock_service(body).model(api=api).invoke("?")
    assert caught.value.partial.content == "Before."
    check_stream(api, body)


def test_values_before_the_malformed_one_of_a_frame_are_emitted():
    malformed = frame(reasoning="I think", content=[{"text": 7}], usage=usage(9, 1))
    partial = read_stream("dashscope", [native_stream(malformed)]).message
    assert partial.additional_kwargs["reasoning_content"] == "I think"
    assert partial.response_metadata["request_id"] == REQUEST_ID
    completed = completed_event({}, message("msg_1", "Before."), [done("message", content=[7])])
    partial = read_stream("responses", [responses_stream(completed)]).message
    assert partial.content == "Before."


@pytest.mark.parametrize("count", [-1, 0.5, True, "7", None, [], INFINITE, 2**53 + 1])
def test_malformed_count_is_zero(mock_service, count):
    malformed = {
        "input_tokens": count,
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": count},
        "plugins": {"code_interpreter": {"count": count}, "search": {"count": 1}},
    }
    body = native_stream(frame(content="Hi", finish_reason="stop", usage=malformed))
    answer = mock_service(body).model().invoke("?")
    assert answer.usage_metadata == {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    assert plugin_counts(answer) == {"code_interpreter": 0, "search": 1}


def test_plugin_fields_that_cannot_be_stored_are_dropped(mock_service):
    search = {"count": 1, "strategy": "turbo", "cost": INFINITE}
    with_plugins = {**usage(1, 1), "plugins": {"search": search, "none": 7}}
    body = native_stream(frame(content="Hi", finish_reason="stop", usage=with_plugins))
    answer = mock_service(body).model().invoke("?")
    assert answer.response_metadata["plugins"] == {"search": {"count": 1, "strategy": "turbo"}}


def test_decreasing_input_tokens_do_not_result_in_negative_usage(mock_service):
    body = native_stream(
        frame(reasoning="A.", usage=usage(300, 9)),
        frame(content="B.", finish_reason="stop", usage=usage(200, 3)),
    )
    answer = mock_service(body).model().invoke("?")
    second = {"input_tokens": 0, "output_tokens": 0}
    assert answer.response_metadata["inference_usage"][1] == second


@pytest.mark.parametrize("status", ["9" * 5000, "²", "-40", "4294967296", ""])
def test_malformed_status_comment_is_ignored(mock_service, status):
    body = (
        f":HTTP_STATUS/{status}\n".encode()
        + error_frame(0, "Throttling", "Wait.").split(b"\n", 3)[3]
    )
    with pytest.raises(QwenError) as caught:
        mock_service(b"event:error\n" + body).model(max_retries=0).invoke("?")
    assert type(caught.value) is QwenRateLimitError
    assert caught.value.status_code is None


@pytest.mark.parametrize("at", range(1, 5))
def test_byte_order_mark_after_a_line_is_not_removed(at):
    body = b"\n\xef\xbb\xbfdata:{}\n\ndata:[]\n\n"
    result, from_pieces = (
        read_stream("dashscope", [body]),
        read_stream("dashscope", [body[:at], body[at:]]),
    )
    assert str(from_pieces.error) == str(result.error)
    assert "Frame 1 " in str(result.error)


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_function_calls_with_the_same_index_are_not_merged(mock_service, api):
    pieces = [(0, "a", "add", '{"a": 1}'), (0, "b", "mul", '{"b"'), (0, "", None, ": 2}")]
    if api == "dashscope":
        frames = [frame(tool_calls=[tool_call(*piece)]) for piece in pieces]
        body = native_stream(*frames, frame(finish_reason="tool_calls"))
    else:
        body = chat_stream(*(tool_call_chunk(*piece) for piece in pieces), chunk("tool_calls"))
    check_stream(api, body)
    answer = mock_service(body).model(api=api).invoke("?")
    assert [(call["id"], call["name"], call["args"]) for call in answer.tool_calls] == [
        ("a", "add", {"a": 1}),
        ("b", "mul", {"b": 2}),
    ]


@pytest.mark.parametrize("index", [10**30, "0", INFINITE, 0.5, -1])
def test_any_index_of_a_function_call_is_replaced(index):
    body = chat_stream(chat_call(index=index), chat_call(index=index), chunk("tool_calls"))
    result = read_stream("chat_completions", [body])
    deltas = [delta for delta in result.events if isinstance(delta, ToolCallDelta)]
    assert deltas == [ToolCallDelta(0, "a", "f", ""), ToolCallDelta(0, None, None, "")]
    assert [call["name"] for call in result.message.tool_calls] == ["f"]


EXECUTION = code_interpreter_call("msg_1", "1+1", "2")
ADDED, DONE = EXECUTION[0], EXECUTION[-1]


@pytest.mark.parametrize(
    "events",
    [
        [*EXECUTION, *EXECUTION],
        [*EXECUTION, event(f"{CODE}.delta", item_id="msg_1", delta="+1"), DONE],
        [*EXECUTION, event(f"{CODE}.done", item_id="msg_1", code="3+3")],
        [DONE],
        [DONE, ADDED],
        [event(f"{CODE}.delta", item_id="msg_1", delta="1+1"), DONE],
        [ADDED, *function_call("msg_1", "call_a", "add", "{}"), DONE],
        [{**ADDED, "item": {"type": "web_search_call", "id": "msg_1"}}, *EXECUTION],
    ],
    ids=[
        "repeated",
        "code delta after the end",
        "complete code after the end",
        "not added",
        "added after the end",
        "code delta before it is added",
        "function call with the same id",
        "server tool with the same id",
    ],
)
def test_execution_is_recorded_once_in_any_order_of_events(events):
    body = responses_stream(events, completed_event(responses_usage(1, 1)))
    result = check_stream("responses", body)
    assert result.error is None
    assert code_executions(result.message) == [
        {"id": "msg_1", "code": "1+1", "status": "completed", "output": "2"}
    ]


def test_empty_deltas_do_not_start_blocks(mock_service):
    body = complete_stream(
        reasoning("msg_1", ""),
        code_interpreter_call("msg_2", "1+1", None),
        message("msg_3", ""),
        function_call("msg_4", "call_a", "f", ""),
        usage=responses_usage(1, 1),
    )
    check_stream("responses", body)
    protocol_events = mock_service(body).model(api="responses").stream_events("?", version="v3")
    started = [
        one["content"]["type"] for one in protocol_events if one["event"] == "content-block-start"
    ]
    assert started == ["server_tool_call_chunk", "tool_call_chunk"]


@pytest.mark.parametrize(
    ("block_type", "item"),
    [
        ("reasoning", reasoning("msg_1", "Hm.")),
        ("text", message("msg_1", "Well.")),
    ],
)
def test_execution_whose_id_is_a_block_type_has_its_own_block(mock_service, block_type, item):
    execution = code_interpreter_call(block_type, "1+1", None)
    body = complete_stream(item, execution, usage=responses_usage(1, 1))
    chunks = mock_service(body).model(api="responses", output_version="v1").stream("?")
    answer = sum(chunks, start=next(chunks))
    assert [block["type"] for block in answer.content] == [block_type, "server_tool_call"]


def test_execution_without_item_events_finishes_at_the_end():
    delta = event(f"{CODE}.delta", item_id="msg_1", delta="1+1")
    body = responses_stream(delta, completed_event(responses_usage(1, 1)))
    result = check_stream("responses", body)
    assert code_executions(result.message) == [
        {"id": "msg_1", "code": "1+1", "status": "completed"}
    ]


def test_logs_with_many_unclosed_image_links_are_searched_in_linear_time(mock_service):
    # With a simpler regular expression this took minutes: it searched from each "![](" to the end.
    logs = "![](a" * 100_000 + " ![plot](https://oss.example/plot.png?a=1)"
    item = code_interpreter_call("msg_1", "plot()", logs)
    body = complete_stream(item, usage=responses_usage(1, 1))
    (execution,) = code_executions(mock_service(body).model(api="responses").invoke("?"))
    assert execution["images"] == ["https://oss.example/plot.png?a=1"]


UNSAFE = "\x1b[2J\x1b]0;title\x07 \u202eback\u2028 \r\nERROR forged 价格\u3000✓"
ESCAPED = "\\u001b[2J\\u001b]0;title\\u0007 \\u202eback\\u2028 \\r\\nERROR forged 价格\u3000✓"


def test_error_messages_escape_control_characters(mock_service):
    error = {"code": "Throttling\x1b", "message": UNSAFE, "request_id": "r\n"}
    bodies = {
        "dashscope": error,
        "chat_completions": {"error": error},
        "responses": {"type": "response.failed", "response": {"error": error, "id": "r\n"}},
    }
    for api, body in bodies.items():
        with pytest.raises(QwenError) as caught:
            mock_service(json.dumps(body).encode()).model(api=api, max_retries=0).invoke("?")
        assert str(caught.value).startswith(f"{ESCAPED} (Throttling\\u001b, request r\\n)")
    for api, wire in WIRES.items():
        http_error = wire.error(REQUEST, 502, f"<html>{UNSAFE}".encode())
        assert f"<html>{ESCAPED}" in str(http_error), api
        stream_error = read_stream(api, [f"data:{{{UNSAFE}".encode()]).error
        assert "\x1b" not in str(stream_error)


def test_error_that_is_a_string_is_the_message():
    error = WIRES["chat_completions"].error(REQUEST, 404, b'{"error": "No such route."}')
    assert str(error).startswith("No such route. (HTTP 404)")
