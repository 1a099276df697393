"""Events become LangChain's content-block protocol, for `stream_events(version="v3")`.

LangChain's own bridge from chunks to this protocol closes every block at the end of the message.
Here a text ends when the next block opens and a program when the service says that it has run, so
that code and its output are seen while they happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_qwen_ci.blocks import INTERPRETER, PROVIDER, call_block, code_args, result_of
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    Event,
    ReasoningDelta,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_protocol.protocol import MessagesData

    from langchain_qwen_ci.answer import Answer


class ProtocolEvents:
    """Takes events into an answer and gives the protocol events that each makes.

    Args:
        answer: what the events are taken into.
        message_id: of the message; None if it has none yet.
    """

    def __init__(self, answer: Answer, message_id: str | None) -> None:
        self._answer = answer
        self._message_id = message_id
        self._started = False
        self._next = 0  # index of the next block
        self._text: tuple[str, int, list[str]] | None = None  # open: its type, index and pieces
        self._codes: dict[str, int] = {}  # open programs and their blocks
        self._calls: dict[int, int] = {}  # function calls and their blocks

    def feed(self, event: Event) -> Iterator[MessagesData]:
        """The protocol events that an event makes."""
        self._answer.add(event)
        if not self._started:
            self._started = True
            yield self._message_start()
        if tell := self._TELL.get(type(event)):
            yield from cast("Iterator[MessagesData]", tell(self, event))

    def _message_start(self) -> MessagesData:
        start = {
            "event": "message-start",
            "role": "ai",
            "id": self._message_id or "",
            "metadata": {"provider": PROVIDER, "model": self._answer.model_name},
        }
        return cast("MessagesData", start)

    def _spoken(self, event: TextDelta) -> Iterator[dict[str, Any]]:
        return self._piece("text", event.text)

    def _thought(self, event: ReasoningDelta) -> Iterator[dict[str, Any]]:
        return self._piece("reasoning", event.text)

    def _server_call(self, event: ServerToolCalled) -> Iterator[dict[str, Any]]:
        return self._whole(call_block(event.call_id, event.name, event.args))

    def _piece(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        if self._text is None or self._text[0] != kind:
            yield from self._end_text()
            self._text = (kind, self._next, [])
            yield self._start({"type": kind, kind: ""})
        _, index, pieces = self._text
        pieces.append(text)
        yield _delta(index, {"type": f"{kind}-delta", kind: text})

    def _end_text(self) -> Iterator[dict[str, Any]]:
        if self._text is not None:
            kind, index, pieces = self._text
            self._text = None
            yield _finish(index, {"type": kind, kind: "".join(pieces)})

    def _code(self, event: CodeDelta) -> Iterator[dict[str, Any]]:
        call_id, piece = event.call_id, code_args(event.code)
        if call_id not in self._codes:
            yield from self._end_text()
            self._codes[call_id] = self._next
            opened = {"type": "server_tool_call_chunk", "id": call_id, "name": INTERPRETER}
            yield self._start({**opened, "args": ""})
            piece = '{"code": "' + piece
        yield _delta(self._codes[call_id], {"type": "tool-call-delta", "args": piece})

    def _code_end(self, event: CodeFinished) -> Iterator[dict[str, Any]]:
        index = self._codes.pop(event.call_id)
        code = self._answer.execution(event.call_id)["code"]
        yield _delta(index, {"type": "tool-call-delta", "args": '"}'})
        yield _finish(index, call_block(event.call_id, INTERPRETER, {"code": code}))
        yield from self._result(event)

    def _result(self, event: CodeFinished | ServerToolReturned) -> Iterator[dict[str, Any]]:
        if result := result_of(event):
            yield from self._whole(result)

    def _call(self, event: ToolCallDelta) -> Iterator[dict[str, Any]]:
        if event.index not in self._calls:
            yield from self._end_text()
            self._calls[event.index] = self._next
            opened = {"type": "tool_call_chunk", "id": event.call_id, "name": event.name}
            yield self._start({**opened, "args": "", "index": event.index})
        if event.arguments:
            delta = {"type": "tool-call-delta", "args": event.arguments}
            yield _delta(self._calls[event.index], delta)

    def _whole(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A block that comes at once."""
        yield from self._end_text()
        index = self._next
        yield self._start(_opening(block))
        yield _finish(index, block)

    def _start(self, block: dict[str, Any]) -> dict[str, Any]:
        index, self._next = self._next, self._next + 1
        return {"event": "content-block-start", "index": index, "content": block}

    def end(self) -> Iterator[MessagesData]:
        """The last protocol events, when all of the answer has been read.

        Not with `Finished`: LangChain stops reading at the end of the message, and a connection
        whose answer has not been read to its end is not used again.
        """
        yield from cast("Iterator[MessagesData]", self._ends())

    def _ends(self) -> Iterator[dict[str, Any]]:
        yield from self._end_text()
        # Parallel calls may come in turns, piece by piece: they are closed together.
        for index, call in zip(self._calls.values(), self._answer.calls, strict=True):
            yield _finish(index, call)
        finish = {
            "event": "message-finish",
            "metadata": self._answer.response_metadata,
            "additional_kwargs": self._answer.reasoning_kwargs,
        }
        usage = self._answer.usage_metadata
        yield {**finish, "usage": usage} if usage else finish

    _TELL: dict[type, Callable[[ProtocolEvents, Any], Iterator[dict[str, Any]]]] = {  # noqa: RUF012
        TextDelta: _spoken,
        ReasoningDelta: _thought,
        CodeDelta: _code,
        CodeFinished: _code_end,
        ServerToolCalled: _server_call,
        ServerToolReturned: _result,
        ToolCallDelta: _call,
    }


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-delta", "index": index, "delta": delta}


def _finish(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-finish", "index": index, "content": block}


def _opening(block: dict[str, Any]) -> dict[str, Any]:
    """A block as it opens: what is large comes with its end."""
    opening = {name: value for name, value in block.items() if name not in ("args", "output")}
    return {**opening, "args": {}} if "args" in block else opening
