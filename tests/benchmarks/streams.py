"""The streams that the replay server sends: the same answers in the format of each API.

A request selects a stream by the end of its model name: `qwen3-max-medium`.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import chat_completions_streams as chat
import dashscope_streams as native
import responses_streams as responses

PATHS = {
    "chat_completions": "/compatible-mode/v1/chat/completions",
    "responses": "/compatible-mode/v1/responses",
    "dashscope": "/api/v1/services/aigc/text-generation/generation",
    "anthropic": "/v1/messages",
}
GROWTH = (6_250, 12_500, 25_000, 50_000)


@dataclass(frozen=True)
class Shape:
    """The content of an answer.

    Attributes:
        chunks: events with text; the first half is reasoning, unless `all_reasoning`.
        code_bytes: the length of the code of each execution.
        token: the text of each chunk.
        pace: seconds between two chunks; 0 sends them as fast as the socket takes them.
    """

    chunks: int
    executions: int = 0
    code_bytes: int = 0
    token: str = " a word"
    all_reasoning: bool = False
    pace: float = 0.0

    @property
    def programs(self) -> list[str]:
        return [
            "".join(f"x{n} = {n} + 1\n" for n in range(self.code_bytes // 12))
        ] * self.executions

    @property
    def tokens(self) -> Iterator[tuple[str, bool]]:
        """The text of each chunk, and whether it is reasoning."""
        for number in range(self.chunks):
            yield self.token, self.all_reasoning or number < self.chunks // 2


SHAPES = {
    "small": Shape(50, 1, 240),
    "medium": Shape(1_000, 5, 1_024),
    "large": Shape(5_000, 20, 4_096),
    # 20 chunks a second from each of 200 streams: the slowest client keeps up with them, so that
    # each chunk is a read of its own for every client.
    "paced": Shape(100, pace=0.05),
    **{f"growth{chunks}": Shape(chunks, 2, 240) for chunks in GROWTH},
    **{f"cjk{chunks}": Shape(chunks, token="思考过程", all_reasoning=True) for chunks in GROWTH},
}


def _native(shape: Shape) -> Iterator[bytes]:
    """`tool_info` grows by one program at even distances, and every frame repeats it."""
    every = shape.chunks // (shape.executions + 1)
    for number, (token, is_reasoning) in enumerate(shape.tokens):
        runs = shape.programs[: number // every]
        yield native.stream(
            native.frame(
                **{"reasoning" if is_reasoning else "content": token},
                tool_info=native.tool_info(*runs) if runs else None,
                usage=native.usage(300 + 450 * len(runs), number, executions=len(runs)),
            )
        )
    yield native.stream(
        native.frame(
            finish_reason="stop",
            tool_info=native.tool_info(*shape.programs) if shape.programs else None,
            usage=native.usage(9_000, shape.chunks, executions=shape.executions),
        )
    )


def _responses(shape: Shape) -> Iterator[bytes]:
    """Reasoning and executions in turn, then the text; the last event repeats every item."""
    reasoning = [token for token, is_reasoning in shape.tokens if is_reasoning]
    text = [token for token, is_reasoning in shape.tokens if not is_reasoning]
    every = len(reasoning) // max(shape.executions, 1)
    items = []
    for number, program in enumerate(shape.programs or [""]):
        words = reasoning[number * every : (number + 1) * every]
        items.append(responses.reasoning(f"msg_r{number}", *words))
        if program:
            run = responses.code_interpreter_call(f"msg_c{number}", program, "```\n1\n```")
            items.append(run)
    if text:
        items.append(responses.message("msg_m", *text))
    counts = {"code_interpreter": shape.executions} if shape.executions else {}
    usage = responses.usage(9_000, shape.chunks, **counts)
    end = responses.completed_event(usage, *items)
    # ChatOpenAI tells the items apart by these indexes.
    indexed = [
        {**event, "output_index": index} for index, item in enumerate(items) for event in item
    ]
    for event in [responses.CREATED, *indexed, end]:
        yield responses.stream(event)


def _chat(shape: Shape) -> Iterator[bytes]:
    for token, is_reasoning in shape.tokens:
        payload = chat.reasoning_chunk(token) if is_reasoning else chat.text_chunk(token)
        yield chat.stream(payload, done=False)
    yield chat.stream(chat.chunk("stop", content=""), done=False)
    yield chat.stream(chat.usage_chunk(9_000, shape.chunks), done=False)
    yield b"data: [DONE]\n\n"


def _anthropic(shape: Shape) -> Iterator[bytes]:
    """The format of Anthropic's Messages API, for its client; it runs no code."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    usage = {"input_tokens": 300, "output_tokens": 1}
    empty = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    yield _anthropic_event("message_start", message=empty)
    yield _anthropic_event("content_block_start", index=0, content_block=thinking)
    for token, is_reasoning in shape.tokens:
        if is_reasoning:
            delta = {"type": "thinking_delta", "thinking": token}
            yield _anthropic_event("content_block_delta", index=0, delta=delta)
    yield _anthropic_event("content_block_stop", index=0)
    block = {"type": "text", "text": ""}
    yield _anthropic_event("content_block_start", index=1, content_block=block)
    for token, is_reasoning in shape.tokens:
        if not is_reasoning:
            delta = {"type": "text_delta", "text": token}
            yield _anthropic_event("content_block_delta", index=1, delta=delta)
    yield _anthropic_event("content_block_stop", index=1)
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _anthropic_event("message_delta", delta=end, usage={"output_tokens": shape.chunks})
    yield _anthropic_event("message_stop")


def _anthropic_event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


_FORMATS = {
    "chat_completions": _chat,
    "responses": _responses,
    "dashscope": _native,
    "anthropic": _anthropic,
}


@functools.lru_cache(maxsize=4)  # the longest streams have 50 MB
def http_chunks(api: str, stream: str) -> list[bytes]:
    """Return the events of a stream, each encoded as one chunk of a chunked HTTP body."""
    return [b"%x\r\n%s\r\n" % (len(event), event) for event in _FORMATS[api](SHAPES[stream])]


@functools.cache
def text(stream: str) -> str:
    """Return the text that a chat model must make of a stream, without its reasoning."""
    return "".join(token for token, is_reasoning in SHAPES[stream].tokens if not is_reasoning)
