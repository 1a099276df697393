"""Standard content blocks of a message whose content is text, in the order things happened.

What LangChain's `message.content_blocks` calls for messages of this package: it puts reasoning,
text and executions together again along the trail that `answer` left. And the shapes of the
blocks of executions, which every encoding shares.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.block_translators import register_translator

from langchain_qwen_ci.wire.events import ServerToolReturned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import AIMessage
    from langchain_core.messages import content as blocks

    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.wire.events import CodeFinished

MODEL_PROVIDER = "qwen"
CODE_INTERPRETER = "code_interpreter"


def server_tool_call_block(call_id: str, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """A `server_tool_call`: the interpreter's has `{"code": …}` as its args."""
    return {"type": "server_tool_call", "id": call_id, "name": name, "args": args}


def server_tool_result_block(
    call_id: str, status: str, output: object, images: Sequence[str] = ()
) -> dict[str, Any]:
    """A `server_tool_result`; images are links, in its extras."""
    block = {
        "type": "server_tool_result",
        "tool_call_id": call_id,
        "status": status,
        "output": output,
    }
    return {**block, "extras": {"images": list(images)}} if images else block


def result_block_for(event: CodeFinished | ServerToolReturned) -> dict[str, Any] | None:
    """The block of a result; None where the wire shows none."""
    if isinstance(event, ServerToolReturned):
        return server_tool_result_block(event.call_id, event.status, event.output)
    if event.output is None:
        return None
    return server_tool_result_block(event.call_id, event.result_status, event.output, event.images)


def escape_code(piece: str) -> str:
    """A piece of code as it stands in the JSON text of a call's args."""
    return json.dumps(piece, ensure_ascii=False)[1:-1]


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Standard blocks in the order in which things happened."""
    if not isinstance(message.content, str):
        raise NotImplementedError  # LangChain then reads the blocks as they are
    reasoning = message.additional_kwargs.get("reasoning_content") or ""
    text = message.content
    recorded = message.response_metadata.get("code_executions") or ()
    executions = {execution["id"]: execution for execution in recorded}
    ordered: list[dict[str, Any]] = []
    reasoning_offset = text_offset = 0
    for entry in message.additional_kwargs.get("block_positions") or ():
        reasoning_end = entry.get("reasoning_offset", reasoning_offset)
        text_end = entry.get("text_offset", text_offset)
        ordered += _text_blocks(
            reasoning[reasoning_offset:reasoning_end], text[text_offset:text_end]
        )
        ordered += _blocks_at(entry, executions)
        reasoning_offset, text_offset = reasoning_end, text_end
    ordered += _text_blocks(reasoning[reasoning_offset:], text[text_offset:])
    ordered += _calls(message)
    return cast("list[blocks.ContentBlock]", ordered)


def _text_blocks(reasoning: str, text: str) -> Iterator[dict[str, Any]]:
    """What happened between two entries of the trail: thinking, then speaking."""
    if reasoning:
        yield {"type": "reasoning", "reasoning": reasoning}
    if text:
        yield {"type": "text", "text": text}


def _blocks_at(
    entry: dict[str, Any], executions: dict[str, CodeExecution]
) -> Iterator[dict[str, Any]]:
    """The block that an entry of the trail stands for; none where thinking goes on."""
    match entry:
        case {"result_of": call_id, "status": status, "output": output}:
            yield server_tool_result_block(call_id, status, output, entry.get("images", ()))
        case {"id": call_id, "name": name, "args": args}:
            yield server_tool_call_block(call_id, name, args)
        case {"id": call_id, "code": code}:
            recorded = executions.get(call_id)
            yield server_tool_call_block(
                call_id, CODE_INTERPRETER, {"code": recorded["code"] if recorded else code}
            )
        case {"code": code, "index": index}:  # a chunk with more of the code of an earlier one
            yield {"type": "server_tool_call_chunk", "args": escape_code(code), "index": index}


def _calls(message: AIMessage) -> Iterator[dict[str, Any]]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        for piece in message.tool_call_chunks:
            yield {**piece, "type": "tool_call_chunk"}
        return
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
    for broken in message.invalid_tool_calls:
        yield dict(broken)


register_translator(MODEL_PROVIDER, content_blocks, content_blocks)
