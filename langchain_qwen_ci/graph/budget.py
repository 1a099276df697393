"""Limits on the use of the interpreter in one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_qwen_ci.errors import QwenBudgetError
from langchain_qwen_ci.metadata import CODE_INTERPRETER, MODEL_PROVIDER, plugin_counts


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits for one thread (conversation). None: unlimited.

    A budget does not end a request that has started; `max_request_tokens` and `max_code_executions`
    of the model do.

    Attributes:
        executions: maximum number of interpreter calls, from the state's `plugin_counts`. In a
            subgraph, which counts only its own calls, the messages of the state count if they
            contain more calls.
        tokens: maximum total tokens, from the usage of the Qwen messages in the state.
    """

    executions: int | None = None
    tokens: int | None = None

    def exceeded(
        self, counts: Mapping[str, int], messages: Sequence[Any]
    ) -> QwenBudgetError | None:
        """Return the error of a limit that the thread has reached; None if it has reached none."""
        in_messages = sum(plugin_counts(message).get(CODE_INTERPRETER, 0) for message in messages)
        calls = max(in_messages, counts.get(CODE_INTERPRETER, 0))
        if self.executions is not None and calls >= self.executions:
            return QwenBudgetError(limit="executions", allowed=self.executions, used=calls)
        tokens = sum(map(_tokens, messages))
        if self.tokens is not None and tokens >= self.tokens:
            return QwenBudgetError(limit="tokens", allowed=self.tokens, used=tokens)
        return None


def _tokens(message: BaseMessage) -> int:
    provider = getattr(message, "response_metadata", {}).get("model_provider")
    usage = getattr(message, "usage_metadata", None)
    return usage.get("total_tokens", 0) if provider == MODEL_PROVIDER and usage else 0
