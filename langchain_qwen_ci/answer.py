"""All that a model has done so far, folded into one message.

Every encoding of an answer (the message of `invoke`, chunks, blocks, events) goes through
`Answer`, so they cannot disagree.

By default `content` is the answer's text, which every chain and every other provider's model can
read. The order of events is kept beside it, in `additional_kwargs["trail"]`: one entry for each
execution and each result, and one wherever thinking resumes after speaking, with the offsets into
the reasoning and the text at which it happened. From it `content_blocks` is rebuilt in order.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.messages.tool import tool_call_chunk

from langchain_qwen_ci.blocks import INTERPRETER, PROVIDER
from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.metadata import CodeExecution, InferenceUsage
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


class Answer:
    """What a model has done so far; complete after `Finished`."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self.trail: list[dict[str, Any]] = []
        self._metadata: dict[str, Any] = {
            "model_provider": PROVIDER,
            "model_name": self.model_name,
        }
        self._reasoning: list[str] = []
        self._reasoning_length = 0
        self._text: list[str] = []
        self._text_length = 0
        self._spoke = False  # since the last entry of the trail
        self._executions: dict[str, CodeExecution] = {}
        self._calls: list[ToolCallChunk] = []
        self._tokens: TokensUsed | None = None

    def add(self, event: Event) -> dict[str, Any] | None:
        """Take an event in.

        Returns:
            What it adds to the trail, for a chunk to hand on; None if nothing.
        """
        self._told = True
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

    def _finish_code(self, event: CodeFinished) -> dict[str, Any] | None:
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
        return self._mark({**result, **images})

    def _take_server_call(self, event: ServerToolCalled) -> dict[str, Any]:
        return self._mark({"id": event.call_id, "name": event.name, "args": event.args})

    def _take_server_result(self, event: ServerToolReturned) -> dict[str, Any]:
        result = {"result_of": event.call_id, "status": event.status, "output": event.output}
        return self._mark(result)

    def _take_call(self, event: ToolCallDelta) -> None:
        self._calls.append(call_chunk(event))

    def _take_tokens(self, event: TokensUsed) -> None:
        self._tokens = event

    def _end_inference(self, event: InferenceEnded) -> None:
        usage = InferenceUsage(input_tokens=event.input_tokens, output_tokens=event.output_tokens)
        self._metadata.setdefault("inference_usage", []).append(usage)

    def _start(self, event: ResponseStarted) -> None:
        if "request_id" in self._metadata:  # the answer broke off, and was asked for again
            self._begin()
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
        ServerToolCalled: _take_server_call,
        ServerToolReturned: _take_server_result,
        ToolCallDelta: _take_call,
        TokensUsed: _take_tokens,
        InferenceEnded: _end_inference,
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

    @property
    def reasoning_kwargs(self) -> dict[str, Any]:
        """`{"reasoning_content": …}`, all reasoning; empty if there is none."""
        return {"reasoning_content": "".join(self._reasoning)} if self._reasoning else {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Blocks of the function calls so far, valid and invalid, in order."""
        alone = (
            AIMessageChunk(content="", tool_call_chunks=[call]) for call in self._merged_calls()
        )
        return [dict(call) for one in alone for call in (*one.tool_calls, *one.invalid_tool_calls)]

    @property
    def executions_begun(self) -> int:
        """How many programs there are so far."""
        return len(self._executions)

    def execution(self, call_id: str) -> CodeExecution:
        """The record of an execution as it stands now."""
        return CodeExecution(**self._executions[call_id])

    def message(self, output_version: str | None = None) -> AIMessage:
        """The message so far.

        Args:
            output_version: "v1" puts standard blocks into `content`, anything else the text.
        """
        trail = {"trail": [dict(entry) for entry in self.trail]} if self.trail else {}
        message = AIMessageChunk(
            content="".join(self._text),
            additional_kwargs={**self.reasoning_kwargs, **trail},
            response_metadata=self.response_metadata,
            usage_metadata=self.usage_metadata,
            tool_call_chunks=self._merged_calls(),
            chunk_position="last",
        )
        whole = cast("AIMessage", message_chunk_to_message(message))
        return self._as_blocks(whole) if output_version == "v1" else whole

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
            if self._told:
                error.partial = self.message()
            raise


def call_chunk(event: ToolCallDelta) -> ToolCallChunk:
    """A piece of a function call as LangChain's chunks carry it."""
    return tool_call_chunk(
        name=event.name, args=event.arguments, id=event.call_id, index=event.index
    )


def as_text(message: AIMessage) -> AIMessage:
    """A message whose content is blocks, as it would be with text and a trail.

    A graph that streams by protocol events gets blocks, whatever the model says: so its state does
    not depend on how it is streamed.
    """
    if isinstance(message.content, str):
        return message
    answer = Answer("")
    for event in _told_again(message):
        answer.add(event)
    told = answer.message()
    metadata = {
        name: value for name, value in message.response_metadata.items() if name != "output_version"
    }
    return message.model_copy(
        update={
            "content": told.content,
            "additional_kwargs": {**message.additional_kwargs, **told.additional_kwargs},
            "response_metadata": metadata,
        }
    )


def _told_again(message: AIMessage) -> Iterator[Event]:
    """The events that a message's blocks stand for; function calls are kept beside them."""
    programs: set[str] = set()
    for block in cast("list[dict[str, Any]]", message.content_blocks):
        match block:
            case {"type": "reasoning", "reasoning": str(text)}:
                yield ReasoningDelta(text)
            case {"type": "text", "text": str(text)}:
                yield TextDelta(text)
            case {"type": "server_tool_call", "id": call_id, "name": name, "args": args}:
                if name == INTERPRETER:
                    programs.add(call_id)
                    yield CodeDelta(call_id, args["code"])
                else:
                    yield ServerToolCalled(call_id, name, args)
            case {"type": "server_tool_result"}:
                yield _returned_again(block, programs)


def _returned_again(block: dict[str, Any], programs: set[str]) -> CodeFinished | ServerToolReturned:
    call_id, status, output = block["tool_call_id"], block["status"], block.get("output")
    if call_id not in programs:
        return ServerToolReturned(call_id, status, output)
    images = tuple((block.get("extras") or {}).get("images") or ())
    return CodeFinished(call_id, "failed" if status == "error" else "completed", output, images)
