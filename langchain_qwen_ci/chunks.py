"""Events become chunks, for `stream`.

What LangChain would add up wrongly when it sums chunks (usage, counts, names, records of
executions) is sent once, in the last chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import AIMessageChunk

from langchain_qwen_ci.answer import call_chunk
from langchain_qwen_ci.blocks import (
    INTERPRETER,
    PROVIDER,
    call_block,
    code_args,
    result_block,
    result_of,
)
from langchain_qwen_ci.wire.events import (
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

    from langchain_qwen_ci.answer import Answer

_ON_EVERY_CHUNK = {"model_provider": PROVIDER}
_ON_EVERY_BLOCK_CHUNK = {"model_provider": PROVIDER, "output_version": "v1"}


class ChunkEncoder(Protocol):
    """Takes events into an answer and gives the chunk that each makes, if it makes one."""

    def feed(self, event: Event) -> AIMessageChunk | None: ...


def chunk_encoder(answer: Answer, output_version: str | None) -> ChunkEncoder:
    return BlockChunks(answer) if output_version == "v1" else TextChunks(answer)


class TextChunks:
    """The default: `content` is text, reasoning and trail stand in `additional_kwargs`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> AIMessageChunk | None:
        entry = self._answer.add(event)
        match event:
            case TextDelta(text):
                return AIMessageChunk(content=text, response_metadata=_ON_EVERY_CHUNK)
            case ReasoningDelta(text):
                kwargs: dict[str, Any] = {"reasoning_content": text}
                if entry:
                    kwargs["trail"] = [entry]
                return _beside(kwargs)
            case ToolCallDelta():
                return AIMessageChunk(
                    content="",
                    tool_call_chunks=[call_chunk(event)],
                    response_metadata=_ON_EVERY_CHUNK,
                )
            case Finished():
                return _last(self._answer, content="")
        return _beside({"trail": [entry]}) if entry else None


def _beside(additional_kwargs: dict[str, Any]) -> AIMessageChunk:
    return AIMessageChunk(
        content="", additional_kwargs=additional_kwargs, response_metadata=_ON_EVERY_CHUNK
    )


def _last(answer: Answer, content: str | list[Any]) -> AIMessageChunk:
    return AIMessageChunk(
        content=content,
        response_metadata=answer.response_metadata,
        usage_metadata=answer.usage_metadata,
        chunk_position="last",
    )


class BlockChunks:
    """`output_version="v1"`: `content` is standard blocks, each with the index it merges by."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._index = -1
        self._kind: object = None  # of the block that text is being added to
        self._of_call: dict[object, int] = {}

    def feed(self, event: Event) -> AIMessageChunk | None:
        self._answer.add(event)
        encode = self._ENCODE.get(type(event))
        return encode(self, event) if encode else None

    def _text(self, event: TextDelta) -> AIMessageChunk:
        return _block(type="text", text=event.text, index=self._at("text"))

    def _reasoning(self, event: ReasoningDelta) -> AIMessageChunk:
        return _block(type="reasoning", reasoning=event.text, index=self._at("reasoning"))

    def _server_call(self, event: ServerToolCalled) -> AIMessageChunk:
        return self._whole(call_block(event.call_id, event.name, event.args))

    def _server_result(self, event: ServerToolReturned) -> AIMessageChunk:
        return self._whole(result_block(event.call_id, event.status, event.output))

    def _whole(self, block: dict[str, Any]) -> AIMessageChunk:
        return _block(**block, index=self._at(object()))

    def _end(self, event: Finished) -> AIMessageChunk:
        del event
        last = _last(self._answer, content=[])
        last.response_metadata["output_version"] = "v1"
        last.additional_kwargs = self._answer.reasoning_kwargs
        return last

    def _at(self, kind: object) -> int:
        if kind != self._kind:
            self._kind = kind
            self._index += 1
        return self._index

    def _code(self, event: CodeDelta) -> AIMessageChunk:
        call_id, escaped = event.call_id, code_args(event.code)
        if call_id in self._of_call:
            index = self._of_call[call_id]
            return _block(type="server_tool_call_chunk", args=escaped, index=index)
        self._of_call[call_id] = index = self._at(object())
        opening = '{"code": "'
        return _block(
            type="server_tool_call_chunk",
            id=call_id,
            name=INTERPRETER,
            args=opening + escaped,
            index=index,
        )

    def _code_end(self, event: CodeFinished) -> AIMessageChunk:
        index = self._of_call[event.call_id]
        chunk = _block(type="server_tool_call_chunk", args='"}', index=index)
        if result := result_of(event):
            chunk.content.append({**result, "index": self._at(object())})  # type: ignore[union-attr]
        return chunk

    def _call(self, event: ToolCallDelta) -> AIMessageChunk:
        call = call_chunk(event)
        index = self._of_call.setdefault(event.index, self._index + 1)
        self._index = max(self._index, index)
        self._kind = None
        chunk = _block(**{**call, "type": "tool_call_chunk", "index": index})
        chunk.tool_call_chunks = [call]
        return chunk

    _ENCODE: dict[type, Callable[[BlockChunks, Any], AIMessageChunk]] = {  # noqa: RUF012
        TextDelta: _text,
        ReasoningDelta: _reasoning,
        CodeDelta: _code,
        CodeFinished: _code_end,
        ServerToolCalled: _server_call,
        ServerToolReturned: _server_result,
        ToolCallDelta: _call,
        Finished: _end,
    }


def _block(**fields: Any) -> AIMessageChunk:
    return AIMessageChunk(content=[fields], response_metadata=_ON_EVERY_BLOCK_CHUNK)
