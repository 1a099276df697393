"""Rebuilds standard content blocks from a message whose content is text.

LangChain calls `content_blocks` for the property of the same name, of messages of this package. It
puts reasoning, text and executions in the order in which they happened, from the block positions
that `MessageBuilder` stores. This module also has the shapes of the blocks that all encodings
share.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.block_translators import register_translator

from langchain_qwen_ci.metadata import (
    CODE_INTERPRETER,
    MODEL_PROVIDER,
    block_positions,
    code_executions,
)
from langchain_qwen_ci.wire.events import ServerToolReturned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import AIMessage
    from langchain_core.messages import content as blocks

    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.wire.events import CodeFinished


def server_tool_call_block(call_id: str, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Return a `server_tool_call` block; the args of the interpreter are `{"code": …}`."""
    return {"type": "server_tool_call", "id": call_id, "name": name, "args": args}


def server_tool_result_block(
    call_id: str, status: str, output: object, images: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a `server_tool_result` block; `extras["images"]` has image blocks with their URLs."""
    block = {
        "type": "server_tool_result",
        "tool_call_id": call_id,
        "status": status,
        "output": output,
    }
    image_blocks = [{"type": "image", "url": url} for url in images]
    return {**block, "extras": {"images": image_blocks}} if images else block


def result_block_for(event: CodeFinished | ServerToolReturned) -> dict[str, Any] | None:
    """Return the block of a result; None if the API returns no output."""
    if isinstance(event, ServerToolReturned):
        return server_tool_result_block(event.call_id, event.status, event.output)
    if event.output is None:
        return None
    return server_tool_result_block(event.call_id, event.result_status, event.output, event.images)


def escape_code(code: str) -> str:
    """Escape code for a JSON string, for args that are streamed as JSON text."""
    return json.dumps(code, ensure_ascii=False)[1:-1]


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Return the standard blocks of a message, in the order in which they happened."""
    if not isinstance(message.content, str):
        raise NotImplementedError  # LangChain then returns the content blocks unchanged
    reasoning = str(message.additional_kwargs.get("reasoning_content") or "")
    text = message.content
    executions = {execution["id"]: execution for execution in code_executions(message)}
    positions = list(_absolute_positions(message, reasoning, text))
    ordered: list[dict[str, Any]] = []
    reasoning_offset = text_offset = 0
    for position in positions:
        if "citation" in position:  # it does not end the text that it belongs to
            continue
        # No offset is before that of the last position: nothing is repeated.
        reasoning_end = max(position.get("reasoning_offset", 0), reasoning_offset)
        text_end = max(position.get("text_offset", 0), text_offset)
        ordered += _text_blocks(
            reasoning[reasoning_offset:reasoning_end], text[text_offset:text_end]
        )
        ordered += _blocks_at(position, executions, is_streaming=_is_streaming(message))
        reasoning_offset, text_offset = reasoning_end, text_end
    ordered += _text_blocks(reasoning[reasoning_offset:], text[text_offset:])
    _add_citations(ordered, [position for position in positions if "citation" in position])
    ordered += _function_call_blocks(message)
    return cast("list[blocks.ContentBlock]", ordered)


def _absolute_positions(message: AIMessage, reasoning: str, text: str) -> Iterator[dict[str, Any]]:
    """Yield the positions with offsets into the whole message.

    The offsets of an answer are those in its own reasoning and text. `merge_message_runs` of
    LangChain joins these of several answers, the texts with a line break between them.
    """
    positions = block_positions(message)
    reasoning_start, text_start = _start_of_positions(message, positions, reasoning, text)
    if reasoning_start or text_start:
        yield {"index": "", "reasoning_offset": reasoning_start, "text_offset": text_start}
    for position in positions:
        if "reasoning_offset" not in position:  # a chunk with more code of an earlier execution
            yield position
            continue
        reasoning_offset = reasoning_start + position["reasoning_offset"]
        text_offset = text_start + position.get("text_offset", 0)
        if "is_end" in position:
            # The line break belongs to the text before it.
            if text_offset > text_start and text.startswith("\n", text_offset):
                text_offset += 1
            reasoning_start, text_start = reasoning_offset, text_offset
        yield {**position, "reasoning_offset": reasoning_offset, "text_offset": text_offset}


def _start_of_positions(
    message: AIMessage, positions: list[dict[str, Any]], reasoning: str, text: str
) -> tuple[int, int]:
    """Return the length of reasoning and text of answers without positions before the others."""
    ends = [position for position in positions if "is_end" in position]
    request_id = message.response_metadata.get("request_id")  # of the first answer
    if not ends or not request_id or str(positions[0].get("index")).startswith(f"lc_{request_id}_"):
        return 0, 0
    text_lengths = [length for end in ends if (length := end.get("text_offset", 0))]
    line_breaks = max(len(text_lengths) - 1, 0)
    return (
        max(len(reasoning) - sum(end.get("reasoning_offset", 0) for end in ends), 0),
        max(len(text) - sum(text_lengths) - line_breaks, 0),
    )


def _is_streaming(message: AIMessage) -> bool:
    return isinstance(message, AIMessageChunk) and message.chunk_position != "last"


def _text_blocks(reasoning: str, text: str) -> Iterator[dict[str, Any]]:
    # Between two positions reasoning precedes text; otherwise there would be another position.
    if reasoning:
        yield {"type": "reasoning", "reasoning": reasoning}
    if text:
        yield {"type": "text", "text": text}


def _add_citations(ordered: list[dict[str, Any]], positions: Sequence[dict[str, Any]]) -> None:
    """Add each citation to the text block that ends at or after its position."""
    text_end = 0
    remaining = list(positions)
    texts = [block for block in ordered if block["type"] == "text"]
    for block in texts:
        text_end += len(block["text"])
        while remaining and (remaining[0].get("text_offset", 0) <= text_end or block is texts[-1]):
            block.setdefault("annotations", []).append(remaining.pop(0)["citation"])


def _blocks_at(
    position: dict[str, Any], executions: dict[str, CodeExecution], *, is_streaming: bool
) -> Iterator[dict[str, Any]]:
    """Yield the block of a position; none if the position only marks continued reasoning.

    While a message is streaming, the blocks of a call have the index of their position.
    """
    index = {"index": position["index"]} if is_streaming else {}
    match position:
        case {"result_of": call_id, "status": status, "output": output}:
            yield server_tool_result_block(call_id, status, output, position.get("images", ()))
        case {"id": call_id, "name": name, "args": args}:
            yield {**server_tool_call_block(call_id, name, args), **index}
        case {"id": call_id, "code": code, "reasoning_offset": _}:
            record = executions.get(call_id)
            args = {"code": record["code"] if record else code}
            yield {**server_tool_call_block(call_id, CODE_INTERPRETER, args), **index}
        case {"id": call_id, "code": code}:  # a chunk with more code of an earlier execution
            args = escape_code(code)
            yield {"type": "server_tool_call_chunk", "id": call_id, "args": args, **index}


def _function_call_blocks(message: AIMessage) -> Iterator[dict[str, Any]]:
    if _is_streaming(message):
        for chunk in cast("AIMessageChunk", message).tool_call_chunks:
            yield {**chunk, "type": "tool_call_chunk"}
        return
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
    for invalid_call in message.invalid_tool_calls:
        yield dict(invalid_call)


register_translator(MODEL_PROVIDER, content_blocks, content_blocks)
