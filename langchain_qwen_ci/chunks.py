"""Events become LangChain messages: at once for `invoke`, chunk by chunk for `stream`.

Both go through `Answer`, so they cannot disagree. What LangChain would add up wrongly when it
sums chunks (usage, counts, names, records of executions) is sent once, in the last chunk.

By default `content` is the answer's text, which every chain and every other provider's model can
read. The order of events is kept beside it, in `additional_kwargs["trail"]`: one entry for each
execution, and one wherever thinking resumes after speaking, with the offsets into the reasoning
and the text at which it happened. From it `content_blocks` is rebuilt in order.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.tool import tool_call_chunk

from langchain_qwen_ci.blocks import TOOL_NAME, content_blocks
from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import CodeExecution
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Extra,
    Finished,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
    TokensUsed,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages.tool import ToolCallChunk

PROVIDER = "qwen"
_ON_EVERY_CHUNK = {"model_provider": PROVIDER}
_ON_EVERY_BLOCK_CHUNK = {"model_provider": PROVIDER, "output_version": "v1"}


class Answer:
    """All that a model has done so far, as one message."""

    def __init__(self, model_name: str) -> None:
        self.trail: list[dict[str, Any]] = []
        self._metadata: dict[str, Any] = {**_ON_EVERY_CHUNK, "model_name": model_name}
        self._reasoning: list[str] = []
        self._reasoning_length = 0
        self._text: list[str] = []
        self._text_length = 0
        self._spoke = False  # since the last entry of the trail
        self._executions: dict[str, CodeExecution] = {}
        self._calls: list[ToolCallChunk] = []
        self._tokens: TokensUsed | None = None
        self._begun = False

    def add(self, event: Event) -> dict[str, Any] | None:
        """Take an event in.

        Returns:
            What it adds to the trail, for a chunk to hand on; None if nothing.
        """
        self._begun = True
        return self._TAKE[type(event)](self, event)

    def _take_reasoning(self, event: ReasoningDelta) -> dict[str, Any] | None:
        entry = self._mark({}) if self._spoke else None
        self._reasoning.append(event.text)
        self._reasoning_length += len(event.text)
        return entry

    def _take_text(self, event: TextDelta) -> None:
        self._text.append(event.text)
        self._text_length += len(event.text)
        self._spoke = True

    def _take_code(self, event: CodeDelta) -> dict[str, Any]:
        execution = self._executions.get(event.call_id)
        if execution is None:
            self._executions[event.call_id] = CodeExecution(
                id=event.call_id, code=event.code, status="in_progress"
            )
            return self._mark({"id": event.call_id, "code": event.code})
        execution["code"] += event.code
        entry = next(entry for entry in self.trail if entry.get("id") == event.call_id)
        entry["code"] += event.code
        return {"index": entry["index"], "code": event.code}

    def _mark(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Open an entry of the trail here. Chunks merge entries by their `index`."""
        self._spoke = False
        entry = {
            "index": len(self.trail),
            "reasoning_offset": self._reasoning_length,
            "text_offset": self._text_length,
            **fields,
        }
        self.trail.append(entry)
        return dict(entry)

    def _replace_code(self, event: CodeReplaced) -> None:
        self._executions[event.call_id]["code"] = event.code

    def _finish_code(self, event: CodeFinished) -> None:
        execution = self._executions[event.call_id]
        execution["status"] = event.status
        if event.output is not None:
            execution["output"] = event.output

    def _take_call(self, event: ToolCallDelta) -> None:
        self._calls.append(_call_chunk(event))

    def _take_tokens(self, event: TokensUsed) -> None:
        self._tokens = event

    def _start(self, event: ResponseStarted) -> None:
        self._metadata["request_id"] = event.request_id

    def _take_extra(self, event: Extra) -> None:
        self._metadata[event.name] = event.value

    def _finish(self, event: Finished) -> None:
        self._metadata["finish_reason"] = event.reason

    _TAKE: dict[type, Callable[[Answer, Any], dict[str, Any] | None]] = {  # noqa: RUF012
        ReasoningDelta: _take_reasoning,
        TextDelta: _take_text,
        CodeDelta: _take_code,
        CodeReplaced: _replace_code,
        CodeFinished: _finish_code,
        ToolCallDelta: _take_call,
        TokensUsed: _take_tokens,
        ResponseStarted: _start,
        Extra: _take_extra,
        Finished: _finish,
    }

    @property
    def response_metadata(self) -> dict[str, Any]:
        """What stands on the finished message; see `metadata` for its keys."""
        metadata = {
            **self._metadata,
            "code_executions": [dict(execution) for execution in self._executions.values()],
        }
        if self._tokens and self._tokens.plugins:
            metadata["plugins"] = self._tokens.plugins
        return metadata

    @property
    def usage_metadata(self) -> UsageMetadata | None:
        """Tokens of all inferences of the request, counted once."""
        if self._tokens is None:
            return None
        usage = UsageMetadata(
            input_tokens=self._tokens.input_tokens,
            output_tokens=self._tokens.output_tokens,
            total_tokens=self._tokens.total_tokens,
        )
        if self._tokens.input_details:
            usage["input_token_details"] = cast("Any", self._tokens.input_details)
        if self._tokens.output_details:
            usage["output_token_details"] = cast("Any", self._tokens.output_details)
        return usage

    def message(self, output_version: str | None = None) -> AIMessage:
        """The message so far; complete after `Finished`.

        Args:
            output_version: "v1" puts standard blocks into `content`, anything else the text.
        """
        message = AIMessageChunk(
            content="".join(self._text),
            additional_kwargs=self._additional_kwargs(),
            response_metadata=self.response_metadata,
            usage_metadata=self.usage_metadata,
            tool_call_chunks=self._merged_calls(),
            chunk_position="last",
        )
        whole = cast("AIMessage", message_chunk_to_message(message))
        return _as_blocks(whole) if output_version == "v1" else whole

    def _additional_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = {}
        if self._reasoning:
            kwargs["reasoning_content"] = "".join(self._reasoning)
        if self.trail:
            kwargs["trail"] = [dict(entry) for entry in self.trail]
        return kwargs

    def _merged_calls(self) -> list[ToolCallChunk]:
        """Added up as LangChain adds up the chunks of a stream, so that both give the same."""
        if not self._calls:
            return []
        pieces = [AIMessageChunk(content="", tool_call_chunks=[call]) for call in self._calls]
        return add_ai_message_chunks(*pieces).tool_call_chunks

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Nothing received is lost: an error that passes takes the message so far along."""
        try:
            yield
        except QwenError as error:
            if self._begun:
                error.partial = self.message()
            raise


def _call_chunk(event: ToolCallDelta) -> ToolCallChunk:
    return tool_call_chunk(
        name=event.name, args=event.arguments, id=event.call_id, index=event.index
    )


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
            case CodeDelta():
                return _beside({"trail": [entry]})
            case ToolCallDelta():
                return AIMessageChunk(
                    content="",
                    tool_call_chunks=[_call_chunk(event)],
                    response_metadata=_ON_EVERY_CHUNK,
                )
            case Finished():
                return _last(self._answer, content="")
        return None


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
        match event:
            case TextDelta(text):
                return _block(type="text", text=text, index=self._at("text"))
            case ReasoningDelta(text):
                return _block(type="reasoning", reasoning=text, index=self._at("reasoning"))
            case CodeDelta(call_id, code):
                return self._code(call_id, code)
            case CodeFinished(call_id):
                return self._code_end(call_id)
            case ToolCallDelta():
                return self._call(event)
            case Finished():
                last = _last(self._answer, content=[])
                last.response_metadata["output_version"] = "v1"
                return last
        return None

    def _at(self, kind: object) -> int:
        if kind != self._kind:
            self._kind = kind
            self._index += 1
        return self._index

    def _code(self, call_id: str, code: str) -> AIMessageChunk:
        escaped = json.dumps(code, ensure_ascii=False)[1:-1]
        if call_id in self._of_call:
            index = self._of_call[call_id]
            return _block(type="server_tool_call_chunk", args=escaped, index=index)
        self._of_call[call_id] = index = self._at(call_id)
        opening = '{"code": "'
        return _block(
            type="server_tool_call_chunk",
            id=call_id,
            name=TOOL_NAME,
            args=opening + escaped,
            index=index,
        )

    def _code_end(self, call_id: str) -> AIMessageChunk:
        return _block(type="server_tool_call_chunk", args='"}', index=self._of_call[call_id])

    def _call(self, event: ToolCallDelta) -> AIMessageChunk:
        call = _call_chunk(event)
        index = self._of_call.setdefault(event.index, self._index + 1)
        self._index = max(self._index, index)
        self._kind = None
        chunk = _block(**{**call, "type": "tool_call_chunk", "index": index})
        chunk.tool_call_chunks = [call]
        return chunk


def _block(**fields: Any) -> AIMessageChunk:
    return AIMessageChunk(content=[fields], response_metadata=_ON_EVERY_BLOCK_CHUNK)


def _as_blocks(message: AIMessage) -> AIMessage:
    """The message with its blocks as content, numbered as the sum of a stream's chunks is."""
    content = [
        block if block["type"] == "tool_call" else {**block, "index": index}
        for index, block in enumerate(message.content_blocks)
    ]
    message.content = cast("list[str | dict[str, Any]]", content)
    message.additional_kwargs = {}
    message.response_metadata["output_version"] = "v1"
    return message


register_translator(PROVIDER, content_blocks, content_blocks)
