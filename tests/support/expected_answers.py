"""Answers whose meaning is known frame by frame: what a client must have told when one breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import chat_completions_streams
import dashscope_streams
import responses_streams
from langchain_core.messages import AIMessage

from langchain_qwen_ci import code_executions, plugin_counts

_THOUGHT = "π has no end. "
_CODE = "import math\nprint(math.pi)"
_THOUGHT_AGAIN = "Six digits will do."
_SAID = ("π ≈ 3.14159 ", "🥧, or “про” 3.")
_OUTPUT = "3.141592653589793"


@dataclass(frozen=True)
class AnswerParts:
    """What a message tells."""

    reasoning: str = ""
    code: str = ""
    status: str = ""
    output: str = ""
    text: str = ""
    usage: tuple[int, int, int] | None = None
    counted: int = 0
    finish_reason: str = ""

    @classmethod
    def by(cls, message: AIMessage) -> AnswerParts:
        usage = message.usage_metadata
        runs = code_executions(message)
        return cls(
            reasoning=message.additional_kwargs.get("reasoning_content", ""),
            code="\n".join(run["code"] for run in runs),
            status=" ".join(run["status"] for run in runs),
            output="\n".join(run.get("output", "") for run in runs),
            text=str(message.text),
            usage=usage and (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]),
            counted=plugin_counts(message).get("code_interpreter", 0),
            finish_reason=message.response_metadata.get("finish_reason", ""),
        )

    def plus(self, *, reasoning: str = "", text: str = "", **fields: Any) -> AnswerParts:
        """And then this: texts grow, the rest is as last told."""
        return replace(self, reasoning=self.reasoning + reasoning, text=self.text + text, **fields)


@dataclass(frozen=True)
class Frame:
    """A frame, and all that has been told with it; None if that is nothing yet."""

    data: bytes
    result: AnswerParts | None


def _frames(body: bytes, growth: Iterable[dict[str, Any] | None]) -> tuple[Frame, ...]:
    """The frames of a body, each with what it adds; None for one that tells nothing at all."""
    frames: list[Frame] = []
    result: AnswerParts | None = None
    for data, added in zip(body.split(b"\n\n")[:-1], growth, strict=True):
        if added is not None:
            result = (result or AnswerParts()).plus(**added)
        frames.append(Frame(_as_characters(data) + b"\n\n", result))
    return tuple(frames)


def _as_characters(frame: bytes) -> bytes:
    """Its text as UTF-8 and not as escapes, so that it can be cut inside a character."""
    return re.sub(
        rb"(?<=data:)( ?)(\{.*\})",
        lambda found: (
            found[1]
            + json.dumps(json.loads(found[2]), ensure_ascii=False, separators=(",", ":")).encode()
        ),
        frame,
    )


def _native() -> tuple[Frame, ...]:
    runs = dashscope_streams.tool_info(_CODE)
    steps: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            dashscope_streams.frame(reasoning=_THOUGHT, usage=dashscope_streams.usage(290, 6)),
            {"reasoning": _THOUGHT, "usage": (290, 6, 296)},
        ),
        (dashscope_streams.frame(usage=dashscope_streams.usage(290, 9)), {"usage": (290, 9, 299)}),
        (
            dashscope_streams.frame(
                tool_info=runs, usage=dashscope_streams.usage(290, 24, executions=1)
            ),
            {"code": _CODE, "status": "in_progress", "usage": (290, 24, 314), "counted": 1},
        ),
        (
            dashscope_streams.frame(
                reasoning=_THOUGHT_AGAIN,
                tool_info=runs,
                usage=dashscope_streams.usage(730, 30, executions=1),
            ),
            {"reasoning": _THOUGHT_AGAIN, "status": "completed", "usage": (730, 30, 760)},
        ),
        (
            dashscope_streams.frame(
                content=_SAID[0],
                tool_info=runs,
                usage=dashscope_streams.usage(730, 36, executions=1),
            ),
            {"text": _SAID[0], "usage": (730, 36, 766)},
        ),
        (
            dashscope_streams.frame(
                content=_SAID[1],
                tool_info=runs,
                usage=dashscope_streams.usage(730, 41, executions=1),
            ),
            {"text": _SAID[1], "usage": (730, 41, 771)},
        ),
        (
            dashscope_streams.frame(
                finish_reason="stop",
                tool_info=runs,
                usage=dashscope_streams.usage(730, 41, executions=1),
            ),
            {"finish_reason": "stop"},
        ),
    ]
    return _frames(
        dashscope_streams.stream(*(frame for frame, _ in steps)), (added for _, added in steps)
    )


def _responses() -> tuple[Frame, ...]:
    reasoning = responses_streams.reasoning("msg_1", _THOUGHT)
    program = responses_streams.code_interpreter_call("msg_2", _CODE, f"```\n{_OUTPUT}\n```")
    again = responses_streams.reasoning("msg_3", _THOUGHT_AGAIN)
    text = responses_streams.message("msg_4", *_SAID)
    items = (reasoning, program, again, text)
    body = responses_streams.complete_stream(
        *items, usage=responses_streams.usage(1160, 195, code_interpreter=1)
    )
    nothing: list[None] = [None]
    return _frames(
        body,
        [
            *nothing * 2,
            *(None, {"reasoning": _THOUGHT}, None, None),
            *({"code": _CODE, "status": "in_progress"}, None, None, None),
            {"status": "completed", "output": _OUTPUT},
            *(None, {"reasoning": _THOUGHT_AGAIN}, None, None),
            *(None, None, {"text": _SAID[0]}, {"text": _SAID[1]}, None, None, None),
            {"usage": (1160, 195, 1355), "counted": 1, "finish_reason": "stop"},
        ],
    )


def _chat() -> tuple[Frame, ...]:
    chunks: list[dict[str, Any]] = [
        chat_completions_streams.chunk(content=None, role="assistant", reasoning_content=""),
        chat_completions_streams.reasoning_chunk(_THOUGHT),
        chat_completions_streams.reasoning_chunk(_THOUGHT_AGAIN),
        chat_completions_streams.text_chunk(_SAID[0]),
        chat_completions_streams.text_chunk(_SAID[1]),
        chat_completions_streams.chunk("stop", content="", reasoning_content=None),
        chat_completions_streams.usage_chunk(730, 41),
    ]
    return _frames(
        chat_completions_streams.stream(*chunks),
        [
            {},
            {"reasoning": _THOUGHT},
            {"reasoning": _THOUGHT_AGAIN},
            {"text": _SAID[0]},
            {"text": _SAID[1]},
            {"finish_reason": "stop"},
            {"usage": (730, 41, 771)},
            None,
        ],
    )


@dataclass(frozen=True)
class Story:
    """An answer on one wire, and how many of its frames have come when something has happened.

    Attributes:
        document: the same answer as one JSON document.
        code: code was shown; on Chat Completions, which shows none, thinking has stopped for it.
        text: the first piece of text was told, and not all.
        finish: the answer is proven to be whole.
    """

    frames: tuple[Frame, ...]
    document: bytes
    code: int
    text: int
    finish: int

    @property
    def body(self) -> bytes:
        return self.until(len(self.frames))

    def until(self, count: int) -> bytes:
        return b"".join(frame.data for frame in self.frames[:count])

    def told_by(self, count: int) -> AnswerParts | None:
        """What the first so many frames tell."""
        result = [frame.result for frame in self.frames[:count] if frame.result]
        return result[-1] if result else None

    @property
    def result(self) -> AnswerParts:
        whole = self.told_by(len(self.frames))
        assert whole
        return whole


def _native_document() -> bytes:
    frame = dashscope_streams.frame(
        reasoning=_THOUGHT + _THOUGHT_AGAIN,
        content="".join(_SAID),
        tool_info=dashscope_streams.tool_info(_CODE),
        finish_reason="stop",
        usage=dashscope_streams.usage(730, 41, executions=1),
    )
    return json.dumps(frame).encode()


def _responses_document(frames: tuple[Frame, ...]) -> bytes:
    data = frames[-1].data.partition(b"\ndata:")[2]
    return json.dumps(json.loads(data)["response"]).encode()


def _chat_document() -> bytes:
    message = {"reasoning_content": _THOUGHT + _THOUGHT_AGAIN, "content": "".join(_SAID)}
    choice = {"message": message, "finish_reason": "stop", "index": 0}
    return json.dumps(
        {**chat_completions_streams.usage_chunk(730, 41), "choices": [choice]}
    ).encode()


STORIES = {
    "dashscope": Story(_native(), _native_document(), code=3, text=5, finish=7),
    "responses": Story(_responses(), _responses_document(_responses()), code=7, text=18, finish=23),
    "chat_completions": Story(_chat(), _chat_document(), code=2, text=4, finish=6),
}
