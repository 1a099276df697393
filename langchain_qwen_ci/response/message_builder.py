"""All that a model has done so far, folded into one message.

Every encoding of an answer (the message of `invoke`, chunks, blocks, events) goes through
`Answer`, so they cannot disagree.

By default `content` is the answer's text, which every chain and every other provider's model can
read. The order of events is kept beside it, in `additional_kwargs["block_positions"]`: one entry
for each execution and each result, and one wherever thinking resumes after speaking, with the
offsets into the reasoning and the text at which it happened. From it `content_blocks` is rebuilt in
order.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import CodeExecution, InferenceUsage
from langchain_qwen_ci.response.content_blocks import CODE_INTERPRETER, MODEL_PROVIDER
from langchain_qwen_ci.wire.events import (
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

# As LangChain leaves calls when it has parsed them, so that no chunk is merged into one.
_WITHOUT_INDEX = ("tool_call", "invalid_tool_call")


@dataclass(slots=True)
class _Program:
    """A program's record, its entry in the trail, and the code that both of them still lack.

    It is added when somebody asks: adding each piece to a string copies all before it.
    """

    record: CodeExecution
    entry: dict[str, Any]
    pieces: list[str] = field(default_factory=list)

    def join(self) -> None:
        if self.pieces:
            more = "".join(self.pieces)
            self.pieces.clear()
            self.record["code"] += more
            self.entry["code"] += more


@dataclass(slots=True)
class _FunctionCall:
    """A function call, as LangChain adds it up from the chunks of a stream."""

    index: int
    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)

    def complete(self) -> ToolCallChunk:
        return tool_call_chunk(
            name=self.name, args="".join(self.pieces), id=self.call_id, index=self.index
        )


class MessageBuilder:
    """What a model has done so far; complete after `Finished`."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._has_events = False
        self._reset()

    def _reset(self) -> None:
        self._block_positions: list[dict[str, Any]] = []
        self._metadata: dict[str, Any] = {
            "model_provider": MODEL_PROVIDER,
            "model_name": self.model_name,
        }
        self._reasoning: list[str] = []
        self._reasoning_length = 0
        self._text: list[str] = []
        self._text_length = 0
        self._text_since_position = False  # since the last entry of the trail
        self._executions: dict[str, CodeExecution] = {}
        self._programs: dict[str, _Program] = {}
        self._calls: dict[int, _FunctionCall] = {}
        self._tokens: TokensUsed | None = None

    def add(self, event: Event) -> dict[str, Any] | None:
        """Take an event in.

        Returns:
            What it adds to the trail, for a chunk to hand on; None if nothing.
        """
        self._has_events = True
        return self._HANDLERS[type(event)](self, event)

    def _on_reasoning(self, event: ReasoningDelta) -> dict[str, Any] | None:
        entry = self._add_position({}) if self._text_since_position else None
        self._reasoning.append(event.text)
        self._reasoning_length += len(event.text)
        return entry

    def _on_text(self, event: TextDelta) -> None:
        self._text.append(event.text)
        self._text_length += len(event.text)
        self._text_since_position = True

    def _on_code(self, event: CodeDelta) -> dict[str, Any]:
        program = self._programs.get(event.call_id)
        if program is None:
            record = CodeExecution(id=event.call_id, code=event.code, status="in_progress")
            self._executions[event.call_id] = record
            entry = self._add_position({"id": event.call_id, "code": event.code})
            self._programs[event.call_id] = _Program(record, self._block_positions[-1])
            return entry
        program.pieces.append(event.code)
        return {"index": program.entry["index"], "code": event.code}

    def _add_position(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Open an entry of the trail here. Chunks merge entries by their `index`."""
        self._text_since_position = False
        entry = {
            "index": len(self._block_positions),
            "reasoning_offset": self._reasoning_length,
            "text_offset": self._text_length,
            **fields,
        }
        self._block_positions.append(entry)
        return dict(entry)

    def _on_code_replaced(self, event: CodeReplaced) -> None:
        program = self._programs[event.call_id]
        program.join()
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
        return self._add_position({**result, **images})

    def _on_server_tool_call(self, event: ServerToolCalled) -> dict[str, Any]:
        return self._add_position({"id": event.call_id, "name": event.name, "args": event.args})

    def _on_server_tool_result(self, event: ServerToolReturned) -> dict[str, Any]:
        result = {"result_of": event.call_id, "status": event.status, "output": event.output}
        return self._add_position(result)

    def _on_tool_call(self, event: ToolCallDelta) -> None:
        call = self._calls.setdefault(event.index, _FunctionCall(event.index))
        call.call_id = call.call_id or event.call_id
        call.name = call.name or event.name
        call.pieces.append(event.arguments)

    def _on_tokens_used(self, event: TokensUsed) -> None:
        self._tokens = event

    def _on_inference_ended(self, event: InferenceEnded) -> None:
        usage = InferenceUsage(input_tokens=event.input_tokens, output_tokens=event.output_tokens)
        self._metadata.setdefault("inference_usage", []).append(usage)

    def _on_response_started(self, event: ResponseStarted) -> None:
        if "request_id" in self._metadata:  # the answer broke off, and was asked for again
            self._reset()
        self._metadata["request_id"] = event.request_id

    def _on_extra(self, event: Extra) -> None:
        self._metadata[event.name] = event.value

    def _on_finished(self, event: Finished) -> None:
        self._metadata["finish_reason"] = event.reason

    _HANDLERS: dict[type, Callable[[MessageBuilder, Any], dict[str, Any] | None]] = {  # noqa: RUF012
        ReasoningDelta: _on_reasoning,
        TextDelta: _on_text,
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
        """What stands on the finished message; see `metadata` for its keys."""
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
        """`{"reasoning_content": …}`, all reasoning; empty if there is none."""
        return {"reasoning_content": "".join(self._reasoning)} if self._reasoning else {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Blocks of the function calls so far, valid and invalid, in order."""
        alone = (
            AIMessageChunk(content="", tool_call_chunks=[call]) for call in self._complete_calls()
        )
        return [dict(call) for one in alone for call in (*one.tool_calls, *one.invalid_tool_calls)]

    @property
    def execution_count(self) -> int:
        """How many programs there are so far."""
        return len(self._executions)

    def execution(self, call_id: str) -> CodeExecution:
        """The record of an execution as it stands now."""
        self._programs[call_id].join()
        return CodeExecution(**self._executions[call_id])

    def message(self, output_version: str | None = None) -> AIMessage:
        """The message so far.

        Args:
            output_version: "v1" puts standard blocks into `content`, anything else the text.
        """
        self._join_code()
        positions = (
            {"block_positions": [dict(entry) for entry in self._block_positions]}
            if self._block_positions
            else {}
        )
        message = AIMessageChunk(
            content="".join(self._text),
            additional_kwargs={**self.reasoning_kwargs, **positions},
            response_metadata=self.response_metadata,
            usage_metadata=self.usage_metadata,
            tool_call_chunks=self._complete_calls(),
            chunk_position="last",
        )
        complete = cast("AIMessage", message_chunk_to_message(message))
        return self._as_blocks(complete) if output_version == "v1" else complete

    def _as_blocks(self, message: AIMessage) -> AIMessage:
        """The message with its blocks as content, numbered as the sum of a stream's chunks is."""
        content = [
            block if block["type"] in _WITHOUT_INDEX else {**block, "index": index}
            for index, block in enumerate(message.content_blocks)
        ]
        message.content = cast("list[str | dict[str, Any]]", content)
        message.additional_kwargs = self.reasoning_kwargs
        message.response_metadata["output_version"] = "v1"
        return message

    def _join_code(self) -> None:
        for program in self._programs.values():
            program.join()

    def _complete_calls(self) -> list[ToolCallChunk]:
        return [call.complete() for call in self._calls.values()]

    @contextmanager
    def attach_partial_to_errors(self) -> Iterator[None]:
        """Nothing received is lost: an error that passes takes the message so far along."""
        try:
            yield
        except QwenError as error:
            if self._has_events:
                error.partial = self.message()
            raise


def to_tool_call_chunk(event: ToolCallDelta) -> ToolCallChunk:
    """A piece of a function call as LangChain's chunks carry it."""
    return tool_call_chunk(
        name=event.name, args=event.arguments, id=event.call_id, index=event.index
    )


def to_text_message(message: AIMessage) -> AIMessage:
    """A message whose content is blocks, as it would be with text and a trail.

    A graph that streams by protocol events gets blocks, whatever the model says: so its state does
    not depend on how it is streamed.
    """
    if isinstance(message.content, str):
        return message
    builder = MessageBuilder("")
    for event in events_from_message(message):
        builder.add(event)
    folded = builder.message()
    metadata = {
        name: value for name, value in message.response_metadata.items() if name != "output_version"
    }
    return message.model_copy(
        update={
            "content": folded.content,
            "additional_kwargs": {**message.additional_kwargs, **folded.additional_kwargs},
            "response_metadata": metadata,
        }
    )


def events_from_message(message: AIMessage) -> Iterator[Event]:
    """The events that a message's blocks stand for; function calls are kept beside them."""
    programs: set[str] = set()
    for block in cast("list[dict[str, Any]]", message.content_blocks):
        match block:
            case {"type": "reasoning", "reasoning": str(text)}:
                yield ReasoningDelta(text)
            case {"type": "text", "text": str(text)}:
                yield TextDelta(text)
            case {"type": "server_tool_call", "id": call_id, "name": name, "args": args}:
                if name == CODE_INTERPRETER:
                    programs.add(call_id)
                    yield CodeDelta(call_id, args["code"])
                else:
                    yield ServerToolCalled(call_id, name, args)
            case {"type": "server_tool_result"}:
                yield _result_event(block, programs)


def _result_event(block: dict[str, Any], programs: set[str]) -> CodeFinished | ServerToolReturned:
    call_id, status, output = block["tool_call_id"], block["status"], block.get("output")
    if call_id not in programs:
        return ServerToolReturned(call_id, status, output)
    images = tuple((block.get("extras") or {}).get("images") or ())
    return CodeFinished(call_id, "failed" if status == "error" else "completed", output, images)
