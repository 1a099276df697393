"""Streams of other servers and gateways that speak the APIs: vLLM, SGLang, LiteLLM, OpenRouter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_completions_streams import chunk, text_chunk, tool_call_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import frame as native_frame
from dashscope_streams import stream as native_stream
from decode import WIRES
from end_to_end import check_stream
from hypothesis import given
from hypothesis import strategies as st
from responses_streams import (
    CREATED,
    completed_event,
    event,
    function_call,
    message,
    reasoning,
    response,
    stream,
    usage,
)

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.events import Event

CODE = "code_interpreter_call_code"


def parse(api: str, body: bytes) -> Any:
    """The message of a complete stream, after a check of all its other forms."""
    result = check_stream(api, body)
    assert result.error is None
    return result.message


def execution(item_id: str, index: int, code: str, outputs: Any) -> list[dict[str, Any]]:
    """An execution as vLLM and SGLang stream it: the code comes in deltas."""
    item = {"type": "code_interpreter_call", "id": item_id, "container_id": "auto"}
    place = {"item_id": item_id, "output_index": index}
    return [
        event("output_item.added", output_index=index, item={**item, "code": None}),
        *(event(f"{CODE}.delta", delta=piece, **place) for piece in (code[:3], code[3:])),
        event(f"{CODE}.done", code=code, **place),
        event(
            "output_item.done",
            output_index=index,
            item={**item, "code": code, "outputs": outputs, "status": "completed"},
        ),
    ]


MCP_EXECUTION = {
    "type": "mcp_call",
    "id": "mcp_9",
    "server_label": "code_interpreter",
    "name": "python",
    "arguments": "21 * 2",
    "output": None,
    "status": "completed",
}


def test_execution_that_the_last_frame_repeats_as_mcp_call_is_one_execution():
    streamed = [reasoning("a", "Hm."), execution("tool_1", 1, "21 * 2", []), message("c", "42")]
    output = [
        {"type": "reasoning", "id": "x", "summary": [], "content": [{"text": "Hm."}]},
        MCP_EXECUTION,
        {"type": "message", "id": "z", "content": [{"text": "42"}]},
    ]
    last = event("completed", response=response("completed", output=output, usage=usage(9, 9)))
    answer = parse("responses", stream(CREATED, *streamed, last))
    assert answer.content == "42"
    assert answer.additional_kwargs["reasoning_content"] == "Hm."
    assert code_executions(answer) == [{"id": "tool_1", "code": "21 * 2", "status": "completed"}]
    # The server counts no calls, so the executions are counted.
    assert "plugins" not in answer.response_metadata
    assert plugin_counts(answer) == {"code_interpreter": 1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"code": "21 * 2", "status": "completed"}),
        ({"arguments": '{"code": "21 * 2"}'}, {"code": "21 * 2", "status": "completed"}),
        ({"arguments": '{"a": 1}'}, {"code": '{"a": 1}', "status": "completed"}),
        ({"output": "42\n"}, {"code": "21 * 2", "status": "completed", "output": "42\n"}),
        ({"error": "timeout"}, {"code": "21 * 2", "status": "failed"}),
    ],
)
def test_mcp_call_of_the_interpreter_is_an_execution(fields, expected):
    item = {**MCP_EXECUTION, **fields}
    early = event("mcp_call_arguments.delta", delta=item["arguments"], item_id="mcp_9")
    added = event("output_item.added", item={**item, "arguments": "", "output": None})
    done = event("output_item.done", item=item)
    for events in ([done], [early, added, done], [added, early, done], [early, added]):
        last = completed_event(usage(1, 1), [done])
        (found,) = code_executions(parse("responses", stream(CREATED, events, last)))
        assert found == {"id": "mcp_9", **expected}


def test_other_mcp_calls_are_server_tools():
    item = {**MCP_EXECUTION, "server_label": "maps", "output": "Berlin"}
    answer = parse("responses", stream(completed_event({}, [event("item.done", item=item)])))
    assert code_executions(answer) == []
    call, result = answer.content_blocks
    assert call["name"] == "mcp"
    assert result["tool_call_id"] == call["id"]


def test_code_that_comes_with_its_item_and_again_in_deltas_is_there_once():
    added, *rest = execution("ci_1", 0, "1 + 1", [{"type": "logs", "logs": "2"}])
    added["item"]["code"] = "1 + 1"
    answer = parse("responses", stream(CREATED, added, *rest, completed_event({}, rest)))
    assert [one["code"] for one in code_executions(answer)] == ["1 + 1"]


def test_function_call_that_is_completed_with_other_ids_is_one_call():
    *events, done = function_call("fc_1", "call_1", "add", '{"a"', ": 1}")
    done["item"] |= {"id": None, "call_id": "fc_random"}
    final = {**done["item"], "id": "fc_2", "call_id": "call_2"}
    last = event("completed", response=response("completed", output=[final], usage=usage(1, 1)))
    answer = parse("responses", stream(CREATED, *events, done, last))
    (call,) = answer.tool_calls
    assert (call["id"], call["name"], call["args"]) == ("call_1", "add", {"a": 1})
    assert answer.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("rotating", [False, True])
def test_parallel_function_calls_whose_events_alternate(rotating):
    calls = [function_call(f"fc_{n}", f"call_{n}", "add", '{"a"', f": {n}}}") for n in range(3)]
    for index, call in enumerate(calls):
        for number, one in enumerate(call):
            one["output_index"] = index
            if rotating and "item_id" in one:
                one["item_id"] = f"x{index}{number}"
    events = [call[step] for step in range(len(calls[0])) for call in calls]
    answer = parse("responses", stream(CREATED, *events, completed_event({}, *calls)))
    assert [(call["id"], call["args"]) for call in answer.tool_calls] == [
        ("call_0", {"a": 0}),
        ("call_1", {"a": 1}),
        ("call_2", {"a": 2}),
    ]


def test_calls_with_one_call_id_get_different_ids():
    calls = [function_call("", "call_1", name, "{}") for name in ("add", "mul")]
    answer = parse("responses", stream(CREATED, *calls, completed_event({}, *calls)))
    ids = [call["id"] for call in answer.tool_calls]
    assert len(ids) == 2
    assert len(set(ids)) == 2


def test_message_that_is_completed_after_the_call_that_follows_it():
    """LiteLLM before a provider that has Chat Completions only; its ids hold."""
    *text_item, text_done, part_done, message_done = message("msg_1", "Let me add.")
    called = function_call("fc_call_1", "call_1", "add", '{"a"', ": 1}")
    reasoning_item = reasoning("rs_1", "A tool helps.", kind="reasoning_summary_text")
    for index, events in enumerate(
        (reasoning_item, [*text_item, text_done, part_done, message_done], called)
    ):
        for one in events:
            one["output_index"] = index
    # The last frame has the reasoning as text of an item of its type.
    part = {"type": "output_text", "text": "A tool helps.", "annotations": []}
    final = [
        {"type": "reasoning", "id": "rs_1", "role": "assistant", "content": [part]},
        message_done["item"],
        called[-1]["item"],
    ]
    last = event("completed", response=response("completed", output=final, usage=usage(9, 9)))
    answer = parse(
        "responses",
        stream(
            CREATED, reasoning_item, text_item, called, [text_done, part_done, message_done], last
        )
        + b"data: [DONE]\n\n",
    )
    assert answer.content == "Let me add."
    assert answer.additional_kwargs["reasoning_content"] == "A tool helps."
    (call,) = answer.tool_calls
    assert (call["id"], call["name"], call["args"]) == ("call_1", "add", {"a": 1})
    assert answer.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "content_filter")],
)
def test_completed_response_with_the_status_incomplete(details, reason):
    last = event("completed", response=response("incomplete", incomplete_details=details))
    answer = parse("responses", stream(CREATED, message("a", "4"), last))
    assert answer.response_metadata["finish_reason"] == reason


def test_refusal_of_responses_is_content_with_a_finish_reason():
    part = {"type": "refusal", "refusal": "I will not."}
    item = {"type": "message", "id": "a", "content": [part]}
    done = event("output_item.done", item=item)
    streamed = [
        event("output_item.added", item={**item, "content": []}),
        event("refusal.delta", delta="I will", item_id="a"),
        event("refusal.done", refusal="I will not.", item_id="a"),
        done,
    ]
    for events in (streamed, [done], []):
        answer = parse("responses", stream(CREATED, events, completed_event({}, [done])))
        assert answer.content == "I will not."
        assert answer.response_metadata["finish_reason"] == "content_filter"


URL_CITATION = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0}
FILE_CITATION = {"type": "file_citation", "file_id": "f1", "filename": "a.csv", "index": 3}
CITATIONS = [
    {"type": "citation", "url": "https://a.example", "title": "A", "start_index": 0},
    {"type": "citation", "title": "a.csv", "extras": {"file_id": "f1", "index": 3}},
    {"type": "non_standard_annotation", "value": {"type": "footnote", "note": 1}},
]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_annotations_are_citations_of_the_text_block(mock_service, output_version, early):
    annotations = [URL_CITATION, FILE_CITATION, {"type": "footnote", "note": 1}]
    *events, done = message("a", "See A", " and a.csv.")
    done["item"]["content"][0]["annotations"] = annotations
    added = [
        event("output_text.annotation.added", annotation=one, item_id="a")
        for one in (annotations if early else [])
    ]
    items = [*events[:3], *added, *events[3:], done]
    body = stream(CREATED, items, completed_event(usage(1, 1), [done]))
    parse("responses", body)
    model = mock_service(body).model(api="responses", output_version=output_version)
    chunks = list(model.stream("?"))
    streamed = sum(chunks[1:], start=chunks[0])
    protocol = model.stream_events("?", version="v3").output
    for answer in (model.invoke("?"), streamed, protocol):
        (block,) = [block for block in answer.content_blocks if block["type"] == "text"]
        assert block["text"] == "See A and a.csv."
        assert block["annotations"] == CITATIONS


def test_chat_annotations_have_their_fields_under_the_type():
    nested = {"type": "url_citation", "url_citation": {**URL_CITATION, "end_index": 4}}
    del nested["url_citation"]["type"]
    body = chat_stream(text_chunk("See."), chunk(annotations=[nested]), chunk("stop"))
    (block,) = parse("chat_completions", body).content_blocks
    assert block["annotations"] == [{**CITATIONS[0], "end_index": 4}]


def test_images_of_an_execution_are_image_blocks_of_its_result():
    outputs = [{"type": "image", "url": "https://plot.example/1"}]
    run = execution("ci_1", 0, "plot()", outputs)
    answer = parse("responses", stream(CREATED, run, completed_event({}, run)))
    (found,) = code_executions(answer)
    assert found["images"] == ["https://plot.example/1"]
    result = answer.content_blocks[1]
    assert result["extras"]["images"] == [{"type": "image", "url": "https://plot.example/1"}]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": None},
    ],
)
def test_reasoning_of_chat_has_two_names(delta):
    answer = parse("chat_completions", chat_stream(chunk(**delta), text_chunk("4"), chunk("stop")))
    assert answer.additional_kwargs["reasoning_content"] == "Hm."
    assert answer.content == "4"


def test_chat_content_may_be_a_list_of_parts():
    parts = [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]
    assert (
        parse("chat_completions", chat_stream(chunk(content=parts), chunk("stop"))).content == "12"
    )


def test_refusal_of_chat_is_content_with_a_finish_reason():
    answer = parse("chat_completions", chat_stream(chunk(refusal="I will not."), chunk("stop")))
    assert answer.content == "I will not."
    assert answer.response_metadata["finish_reason"] == "content_filter"


def test_pieces_of_a_call_with_another_index_than_its_first_piece():
    body = chat_stream(
        tool_call_chunk(1, "call_a", "add", ""),
        tool_call_chunk(0, "", None, '{"a": '),
        tool_call_chunk(0, "", None, "1}"),
        tool_call_chunk(2, "call_b", "mul", ""),
        tool_call_chunk(1, "", None, '{"b": 2}'),
        chunk("tool_calls"),
    )
    calls = parse("chat_completions", body).tool_calls
    assert [(call["id"], call["name"], call["args"]) for call in calls] == [
        ("call_a", "add", {"a": 1}),
        ("call_b", "mul", {"b": 2}),
    ]


Piece = tuple[int | None, str | None, str | None, str]
PIECES_OF_TWO_CALLS: dict[str, list[Piece]] = {
    "no index": [
        (None, "a", "add", '{"x": '),
        (None, "", None, "1}"),
        (None, "b", "mul", '{"y": '),
        (None, None, None, "2}"),
    ],
    "no index, alternating by id": [
        (None, "a", "add", ""),
        (None, "b", "mul", ""),
        (None, "a", None, '{"x": '),
        (None, "b", None, '{"y": '),
        (None, "a", None, "1}"),
        (None, "b", None, "2}"),
    ],
    "no index, id and name with every piece": [
        (None, "a", "add", '{"x": '),
        (None, "a", "add", "1}"),
        (None, "b", "mul", '{"y": '),
        (None, "b", "mul", "2}"),
    ],
    "no index, complete calls": [
        (None, "a", "add", '{"x": 1}'),
        (None, "b", "mul", '{"y": 2}'),
    ],
    "zeros only, alternating by id": [
        (0, "a", "add", ""),
        (0, "b", "mul", ""),
        (0, "a", None, '{"x": '),
        (0, "b", None, '{"y": '),
        (0, "a", None, "1}"),
        (0, "b", None, "2}"),
    ],
    "zeros left out": [
        (None, "a", "add", '{"x": '),
        (None, "", None, "1}"),
        (1, "b", "mul", '{"y": '),
        (1, "", None, "2}"),
    ],
    "zeros left out, alternating": [
        (None, "a", "add", ""),
        (1, "b", "mul", ""),
        (None, "", None, '{"x": '),
        (1, "", None, '{"y": '),
        (None, "", None, "1}"),
        (1, "", None, "2}"),
    ],
    "index of first pieces only": [
        (0, "a", "add", '{"x": '),
        (None, "", None, "1}"),
        (1, "b", "mul", '{"y": '),
        (None, "", None, "2}"),
    ],
}


@pytest.mark.parametrize("pieces", PIECES_OF_TWO_CALLS.values(), ids=PIECES_OF_TWO_CALLS)
@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_pieces_without_an_index_belong_to_their_call(api, pieces):
    entries = [
        {
            "type": "function",
            "function": {name: value for name, value in function.items() if value is not None},
            **({} if call_id is None else {"id": call_id}),
            **({} if index is None else {"index": index}),
        }
        for index, call_id, name, arguments in pieces
        for function in [{"name": name, "arguments": arguments}]
    ]
    if api == "dashscope":
        frames = [native_frame(tool_calls=[entry]) for entry in entries]
        body = native_stream(*frames, native_frame(finish_reason="tool_calls"))
    else:
        body = chat_stream(*(chunk(tool_calls=[entry]) for entry in entries), chunk("tool_calls"))
    calls = parse(api, body).tool_calls
    assert [(call["id"], call["name"], call["args"]) for call in calls] == [
        ("a", "add", {"x": 1}),
        ("b", "mul", {"y": 2}),
    ]


def test_calls_without_ids_and_arguments_are_two_calls():
    body = chat_stream(
        tool_call_chunk(0, "", "now", ""), tool_call_chunk(0, "", "today", ""), chunk("tool_calls")
    )
    calls = parse("chat_completions", body).tool_calls
    assert [(call["name"], call["args"]) for call in calls] == [("now", {}), ("today", {})]


def test_call_whose_id_changes_after_its_first_piece():
    body = chat_stream(
        tool_call_chunk(0, "call_a", "add", '{"a": '),
        tool_call_chunk(0, "other", None, "1}"),
        chunk("tool_calls"),
    )
    (call,) = parse("chat_completions", body).tool_calls
    assert (call["id"], call["args"]) == ("call_a", {"a": 1})


def test_calls_without_ids_are_two_calls_with_ids():
    body = chat_stream(
        tool_call_chunk(0, "", "add", '{"a": 1}'),
        tool_call_chunk(0, "", "mul", '{"b": '),
        tool_call_chunk(0, "", "mul", "2}"),
        chunk("tool_calls"),
    )
    calls = parse("chat_completions", body).tool_calls
    assert [(call["name"], call["args"]) for call in calls] == [
        ("add", {"a": 1}),
        ("mul", {"b": 2}),
    ]
    assert len({call["id"] for call in calls}) == 2
    assert all(call["id"] for call in calls)


@pytest.mark.parametrize("api", WIRES)
@pytest.mark.parametrize(
    ("escape", "text"),
    [
        ("\\ud83d", "\ufffd"),
        ("\\ude00", "\ufffd"),
        ("\\ud83d\\ude00", "😀"),
        ("\\\\ud83d", "\\ud83d"),
    ],
)
def test_half_of_a_surrogate_pair_becomes_a_replacement_character(api, escape, text):
    bodies = {
        "dashscope": b'data:{"output":{"choices":[{"message":{"content":"a%s"},'
        b'"finish_reason":"stop"}]},"request_id":"r"}\n\n',
        "responses": b'data:{"type":"response.output_text.delta","delta":"a%s"}\n\n'
        + stream(completed_event({})),
        "chat_completions": b'data:{"choices":[{"delta":{"content":"a%s"},'
        b'"finish_reason":"stop"}]}\n\ndata:[DONE]\n\n',
    }
    body = bodies[api].replace(b"%s", escape.encode())
    assert parse(api, body).content == f"a{text}"


@pytest.mark.parametrize("api", WIRES)
def test_frames_without_blank_lines_between_them(api):
    if api == "responses":
        body = stream(CREATED, message("a", "4", "2"), completed_event(usage(1, 1)))
    elif api == "chat_completions":
        body = chat_stream(text_chunk("4"), text_chunk("2"), chunk("stop"))
    else:
        frames = [
            {"output": {"choices": [{"message": {"content": text}, "finish_reason": reason}]}}
            for text, reason in [("4", "null"), ("2", "stop")]
        ]
        body = b"".join(
            b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:%s\n\n" % json.dumps(one).encode()
            for one in frames
        )
    assert parse(api, body.replace(b"\n\n", b"\n")).content == "42"


VLLM = "http://127.0.0.1:8000/v1"
COMPATIBLE_APIS = ("responses", "chat_completions")


@pytest.mark.filterwarnings("ignore:Chat Completions runs code")
@pytest.mark.parametrize(
    ("fields", "is_split"),
    [
        ({"base_url": VLLM}, True),
        ({"base_url": VLLM, "parse_think_tags": False}, False),
        ({}, False),
        ({"parse_think_tags": True}, True),
    ],
)
@pytest.mark.parametrize("api", COMPATIBLE_APIS)
def test_think_tags_are_parsed_on_hosts_that_are_not_alibabas(mock_service, api, fields, is_split):
    body = text_stream(api, "<think>I ", "add.</think>4")
    answer = mock_service(body).model(api=api, **fields).invoke("?")
    assert answer.content == ("4" if is_split else "<think>I add.</think>4")
    assert answer.additional_kwargs == ({"reasoning_content": "I add."} if is_split else {})


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_think_tags_of_responses_are_split_with_every_entry_point(mock_service, output_version):
    """LiteLLM before a provider that has Chat Completions only and no reasoning parser."""
    text_item = message("msg_1", "<think>I ", "add.</think>\n\n", "4")
    called = function_call("fc_1", "call_1", "add", "{}")
    body = stream(CREATED, text_item, called, completed_event(usage(9, 9), text_item, called))
    model = mock_service(body).model(
        api="responses", base_url=VLLM, output_version=output_version, enable_code_interpreter=False
    )
    chunks = list(model.stream("?"))
    streamed = sum(chunks[1:], start=chunks[0])
    protocol = model.stream_events("?", version="v3").output
    for answer in (model.invoke("?"), streamed, protocol):
        assert answer.text == "4"
        blocks = [block["type"] for block in answer.content_blocks]
        assert blocks == ["reasoning", "text", "tool_call"]
        assert answer.content_blocks[0]["reasoning"] == "I add."


def test_think_tags_of_the_native_api_are_an_error(mock_service):
    with pytest.raises(ValueError, match="chat_completions"):
        mock_service(b"").model(api="dashscope", parse_think_tags=True)


def text_stream(api: str, *pieces: str) -> bytes:
    """An answer that consists of this text, with either of the compatible APIs."""
    if api == "chat_completions":
        return chat_stream(*map(text_chunk, pieces), chunk("stop"))
    text_item = message("msg_1", *pieces)
    return stream(CREATED, text_item, completed_event(usage(1, 1), text_item))


def think_tags_message(api: str, *pieces: str) -> Any:
    request = WireRequest(model="m", path="/", body=b"", parse_think_tags=True)
    decoder = WIRES[api].decoder(request)
    builder = MessageBuilder("m")
    events: list[Event] = []
    decoder.feed(text_stream(api, *pieces), events)
    decoder.close(events)
    for one in events:
        builder.add(one)
    return builder.message()


@given(st.data())
def test_think_tags_are_split_from_the_text_at_any_split(data):
    reasoning_text = data.draw(st.sampled_from(["I add.", "a < b </thin", "two\n\nparts", ""]))
    text = data.draw(st.sampled_from(["4", "In <think> tags.", "</think>", " spaced", ""]))
    whole = f"\n<think>\n{reasoning_text}\n</think>\n\n{text}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer = think_tags_message(data.draw(st.sampled_from(COMPATIBLE_APIS)), *pieces)
    assert answer.additional_kwargs.get("reasoning_content", "") == reasoning_text
    assert answer.content == text.lstrip()


@pytest.mark.parametrize("text", ["4", " 4", "<b>4</b>", "<thin", "See <think>.</think>", "  "])
@pytest.mark.parametrize("api", COMPATIBLE_APIS)
def test_text_without_a_tag_at_its_beginning_is_not_changed(api, text):
    answer = think_tags_message(api, *text)
    assert answer.content == text
    assert "reasoning_content" not in answer.additional_kwargs


@pytest.mark.parametrize("api", COMPATIBLE_APIS)
def test_reasoning_that_was_cut_before_its_closing_tag(api):
    answer = think_tags_message(api, "<think>I am st", "ill thinking ")
    assert answer.additional_kwargs["reasoning_content"] == "I am still thinking"
    assert answer.content == ""
