"""Streams of the Responses API, written by hand from its documentation, with expected messages."""

from __future__ import annotations

import json
from typing import Any

from stream_fixture import REQUEST_ID, Stream

Event = dict[str, Any]


def event(kind: str, **fields: Any) -> Event:
    """The data of a frame; `kind` is the event type without "response."."""
    return {"type": f"response.{kind}", **fields}


def response(status: str, **fields: Any) -> Event:
    """A response object, as in the first and last frames."""
    return {"object": "response", "id": REQUEST_ID, "status": status, "output": [], **fields}


CREATED = event("created", response=response("queued", model=""))
IN_PROGRESS = event("in_progress", response=response("in_progress", model=""))


def reasoning(item_id: str, *pieces: str, kind: str = "reasoning_text") -> list[Event]:
    """The events of a reasoning item; `kind` is one of the two names of its deltas."""
    text = "".join(pieces)
    item = {"type": "reasoning", "id": item_id}
    summary = [{"type": "summary_text", "text": text}]
    return [
        event("output_item.added", item={**item, "summary": []}, output_index=0),
        *(event(f"{kind}.delta", delta=piece, item_id=item_id) for piece in pieces),
        event(f"{kind}.done", text=text, item_id=item_id),
        event("output_item.done", item={**item, "summary": summary}, output_index=1),
    ]


def code_interpreter_call(item_id: str, code: str, logs: str | None, **done: Any) -> list[Event]:
    """The events of an execution: the added item has the code, the complete one also the output."""
    item = {"type": "code_interpreter_call", "id": item_id, "code": code, "container_id": ""}
    outputs = None if logs is None else [{"type": "logs", "logs": logs}]
    stages = ("in_progress", "interpreting", "completed")
    return [
        event("output_item.added", item={**item, "status": "in_progress"}),
        *(event(f"code_interpreter_call.{stage}", item_id=item_id) for stage in stages),
        event(
            "output_item.done",
            item={**item, "outputs": outputs, "status": "completed", **done},
        ),
    ]


def message(item_id: str, *pieces: str, part_type: str = "output_text") -> list[Event]:
    """The events of a message item with one content part."""
    text = "".join(pieces)
    item = {"type": "message", "id": item_id, "role": "assistant"}
    position = {"content_index": 0, "item_id": item_id}
    part = {"annotations": [], "text": text, "type": part_type}
    return [
        event("output_item.added", item={**item, "content": [], "status": "in_progress"}),
        event("content_part.added", part={**part, "text": ""}, **position),
        *(event("output_text.delta", delta=piece, **position) for piece in pieces),
        event("output_text.done", text=text, **position),
        event("content_part.done", part=part, **position),
        event("output_item.done", item={**item, "content": [part], "status": "completed"}),
    ]


def function_call(item_id: str, call_id: str, name: str, *pieces: str) -> list[Event]:
    """The events of a function call; the pieces are its arguments."""
    arguments = "".join(pieces)
    item = {"type": "function_call", "id": item_id, "call_id": call_id, "name": name}
    return [
        event("output_item.added", item={**item, "arguments": ""}),
        *(event("function_call_arguments.delta", delta=piece, item_id=item_id) for piece in pieces),
        event("function_call_arguments.done", arguments=arguments, item_id=item_id),
        event("output_item.done", item={**item, "arguments": arguments}),
    ]


def usage(input_tokens: int, output_tokens: int, /, **tools: int) -> dict[str, Any]:
    """The `usage` object; `tools` are the call counts, by the name of the tool."""
    counts = {"x_tools": {name: {"count": count} for name, count in tools.items()}}
    tokens = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return {**tokens, **(counts if tools else {})}


def completed_event(usage: dict[str, Any], *items: list[Event], **fields: Any) -> Event:
    """The last event, which repeats the complete items."""
    output = [
        payload["item"]
        for item in items
        for payload in item
        if payload["type"].endswith("item.done")
    ]
    complete = response("completed", output=output, usage=usage, **fields)
    return event("completed", response=complete)


def stream(*events: Event | list[Event]) -> bytes:
    """Encode events as the service does: type as SSE event and in the data, without `[DONE]`."""
    flat = [payload for item in events for payload in (item if isinstance(item, list) else [item])]
    frames = []
    for number, payload in enumerate(flat):
        data = json.dumps({**payload, "sequence_number": number}, separators=(",", ":"))
        kind = payload["type"]
        frames.append(f"id:{number + 1}\nevent:{kind}\n:HTTP_STATUS/200\ndata:{data}\n\n".encode())
    return b"".join(frames)


def complete_stream(*items: list[Event], usage: dict[str, Any]) -> bytes:
    """Encode a complete answer with these items."""
    return stream(CREATED, IN_PROGRESS, *items, completed_event(usage, *items))


_REASONING = reasoning("msg_1", "I need", " the exact value.")
_RUN = code_interpreter_call("msg_2", "7**5", "```\n16807\n```")
_SECOND_REASONING = reasoning("msg_3", "It is 16807.")
_MESSAGE_ITEM = message("msg_4", "7 to the power of 5 ", "is 16807.")
_USAGE = usage(1160, 195, code_interpreter=1)
_ONE_RUN_MESSAGE: dict[str, Any] = {
    "api": "responses",
    "content": "7 to the power of 5 is 16807.",
    "reasoning": "I need the exact value.It is 16807.",
    "codes": ["7**5"],
    "execution_records": [{"code": "7**5", "status": "completed", "output": "16807"}],
    "blocks": [
        ("reasoning", "I need the exact value."),
        ("server_tool_call", "7**5"),
        ("server_tool_result", "16807"),
        ("reasoning", "It is 16807."),
        ("text", "7 to the power of 5 is 16807."),
    ],
    "plugins": {"code_interpreter": {"count": 1}},
    "usage": (1160, 195, 1355),
}
_TWO_FUNCTION_CALLS = [
    function_call("msg_1", "call_a", "add", '{"a"', ": 1}"),
    function_call("msg_2", "call_b", "mul", '{"b": 2}'),
]
_TRACEBACK = "Traceback (most recent call last):\n  File …\nZeroDivisionError: division by zero"
_PLOT = "https://oss.example/plot.png?Expires=1&Signature=x"
_SEARCH = [
    event(
        "output_item.added",
        item={
            "type": "web_search_call",
            "id": "msg_1",
            "status": "in_progress",
            "action": {"type": "search", "query": "Qwen"},
        },
    ),
    event("web_search_call.in_progress", item_id="msg_1"),
    event("web_search_call.completed", item_id="msg_1"),
    event(
        "output_item.done",
        item={
            "type": "web_search_call",
            "id": "msg_1",
            "status": "completed",
            "action": {
                "type": "search",
                "query": "Qwen",
                "sources": [{"type": "url", "url": "https://qwen.example"}],
            },
        },
    ),
]
_EXTRACTOR = {"type": "web_extractor_call", "id": "msg_2", "urls": ["https://qwen.example"]}
_EXTRACTION = [
    event("output_item.added", item={**_EXTRACTOR, "status": "in_progress"}),
    event("output_item.done", item={**_EXTRACTOR, "output": "A model.", "status": "completed"}),
]

STREAMS: dict[str, Stream] = {
    "one run": Stream(
        complete_stream(_REASONING, _RUN, _SECOND_REASONING, _MESSAGE_ITEM, usage=_USAGE),
        **_ONE_RUN_MESSAGE,
    ),
    "reasoning under its older name": Stream(
        complete_stream(
            reasoning("msg_1", "I need", " the exact value.", kind="reasoning_summary_text"),
            _RUN,
            reasoning("msg_3", "It is 16807.", kind="reasoning_summary_text"),
            _MESSAGE_ITEM,
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "reasoning under both names": Stream(
        complete_stream(
            [
                *_REASONING[:-1],
                event("reasoning_summary_text.delta", delta="I need", item_id="msg_1"),
                _REASONING[-1],
            ],
            _RUN,
            _SECOND_REASONING,
            _MESSAGE_ITEM,
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "only complete items, no deltas": Stream(
        stream(
            CREATED, completed_event(_USAGE, _REASONING, _RUN, _SECOND_REASONING, _MESSAGE_ITEM)
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "missing deltas": Stream(
        complete_stream(
            [_REASONING[0], _REASONING[1], _REASONING[-1]],
            _RUN,
            _SECOND_REASONING,
            [*_MESSAGE_ITEM[:3], *_MESSAGE_ITEM[4:]],
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "text deltas without an item id": Stream(
        complete_stream(
            _REASONING,
            _RUN,
            _SECOND_REASONING,
            [
                {key: value for key, value in payload.items() if key != "item_id"}
                if "text.delta" in payload["type"]
                else payload
                for payload in message(
                    "msg_4", "7 to the power of 5 ", "is 16807.", part_type="text"
                )
            ],
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "code in pieces": Stream(
        complete_stream(
            _REASONING,
            [
                event(
                    "output_item.added",
                    item={"type": "code_interpreter_call", "id": "msg_2", "code": ""},
                ),
                event("code_interpreter_call_code.delta", item_id="msg_2", delta="7*"),
                event("code_interpreter_call_code.delta", item_id="msg_2", delta="*5"),
                event("code_interpreter_call_code.done", item_id="msg_2", code="7**5"),
                _RUN[-1],
            ],
            _SECOND_REASONING,
            _MESSAGE_ITEM,
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "unknown events and items": Stream(
        complete_stream(
            [*_REASONING, event("telescope.turned", star="Vega")],
            [event("output_item.added", item={"type": "telescope", "id": "msg_9"}), *_RUN],
            _SECOND_REASONING,
            _MESSAGE_ITEM,
            usage=_USAGE,
        ),
        **_ONE_RUN_MESSAGE,
    ),
    "one JSON document": Stream(
        json.dumps(
            completed_event(_USAGE, _REASONING, _RUN, _SECOND_REASONING, _MESSAGE_ITEM)["response"]
        ).encode(),
        **_ONE_RUN_MESSAGE,
    ),
    "an exception, a plot, and no output": Stream(
        complete_stream(
            code_interpreter_call("msg_1", "1/0", f"```\n{_TRACEBACK}\n```"),
            code_interpreter_call("msg_2", "plot()", f"```\nDone.\n![plot]({_PLOT})\n```"),
            code_interpreter_call("msg_3", "pass", None),
            message("msg_4", "Here."),
            usage=usage(900, 30, code_interpreter=3),
        ),
        api="responses",
        content="Here.",
        codes=["1/0", "plot()", "pass"],
        execution_records=[
            {"code": "1/0", "status": "failed", "output": _TRACEBACK},
            {
                "code": "plot()",
                "status": "completed",
                "output": f"Done.\n![plot]({_PLOT})",
                "images": [_PLOT],
            },
            {"code": "pass", "status": "completed"},
        ],
        blocks=[
            ("server_tool_call", "1/0"),
            ("server_tool_result", _TRACEBACK),
            ("server_tool_call", "plot()"),
            ("server_tool_result", f"Done.\n![plot]({_PLOT})"),
            ("server_tool_call", "pass"),
            ("text", "Here."),
        ],
        plugins={"code_interpreter": {"count": 3}},
        usage=(900, 30, 930),
    ),
    "other tools of the service": Stream(
        complete_stream(
            _SEARCH,
            _EXTRACTION,
            message("msg_3", "Found."),
            usage=usage(900, 30, web_search=1, web_extractor=1),
        ),
        api="responses",
        content="Found.",
        blocks=[
            ("server_tool_call", {"action": {"type": "search", "query": "Qwen"}}),
            (
                "server_tool_result",
                {
                    "action": {
                        "type": "search",
                        "query": "Qwen",
                        "sources": [{"type": "url", "url": "https://qwen.example"}],
                    }
                },
            ),
            ("server_tool_call", {"urls": ["https://qwen.example"]}),
            ("server_tool_result", "A model."),
            ("text", "Found."),
        ],
        plugins={"web_search": {"count": 1}, "web_extractor": {"count": 1}},
        usage=(900, 30, 930),
    ),
    "cut by length during an execution": Stream(
        stream(
            CREATED,
            _REASONING,
            _RUN[0],
            event(
                "incomplete",
                response=response(
                    "incomplete",
                    incomplete_details={"reason": "max_output_tokens"},
                    usage=usage(300, 16),
                ),
            ),
        ),
        api="responses",
        reasoning="I need the exact value.",
        codes=["7**5"],
        blocks=[("reasoning", "I need the exact value."), ("server_tool_call", "7**5")],
        usage=(300, 16, 316),
        finish_reason="length",
    ),
    "parallel function calls": Stream(
        complete_stream(*_TWO_FUNCTION_CALLS, usage=usage(90, 12)),
        api="responses",
        tool_calls=[("add", {"a": 1}, "call_a"), ("mul", {"b": 2}, "call_b")],
        blocks=[("tool_call", "add"), ("tool_call", "mul")],
        usage=(90, 12, 102),
        finish_reason="tool_calls",
    ),
}
