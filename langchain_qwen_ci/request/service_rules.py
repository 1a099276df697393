"""Rejects requests that Alibaba's service is known to reject, before they are sent.

Other hosts may accept such requests, so these rules are for Alibaba's hosts only. Sources: Model
Studio's documentation, and reports of the service's answers (cloudwego/eino#994,
agentscope-ai/agentscope#1608, QwenLM/qwen-code#2360, #315 and #7659).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.tool_choice import forces_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_qwen_ci.models import Target
    from langchain_qwen_ci.request.prompt import Prompt, RequestOptions

_MAX_CACHE_MARKERS = 4


def check_service_rules(prompt: Prompt, options: RequestOptions, target: Target) -> None:
    """Check a request to Alibaba's native API or Chat Completions.

    Raises:
        QwenInputError: the service would reject the request.
    """
    if not target.alibaba or target.api == "responses":
        return
    choice = options.parameters.get("tool_choice")
    check_forced_tool(choice, target, enable_thinking=options.enable_thinking)
    _check_user_message(prompt)
    _check_tool_messages(prompt)
    _check_cache_markers(prompt)


def check_forced_tool(choice: object, target: Target, *, enable_thinking: bool | None) -> None:
    """Reject a forced tool call from a model whose thinking was turned on.

    Args:
        choice: `tool_choice` in the format of the API (see `to_tool_choice`); None: there is none.
        target: the API and the host.
        enable_thinking: None is allowed: thinking is then turned off (see `resolve_options`).

    Raises:
        QwenInputError: the service would reject the combination.
    """
    if target.alibaba and target.api != "responses" and enable_thinking and forces_call(choice):
        raise QwenInputError(
            "The service takes no forced tool_choice while the model thinks: drop "
            'enable_thinking=True or pass tool_choice="auto"; for structured output, '
            'method="prompt" works with thinking.'
        )


def _check_user_message(prompt: Prompt) -> None:
    if not any(message.role == "user" for message in prompt):
        raise QwenInputError(
            "There is no human message, and the service takes no request without one: add it. "
            'trim_messages keeps one with start_on="human".'
        )


def _check_tool_messages(prompt: Prompt) -> None:
    """Check that tool calls are followed by their results, and results preceded by their calls."""
    called: set[str] = set()
    unanswered: dict[str, None] = {}  # an ordered set
    for position, message in enumerate(prompt):
        if message.tool_call_id is not None:
            if message.tool_call_id not in called:
                raise QwenInputError(
                    f"messages[{position}]: the tool message for the call "
                    f"{message.tool_call_id!r} has no AI message with that call before it. Drop "
                    "it, or keep both: trim_messages does not separate them with "
                    'start_on="human".'
                )
            unanswered.pop(message.tool_call_id, None)
            continue
        _check_answered(unanswered)
        unanswered = {call.id: None for call in message.calls}
        called |= unanswered.keys()
    _check_answered(unanswered)


def _check_answered(unanswered: Iterable[str]) -> None:
    if ids := ", ".join(map(repr, unanswered)):
        raise QwenInputError(
            f"The tool calls {ids} have no tool messages directly after the AI message: add a "
            "ToolMessage for each of them (its text may be an error), or drop the calls."
        )


def _check_cache_markers(prompt: Prompt) -> None:
    markers = sum(message.cache_markers for message in prompt)
    if markers > _MAX_CACHE_MARKERS:
        raise QwenInputError(
            f"{markers} content blocks have cache_control, and the service takes "
            f"{_MAX_CACHE_MARKERS} in a request: keep it on the last blocks of the longest "
            "prefixes that requests share."
        )
