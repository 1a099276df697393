"""Converts LangChain messages to a `Prompt`."""

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
from langchain_qwen_ci.request.prompt import FunctionCall, Media, PromptMessage, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.request.prompt import MediaKind, Prompt, RequestOptions, Role

_MEDIA_KINDS: tuple[MediaKind, ...] = ("image", "video", "audio")
_CHAT_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def to_prompt(messages: Sequence[BaseMessage]) -> Prompt:
    """Convert messages, in order.

    Raises:
        QwenInputError: there is no message, or a message has content that cannot be sent.
    """
    if not messages:
        raise QwenInputError("There is no message to answer: pass at least one.")
    return tuple(_message_at(position, message) for position, message in enumerate(messages))


def _message_at(position: int, message: BaseMessage) -> PromptMessage:
    try:
        return _to_prompt_message(message)
    except QwenInputError as error:
        raise QwenInputError(f"messages[{position}]: {error}") from error


def _to_prompt_message(message: BaseMessage) -> PromptMessage:
    match message:
        case AIMessage():
            # Executed code is not sent back: the service accepts text, calls and reasoning only.
            return PromptMessage(
                "assistant",
                _text_part(message),
                calls=_function_calls(message),
                reasoning=_reasoning(message),
            )
        case HumanMessage():
            return PromptMessage("user", _user_parts(message))
        case SystemMessage():
            return PromptMessage("system", _parts(message))
        case ToolMessage():
            return PromptMessage("tool", _parts(message), tool_call_id=message.tool_call_id)
        case ChatMessage() if message.role in _CHAT_ROLES:
            return PromptMessage(_CHAT_ROLES[message.role], _parts(message))
    raise QwenInputError(
        f"A {type(message).__name__} cannot be sent. Use system, human, AI and tool messages."
    )


def _user_parts(message: HumanMessage) -> tuple[Text | Media, ...]:
    parts = _parts(message)
    if any(part.text if isinstance(part, Text) else part.url for part in parts):
        return parts
    raise QwenInputError("The service does not take a human message without text or media.")


def _text_part(message: AIMessage) -> tuple[Text, ...]:
    text = str(message.text)
    return (Text(text),) if text else ()


def _function_calls(message: AIMessage) -> tuple[FunctionCall, ...]:
    valid_calls = (
        FunctionCall(call["id"] or "", call["name"], _arguments(call["name"], call["args"]))
        for call in message.tool_calls
    )
    # Sent as well: the tool message that answers such a call would be rejected without it.
    invalid_calls = (
        FunctionCall(call["id"] or "", call["name"] or "", call["args"] or "")
        for call in message.invalid_tool_calls
    )
    return (*valid_calls, *invalid_calls)


def _arguments(name: str, args: dict[str, Any]) -> str:
    try:
        return json.dumps(args, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise QwenInputError(f"The arguments of the call of {name} are no JSON: {error}") from error


def _reasoning(message: AIMessage) -> str:
    """Return the reasoning of an answer.

    It is in `additional_kwargs`, or in reasoning blocks of the content, for example of an answer of
    another provider or with `output_version="v1"`.
    """
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        return str(reasoning)
    if isinstance(message.content, str):
        return ""
    return "".join(str(block.get("reasoning") or "") for block in _blocks(message))


def _parts(message: BaseMessage) -> tuple[Text | Media, ...]:
    if isinstance(message.content, str):
        return (Text(message.content),)
    # `content_blocks` converts blocks of OpenAI and Anthropic to standard blocks; it wraps blocks
    # of unknown types as "non_standard".
    return tuple(
        _part(block["value"] if block["type"] == "non_standard" else block)
        for block in _blocks(message)
    )


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the content as standard blocks.

    Raises:
        QwenInputError: the content is malformed. A message with `output_version: "v1"` in its
            metadata may hold any value, which LangChain does not check.
    """
    try:
        blocks: list[Any] = list(message.content_blocks)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise QwenInputError(f"Content has a block that LangChain cannot read: {error}") from error
    for block in blocks:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise QwenInputError(f"Content has a block without a type: {block!r}.")
    return blocks


def _part(block: Mapping[str, Any]) -> Text | Media:
    match block:
        case {"type": "text" | "text-plain" | "input_text", "text": str(text)}:
            return Text(text)
        case {"type": "image" | "video" | "audio" as kind, "url": str(url)}:
            return Media(kind, url)
        case {"type": "image" | "video" | "audio" as kind, "base64": str(data)}:
            return Media(kind, _data_url(kind, data, block.get("mime_type")))
    if media := _foreign_media(block):
        return media
    raise QwenInputError(
        f"A content block of type {block.get('type')!r} cannot be sent. Send text, or images, "
        "video and audio by url or base64."
    )


def _foreign_media(block: Mapping[str, Any]) -> Media | None:
    """Convert media blocks of OpenAI and DashScope that LangChain does not convert."""
    match block:
        case {"type": "image_url" | "input_image", "image_url": str(url)}:
            return Media("image", url)
        case {"type": "video_url", "video_url": {"url": str(url)} | str(url)}:
            return Media("video", url)
    for kind in _MEDIA_KINDS:
        if isinstance(block.get(kind), str):
            return Media(kind, block[kind])
    return None


def _data_url(kind: str, data: str, mime_type: str | None) -> str:
    if data.startswith(("http://", "https://", "data:")):  # OpenAI's audio blocks may hold a URL
        return data
    if not mime_type:
        raise QwenInputError(f"A base64 {kind} needs a mime_type, such as image/png.")
    return f"data:{mime_type};base64,{data}"


def reject_unsupported_media(prompt: Prompt, options: RequestOptions) -> None:
    """Reject images, video and audio for a model that accepts text only.

    Raises:
        QwenInputError: the prompt has such a part.
    """
    if options.takes_media:
        return
    for message in prompt:
        media = next((part for part in message.parts if isinstance(part, Media)), None)
        if media is not None:
            raise QwenInputError(
                f"{options.model} takes text only, but a {message.role} message holds {media.kind} "
                f"input. Use a model with vision, such as qwen3.5-plus; if {options.model} has "
                'it, pass endpoint="multimodal-generation".'
            )
