"""Streams of Chat Completions, written by hand from its documentation, with expected messages."""

from __future__ import annotations

import json
from typing import Any

from stream_fixture import REQUEST_ID, Stream


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk. Its `content` is null unless the delta has `content` or `tool_calls`."""
    if not delta.keys() & {"content", "tool_calls"}:
        delta = {"content": None, **delta}
    choice = {"delta": delta, "finish_reason": finish_reason, "index": 0, "logprobs": None}
    return {
        "choices": [choice],
        "object": "chat.completion.chunk",
        "usage": None,
        "created": 1790000000,
        "system_fingerprint": None,
        "model": "qwen3-max",
        "id": REQUEST_ID,
    }


def reasoning_chunk(text: str) -> dict[str, Any]:
    return chunk(content=None, reasoning_content=text)


def text_chunk(text: str) -> dict[str, Any]:
    return chunk(content=text, reasoning_content=None)


def tool_call_chunk(index: int, call_id: str, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    piece = {"index": index, "id": call_id, "type": "function", "function": function}
    return chunk(content=None, tool_calls=[piece])


def usage_chunk(input_tokens: int, output_tokens: int, /, **more: Any) -> dict[str, Any]:
    """The chunk with the usage, which has no choices."""
    usage = {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        **more,
    }
    return {**chunk(), "choices": [], "usage": usage}


def stream(*chunks: dict[str, Any] | bytes, done: bool = True) -> bytes:
    """Encode chunks as the service does: with a space after the colon, and `[DONE]` at the end."""
    lines = [
        payload if isinstance(payload, bytes) else f"data: {json.dumps(payload)}\n\n".encode()
        for payload in chunks
    ]
    return b"".join([*lines, b"data: [DONE]\n\n" if done else b""])


_ANSWER = [
    chunk(content=None, role="assistant", reasoning_content=""),
    reasoning_chunk("I need"),
    reasoning_chunk(" the exact value."),
    text_chunk("7 to the power of 5 "),
    text_chunk("is 16807."),
    chunk("stop", content="", reasoning_content=None),
]
_ANSWER_MESSAGE: dict[str, Any] = {
    "api": "chat_completions",
    "content": "7 to the power of 5 is 16807.",
    "reasoning": "I need the exact value.",
    "blocks": [
        ("reasoning", "I need the exact value."),
        ("text", "7 to the power of 5 is 16807."),
    ],
    "usage": (730, 41, 771),
}

STREAMS: dict[str, Stream] = {
    "an answer": Stream(stream(*_ANSWER, usage_chunk(730, 41)), **_ANSWER_MESSAGE),
    "no [DONE]": Stream(stream(*_ANSWER, usage_chunk(730, 41), done=False), **_ANSWER_MESSAGE),
    "no blank line after the last frame": Stream(
        stream(*_ANSWER, usage_chunk(730, 41)).rstrip(b"\n"), **_ANSWER_MESSAGE
    ),
    "a chunk after [DONE]": Stream(
        stream(*_ANSWER, usage_chunk(730, 41)) + stream(text_chunk("ghost")), **_ANSWER_MESSAGE
    ),
    "usage in every chunk": Stream(
        stream(
            *(
                {**payload, "usage": usage_chunk(700, at)["usage"]}
                for at, payload in enumerate(_ANSWER)
            ),
            usage_chunk(730, 41),
        ),
        **_ANSWER_MESSAGE,
    ),
    "plugin counts": Stream(
        stream(*_ANSWER, usage_chunk(730, 41, plugins={"code_interpreter": {"count": 2}})),
        **{**_ANSWER_MESSAGE, "plugins": {"code_interpreter": {"count": 2}}},
    ),
    "cut by length": Stream(
        stream(text_chunk("7 to"), chunk("length", content=""), usage_chunk(9, 2)),
        api="chat_completions",
        content="7 to",
        blocks=[("text", "7 to")],
        usage=(9, 2, 11),
        finish_reason="length",
    ),
    "pieces of parallel function calls interleaved": Stream(
        stream(
            tool_call_chunk(0, "call_a", "add", '{"a"'),
            tool_call_chunk(1, "call_b", "mul", ""),
            tool_call_chunk(0, "", None, ": 1}"),
            tool_call_chunk(1, "", None, '{"b": 2}'),
            chunk("tool_calls", content=""),
            usage_chunk(90, 12),
        ),
        api="chat_completions",
        tool_calls=[("add", {"a": 1}, "call_a"), ("mul", {"b": 2}, "call_b")],
        blocks=[("tool_call", "add"), ("tool_call", "mul")],
        usage=(90, 12, 102),
        finish_reason="tool_calls",
    ),
    "a function call with invalid arguments": Stream(
        stream(
            text_chunk("Let me add."),
            tool_call_chunk(0, "call_a", "add", "{a = 1}"),
            chunk("tool_calls", content=""),
            usage_chunk(90, 12),
        ),
        api="chat_completions",
        content="Let me add.",
        invalid_tool_calls=[("add", "{a = 1}")],
        blocks=[("text", "Let me add."), ("invalid_tool_call", "add")],
        usage=(90, 12, 102),
        finish_reason="tool_calls",
    ),
    "one JSON document": Stream(
        json.dumps(
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": "Hi",
                            "reasoning_content": "H.",
                        },
                        "finish_reason": "stop",
                        "index": 0,
                    }
                ],
                "object": "chat.completion",
                "usage": usage_chunk(9, 1)["usage"],
                "id": REQUEST_ID,
            }
        ).encode(),
        api="chat_completions",
        content="Hi",
        reasoning="H.",
        blocks=[("reasoning", "H."), ("text", "Hi")],
        usage=(9, 1, 10),
    ),
}
