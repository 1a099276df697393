"""LangChain messages become a `Prompt`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.wire.prompt import FunctionCall, Media, Prompt, Role, Text, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHAT_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def to_prompt(messages: Sequence[BaseMessage]) -> Prompt:
    """Every message as a turn, in order.

    Raises:
        QwenInputError: there is no message, or one holds what no wire can take.
    """
    if not messages:
        raise QwenInputError("There is no message to answer: pass at least one.")
    return tuple(_turn(message) for message in messages)


def _turn(message: BaseMessage) -> Turn:
    match message:
        case AIMessage():
            # Reasoning and executed code are the service's own; it takes back text and calls.
            return Turn("assistant", _text_only(message), calls=_calls(message))
        case HumanMessage():
            return Turn("user", _parts(message))
        case SystemMessage():
            return Turn("system", _parts(message))
        case ToolMessage():
            return Turn("tool", _parts(message), tool_call_id=message.tool_call_id)
        case ChatMessage() if message.role in _CHAT_ROLES:
            return Turn(_CHAT_ROLES[message.role], _parts(message))
    raise QwenInputError(
        f"A {type(message).__name__} cannot be sent. Use system, human, AI and tool messages."
    )


def _text_only(message: AIMessage) -> tuple[Text, ...]:
    text = str(message.text)
    return (Text(text),) if text else ()


def _calls(message: AIMessage) -> tuple[FunctionCall, ...]:
    valid = (
        FunctionCall(call["id"] or "", call["name"], json.dumps(call["args"], ensure_ascii=False))
        for call in message.tool_calls
    )
    broken = (
        FunctionCall(call["id"] or "", call["name"] or "", call["args"] or "")
        for call in message.invalid_tool_calls
    )
    return (*valid, *broken)


def _parts(message: BaseMessage) -> tuple[Text | Media, ...]:
    if isinstance(message.content, str):
        return (Text(message.content),)
    # `content_blocks` also knows OpenAI's and Anthropic's shapes and gives standard blocks.
    return tuple(_part(block) for block in message.content_blocks)


def _part(block: Mapping[str, Any]) -> Text | Media:
    match block:
        case {"type": "text" | "text-plain", "text": str(text)}:
            return Text(text)
        case {"type": "image" | "video" | "audio" as kind, "url": str(url)}:
            return Media(kind, url)
        case {"type": "image" | "video" | "audio" as kind, "base64": str(data)}:
            if not (mime_type := block.get("mime_type")):
                raise QwenInputError(f"A base64 {kind} needs a mime_type, such as image/png.")
            return Media(kind, f"data:{mime_type};base64,{data}")
    raise QwenInputError(
        f"A content block of type {block.get('type')!r} cannot be sent. Send text, or images, "
        "video and audio by url or base64."
    )
