"""Converts LangChain messages to a `Prompt`; `content` converts their content."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic_core import from_json

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.content import (
    MEDIA_KINDS,
    cache_control,
    content_parts,
    standard_blocks,
)
from langchain_qwen_ci.request.prompt import FunctionCall, Media, PromptMessage, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.request.prompt import Prompt, RequestOptions, Role

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
                _text_parts(message),
                calls=_function_calls(message),
                reasoning=_reasoning(message),
            )
        case HumanMessage():
            return PromptMessage("user", _user_parts(message))
        case SystemMessage():
            return PromptMessage("system", content_parts(message))
        case ToolMessage():
            return PromptMessage("tool", content_parts(message), tool_call_id=message.tool_call_id)
        case ChatMessage() if message.role in _CHAT_ROLES:
            return PromptMessage(_CHAT_ROLES[message.role], content_parts(message))
    raise QwenInputError(
        f"A {type(message).__name__} cannot be sent. Use system, human, AI and tool messages."
    )


def _user_parts(message: HumanMessage) -> tuple[Text | Media, ...]:
    parts = content_parts(message)
    if any(part.text if isinstance(part, Text) else part.url or part.frames for part in parts):
        return parts
    raise QwenInputError("The service does not take a human message without text or media.")


def _text_parts(message: AIMessage) -> tuple[Text, ...]:
    """Return the text of an answer: in parts only if one of them has `cache_control`."""
    if isinstance(message.content, list):
        all_blocks = standard_blocks(message)
        _warn_of_media(all_blocks)
        blocks = [block for block in all_blocks if block["type"] == "text"]
        if any(cache_control(block) is not None for block in blocks):
            return tuple(
                Text(str(block.get("text") or ""), cache_control(block)) for block in blocks
            )
    text = str(message.text)
    return (Text(text),) if text else ()


def _warn_of_media(blocks: Sequence[Mapping[str, Any]]) -> None:
    for block in blocks:
        if block["type"] in MEDIA_KINDS:
            warnings.warn(
                f"The {block['type']} of an answer is not sent: the service takes media in human "
                "and tool messages only. Repeat it in a human message if the model should see it.",
                stacklevel=2,
            )


def _function_calls(message: AIMessage) -> tuple[FunctionCall, ...]:
    valid_calls = (
        FunctionCall(call["id"] or "", call["name"], _arguments(call["name"], call["args"]))
        for call in message.tool_calls
    )
    # Sent as well: the tool message that answers such a call would be rejected without it.
    invalid_calls = (
        FunctionCall(call["id"] or "", call["name"] or "", _valid_json(call["args"] or ""))
        for call in message.invalid_tool_calls
    )
    return (*valid_calls, *invalid_calls)


def _arguments(name: str, args: dict[str, Any]) -> str:
    try:
        return json.dumps(args, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise QwenInputError(f"The arguments of the call of {name} are no JSON: {error}") from error


def _valid_json(arguments: str) -> str:
    """Return the arguments of an invalid call as the text of a JSON object.

    Servers parse the arguments of every call in the history and reject the request if they are not
    a JSON object. Text that is none becomes the value of "invalid_json", so that the model can read
    its mistake.
    """
    if not arguments.strip():
        return "{}"
    try:
        is_object = isinstance(from_json(arguments, allow_inf_nan=False), dict)
    except ValueError:
        is_object = False
    return arguments if is_object else json.dumps({"invalid_json": arguments}, ensure_ascii=False)


def _reasoning(message: AIMessage) -> str:
    """Return the reasoning of an answer.

    It is in `additional_kwargs`, or in reasoning blocks of the content, for example of an answer of
    another provider or with `output_version="v1"`.
    """
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        return str(reasoning)
    if isinstance(message.content, str):
        return ""
    return "".join(str(block.get("reasoning") or "") for block in standard_blocks(message))


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
