"""Histories with tool calls of other agents, for an endpoint that takes no tools.

While the interpreter is on, the service takes no tools; what it makes of calls and results in a
history is not documented. So a history is put into a form that it takes for certain.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

HistoryMode = Literal["text", "drop", "pass", "error"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    HistoryPolicy = HistoryMode | Callable[[Sequence[BaseMessage]], Sequence[BaseMessage]]


def prepare_history(
    messages: Sequence[BaseMessage], policy: HistoryPolicy, system_prompt: str | None
) -> list[BaseMessage]:
    """A history as the service takes it.

    Args:
        messages: of a state.
        policy: of tool calls and results: "text" turns them into lines of text, "drop" leaves them
            out, "pass" sends them as they are, "error" refuses them; or a function of your own.
        system_prompt: goes first; a system message that already is there follows within it.

    Raises:
        ValueError: policy "error", and there are some; or no policy at all.
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
    """The service wants one system message."""
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(f"{prompt}\n\n{messages[0].text}"), *messages[1:]]
    return [SystemMessage(prompt), *messages]


def _tool_messages_to_text(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    names: dict[str | None, str] = {}
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            names |= {call["id"]: call["name"] for call in message.tool_calls}
            calls = (
                f"[I call {call['name']}({json.dumps(call['args'], ensure_ascii=False)})]"
                for call in message.tool_calls
            )
            text = str(message.text)
            yield AIMessage("\n".join([text, *calls] if text else calls), id=message.id)
        elif isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id) or "the tool"
            yield HumanMessage(f"[{name} returned] {message.text}", id=message.id)
        else:
            yield message


def _drop_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            if text := str(message.text):
                yield AIMessage(text, id=message.id)
        elif not isinstance(message, ToolMessage):
            yield message


def _keep_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    yield from messages


def _reject_tool_messages(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    for message in messages:
        if isinstance(message, ToolMessage) or getattr(message, "tool_calls", None):
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
