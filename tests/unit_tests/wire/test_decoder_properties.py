"""Whatever bytes an endpoint sends: an answer, or an error of the tree with all that had arrived.

The properties spoil the streams of the corpus; `PROPERTY_EXAMPLES=100000` makes a long run of it.
Below them stand the inputs that once broke a promise, each as small as it could be made.
"""

from __future__ import annotations

import json
import os
from typing import Any

import chat_completions_streams
import dashscope_streams
import pytest
import responses_streams
from corrupted_streams import mutated, pieces
from decode import REQUEST, WIRES
from end_to_end import check, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from mock_service import Service
from stream_corpus import CORPUS
from unusual_streams import ERRORS, RICH

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenError, QwenRateLimitError, QwenStreamError
from langchain_qwen_ci.wire.events import ToolCallDelta

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]
TOO_LARGE = 2**64  # for msgpack, in which LangGraph keeps messages
INFINITE = float("inf")  # written as Infinity, and read as such

examples = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
streams = some.sampled_from(sorted(CORPUS))
chances = some.randoms(use_true_random=False)


@examples
@given(streams, chances)
def test_a_spoilt_stream_keeps_every_promise(name, chance):
    api = CORPUS[name].api
    check(api, mutated(CORPUS[name].body, api, chance), lambda body: pieces(body, chance))


@examples
@given(some.sampled_from(sorted(WIRES)), some.binary(max_size=200), chances)
def test_bytes_that_are_no_stream_keep_every_promise(api, body, chance):
    check(api, body, lambda body: pieces(body, chance))


@examples
@given(some.sampled_from(sorted(WIRES)), some.sampled_from([ERRORS, RICH]), chances)
def test_a_spoilt_error_and_what_stands_beside_answers_keep_every_promise(api, bodies, chance):
    check(api, mutated(bodies[api], api, chance), lambda body: pieces(body, chance))


@settings(examples, max_examples=examples.max_examples // 4)
@given(streams, chances, some.sampled_from([None, "v1"]))
def test_every_way_into_the_model_tells_the_same_of_a_spoilt_stream(name, chance, version):
    api = CORPUS[name].api
    body = mutated(CORPUS[name].body, api, chance)
    model = Service([body]).model(api=api, max_retries=0, output_version=version)
    ways = (
        lambda: model.invoke("?"),
        lambda: [chunk.text for chunk in model.stream("?")],
        lambda: model.stream_events("?", version="v3").output,
    )
    errors = [_error(way) for way in ways]
    assert len({type(error) for error in errors}) == 1
    texts = {error.partial.text for error in errors if error and error.partial}
    assert len(texts) <= 1


def _error(way: Any) -> QwenError | None:
    try:
        way()
    except QwenError as error:
        return error
    return None


def native_call(**fields: Any) -> dict[str, Any]:
    return dashscope_streams.frame(
        tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}, **fields}]
    )


def choice(**fields: Any) -> dict[str, Any]:
    return {"output": {"choices": [{"message": {}, **fields}]}, "request_id": "r"}


def chat_call(**fields: Any) -> dict[str, Any]:
    return chat_completions_streams.chunk(
        tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}, **fields}]
    )


def done(kind: str, **fields: Any) -> dict[str, Any]:
    return responses_streams.event("output_item.done", item={"type": kind, "id": "msg_9", **fields})


def printed(*outputs: Any) -> dict[str, Any]:
    return done("code_interpreter_call", code="1", outputs=list(outputs))


# Most of these once passed the wire that took them and broke what was made of it, or came out as an
# error that is none of ours.
UNREADABLE: dict[str, list[dict[str, Any]]] = {
    "dashscope": [
        dashscope_streams.frame(usage=[1]),
        dashscope_streams.frame(reasoning=7),
        dashscope_streams.frame(content=7),
        choice(finish_reason=["stop"]),
        choice(finish_reason=1),
        choice(logprobs={"content": "abc"}),
        choice(logprobs={"content": [{"logprob": -INFINITE}]}),
        native_call(id=7),
        native_call(id=["a"]),
        native_call(index=[0]),
        native_call(function={"name": {"f": 1}}),
        native_call(function={"name": "f", "arguments": {"a": 1}}),
        dashscope_streams.frame(search_info={"score": INFINITE}, finish_reason="stop"),
        dashscope_streams.frame(
            tool_info=[{"type": "telescope", "star": TOO_LARGE}], finish_reason="stop"
        ),
        dashscope_streams.frame(tool_info=[None]),
        dashscope_streams.frame(tool_info=dashscope_streams.tool_info(7)),
        {"output": {"choices": [None]}, "request_id": "r"},
    ],
    "responses": [
        responses_streams.event("completed", response={"usage": "none"}),
        responses_streams.event("failed", response={"usage": 7}),
        done("function_call", call_id=7, name="f"),
        done("function_call", name=["f"]),
        done("web_search_call", action={"score": INFINITE}),
        done("code_interpreter_call", id=7),
        done("message", id=7),
        printed({"type": "image", "url": 7}),
        printed({"type": "logs", "logs": 7}),
        printed(None),
        responses_streams.event("code_interpreter_call_code.delta", item_id=["a"], delta="1"),
        responses_streams.event("code_interpreter_call_code.delta", item_id=7, delta="1"),
        responses_streams.event("code_interpreter_call_code.delta", item_id="a", delta=["1"]),
        responses_streams.event("code_interpreter_call_code.done", item_id=7, code="1"),
        responses_streams.event("code_interpreter_call_code.done", item_id="a", code=["1"]),
        responses_streams.event("output_text.delta", item_id="a", delta=["1"]),
        done("message", content=[{"text": ["1"]}]),
    ],
    "chat_completions": [
        {**chat_completions_streams.chunk(), "usage": "none"},
        {**chat_completions_streams.chunk(), "usage": 7},
        {**chat_completions_streams.chunk(), "search_info": {"score": INFINITE}},
        {**chat_completions_streams.chunk("stop"), "system_fingerprint": TOO_LARGE},
        chat_completions_streams.chunk(["stop"]),
        chat_completions_streams.text_chunk(7),
        chat_completions_streams.reasoning_chunk(7),
        chat_call(id=7),
        chat_call(function={"name": ["f"]}),
    ],
}


def after_before(api: str, payload: dict[str, Any]) -> bytes:
    """A stream that has said "Before." and then sends this."""
    if api == "dashscope":
        return dashscope_streams.stream(dashscope_streams.frame(content="Before."), payload)
    if api == "responses":
        return responses_streams.stream(responses_streams.message("msg_1", "Before."), payload)
    return chat_completions_streams.stream(chat_completions_streams.text_chunk("Before."), payload)


@pytest.mark.parametrize(
    ("api", "payload"), [(api, payload) for api in UNREADABLE for payload in UNREADABLE[api]]
)
def test_a_value_of_a_wrong_type_is_found_where_it_comes_in(service, api, payload):
    body = after_before(api, payload)
    with pytest.raises(QwenStreamError, match="cannot be read") as caught:
        service(body).model(api=api).invoke("?")
    assert caught.value.partial.content == "Before."
    check(api, body, lambda body: [body])


def test_what_of_a_frame_can_be_read_is_told_before_its_error():
    with_fault = dashscope_streams.frame(
        reasoning="I think", content=[{"text": 7}], usage=dashscope_streams.usage(9, 1)
    )
    partial = outcome("dashscope", [dashscope_streams.stream(with_fault)]).message
    assert partial.additional_kwargs["reasoning_content"] == "I think"
    assert partial.response_metadata["request_id"] == dashscope_streams.REQUEST_ID
    whole = responses_streams.completed_event(
        {}, responses_streams.message("msg_1", "Before."), [done("message", content=[7])]
    )
    assert outcome("responses", [responses_streams.stream(whole)]).message.content == "Before."


@pytest.mark.parametrize("count", [-1, 0.5, True, "7", None, [], INFINITE, 2**53 + 1])
def test_what_is_no_count_counts_as_none(service, count):
    used = {
        "input_tokens": count,
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": count},
        "plugins": {"code_interpreter": {"count": count}, "search": {"count": 1}},
    }
    body = dashscope_streams.stream(
        dashscope_streams.frame(content="Hi", finish_reason="stop", usage=used)
    )
    message = service(body).model().invoke("?")
    assert message.usage_metadata == {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    assert plugin_counts(message) == {"code_interpreter": 0, "search": 1}


def test_of_a_plugin_only_what_can_be_stored_is_kept(service):
    search = {"count": 1, "strategy": "turbo", "cost": INFINITE}
    used = {**dashscope_streams.usage(1, 1), "plugins": {"search": search, "none": 7}}
    body = dashscope_streams.stream(
        dashscope_streams.frame(content="Hi", finish_reason="stop", usage=used)
    )
    message = service(body).model().invoke("?")
    assert message.response_metadata["plugins"] == {"search": {"count": 1, "strategy": "turbo"}}


def test_input_tokens_that_shrink_are_no_negative_inference(service):
    body = dashscope_streams.stream(
        dashscope_streams.frame(reasoning="A.", usage=dashscope_streams.usage(300, 9)),
        dashscope_streams.frame(
            content="B.", finish_reason="stop", usage=dashscope_streams.usage(200, 3)
        ),
    )
    message = service(body).model().invoke("?")
    second = {"input_tokens": 0, "output_tokens": 0}
    assert message.response_metadata["inference_usage"][1] == second


@pytest.mark.parametrize("status", ["9" * 5000, "²", "-40", "4294967296", ""])
def test_a_comment_that_names_no_status_names_none(service, status):
    body = (
        f":HTTP_STATUS/{status}\n".encode()
        + dashscope_streams.error_frame(0, "Throttling", "Wait.").split(b"\n", 3)[3]
    )
    with pytest.raises(QwenError) as caught:
        service(b"event:error\n" + body).model(max_retries=0).invoke("?")
    assert type(caught.value) is QwenRateLimitError
    assert caught.value.status_code is None


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_byte_order_mark_after_a_line_is_none_however_it_is_cut(cut):
    body = b"\n\xef\xbb\xbfdata:{}\n\ndata:[]\n\n"
    whole, parted = outcome("dashscope", [body]), outcome("dashscope", [body[:cut], body[cut:]])
    assert str(parted.error) == str(whole.error)
    assert "Frame 1 " in str(whole.error)


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_calls_that_share_an_index_stay_two_calls(service, api):
    pieces_of_calls = [(0, "a", "add", '{"a": 1}'), (0, "b", "mul", '{"b"'), (0, "", None, ": 2}")]
    if api == "dashscope":
        frames = [
            dashscope_streams.frame(tool_calls=[dashscope_streams.tool_call(*piece)])
            for piece in pieces_of_calls
        ]
        body = dashscope_streams.stream(
            *frames, dashscope_streams.frame(finish_reason="tool_calls")
        )
    else:
        chunks = [chat_completions_streams.tool_call_chunk(*piece) for piece in pieces_of_calls]
        body = chat_completions_streams.stream(
            *chunks, chat_completions_streams.chunk("tool_calls")
        )
    check(api, body, lambda body: [body])
    message = service(body).model(api=api).invoke("?")
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == [
        ("a", "add", {"a": 1}),
        ("b", "mul", {"b": 2}),
    ]


@pytest.mark.parametrize("index", [10**30, "0", INFINITE, 0.5, -1])
def test_calls_are_numbered_here_whatever_their_index(index):
    body = chat_completions_streams.stream(
        chat_call(index=index), chat_call(index=index), chat_completions_streams.chunk("tool_calls")
    )
    told = outcome("chat_completions", [body])
    calls = [event for event in told.events if isinstance(event, ToolCallDelta)]
    assert calls == [ToolCallDelta(0, "a", "f", ""), ToolCallDelta(0, None, None, "")]
    assert [call["name"] for call in told.message.tool_calls] == ["f"]


CODE = "code_interpreter_call_code"
RUN = responses_streams.code_interpreter_call("msg_1", "1+1", "2")


@pytest.mark.parametrize(
    "events",
    [
        [*RUN, *RUN],  # opened and closed again
        [*RUN, responses_streams.event(f"{CODE}.delta", item_id="msg_1", delta="+1"), RUN[-1]],
        [*RUN, responses_streams.event(f"{CODE}.done", item_id="msg_1", code="3+3")],
        [RUN[-1]],  # closed before it is opened
        [RUN[-1], RUN[0]],
        [responses_streams.event(f"{CODE}.delta", item_id="msg_1", delta="1+1"), RUN[-1]],
        [RUN[0], *responses_streams.function_call("msg_1", "call_a", "add", "{}"), RUN[-1]],
        [{**RUN[0], "item": {"type": "web_search_call", "id": "msg_1"}}, *RUN],
    ],
)
def test_a_program_is_told_once_in_whatever_order_its_events_come(events):
    body = responses_streams.stream(
        events, responses_streams.completed_event(responses_streams.usage(1, 1))
    )
    told = check("responses", body, lambda body: [body])
    assert told.error is None
    assert code_executions(told.message) == [
        {"id": "msg_1", "code": "1+1", "status": "completed", "output": "2"}
    ]


def test_empty_pieces_make_no_empty_blocks(service):
    items = [
        *(
            responses_streams.reasoning("msg_1", ""),
            responses_streams.code_interpreter_call("msg_2", "1+1", None),
        ),
        *(
            responses_streams.message("msg_3", ""),
            responses_streams.function_call("msg_4", "call_a", "f", ""),
        ),
    ]
    body = responses_streams.complete_stream(*items, usage=responses_streams.usage(1, 1))
    check("responses", body, lambda body: [body])
    events = service(body).model(api="responses").stream_events("?", version="v3")
    begun = [
        event["content"]["type"] for event in events if event["event"] == "content-block-start"
    ]
    assert begun == ["server_tool_call_chunk", "tool_call_chunk"]


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("reasoning", responses_streams.reasoning("msg_1", "Hm.")),
        ("text", responses_streams.message("msg_1", "Well.")),
    ],
)
def test_a_program_whose_id_is_a_kind_of_block_has_a_block_of_its_own(service, kind, before):
    run = responses_streams.code_interpreter_call(kind, "1+1", None)
    body = responses_streams.complete_stream(before, run, usage=responses_streams.usage(1, 1))
    chunks = service(body).model(api="responses", output_version="v1").stream("?")
    whole = sum(chunks, start=next(chunks))
    assert [block["type"] for block in whole.content] == [kind, "server_tool_call"]


def test_a_program_that_was_written_and_not_closed_ends_with_the_answer():
    written = responses_streams.event(f"{CODE}.delta", item_id="msg_1", delta="1+1")
    body = responses_streams.stream(
        written, responses_streams.completed_event(responses_streams.usage(1, 1))
    )
    told = check("responses", body, lambda body: [body])
    assert code_executions(told.message) == [{"id": "msg_1", "code": "1+1", "status": "completed"}]


def test_logs_that_are_nothing_but_beginnings_of_links(service):
    """Searching them for links took minutes: each beginning was followed to the end."""
    logs = "![](a" * 100_000 + " ![plot](https://oss.example/plot.png?a=1)"
    item = responses_streams.code_interpreter_call("msg_1", "plot()", logs)
    body = responses_streams.complete_stream(item, usage=responses_streams.usage(1, 1))
    (execution,) = code_executions(service(body).model(api="responses").invoke("?"))
    assert execution["images"] == ["https://oss.example/plot.png?a=1"]


ACTS = "\x1b[2J\x1b]0;title\x07 \u202eback\u2028 \r\nERROR forged 价格\u3000✓"
SHOWN = "\\u001b[2J\\u001b]0;title\\u0007 \\u202eback\\u2028 \\r\\nERROR forged 价格\u3000✓"


def test_an_error_text_does_not_act_on_a_terminal_nor_forge_a_line(service):
    told = {"code": "Throttling\x1b", "message": ACTS, "request_id": "r\n"}
    bodies = {
        "dashscope": told,
        "chat_completions": {"error": told},
        "responses": {"type": "response.failed", "response": {"error": told, "id": "r\n"}},
    }
    for api, body in bodies.items():
        with pytest.raises(QwenError) as caught:
            service(json.dumps(body).encode()).model(api=api, max_retries=0).invoke("?")
        assert str(caught.value).startswith(f"{SHOWN} (Throttling\\u001b, request r\\n)")
    for api, wire in WIRES.items():
        refused = wire.error(REQUEST, 502, f"<html>{ACTS}".encode())
        assert f"<html>{SHOWN}" in str(refused), api
        told_error = outcome(api, [f"data:{{{ACTS}".encode()]).error
        assert "\x1b" not in str(told_error)


def test_an_error_that_is_a_string_is_the_message():
    refused = WIRES["chat_completions"].error(REQUEST, 404, b'{"error": "No such route."}')
    assert str(refused).startswith("No such route. (HTTP 404)")
