"""Streams of the native API, written by hand from its documentation, with the expected messages."""

from __future__ import annotations

import json
from typing import Any

from stream_fixture import REQUEST_ID, Stream


def usage(
    input_tokens: int, output_tokens: int, /, *, executions: int = 0, **more: Any
) -> dict[str, Any]:
    """The `usage` object of a frame."""
    plugins = {"plugins": {"code_interpreter": {"count": executions}}} if executions else {}
    return {
        "total_tokens": input_tokens + output_tokens,
        "output_tokens": output_tokens,
        "input_tokens": input_tokens,
        **plugins,
        **more,
    }


def tool_info(*programs: str) -> list[dict[str, Any]]:
    """The `tool_info` list of a frame, with one entry for each program."""
    return [{"code_interpreter": {"code": code}, "type": "code_interpreter"} for code in programs]


def frame(
    *,
    reasoning: str | None = "",
    content: Any = "",
    tool_info: list[Any] | None = None,
    finish_reason: str | None = "null",
    usage: dict[str, Any] | None = None,
    tool_calls: list[Any] | None = None,
    **output: Any,
) -> dict[str, Any]:
    """The data of a frame; `output` are further fields of its `output`."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "reasoning_content": reasoning,
    }
    if reasoning is None:
        del message["reasoning_content"]
    if tool_calls is not None:
        message["tool_calls"] = tool_calls
    choice = {"message": message, "finish_reason": finish_reason}
    payload: dict[str, Any] = {"output": {"choices": [choice], **output}}
    if tool_info is not None:
        payload["output"]["tool_info"] = tool_info
    if usage is not None:
        payload["usage"] = usage
    return {**payload, "request_id": REQUEST_ID}


def stream(*frames: dict[str, Any] | bytes, newline: str = "\n") -> bytes:
    """Encode frames as the service does: without spaces after colons, without `[DONE]`.

    Frames that are bytes are inserted unchanged.
    """
    lines: list[bytes] = []
    for number, payload in enumerate(frames, start=1):
        if isinstance(payload, bytes):
            lines.append(payload)
            continue
        data = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        text = f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n"
        lines.append(text.replace("\n", newline).encode())
    return b"".join(lines)


def error_frame(status: int, code: str, message: str) -> bytes:
    data = json.dumps({"code": code, "message": message, "request_id": REQUEST_ID})
    return f"id:1\nevent:error\n:HTTP_STATUS/{status}\ndata:{data}\n\n".encode()


def tool_call(index: int, call_id: str, name: str | None, arguments: str) -> dict[str, Any]:
    """An entry of `tool_calls`; later pieces of a call have an empty id and no name."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "id": call_id, "type": "function", "function": function}


_ONE_PROGRAM = tool_info("7**5")
_TWO_PROGRAMS = tool_info("7**5", "7**5 % 11")

ONE_RUN = [
    frame(reasoning="I need", usage=usage(290, 2)),
    frame(reasoning=" the exact value.", usage=usage(290, 6)),
    frame(usage=usage(290, 20)),
    frame(tool_info=_ONE_PROGRAM, usage=usage(290, 24, executions=1)),
    frame(reasoning="It is 16807.", tool_info=_ONE_PROGRAM, usage=usage(730, 30, executions=1)),
    frame(
        content="7 to the power of 5 ", tool_info=_ONE_PROGRAM, usage=usage(730, 36, executions=1)
    ),
    frame(content="is 16807.", tool_info=_ONE_PROGRAM, usage=usage(730, 41, executions=1)),
    frame(finish_reason="stop", tool_info=_ONE_PROGRAM, usage=usage(730, 41, executions=1)),
]
_ONE_RUN_MESSAGE: dict[str, Any] = {
    "content": "7 to the power of 5 is 16807.",
    "reasoning": "I need the exact value.It is 16807.",
    "codes": ["7**5"],
    "blocks": [
        ("reasoning", "I need the exact value."),
        ("server_tool_call", "7**5"),
        ("reasoning", "It is 16807."),
        ("text", "7 to the power of 5 is 16807."),
    ],
    "plugins": {"code_interpreter": {"count": 1}},
    "usage": (730, 41, 771),
}

STREAMS: dict[str, Stream] = {
    "one run": Stream(stream(*ONE_RUN), **_ONE_RUN_MESSAGE),
    "carriage returns": Stream(stream(*ONE_RUN, newline="\r\n"), **_ONE_RUN_MESSAGE),
    "byte order mark": Stream(b"\xef\xbb\xbf" + stream(*ONE_RUN), **_ONE_RUN_MESSAGE),
    "no blank line after the last frame": Stream(
        stream(*ONE_RUN).rstrip(b"\n"), **_ONE_RUN_MESSAGE
    ),
    "comments and unknown SSE fields": Stream(
        b": ping\n\nretry:3000\n\n" + stream(*ONE_RUN), **_ONE_RUN_MESSAGE
    ),
    "code that is empty at first, then grows": Stream(
        stream(
            frame(reasoning="Hm.", usage=usage(290, 2)),
            frame(tool_info=tool_info(""), usage=usage(290, 4)),
            frame(tool_info=tool_info("import math\n"), usage=usage(290, 8)),
            frame(
                tool_info=tool_info('import math\nprint("π")'), usage=usage(290, 12, executions=1)
            ),
            frame(
                content="π",
                tool_info=tool_info('import math\nprint("π")'),
                usage=usage(731, 14, executions=1),
            ),
            frame(
                finish_reason="stop",
                tool_info=tool_info('import math\nprint("π")'),
                usage=usage(731, 14, executions=1),
            ),
        ),
        content="π",
        reasoning="Hm.",
        codes=['import math\nprint("π")'],
        blocks=[
            ("reasoning", "Hm."),
            ("server_tool_call", 'import math\nprint("π")'),
            ("text", "π"),
        ],
        plugins={"code_interpreter": {"count": 1}},
        usage=(731, 14, 745),
    ),
    "two runs in a row": Stream(
        stream(
            frame(reasoning="First.", usage=usage(300, 3)),
            frame(tool_info=_ONE_PROGRAM, usage=usage(300, 9, executions=1)),
            frame(tool_info=_TWO_PROGRAMS, usage=usage(750, 20, executions=2)),
            frame(reasoning="Done.", tool_info=_TWO_PROGRAMS, usage=usage(1230, 24, executions=2)),
            frame(content="10", tool_info=_TWO_PROGRAMS, usage=usage(1230, 26, executions=2)),
            frame(
                finish_reason="stop", tool_info=_TWO_PROGRAMS, usage=usage(1230, 26, executions=2)
            ),
        ),
        content="10",
        reasoning="First.Done.",
        codes=["7**5", "7**5 % 11"],
        blocks=[
            ("reasoning", "First."),
            ("server_tool_call", "7**5"),
            ("server_tool_call", "7**5 % 11"),
            ("reasoning", "Done."),
            ("text", "10"),
        ],
        plugins={"code_interpreter": {"count": 2}},
        usage=(1230, 26, 1256),
    ),
    "text between two runs, and reasoning after text": Stream(
        stream(
            frame(reasoning="A.", usage=usage(300, 3)),
            frame(content="Let me see. ", usage=usage(300, 6)),
            frame(tool_info=_ONE_PROGRAM, usage=usage(300, 9, executions=1)),
            frame(
                content="So far 16807. ", tool_info=_ONE_PROGRAM, usage=usage(750, 12, executions=1)
            ),
            frame(reasoning="B.", tool_info=_ONE_PROGRAM, usage=usage(750, 14, executions=1)),
            frame(tool_info=_TWO_PROGRAMS, usage=usage(750, 20, executions=2)),
            frame(reasoning="C.", tool_info=_TWO_PROGRAMS, usage=usage(1200, 22, executions=2)),
            frame(
                content="10.",
                finish_reason="stop",
                tool_info=_TWO_PROGRAMS,
                usage=usage(1200, 24, executions=2),
            ),
        ),
        content="Let me see. So far 16807. 10.",
        reasoning="A.B.C.",
        codes=["7**5", "7**5 % 11"],
        blocks=[
            ("reasoning", "A."),
            ("text", "Let me see. "),
            ("server_tool_call", "7**5"),
            ("text", "So far 16807. "),
            ("reasoning", "B."),
            ("server_tool_call", "7**5 % 11"),
            ("reasoning", "C."),
            ("text", "10."),
        ],
        plugins={"code_interpreter": {"count": 2}},
        usage=(1200, 24, 1224),
    ),
    "reasoning, code and text in one frame": Stream(
        stream(
            frame(
                reasoning="A.",
                content="10.",
                tool_info=_ONE_PROGRAM,
                usage=usage(700, 9, executions=1),
            ),
            frame(finish_reason="stop", tool_info=_ONE_PROGRAM, usage=usage(700, 9, executions=1)),
        ),
        content="10.",
        reasoning="A.",
        codes=["7**5"],
        blocks=[("reasoning", "A."), ("server_tool_call", "7**5"), ("text", "10.")],
        plugins={"code_interpreter": {"count": 1}},
        usage=(700, 9, 709),
    ),
    "multimodal, list content": Stream(
        stream(
            frame(
                reasoning="看。",
                content=[],
                usage=usage(300, 2, input_tokens_details={"text_tokens": 3}),
            ),
            frame(
                reasoning="", content=[], tool_info=_ONE_PROGRAM, usage=usage(300, 5, executions=1)
            ),
            frame(
                reasoning=None,
                content=[{"text": "它是"}],
                tool_info=_ONE_PROGRAM,
                usage=usage(760, 8, executions=1),
            ),
            frame(
                reasoning=None,
                content=[{"text": "16807"}, {"text": "。"}],
                tool_info=_ONE_PROGRAM,
                usage=usage(760, 9, executions=1),
                finish_reason="stop",
            ),
        ),
        content="它是16807。",
        reasoning="看。",
        codes=["7**5"],
        blocks=[("reasoning", "看。"), ("server_tool_call", "7**5"), ("text", "它是16807。")],
        plugins={"code_interpreter": {"count": 1}},
        usage=(760, 9, 769),
    ),
    "null and missing content": Stream(
        stream(
            frame(reasoning=None, content=None, usage=usage(20, 0), finish_reason=None),
            frame(reasoning=None, content="Hello", usage=usage(20, 1), finish_reason=None),
            {"output": {"choices": []}, "request_id": REQUEST_ID},
            {"request_id": REQUEST_ID, "usage": {"input_tokens": 20, "output_tokens": 2}},
            frame(reasoning=None, content=None, finish_reason="stop"),
        ),
        content="Hello",
        blocks=[("text", "Hello")],
        usage=(20, 2, 22),
    ),
    "cut by length during an execution": Stream(
        stream(
            frame(reasoning="A.", usage=usage(300, 3)),
            frame(tool_info=_ONE_PROGRAM, finish_reason="length", usage=usage(300, 9)),
        ),
        reasoning="A.",
        codes=["7**5"],
        blocks=[("reasoning", "A."), ("server_tool_call", "7**5")],
        usage=(300, 9, 309),
        finish_reason="length",
    ),
    "an entry of unknown type": Stream(
        stream(
            frame(reasoning="A.", usage=usage(300, 3)),
            frame(
                tool_info=[{"type": "telescope", "telescope": {"star": "Vega"}}, *_ONE_PROGRAM],
                usage=usage(300, 9, executions=1),
            ),
            frame(
                content="x",
                finish_reason="stop",
                tool_info=[{"type": "telescope", "telescope": {"star": "Vega"}}, *_ONE_PROGRAM],
                usage=usage(300, 9, executions=1),
            ),
        ),
        content="x",
        reasoning="A.",
        codes=["7**5"],
        blocks=[("reasoning", "A."), ("server_tool_call", "7**5"), ("text", "x")],
        plugins={"code_interpreter": {"count": 1}},
        usage=(300, 9, 309),
    ),
    "parallel function calls in pieces": Stream(
        stream(
            frame(tool_calls=[tool_call(0, "call_a", "add", '{"a"')], usage=usage(90, 4)),
            frame(tool_calls=[tool_call(0, "", None, ": 1}")], usage=usage(90, 8)),
            frame(tool_calls=[tool_call(1, "call_b", "mul", "")], usage=usage(90, 9)),
            frame(tool_calls=[tool_call(1, "", None, '{"b": 2}')], usage=usage(90, 12)),
            frame(finish_reason="tool_calls", usage=usage(90, 12)),
        ),
        tool_calls=[("add", {"a": 1}, "call_a"), ("mul", {"b": 2}, "call_b")],
        blocks=[("tool_call", "add"), ("tool_call", "mul")],
        usage=(90, 12, 102),
        finish_reason="tool_calls",
    ),
    "one JSON document": Stream(
        json.dumps(
            frame(reasoning=None, content="Hi", finish_reason="stop", usage=usage(9, 1))
        ).encode(),
        content="Hi",
        blocks=[("text", "Hi")],
        usage=(9, 1, 10),
    ),
}
