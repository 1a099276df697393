"""Events become LangChain's content-block protocol, for `stream_events(version="v3")`.

LangChain's own bridge from chunks to this protocol closes every block at the end of the message.
Here a text ends when the next block opens and a program when the service says that it has run, so
that code and its output are seen while they happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_qwen_ci.response.content_blocks import (
    CODE_INTERPRETER,
    MODEL_PROVIDER,
    escape_code,
    result_block_for,
    server_tool_call_block,
)
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

    from langchain_qwen_ci.response.message_builder import MessageBuilder


class ProtocolEvents:
    """Takes events into an answer and gives the protocol events that each makes.

    Args:
        answer: what the events are taken into.
        message_id: of the message; None if it has none yet.
    """

    def __init__(self, builder: MessageBuilder, message_id: str | None) -> None:
        self._builder = builder
        self._message_id = message_id
        self._started = False
        self._next = 0  # index of the next block
        self._text: tuple[str, int, list[str]] | None = None  # open: its type, index and pieces
        self._codes: dict[str, int] = {}  # open programs and their blocks
        self._calls: dict[int, int] = {}  # function calls and their blocks

    def feed(self, event: Event) -> Iterator[MessagesData]:
        """The protocol events that an event makes."""
        self._builder.add(event)
        if not self._started:
            self._started = True
            yield self._message_start()
        if handler := self._HANDLERS.get(type(event)):
            yield from cast("Iterator[MessagesData]", handler(self, event))

    def _message_start(self) -> MessagesData:
        start = {
            "event": "message-start",
            "role": "ai",
            "id": self._message_id or "",
            "metadata": {"provider": MODEL_PROVIDER, "model": self._builder.model_name},
        }
        return cast("MessagesData", start)

    def _on_text(self, event: TextDelta) -> Iterator[dict[str, Any]]:
        return self._piece("text", event.text)

    def _on_reasoning(self, event: ReasoningDelta) -> Iterator[dict[str, Any]]:
        return self._piece("reasoning", event.text)

    def _on_server_tool_call(self, event: ServerToolCalled) -> Iterator[dict[str, Any]]:
        return self._complete_block(server_tool_call_block(event.call_id, event.name, event.args))

    def _piece(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        if self._text is None or self._text[0] != kind:
            yield from self._close_text_block()
            self._text = (kind, self._next, [])
            yield self._start({"type": kind, kind: ""})
        _, index, pieces = self._text
        pieces.append(text)
        yield _delta(index, {"type": f"{kind}-delta", kind: text})

    def _close_text_block(self) -> Iterator[dict[str, Any]]:
        if self._text is not None:
            kind, index, pieces = self._text
            self._text = None
            yield _finish(index, {"type": kind, kind: "".join(pieces)})

    def _on_code(self, event: CodeDelta) -> Iterator[dict[str, Any]]:
        call_id, piece = event.call_id, escape_code(event.code)
        if call_id not in self._codes:
            yield from self._close_text_block()
            self._codes[call_id] = self._next
            opened = {"type": "server_tool_call_chunk", "id": call_id, "name": CODE_INTERPRETER}
            yield self._start({**opened, "args": ""})
            piece = '{"code": "' + piece
        yield _delta(self._codes[call_id], {"type": "tool-call-delta", "args": piece})

    def _on_code_finished(self, event: CodeFinished) -> Iterator[dict[str, Any]]:
        index = self._codes.pop(event.call_id)
        code = self._builder.execution(event.call_id)["code"]
        yield _delta(index, {"type": "tool-call-delta", "args": '"}'})
        yield _finish(
            index, server_tool_call_block(event.call_id, CODE_INTERPRETER, {"code": code})
        )
        yield from self._on_result(event)

    def _on_result(self, event: CodeFinished | ServerToolReturned) -> Iterator[dict[str, Any]]:
        if result := result_block_for(event):
            yield from self._complete_block(result)

    def _on_tool_call(self, event: ToolCallDelta) -> Iterator[dict[str, Any]]:
        if event.index not in self._calls:
            yield from self._close_text_block()
            self._calls[event.index] = self._next
            opened = {"type": "tool_call_chunk", "id": event.call_id, "name": event.name}
            yield self._start({**opened, "args": "", "index": event.index})
        if event.arguments:
            delta = {"type": "tool-call-delta", "args": event.arguments}
            yield _delta(self._calls[event.index], delta)

    def _complete_block(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A block that comes at once."""
        yield from self._close_text_block()
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
        yield from cast("Iterator[MessagesData]", self._closing_events())

    def _closing_events(self) -> Iterator[dict[str, Any]]:
        yield from self._close_text_block()
        # Parallel calls may come in turns, piece by piece: they are closed together.
        for index, call in zip(self._calls.values(), self._builder.calls, strict=True):
            yield _finish(index, call)
        finish = {
            "event": "message-finish",
            "metadata": self._builder.response_metadata,
            "additional_kwargs": self._builder.reasoning_kwargs,
        }
        usage = self._builder.usage_metadata
        yield {**finish, "usage": usage} if usage else finish

    _HANDLERS: dict[type, Callable[[ProtocolEvents, Any], Iterator[dict[str, Any]]]] = {  # noqa: RUF012
        TextDelta: _on_text,
        ReasoningDelta: _on_reasoning,
        CodeDelta: _on_code,
        CodeFinished: _on_code_finished,
        ServerToolCalled: _on_server_tool_call,
        ServerToolReturned: _on_result,
        ToolCallDelta: _on_tool_call,
    }


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-delta", "index": index, "delta": delta}


def _finish(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-finish", "index": index, "content": block}


def _opening(block: dict[str, Any]) -> dict[str, Any]:
    """A block as it opens: what is large comes with its end."""
    opening = {name: value for name, value in block.items() if name not in ("args", "output")}
    return {**opening, "args": {}} if "args" in block else opening
