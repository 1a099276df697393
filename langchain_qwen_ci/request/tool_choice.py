"""Converts LangChain's `tool_choice` to what an API accepts.

Sources: the API references, and measurements published against the live service. "required" was
measured on Responses with one tool. On the native API and on Chat Completions the service documents
"auto", "none" and one function by name. `{"type": "allowed_tools"}` is documented for Responses.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.models import Target

_ALLOWED_TOOLS = "allowed_tools"


def to_tool_choice(
    choice: object,
    functions: Sequence[Mapping[str, Any]],
    target: Target,
    *,
    tool_count: int,
) -> object:
    """Convert LangChain's `tool_choice` to that of an API.

    "any", "required" and True mean that the model must call a tool.

    Args:
        choice: the choice of the caller. Dictionaries are sent unchanged.
        functions: the function tools of the request, in OpenAI's format.
        target: the API and the host.
        tool_count: the number of all tools of the request, with those of the service.

    Raises:
        QwenInputError: the choice is not the name of one of the functions, or the API does not have
            it.
    """
    if isinstance(choice, dict):
        if choice.get("type") == _ALLOWED_TOOLS and not (
            target.api == "responses" or _is_openai_compatible(target)
        ):
            raise QwenInputError(
                f"The service has the tool_choice {_ALLOWED_TOOLS!r} on the Responses API only: "
                'use api="responses", or bind only the tools that the model may call.'
            )
        return choice
    if choice in ("auto", "none"):
        return choice
    names = [function["function"]["name"] for function in functions]
    if choice in ("any", "required", True):
        return _any_tool(choice, names, target, tool_count)
    if choice in names:
        return _function(choice)
    raise QwenInputError(f"tool_choice {choice!r} is none of the tools: {', '.join(names)}.")


def _any_tool(choice: object, names: Sequence[str], target: Target, tool_count: int) -> object:
    """Return the choice of an API that forces a call of any tool, or of the only function."""
    openai_compatible = _is_openai_compatible(target)
    if target.api == "responses" and (tool_count == 1 or openai_compatible):
        return "required"
    if len(names) == 1:
        return _function(names[0])
    if openai_compatible:
        return "required"
    warnings.warn(
        "The service cannot be made to call any one of several tools: "
        f'tool_choice={choice!r} is sent as "auto".',
        stacklevel=2,
    )
    return "auto"


def _is_openai_compatible(target: Target) -> bool:
    """Return whether OpenAI's rules hold, and not those that are known of Alibaba's hosts."""
    return not target.alibaba and target.api != "dashscope"


def _function(name: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def forces_call(choice: object) -> bool:
    """Return whether the model must call a tool, for a choice in the format of an API."""
    if not isinstance(choice, dict):
        return choice == "required"
    if choice.get("type") != _ALLOWED_TOOLS:
        return True
    # Chat Completions nests the mode and the tools; Responses does not.
    nested = choice.get(_ALLOWED_TOOLS)
    allowed = nested if isinstance(nested, dict) else choice
    return allowed.get("mode") == "required"


def warn_tool_choice_not_sent(choice: object, *, interpreter: bool) -> None:
    """Warn that a request has no tools that could be chosen."""
    advice = (
        'this API has no choice of the code interpreter; api="responses" has it.'
        if interpreter
        else "the request has no tools; bind the tools together with it."
    )
    warnings.warn(f"tool_choice={choice!r} is not sent: {advice}", stacklevel=2)


def warn_parallel_calls_not_limited() -> None:
    """Warn that the service ignores `parallel_tool_calls=False` on Responses (measured)."""
    warnings.warn(
        "The Responses API of the service ignores parallel_tool_calls=False: a message may still "
        "have several tool calls.",
        stacklevel=2,
    )
