"""Limits on the use of the interpreter in one thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenBudgetError
from langchain_qwen_ci.metadata import CODE_INTERPRETER, MODEL_PROVIDER, plugin_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage


@dataclass(frozen=True, slots=True)
class Budget:
    """What one thread may use of the interpreter; None sets no limit.

    A request that has begun is not cut by it: for that, see the model's `max_request_tokens` and
    `max_code_executions`.

    Attributes:
        executions: calls of the interpreter, by the state's `plugin_counts`; in a graph within a
            graph, which counts its own, by the messages of the state where those tell of more.
        tokens: by the usage of the messages of Qwen models that the state holds.
    """

    executions: int | None = None
    tokens: int | None = None

    def exceeded(
        self, counts: Mapping[str, int], messages: Sequence[Any]
    ) -> QwenBudgetError | None:
        """The limit that the thread has reached, if it has."""
        details = sum(plugin_counts(message).get(CODE_INTERPRETER, 0) for message in messages)
        runs = max(details, counts.get(CODE_INTERPRETER, 0))
        if self.executions is not None and runs >= self.executions:
            return QwenBudgetError(limit="executions", allowed=self.executions, used=runs)
        tokens = sum(map(_tokens, messages))
        if self.tokens is not None and tokens >= self.tokens:
            return QwenBudgetError(limit="tokens", allowed=self.tokens, used=tokens)
        return None


def _tokens(message: BaseMessage) -> int:
    ours = getattr(message, "response_metadata", {}).get("model_provider") == MODEL_PROVIDER
    usage = getattr(message, "usage_metadata", None)
    return usage["total_tokens"] if ours and usage else 0
