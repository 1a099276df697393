"""Summarises a conversation when its size, and not the sum over all inferences, reaches a limit."""

from __future__ import annotations

from typing import Any, cast

from langchain.agents.middleware import AgentState, SummarizationMiddleware
from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from langchain_qwen_ci.response.context_usage import with_context_usage


class QwenSummarizationMiddleware(SummarizationMiddleware):
    """LangChain's `SummarizationMiddleware` for answers that needed several inferences.

    LangChain takes the usage of the last answer for the size of the conversation. With the
    interpreter it is the sum over all inferences of the answer, so that `SummarizationMiddleware`
    summarises too early: with five inferences at about a fifth of its limit. This class reads the
    usage of one inference; see `with_context_usage`. The messages in the state keep theirs.

    Args: those of `SummarizationMiddleware`.

    Example:
        ```python
        QwenSummarizationMiddleware(
            ChatQwenCodeInterpreter(enable_code_interpreter=False), trigger=("tokens", 30_000)
        )
        ```
    """

    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        read = with_context_usage(state["messages"])
        update = super().before_model(_with_messages(state, read), runtime)
        return _with_original_messages(update, state, read)

    async def abefore_model(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        read = with_context_usage(state["messages"])
        update = await super().abefore_model(_with_messages(state, read), runtime)
        return _with_original_messages(update, state, read)


def _with_messages(state: AgentState[Any], messages: list[BaseMessage]) -> AgentState[Any]:
    return cast("AgentState[Any]", {**state, "messages": messages})


def _with_original_messages(
    update: dict[str, Any] | None, state: AgentState[Any], read: list[BaseMessage]
) -> dict[str, Any] | None:
    """Replace the copies in an update by the messages of the state, which have the whole usage."""
    if update is None:
        return None
    originals = dict(zip(map(id, read), state["messages"], strict=True))
    messages = [originals.get(id(message), message) for message in update["messages"]]
    return {**update, "messages": messages}
