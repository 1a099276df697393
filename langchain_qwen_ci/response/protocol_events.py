"""Encodes events as LangChain's content-block protocol, for `stream_events(version="v3")`.

LangChain's conversion from chunks to this protocol closes every block at the end of the message.
Here a text block closes when the next block opens, and a program closes when it has run, so that
code and output are available immediately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_qwen_ci.metadata import CODE_INTERPRETER, MODEL_PROVIDER
from langchain_qwen_ci.response.content_blocks import (
    escape_code,
    result_block_for,
    server_tool_call_block,
)
from langchain_qwen_ci.wire.events import (
    CitationAdded,
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
    """Adds events to a message builder and encodes each as protocol events.

    Args:
        builder: the builder of the message.
        message_id: the id of the message; None if it has none yet.
    """

    def __init__(self, builder: MessageBuilder, message_id: str | None) -> None:
        self._builder = builder
        self._message_id = message_id
        self._started = False
        self._next_index = 0
        # The open text or reasoning block: its type, index and deltas.
        self._open_text: tuple[str, int, list[str]] | None = None
        self._citations: list[dict[str, Any]] = []  # of the open text block
        self._program_indexes: dict[str, int] = {}  # of open programs, by call id
        self._call_indexes: dict[int, int] = {}  # of function calls, by the call's own index

    def feed(self, event: Event) -> Iterator[MessagesData]:
        """Yield the protocol events of an event."""
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
        return self._text_delta("text", event.text)

    def _on_reasoning(self, event: ReasoningDelta) -> Iterator[dict[str, Any]]:
        return self._text_delta("reasoning", event.text)

    def _on_server_tool_call(self, event: ServerToolCalled) -> Iterator[dict[str, Any]]:
        return self._complete_block(server_tool_call_block(event.call_id, event.name, event.args))

    def _text_delta(self, block_type: str, text: str) -> Iterator[dict[str, Any]]:
        if self._open_text is None or self._open_text[0] != block_type:
            yield from self._close_text_block()
            self._open_text = (block_type, self._next_index, [])
            yield self._start({"type": block_type, block_type: ""})
        _, index, deltas = self._open_text
        deltas.append(text)
        yield _delta(index, {"type": f"{block_type}-delta", block_type: text})

    def _close_text_block(self) -> Iterator[dict[str, Any]]:
        if self._open_text is not None:
            block_type, index, deltas = self._open_text
            self._open_text = None
            citations, self._citations = self._citations, []
            block: dict[str, Any] = {"type": block_type, block_type: "".join(deltas)}
            yield self._finish_block(
                index, {**block, "annotations": citations} if citations else block
            )

    def _on_citation(self, event: CitationAdded) -> Iterator[dict[str, Any]]:
        # A citation of a text that is already closed gets a text block of its own, because a closed
        # block cannot be changed.
        yield from self._text_delta("text", "")
        self._citations.append(event.citation)

    def _on_code(self, event: CodeDelta) -> Iterator[dict[str, Any]]:
        call_id, args = event.call_id, escape_code(event.code)
        if call_id not in self._program_indexes:
            yield from self._close_text_block()
            self._program_indexes[call_id] = self._next_index
            block = {"type": "server_tool_call_chunk", "id": call_id, "name": CODE_INTERPRETER}
            yield self._start({**block, "args": ""})
            args = '{"code": "' + args
        yield _delta(self._program_indexes[call_id], {"type": "tool-call-delta", "args": args})

    def _on_code_finished(self, event: CodeFinished) -> Iterator[dict[str, Any]]:
        index = self._program_indexes.pop(event.call_id)
        code = self._builder.execution(event.call_id)["code"]
        yield _delta(index, {"type": "tool-call-delta", "args": '"}'})
        yield self._finish_block(
            index, server_tool_call_block(event.call_id, CODE_INTERPRETER, {"code": code})
        )
        yield from self._on_result(event)

    def _on_result(self, event: CodeFinished | ServerToolReturned) -> Iterator[dict[str, Any]]:
        if result := result_block_for(event):
            yield from self._complete_block(result)

    def _on_tool_call(self, event: ToolCallDelta) -> Iterator[dict[str, Any]]:
        if event.index not in self._call_indexes:
            yield from self._close_text_block()
            self._call_indexes[event.index] = self._next_index
            block = {"type": "tool_call_chunk", "id": event.call_id, "name": event.name}
            yield self._start({**block, "args": "", "index": event.index})
        if event.arguments:
            delta = {"type": "tool-call-delta", "args": event.arguments}
            yield _delta(self._call_indexes[event.index], delta)

    def _complete_block(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a block that is complete at once."""
        yield from self._close_text_block()
        index = self._next_index
        yield self._start(_opening(block))
        yield self._finish_block(index, block)

    def _start(self, block: dict[str, Any]) -> dict[str, Any]:
        index, self._next_index = self._next_index, self._next_index + 1
        return {"event": "content-block-start", "index": index, "content": block}

    def _finish_block(self, number: int, block: dict[str, Any]) -> dict[str, Any]:
        # LangChain would use the number of the event as index of the block in the message.
        return _finish(number, {**block, "index": self._builder.index_of(number)})

    def end(self) -> Iterator[MessagesData]:
        """Yield the last protocol events, after the whole body was read.

        They are not emitted with `Finished`, because LangChain stops reading at the end of the
        message, and a connection is reused only if its body was read to the end.
        """
        yield from cast("Iterator[MessagesData]", self._closing_events())

    def _closing_events(self) -> Iterator[dict[str, Any]]:
        yield from self._close_text_block()
        # The deltas of parallel calls may alternate, so all calls are closed here together.
        for index, call in zip(self._call_indexes.values(), self._builder.calls, strict=True):
            yield _finish(index, call)  # LangChain removes the index of calls
        finish = {
            "event": "message-finish",
            "metadata": self._builder.response_metadata,
            "additional_kwargs": self._builder.reasoning_kwargs,
        }
        usage = self._builder.usage_metadata
        yield {**finish, "usage": usage} if usage else finish

    _HANDLERS: dict[type, Callable[[ProtocolEvents, Any], Iterator[dict[str, Any]]]] = {  # noqa: RUF012
        TextDelta: _on_text,
        CitationAdded: _on_citation,
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
    """Return a block without its large fields, which are in the event that closes it."""
    opening = {name: value for name, value in block.items() if name not in ("args", "output")}
    return {**opening, "args": {}} if "args" in block else opening
