"""What the encoders of all APIs share: the JSON, the frames, and what was sent of an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.token_usage import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_qwen_ci.emulator.responders.responder import Call
    from langchain_qwen_ci.emulator.token_usage import TokenUsage
    from langchain_qwen_ci.emulator.wires.interface import Payload


def compact_json(payload: object) -> bytes:
    """Serialize JSON as the service does: no spaces, and non-ASCII characters unescaped."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def status_frame(number: int, event: str, status: int, data: bytes) -> bytes:
    """Encode a frame of the native or the Responses API.

    No space follows a colon, and the HTTP status is in a comment (recorded).
    """
    head = b"id:%d\nevent:%s\n:HTTP_STATUS/%d\n" % (number, event.encode(), status)
    return head + b"data:" + data + b"\n\n"


class AnswerProgress:
    """What an encoder has encoded of an answer so far.

    Attributes:
        request_id: the id of the request.
        tokens: the tokens so far.
        reasoning: the reasoning so far.
        text: the text so far.
        calls: the function calls so far, in OpenAI's format.
        finish_reason: the finish reason if the answer ended here.
    """

    def __init__(self, request_id: str, tokens: TokenUsage) -> None:
        self.request_id = request_id
        self.tokens = tokens
        self.reasoning = ""
        self.text = ""
        self.calls: list[Payload] = []
        self.finish_reason = "stop"

    def add_reasoning(self, reasoning: str) -> Iterator[str]:
        """Add reasoning; yield the pieces in which a stream sends it, each after it was counted."""
        for piece in pieces(reasoning):
            self.tokens.count_reasoning()
            self.reasoning += piece
            yield piece

    def add_text(self, text: str) -> Iterator[str]:
        """Add text; yield the pieces in which a stream sends it, each after it was counted."""
        for piece in pieces(text):
            self.tokens.count_text()
            self.text += piece
            yield piece

    def add_call(self, call: Call) -> tuple[Payload, Payload]:
        """Add a function call; return the two parts of it that a stream sends.

        The second part has no name and an empty id; its `index` identifies the call (recorded).
        """
        index = len(self.calls)
        # Scripts may leave the id out. A made one must differ between the calls of a conversation.
        call_id = call.id or f"call_{self.request_id[:8]}_{index}"
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        half = len(arguments) // 2
        self.finish_reason = "tool_calls"
        self.tokens.count_output(arguments)
        self.calls.append(_tool_call(index, call_id, name=call.name, arguments=arguments))
        return (
            _tool_call(index, call_id, name=call.name, arguments=arguments[:half]),
            _tool_call(index, "", arguments=arguments[half:]),
        )


def _tool_call(index: int, call_id: str, **function: str) -> Payload:
    return {"index": index, "id": call_id, "type": "function", "function": function}
