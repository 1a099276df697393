"""Converts histories with tool calls of other agents for requests with the interpreter.

Such a request has no tools, and it is not documented how the service handles tool calls and results
in its history. So they are converted to text by default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

HistoryMode = Literal["text", "drop", "pass", "error"]
HistoryPolicy = HistoryMode | Callable[[Sequence[BaseMessage]], Sequence[BaseMessage]]


def prepare_history(
    messages: Sequence[BaseMessage], policy: HistoryPolicy, system_prompt: str | None
) -> list[BaseMessage]:
    """Return the messages to send.

    Args:
        messages: the messages of a state.
        policy: how tool calls and tool results are converted: "text" converts them to text, "drop"
            removes them, "pass" sends them unchanged, "error" raises an error; or a function.
        system_prompt: the first message; an existing system message is appended to it.

    Raises:
        ValueError: the policy is "error" and there are tool messages, or it is unknown.
    """
    if callable(policy):
        history = list(policy(messages))
    elif policy in _MODES:
        history = list(_MODES[policy](messages))
    else:
        raise ValueError(
            f"history {policy!r} is none of {', '.join(_MODES)}, and no function of messages."
        )
    return _with_system_prompt(history, system_prompt) if system_prompt else history


def _with_system_prompt(messages: list[BaseMessage], prompt: str) -> list[BaseMessage]:
    # The service accepts one system message only.
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(_after_text(f"{prompt}\n\n", messages[0])), *messages[1:]]
    return [SystemMessage(prompt), *messages]


def _after_text(text: str, message: BaseMessage) -> str | list[str | dict[Any, Any]]:
    """Return the content of a message with a text before it; media and `cache_control` remain."""
    if isinstance(message.content, str):
        return f"{text}{message.content}"
    return [{"type": "text", "text": text}, *message.content]


def _calls(message: AIMessage) -> list[ToolCall | InvalidToolCall]:
    return [*message.tool_calls, *message.invalid_tool_calls]


def _arguments(call: ToolCall | InvalidToolCall) -> str:
    args = call["args"]
    # The arguments of an invalid call are text that is not a JSON object.
    return json.dumps(args, ensure_ascii=False) if isinstance(args, dict) else args or ""


def _tool_messages_to_text(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    names: dict[str | None, str] = {}
    for message in messages:
        if isinstance(message, AIMessage) and _calls(message):
            names |= {call["id"]: call["name"] or "the tool" for call in _calls(message)}
            calls = (f"[I call {call['name']}({_arguments(call)})]" for call in _calls(message))
            text = str(message.text)
            yield AIMessage("\n".join([text, *calls] if text else calls), id=message.id)
        elif isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id) or "the tool"
            yield HumanMessage(_after_text(f"[{name} returned] ", message), id=message.id)
        else:
            yield message


def _drop_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    for message in messages:
        if isinstance(message, AIMessage) and _calls(message):
            if text := str(message.text):
                yield AIMessage(text, id=message.id)
        elif not isinstance(message, ToolMessage):
            yield message


def _keep_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    yield from messages


def _reject_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    for message in messages:
        if isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and _calls(message)):
            raise ValueError(
                "The history holds tool calls, and the code interpreter takes no tools. Pass "
                'history="text" to turn them into text, "drop" to leave them out, or "pass".'
            )
        yield message


_MODES: dict[HistoryMode, Callable[[Sequence[BaseMessage]], Iterator[BaseMessage]]] = {
    "text": _tool_messages_to_text,
    "drop": _drop_tool_messages,
    "pass": _keep_tool_messages,
    "error": _reject_tool_messages,
}
