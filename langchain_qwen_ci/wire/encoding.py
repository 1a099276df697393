"""Encodes the parts of a request that several APIs share."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from langchain_qwen_ci.errors import QwenInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_qwen_ci.request.prompt import Media, PromptMessage, RequestOptions, Text

_SURROGATE = re.compile("[\ud800-\udfff]")
# What the encoder writes for floats that JSON does not have. It also matches text.
_NOT_FINITE = re.compile(rb"NaN|Infinity")


def json_body(payload: dict[str, Any]) -> bytes:
    """Serialise a request as JSON.

    Raises:
        QwenInputError: a value cannot be written as JSON, such as half of a surrogate pair or NaN.
    """
    try:
        body = to_json(payload)
    except (PydanticSerializationError, ValueError) as error:
        surrogates = _places(payload, _has_lone_surrogate)
        advice = (
            f"{surrogates} contains a lone surrogate, which is not a character: replace it, for "
            'instance with text.encode("utf-8", "replace").decode().'
        )
        raise QwenInputError(
            f"The request cannot be written as JSON: {advice if surrogates else error}"
        ) from error
    if _NOT_FINITE.search(body):
        try:
            from_json(body, allow_inf_nan=False)
        except ValueError as error:
            place = _places(payload, _is_not_finite) or "A value"
            raise QwenInputError(
                f"{place} is NaN or infinite, and JSON has no such numbers: leave it out, or pass "
                "None."
            ) from error
    return body


def _has_lone_surrogate(value: object) -> bool:
    return isinstance(value, str) and _SURROGATE.search(value) is not None


def _is_not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _places(payload: dict[str, Any], is_wrong: Callable[[object], bool]) -> str:
    """Return the places of wrong values, such as "request.messages[0].content"."""
    found: list[str] = []
    # A stack and not recursion, because the payload may contain itself or be nested deeply.
    remaining: list[tuple[str, object]] = [("request", payload)]
    seen: set[int] = set()
    while remaining:
        place, value = remaining.pop()
        if is_wrong(value):
            found.append(place)
        if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            found += [f"a key of {place}" for name in value if is_wrong(name)]
            remaining += [(f"{place}.{name}", item) for name, item in value.items()]
        else:
            remaining += [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    return ", ".join(sorted(found))


def encode_chat_message(
    message: PromptMessage, encoded_content: str | list[dict[str, Any]], options: RequestOptions
) -> dict[str, Any]:
    """Encode a message in the shape that the native API and Chat Completions share."""
    encoded: dict[str, Any] = {"role": message.role, "content": encoded_content}
    if message.reasoning and options.send_reasoning:
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
    """Encode the flags and function tools that the native API and Chat Completions share."""
    flags: dict[str, Any] = {}
    if options.enable_code_interpreter:
        flags["enable_code_interpreter"] = True
    if options.enable_thinking is not None:
        flags["enable_thinking"] = options.enable_thinking
    if options.preserve_thinking is not None:
        flags["preserve_thinking"] = options.preserve_thinking
    if options.functions:
        flags["tools"] = list(options.functions)
    return flags


def encode_content(
    message: PromptMessage, encode_part: Callable[[Text | Media], dict[str, Any]]
) -> str | list[dict[str, Any]]:
    """Encode the content of a message: a string if it is text only, else a list of parts.

    Every model accepts strings; only models with vision accept lists, except of text with
    `cache_control`.
    """
    if not message.has_media and not message.cache_markers:
        return message.text
    return [{**encode_part(part), **cache_marker(part)} for part in message.parts]


def cache_marker(part: Text | Media) -> dict[str, Any]:
    """Encode the marker of the explicit context cache, if a part has one."""
    return {} if part.cache_control is None else {"cache_control": dict(part.cache_control)}
