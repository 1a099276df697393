"""What requests have in common, whichever wire they go by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.prompt import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_qwen_ci.request.prompt import Media, PromptMessage, RequestOptions

_SURROGATE = re.compile("[\ud800-\udfff]")


def json_body(payload: dict[str, Any]) -> bytes:
    """A request as JSON.

    Raises:
        QwenInputError: it holds what JSON cannot, such as half a surrogate pair.
    """
    try:
        return to_json(payload)
    except (PydanticSerializationError, ValueError) as error:
        surrogates = ", ".join(_lone_surrogates(payload, "request"))
        advice = (
            f"{surrogates} holds half of a surrogate pair, which is no character: replace it, for "
            'instance with text.encode("utf-8", "replace").decode().'
        )
        raise QwenInputError(
            f"The request cannot be written as JSON: {advice if surrogates else error}"
        ) from error


def _lone_surrogates(value: object, place: str) -> Iterator[str]:
    """Where in a request there are some, which only a text cut in the middle has."""
    match value:
        case str() if _SURROGATE.search(value):
            yield place
        case dict():
            for name, one in value.items():
                yield from _lone_surrogates(one, f"{place}.{name}")
        case list() | tuple():
            for index, one in enumerate(value):
                yield from _lone_surrogates(one, f"{place}[{index}]")


def encode_chat_message(
    message: PromptMessage, encoded_content: str | list[dict[str, Any]], options: RequestOptions
) -> dict[str, Any]:
    """A turn in the shape that the native API and Chat Completions share."""
    encoded: dict[str, Any] = {"role": message.role, "content": encoded_content}
    if message.reasoning and options.preserve_thinking:
        encoded["reasoning_content"] = message.reasoning
    if message.calls:
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "index": index,
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(message.calls)
        ]
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    return encoded


def feature_flags(options: RequestOptions) -> dict[str, Any]:
    """What is on, and the functions to call: the native API and Chat Completions take it alike."""
    chosen: dict[str, Any] = {}
    if options.enable_code_interpreter:
        chosen["enable_code_interpreter"] = True
    if options.enable_thinking is not None:
        chosen["enable_thinking"] = options.enable_thinking
    if options.preserve_thinking:
        chosen["preserve_thinking"] = True
    if options.functions:
        chosen["tools"] = list(options.functions)
    return chosen


def encode_content(
    message: PromptMessage, part: Callable[[Text | Media], dict[str, Any]]
) -> str | list[dict[str, Any]]:
    """What a turn says: a string where it is text, which every model takes, else its parts."""
    if all(isinstance(one, Text) for one in message.parts):
        return message.text
    return [part(one) for one in message.parts]
