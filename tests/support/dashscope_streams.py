"""Streams of the native wire, written by hand from its description, with what each one means.

A fixture is the raw bytes of an answer; beside it stands the message that it must become.
"""

from __future__ import annotations

import json
from typing import Any

from stream_fixture import REQUEST_ID, Stream


def usage(inputs: int, outputs: int, *, runs: int = 0, **more: Any) -> dict[str, Any]:
    counted = {"plugins": {"code_interpreter": {"count": runs}}} if runs else {}
    return {
        "total_tokens": inputs + outputs,
        "output_tokens": outputs,
        "input_tokens": inputs,
        **counted,
        **more,
    }


def code(*programs: str) -> list[dict[str, Any]]:
    """`tool_info` that shows these programs."""
    return [{"code_interpreter": {"code": text}, "type": "code_interpreter"} for text in programs]


def frame(
    *,
    thought: str | None = "",
    said: Any = "",
    runs: list[Any] | None = None,
    finish: str | None = "null",
    used: dict[str, Any] | None = None,
    calls: list[Any] | None = None,
    **output: Any,
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said, "reasoning_content": thought}
    if thought is None:
        del message["reasoning_content"]
    if calls is not None:
        message["tool_calls"] = calls
    choice = {"message": message, "finish_reason": finish}
    payload: dict[str, Any] = {"output": {"choices": [choice], **output}}
    if runs is not None:
        payload["output"]["tool_info"] = runs
    if used is not None:
        payload["usage"] = used
    return {**payload, "request_id": REQUEST_ID}


def stream(*frames: dict[str, Any] | bytes, newline: str = "\n") -> bytes:
    """Frames as the service sends them: no space after the colons, no [DONE]."""
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


def _call(index: int, call_id: str, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "id": call_id, "type": "function", "function": function}


_ONE = code("7**5")
_TWO = code("7**5", "7**5 % 11")

ONE_RUN = [
    frame(thought="I need", used=usage(290, 2)),
    frame(thought=" the exact value.", used=usage(290, 6)),
    frame(used=usage(290, 20)),
    frame(runs=_ONE, used=usage(290, 24, runs=1)),
    frame(thought="It is 16807.", runs=_ONE, used=usage(730, 30, runs=1)),
    frame(said="7 to the power of 5 ", runs=_ONE, used=usage(730, 36, runs=1)),
    frame(said="is 16807.", runs=_ONE, used=usage(730, 41, runs=1)),
    frame(finish="stop", runs=_ONE, used=usage(730, 41, runs=1)),
]
_ONE_RUN_MEANS: dict[str, Any] = {
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
    "one run": Stream(stream(*ONE_RUN), **_ONE_RUN_MEANS),
    "carriage returns": Stream(stream(*ONE_RUN, newline="\r\n"), **_ONE_RUN_MEANS),
    "byte order mark": Stream(b"\xef\xbb\xbf" + stream(*ONE_RUN), **_ONE_RUN_MEANS),
    "no blank line at the end": Stream(stream(*ONE_RUN).rstrip(b"\n"), **_ONE_RUN_MEANS),
    "comments and unknown fields": Stream(
        b": ping\n\nretry:3000\n\n" + stream(*ONE_RUN), **_ONE_RUN_MEANS
    ),
    "code first empty, then in pieces": Stream(
        stream(
            frame(thought="Hm.", used=usage(290, 2)),
            frame(runs=code(""), used=usage(290, 4)),
            frame(runs=code("import math\n"), used=usage(290, 8)),
            frame(runs=code('import math\nprint("π")'), used=usage(290, 12, runs=1)),
            frame(said="π", runs=code('import math\nprint("π")'), used=usage(731, 14, runs=1)),
            frame(finish="stop", runs=code('import math\nprint("π")'), used=usage(731, 14, runs=1)),
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
            frame(thought="First.", used=usage(300, 3)),
            frame(runs=_ONE, used=usage(300, 9, runs=1)),
            frame(runs=_TWO, used=usage(750, 20, runs=2)),
            frame(thought="Done.", runs=_TWO, used=usage(1230, 24, runs=2)),
            frame(said="10", runs=_TWO, used=usage(1230, 26, runs=2)),
            frame(finish="stop", runs=_TWO, used=usage(1230, 26, runs=2)),
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
    "speaks between two runs and thinks after speaking": Stream(
        stream(
            frame(thought="A.", used=usage(300, 3)),
            frame(said="Let me see. ", used=usage(300, 6)),
            frame(runs=_ONE, used=usage(300, 9, runs=1)),
            frame(said="So far 16807. ", runs=_ONE, used=usage(750, 12, runs=1)),
            frame(thought="B.", runs=_ONE, used=usage(750, 14, runs=1)),
            frame(runs=_TWO, used=usage(750, 20, runs=2)),
            frame(thought="C.", runs=_TWO, used=usage(1200, 22, runs=2)),
            frame(said="10.", finish="stop", runs=_TWO, used=usage(1200, 24, runs=2)),
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
    "several stages in one frame": Stream(
        stream(
            frame(thought="A.", said="10.", runs=_ONE, used=usage(700, 9, runs=1)),
            frame(finish="stop", runs=_ONE, used=usage(700, 9, runs=1)),
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
                thought="看。", said=[], used=usage(300, 2, input_tokens_details={"text_tokens": 3})
            ),
            frame(thought="", said=[], runs=_ONE, used=usage(300, 5, runs=1)),
            frame(thought=None, said=[{"text": "它是"}], runs=_ONE, used=usage(760, 8, runs=1)),
            frame(
                thought=None,
                said=[{"text": "16807"}, {"text": "。"}],
                runs=_ONE,
                used=usage(760, 9, runs=1),
                finish="stop",
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
            frame(thought=None, said=None, used=usage(20, 0), finish=None),
            frame(thought=None, said="Hello", used=usage(20, 1), finish=None),
            {"output": {"choices": []}, "request_id": REQUEST_ID},
            {"request_id": REQUEST_ID, "usage": {"input_tokens": 20, "output_tokens": 2}},
            frame(thought=None, said=None, finish="stop"),
        ),
        content="Hello",
        blocks=[("text", "Hello")],
        usage=(20, 2, 22),
    ),
    "cut by length, in the middle of code": Stream(
        stream(
            frame(thought="A.", used=usage(300, 3)),
            frame(runs=_ONE, finish="length", used=usage(300, 9)),
        ),
        reasoning="A.",
        codes=["7**5"],
        blocks=[("reasoning", "A."), ("server_tool_call", "7**5")],
        usage=(300, 9, 309),
        finish_reason="length",
    ),
    "an entry of unknown type": Stream(
        stream(
            frame(thought="A.", used=usage(300, 3)),
            frame(
                runs=[{"type": "telescope", "telescope": {"star": "Vega"}}, *_ONE],
                used=usage(300, 9, runs=1),
            ),
            frame(
                said="x",
                finish="stop",
                runs=[{"type": "telescope", "telescope": {"star": "Vega"}}, *_ONE],
                used=usage(300, 9, runs=1),
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
            frame(calls=[_call(0, "call_a", "add", '{"a"')], used=usage(90, 4)),
            frame(calls=[_call(0, "", None, ": 1}")], used=usage(90, 8)),
            frame(calls=[_call(1, "call_b", "mul", "")], used=usage(90, 9)),
            frame(calls=[_call(1, "", None, '{"b": 2}')], used=usage(90, 12)),
            frame(finish="tool_calls", used=usage(90, 12)),
        ),
        tool_calls=[("add", {"a": 1}, "call_a"), ("mul", {"b": 2}, "call_b")],
        blocks=[("tool_call", "add"), ("tool_call", "mul")],
        usage=(90, 12, 102),
        finish_reason="tool_calls",
    ),
    "one JSON document": Stream(
        json.dumps(frame(thought=None, said="Hi", finish="stop", used=usage(9, 1))).encode(),
        content="Hi",
        blocks=[("text", "Hi")],
        usage=(9, 1, 10),
    ),
}
