"""Standard content blocks of a message whose content is text, in the order things happened.

What LangChain's `message.content_blocks` calls for messages of this package: it puts reasoning,
text and executions together again along the trail that `chunks` left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage
    from langchain_core.messages import content as blocks

    from langchain_qwen_ci.metadata import CodeExecution

TOOL_NAME = "code_interpreter"


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Standard blocks in the order in which things happened."""
    if not isinstance(message.content, str):
        raise NotImplementedError  # LangChain then reads the blocks as they are
    reasoning = message.additional_kwargs.get("reasoning_content") or ""
    text = message.content
    recorded = message.response_metadata.get("code_executions") or ()
    executions = {execution["id"]: execution for execution in recorded}
    ordered: list[dict[str, Any]] = []
    thought = spoken = 0
    for entry in message.additional_kwargs.get("trail") or ():
        until_thought = entry.get("reasoning_offset", thought)
        until_spoken = entry.get("text_offset", spoken)
        ordered += _stretch(reasoning[thought:until_thought], text[spoken:until_spoken])
        ordered += _execution(entry, executions)
        thought, spoken = until_thought, until_spoken
    ordered += _stretch(reasoning[thought:], text[spoken:])
    ordered += _calls(message)
    return cast("list[blocks.ContentBlock]", ordered)


def _stretch(reasoning: str, text: str) -> Iterator[dict[str, Any]]:
    """What happened between two entries of the trail: thinking, then speaking."""
    if reasoning:
        yield {"type": "reasoning", "reasoning": reasoning}
    if text:
        yield {"type": "text", "text": text}


def _execution(
    entry: dict[str, Any], executions: dict[str, CodeExecution]
) -> Iterator[dict[str, Any]]:
    if "code" not in entry:
        return
    if "id" not in entry:  # a chunk with more of the code of an earlier one
        piece = json.dumps(entry["code"], ensure_ascii=False)[1:-1]
        yield {"type": "server_tool_call_chunk", "args": piece, "index": entry["index"]}
        return
    call_id = entry["id"]
    record = executions.get(call_id)
    code = record["code"] if record else entry["code"]
    yield {"type": "server_tool_call", "id": call_id, "name": TOOL_NAME, "args": {"code": code}}
    if record and "output" in record:
        yield {
            "type": "server_tool_result",
            "tool_call_id": call_id,
            "status": "error" if record["status"] == "failed" else "success",
            "output": record["output"],
        }


def _calls(message: AIMessage) -> Iterator[dict[str, Any]]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        for piece in message.tool_call_chunks:
            yield {**piece, "type": "tool_call_chunk"}
        return
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
    for broken in message.invalid_tool_calls:
        yield dict(broken)
