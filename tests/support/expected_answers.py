"""Sample answers with the expected message after each frame, also for interrupted streams."""

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

_REASONING = "π has no end. "
_CODE = "import math\nprint(math.pi)"
_MORE_REASONING = "Six digits will do."
_TEXTS = ("π ≈ 3.14159 ", "🥧, or “про” 3.")
_OUTPUT = "3.141592653589793"


@dataclass(frozen=True)
class AnswerParts:
    """The parts of a message that the tests compare."""

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
        """Add a frame: texts are appended, other fields replaced."""
        return replace(self, reasoning=self.reasoning + reasoning, text=self.text + text, **fields)


@dataclass(frozen=True)
class Frame:
    """A frame and the expected message after it; None if there is no message yet."""

    data: bytes
    result: AnswerParts | None


def _frames(body: bytes, growth: Iterable[dict[str, Any] | None]) -> tuple[Frame, ...]:
    """The frames of a body, each with the fields it adds; None for a frame without content."""
    frames: list[Frame] = []
    result: AnswerParts | None = None
    for data, added in zip(body.split(b"\n\n")[:-1], growth, strict=True):
        if added is not None:
            result = (result or AnswerParts()).plus(**added)
        frames.append(Frame(_as_characters(data) + b"\n\n", result))
    return tuple(frames)


def _as_characters(frame: bytes) -> bytes:
    """Write text as UTF-8 instead of escapes, so that a cut can be inside a character."""
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
            dashscope_streams.frame(reasoning=_REASONING, usage=dashscope_streams.usage(290, 6)),
            {"reasoning": _REASONING, "usage": (290, 6, 296)},
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
                reasoning=_MORE_REASONING,
                tool_info=runs,
                usage=dashscope_streams.usage(730, 30, executions=1),
            ),
            {"reasoning": _MORE_REASONING, "status": "completed", "usage": (730, 30, 760)},
        ),
        (
            dashscope_streams.frame(
                content=_TEXTS[0],
                tool_info=runs,
                usage=dashscope_streams.usage(730, 36, executions=1),
            ),
            {"text": _TEXTS[0], "usage": (730, 36, 766)},
        ),
        (
            dashscope_streams.frame(
                content=_TEXTS[1],
                tool_info=runs,
                usage=dashscope_streams.usage(730, 41, executions=1),
            ),
            {"text": _TEXTS[1], "usage": (730, 41, 771)},
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
    reasoning = responses_streams.reasoning("msg_1", _REASONING)
    program = responses_streams.code_interpreter_call("msg_2", _CODE, f"```\n{_OUTPUT}\n```")
    again = responses_streams.reasoning("msg_3", _MORE_REASONING)
    text = responses_streams.message("msg_4", *_TEXTS)
    items = (reasoning, program, again, text)
    body = responses_streams.complete_stream(
        *items, usage=responses_streams.usage(1160, 195, code_interpreter=1)
    )
    nothing: list[None] = [None]
    return _frames(
        body,
        [
            *nothing * 2,
            *(None, {"reasoning": _REASONING}, None, None),
            # The service counts calls at the end; until then the executions are counted.
            *({"code": _CODE, "status": "in_progress", "counted": 1}, None, None, None),
            {"status": "completed", "output": _OUTPUT},
            *(None, {"reasoning": _MORE_REASONING}, None, None),
            *(None, None, {"text": _TEXTS[0]}, {"text": _TEXTS[1]}, None, None, None),
            {"usage": (1160, 195, 1355), "finish_reason": "stop"},
        ],
    )


def _chat() -> tuple[Frame, ...]:
    chunks: list[dict[str, Any]] = [
        chat_completions_streams.chunk(content=None, role="assistant", reasoning_content=""),
        chat_completions_streams.reasoning_chunk(_REASONING),
        chat_completions_streams.reasoning_chunk(_MORE_REASONING),
        chat_completions_streams.text_chunk(_TEXTS[0]),
        chat_completions_streams.text_chunk(_TEXTS[1]),
        chat_completions_streams.chunk("stop", content="", reasoning_content=None),
        chat_completions_streams.usage_chunk(730, 41),
    ]
    return _frames(
        chat_completions_streams.stream(*chunks),
        [
            {},
            {"reasoning": _REASONING},
            {"reasoning": _MORE_REASONING},
            {"text": _TEXTS[0]},
            {"text": _TEXTS[1]},
            {"finish_reason": "stop"},
            {"usage": (730, 41, 771)},
            None,
        ],
    )


@dataclass(frozen=True)
class SampleAnswer:
    """An answer of one API, and after how many frames each part is complete.

    Attributes:
        document: the same answer as one JSON document.
        code: the code was sent; on Chat Completions, which sends none, the first reasoning was.
        text: the first of two pieces of text was sent.
        finish: the terminal event was sent.
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

    def parts_before(self, count: int) -> AnswerParts | None:
        """The expected message after the first `count` frames."""
        result = [frame.result for frame in self.frames[:count] if frame.result]
        return result[-1] if result else None

    @property
    def result(self) -> AnswerParts:
        complete = self.parts_before(len(self.frames))
        assert complete
        return complete


def _native_document() -> bytes:
    frame = dashscope_streams.frame(
        reasoning=_REASONING + _MORE_REASONING,
        content="".join(_TEXTS),
        tool_info=dashscope_streams.tool_info(_CODE),
        finish_reason="stop",
        usage=dashscope_streams.usage(730, 41, executions=1),
    )
    return json.dumps(frame).encode()


def _responses_document(frames: tuple[Frame, ...]) -> bytes:
    data = frames[-1].data.partition(b"\ndata:")[2]
    return json.dumps(json.loads(data)["response"]).encode()


def _chat_document() -> bytes:
    message = {"reasoning_content": _REASONING + _MORE_REASONING, "content": "".join(_TEXTS)}
    choice = {"message": message, "finish_reason": "stop", "index": 0}
    return json.dumps(
        {**chat_completions_streams.usage_chunk(730, 41), "choices": [choice]}
    ).encode()


SAMPLE_ANSWERS = {
    "dashscope": SampleAnswer(_native(), _native_document(), code=3, text=5, finish=7),
    "responses": SampleAnswer(
        _responses(), _responses_document(_responses()), code=7, text=18, finish=23
    ),
    "chat_completions": SampleAnswer(_chat(), _chat_document(), code=2, text=4, finish=6),
}
