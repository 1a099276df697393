"""Builds one message from the events of an answer.

The message of `invoke`, chunks and protocol events all use `MessageBuilder`, so they cannot differ.

By default `content` is the text of the answer, which existing chains and models of other providers
can read. The order of events is stored in `additional_kwargs["block_positions"]`: one entry for
each execution, for each result, for each citation, for reasoning that continues after text, and for
the end if there are others, with the offsets into the reasoning and the text at which it happened.
For example, after the reasoning "Let me compute." (15 characters) and before any text:

    {"index": "lc_…_0", "reasoning_offset": 15, "text_offset": 0, "id": "ci_…_0", "code": "123**21"}

`content_blocks` is rebuilt from these entries (see `content_blocks.py`). They contain the code,
because the sum of the first chunks must show it; the execution records are in the last chunk only.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import MODEL_PROVIDER, CodeExecution, InferenceUsage
from langchain_qwen_ci.wire.events import (
    CitationAdded,
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Extra,
    Finished,
    InferenceEnded,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    TokensUsed,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages.tool import ToolCallChunk

# LangChain removes the index of parsed calls, so that no later chunk is merged into them.
_BLOCKS_WITHOUT_INDEX = ("tool_call", "invalid_tool_call")


@dataclass(slots=True)
class _Program:
    """The record and position entry of a program, and code that is not in them yet.

    The code is joined on access: concatenating every delta would copy all code before it.
    """

    record: CodeExecution
    position: dict[str, Any]
    deltas: list[str] = field(default_factory=list)

    def join_code(self) -> None:
        if self.deltas:
            code = "".join(self.deltas)
            self.deltas.clear()
            self.record["code"] += code
            self.position["code"] += code


@dataclass(slots=True)
class _FunctionCall:
    """A function call, merged from its deltas as LangChain merges chunks."""

    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)

    def complete(self) -> ToolCallChunk:
        return tool_call_chunk(
            name=self.name, args="".join(self.arguments), id=self.call_id, index=self.index
        )


class MessageBuilder:
    """Builds one `AIMessage` from the events received so far; complete after `Finished`."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._has_events = False
        self._reset()

    def _reset(self) -> None:
        self._positions: list[dict[str, Any]] = []
        self._metadata: dict[str, Any] = {
            "model_provider": MODEL_PROVIDER,
            "model_name": self.model_name,
        }
        self._reasoning: list[str] = []
        self._reasoning_length = 0
        self._text: list[str] = []
        self._text_length = 0
        self._text_since_position = False
        self._executions: dict[str, CodeExecution] = {}
        self._programs: dict[str, _Program] = {}
        self._calls: dict[int, _FunctionCall] = {}
        self._tokens: TokensUsed | None = None

    def add(self, event: Event) -> dict[str, Any] | None:
        """Add an event.

        Returns:
            The block position that the event adds or extends, for a chunk; None if there is none.
        """
        self._has_events = True
        handler = self._HANDLERS.get(type(event))
        return handler(self, event) if handler else None

    def _on_reasoning(self, event: ReasoningDelta) -> dict[str, Any] | None:
        position = self._end_text({}) if self._text_since_position else None
        self._reasoning.append(event.text)
        self._reasoning_length += len(event.text)
        return position

    def _on_text(self, event: TextDelta) -> None:
        self._text.append(event.text)
        self._text_length += len(event.text)
        self._text_since_position = True

    def _on_citation(self, event: CitationAdded) -> dict[str, Any]:
        # It does not end the text: reasoning after it may continue without an entry of its own.
        return self._add_position({"citation": event.citation})

    def _on_code(self, event: CodeDelta) -> dict[str, Any]:
        program = self._programs.get(event.call_id)
        if program is None:
            record = CodeExecution(id=event.call_id, code=event.code, status="in_progress")
            self._executions[event.call_id] = record
            position = self._end_text({"id": event.call_id, "code": event.code})
            self._programs[event.call_id] = _Program(record, self._positions[-1])
            return position
        program.deltas.append(event.code)
        # LangChain merges the entries of two chunks by their index and concatenates their strings,
        # except equal ids.
        return {"index": program.position["index"], "id": event.call_id, "code": event.code}

    def _end_text(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Add the position of what ends the text before it."""
        self._text_since_position = False
        return self._add_position(fields)

    def _add_position(self, fields: dict[str, Any]) -> dict[str, Any]:
        position = {
            "index": self.index_of(len(self._positions)),
            "reasoning_offset": self._reasoning_length,
            "text_offset": self._text_length,
            **fields,
        }
        self._positions.append(position)
        return dict(position)

    def index_of(self, number: int) -> str:
        """Return the index of a block or position; LangChain merges entries of equal indexes."""
        # With the request id, because it also merges entries of two answers.
        return f"lc_{self._metadata.get('request_id')}_{number}"

    def _on_code_replaced(self, event: CodeReplaced) -> None:
        program = self._programs[event.call_id]
        program.join_code()
        program.record["code"] = event.code

    def _on_code_finished(self, event: CodeFinished) -> dict[str, Any] | None:
        execution = self._executions[event.call_id]
        execution["status"] = event.status
        if event.images:
            execution["images"] = list(event.images)
        if event.output is None:
            return None
        execution["output"] = event.output
        result = {
            "result_of": event.call_id,
            "status": event.result_status,
            "output": event.output,
        }
        images = {"images": list(event.images)} if event.images else {}
        return self._end_text({**result, **images})

    def _on_server_tool_call(self, event: ServerToolCalled) -> dict[str, Any]:
        return self._end_text({"id": event.call_id, "name": event.name, "args": event.args})

    def _on_server_tool_result(self, event: ServerToolReturned) -> dict[str, Any]:
        result = {"result_of": event.call_id, "status": event.status, "output": event.output}
        return self._end_text(result)

    def _on_tool_call(self, event: ToolCallDelta) -> None:
        call = self._calls.setdefault(event.index, _FunctionCall(event.index))
        call.call_id = call.call_id or event.call_id
        call.name = call.name or event.name
        call.arguments.append(event.arguments)

    def _on_tokens_used(self, event: TokensUsed) -> None:
        self._tokens = event

    def _on_inference_ended(self, event: InferenceEnded) -> None:
        usage = InferenceUsage(input_tokens=event.input_tokens, output_tokens=event.output_tokens)
        self._metadata.setdefault("inference_usage", []).append(usage)

    def _on_response_started(self, event: ResponseStarted) -> None:
        if "request_id" in self._metadata:  # the request was repeated after an interrupted answer
            self._reset()
        self._metadata["request_id"] = event.request_id

    def _on_extra(self, event: Extra) -> None:
        self._metadata[event.name] = event.value

    def _on_finished(self, event: Finished) -> dict[str, Any] | None:
        self._metadata["finish_reason"] = event.reason
        # Where the answer ends in a message of several answers, which LangChain has merged.
        return self._add_position({"is_end": True}) if self._positions else None

    _HANDLERS: dict[type, Callable[[MessageBuilder, Any], dict[str, Any] | None]] = {  # noqa: RUF012
        ReasoningDelta: _on_reasoning,
        TextDelta: _on_text,
        CitationAdded: _on_citation,
        CodeDelta: _on_code,
        CodeReplaced: _on_code_replaced,
        CodeFinished: _on_code_finished,
        ServerToolCalled: _on_server_tool_call,
        ServerToolReturned: _on_server_tool_result,
        ToolCallDelta: _on_tool_call,
        TokensUsed: _on_tokens_used,
        InferenceEnded: _on_inference_ended,
        ResponseStarted: _on_response_started,
        Extra: _on_extra,
        Finished: _on_finished,
    }

    @property
    def response_metadata(self) -> dict[str, Any]:
        """The response metadata of the message so far; see `metadata` for its keys."""
        self._join_code()
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

    @property
    def reasoning_kwargs(self) -> dict[str, Any]:
        """`{"reasoning_content": …}` with all reasoning; empty without reasoning."""
        return {"reasoning_content": "".join(self._reasoning)} if self._reasoning else {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Blocks of the function calls so far, valid and invalid, in order."""
        # One chunk for each call keeps the order of valid and invalid calls.
        chunks = (
            AIMessageChunk(content="", tool_call_chunks=[call]) for call in self._complete_calls()
        )
        return [
            dict(call)
            for chunk in chunks
            for call in (*chunk.tool_calls, *chunk.invalid_tool_calls)
        ]

    @property
    def execution_count(self) -> int:
        """Number of programs so far."""
        return len(self._executions)

    def execution(self, call_id: str) -> CodeExecution:
        """Return a copy of the current record of an execution."""
        self._programs[call_id].join_code()
        return CodeExecution(**self._executions[call_id])

    def message(self, output_version: str | None = None) -> AIMessage:
        """Build the message so far.

        Args:
            output_version: with "v1", `content` is a list of standard blocks; otherwise the text.
        """
        self._join_code()
        positions = (
            {"block_positions": [dict(position) for position in self._positions]}
            if self._positions
            else {}
        )
        chunk = AIMessageChunk(
            content="".join(self._text),
            additional_kwargs={**self.reasoning_kwargs, **positions},
            response_metadata=self.response_metadata,
            usage_metadata=self.usage_metadata,
            tool_call_chunks=self._complete_calls(),
            chunk_position="last",
        )
        message = cast("AIMessage", message_chunk_to_message(chunk))
        return self._with_blocks(message) if output_version == "v1" else message

    def _with_blocks(self, message: AIMessage) -> AIMessage:
        """Move the blocks into `content`, with the indexes that the sum of streamed chunks has."""
        content = [
            block
            if block["type"] in _BLOCKS_WITHOUT_INDEX
            else {**block, "index": self.index_of(number)}
            for number, block in enumerate(message.content_blocks)
        ]
        message.content = cast("list[str | dict[str, Any]]", content)
        message.additional_kwargs = self.reasoning_kwargs
        message.response_metadata["output_version"] = "v1"
        return message

    def _join_code(self) -> None:
        for program in self._programs.values():
            program.join_code()

    def _complete_calls(self) -> list[ToolCallChunk]:
        return [call.complete() for call in self._calls.values()]

    @contextmanager
    def attach_partial_to_errors(self) -> Iterator[None]:
        """Attach the partial message to a `QwenError` raised inside the block."""
        try:
            yield
        except QwenError as error:
            if self._has_events:
                error.partial = self.message()
            raise
