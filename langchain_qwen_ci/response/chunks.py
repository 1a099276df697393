"""Encodes events as message chunks, for `stream`.

Values that LangChain would merge wrongly when it adds chunks (usage, counts, names, execution
records) are in the last chunk only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import AIMessageChunk

from langchain_qwen_ci.metadata import CODE_INTERPRETER, MODEL_PROVIDER
from langchain_qwen_ci.response.chunk_construction import message_chunk, to_tool_call_chunk
from langchain_qwen_ci.response.content_blocks import (
    escape_code,
    result_block_for,
    server_tool_call_block,
    server_tool_result_block,
)
from langchain_qwen_ci.wire.events import (
    CitationAdded,
    CodeDelta,
    CodeFinished,
    Event,
    Finished,
    ReasoningDelta,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_qwen_ci.response.message_builder import MessageBuilder

_ON_EVERY_CHUNK = {"model_provider": MODEL_PROVIDER}
_ON_EVERY_BLOCK_CHUNK = {"model_provider": MODEL_PROVIDER, "output_version": "v1"}


class ChunkEncoder(Protocol):
    """Adds events to a message builder and encodes each as a chunk."""

    def feed(self, event: Event) -> AIMessageChunk | None:
        """Return the chunk of an event; None if the event changes nothing that chunks contain."""


def chunk_encoder(
    builder: MessageBuilder, output_version: str | None, message_id: str | None
) -> ChunkEncoder:
    """Return an encoder for an output version: "v1" for blocks, otherwise text."""
    encoder = BlockChunks if output_version == "v1" else TextChunks
    return encoder(builder, message_id)


class TextChunks:
    """The default: `content` is text; reasoning and positions are in `additional_kwargs`."""

    def __init__(self, builder: MessageBuilder, message_id: str | None) -> None:
        self._builder = builder
        self._message_id = message_id

    def feed(self, event: Event) -> AIMessageChunk | None:
        position = self._builder.add(event)
        match event:
            case TextDelta():
                return message_chunk(event.text, _ON_EVERY_CHUNK, self._message_id)
            case ReasoningDelta():
                kwargs: dict[str, Any] = {"reasoning_content": event.text}
                if position:
                    kwargs["block_positions"] = [position]
                return message_chunk("", _ON_EVERY_CHUNK, self._message_id, kwargs)
            case ToolCallDelta():
                return AIMessageChunk(
                    content="",
                    id=self._message_id,
                    tool_call_chunks=[to_tool_call_chunk(event)],
                    response_metadata=_ON_EVERY_CHUNK,
                )
            case Finished():
                last = _final_chunk(self._builder, "", self._message_id)
                if position:
                    last.additional_kwargs["block_positions"] = [position]
                return last
        if position:
            kwargs = {"block_positions": [position]}
            return message_chunk("", _ON_EVERY_CHUNK, self._message_id, kwargs)
        return None


def _final_chunk(
    builder: MessageBuilder, content: str | list[Any], message_id: str | None
) -> AIMessageChunk:
    return AIMessageChunk(
        content=content,
        id=message_id,
        response_metadata=builder.response_metadata,
        usage_metadata=builder.usage_metadata,
        chunk_position="last",
    )


class BlockChunks:
    """`output_version="v1"`: `content` is a list of standard blocks, merged by their indexes."""

    def __init__(self, builder: MessageBuilder, message_id: str | None) -> None:
        self._builder = builder
        self._message_id = message_id
        self._block_count = 0
        self._open_block: object = None  # "text" or "reasoning"; a unique object for other blocks
        self._open_index = ""
        self._text_index: str | None = None  # of the latest text block
        # Block indexes, by the call id of an execution and by the own index of a function call.
        self._call_indexes: dict[object, str] = {}

    def feed(self, event: Event) -> AIMessageChunk | None:
        self._builder.add(event)
        encode = self._ENCODERS.get(type(event))
        return encode(self, event) if encode else None

    def _on_text(self, event: TextDelta) -> AIMessageChunk:
        self._text_index = self._block_index("text")
        return self._block(type="text", text=event.text, index=self._text_index)

    def _on_citation(self, event: CitationAdded) -> AIMessageChunk:
        if self._text_index is None:
            self._text_index = self._block_index("text")
        return self._block(
            type="text", text="", annotations=[event.citation], index=self._text_index
        )

    def _on_reasoning(self, event: ReasoningDelta) -> AIMessageChunk:
        return self._block(
            type="reasoning", reasoning=event.text, index=self._block_index("reasoning")
        )

    def _on_server_tool_call(self, event: ServerToolCalled) -> AIMessageChunk:
        return self._complete_block(server_tool_call_block(event.call_id, event.name, event.args))

    def _on_server_tool_result(self, event: ServerToolReturned) -> AIMessageChunk:
        return self._complete_block(
            server_tool_result_block(event.call_id, event.status, event.output)
        )

    def _complete_block(self, block: dict[str, Any]) -> AIMessageChunk:
        return self._block(**block, index=self._block_index(object()))

    def _on_finished(self, event: Finished) -> AIMessageChunk:
        del event
        last = _final_chunk(self._builder, [], self._message_id)
        last.response_metadata["output_version"] = "v1"
        # Only here: the reasoning of the earlier chunks is in their content.
        last.additional_kwargs = self._builder.reasoning_kwargs
        return last

    def _block_index(self, block_type: object) -> str:
        """Return the index of the open block of a type, or of a new block."""
        if block_type != self._open_block:
            self._open_block = block_type
            self._open_index = self._builder.index_of(self._block_count)
            self._block_count += 1
        return self._open_index

    def _on_code(self, event: CodeDelta) -> AIMessageChunk:
        call_id, escaped = event.call_id, escape_code(event.code)
        if call_id in self._call_indexes:
            index = self._call_indexes[call_id]
            return self._block(type="server_tool_call_chunk", id=call_id, args=escaped, index=index)
        self._call_indexes[call_id] = index = self._block_index(object())
        # LangChain concatenates the args of chunks and parses them as JSON: {"code": "…"}.
        return self._block(
            type="server_tool_call_chunk",
            id=call_id,
            name=CODE_INTERPRETER,
            args='{"code": "' + escaped,
            index=index,
        )

    def _on_code_finished(self, event: CodeFinished) -> AIMessageChunk:
        index = self._call_indexes[event.call_id]
        chunk = self._block(type="server_tool_call_chunk", id=event.call_id, args='"}', index=index)
        if result := result_block_for(event):
            chunk.content.append({**result, "index": self._block_index(object())})  # type: ignore[union-attr]
        return chunk

    def _on_tool_call(self, event: ToolCallDelta) -> AIMessageChunk:
        call = to_tool_call_chunk(event)
        # The parts of parallel calls may alternate, so each call keeps the index of its block.
        if event.index not in self._call_indexes:
            self._call_indexes[event.index] = self._block_index(object())
        index = self._call_indexes[event.index]
        self._open_block = None  # text after it is a new block
        chunk = self._block(**{**call, "type": "tool_call_chunk", "index": index})
        # LangChain parses the calls of a sum of chunks from this field, not from the content.
        chunk.tool_call_chunks = [call]
        return chunk

    def _block(self, **fields: Any) -> AIMessageChunk:
        return message_chunk([fields], _ON_EVERY_BLOCK_CHUNK, self._message_id)

    _ENCODERS: dict[type, Callable[[BlockChunks, Any], AIMessageChunk]] = {  # noqa: RUF012
        TextDelta: _on_text,
        CitationAdded: _on_citation,
        ReasoningDelta: _on_reasoning,
        CodeDelta: _on_code,
        CodeFinished: _on_code_finished,
        ServerToolCalled: _on_server_tool_call,
        ServerToolReturned: _on_server_tool_result,
        ToolCallDelta: _on_tool_call,
        Finished: _on_finished,
    }
