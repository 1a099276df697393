"""Converts messages whose content is a list of blocks to messages whose content is text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    Finished,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

    from langchain_qwen_ci.wire.events import Event


def to_text_message(message: AIMessage) -> AIMessage:
    """Convert content blocks to text and `block_positions`.

    A graph that is streamed with protocol events always produces content blocks. After the
    conversion the state of the graph does not depend on how it is streamed.
    """
    if isinstance(message.content, str):
        return message
    builder = MessageBuilder("")
    # The indexes of positions contain it.
    builder.add(ResponseStarted(str(message.response_metadata.get("request_id"))))
    for event in events_from_message(message):
        builder.add(event)
    if reason := message.response_metadata.get("finish_reason"):
        builder.add(Finished(reason))
    rebuilt = builder.message()
    metadata = {
        name: value for name, value in message.response_metadata.items() if name != "output_version"
    }
    return message.model_copy(
        update={
            "content": rebuilt.content,
            "additional_kwargs": {**message.additional_kwargs, **rebuilt.additional_kwargs},
            "response_metadata": metadata,
        }
    )


def events_from_message(message: AIMessage) -> Iterator[Event]:
    """Yield the events that produce the blocks of a message, except its function calls.

    LangChain keeps function calls in `tool_calls`, apart from the content.
    """
    program_ids: set[str] = set()
    for block in cast("list[dict[str, Any]]", message.content_blocks):
        match block:
            case {"type": "reasoning", "reasoning": str(text)}:
                yield ReasoningDelta(text)
            case {"type": "text", "text": str(text)}:
                yield TextDelta(text)
            case {"type": "server_tool_call", "id": call_id, "name": name, "args": args}:
                if name == CODE_INTERPRETER:
                    program_ids.add(call_id)
                    yield CodeDelta(call_id, args["code"])
                else:
                    yield ServerToolCalled(call_id, name, args)
            case {"type": "server_tool_result"} if block["tool_call_id"] in program_ids:
                yield _code_finished(block)
            case {"type": "server_tool_result"}:
                yield ServerToolReturned(
                    block["tool_call_id"], block["status"], block.get("output")
                )


def _code_finished(block: dict[str, Any]) -> CodeFinished:
    return CodeFinished(
        block["tool_call_id"],
        "failed" if block["status"] == "error" else "completed",
        block.get("output"),
        tuple((block.get("extras") or {}).get("images") or ()),
    )
