"""What requests have in common, whichever wire they go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

from langchain_qwen_ci.errors import QwenInputError

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.prompt import Options, Turn


def json_body(payload: dict[str, Any]) -> bytes:
    """A request as JSON.

    Raises:
        QwenInputError: it holds what JSON cannot, such as half a surrogate pair.
    """
    try:
        return to_json(payload)
    except (PydanticSerializationError, ValueError) as error:
        raise QwenInputError(f"The request cannot be written as JSON: {error}") from error


def chat_message(
    turn: Turn, content: str | list[dict[str, Any]], options: Options
) -> dict[str, Any]:
    """A turn in the shape that the native API and Chat Completions share."""
    message: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.reasoning and options.preserve_thinking:
        message["reasoning_content"] = turn.reasoning
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "index": index,
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(turn.calls)
        ]
    if turn.tool_call_id is not None:
        message["tool_call_id"] = turn.tool_call_id
    return message
