"""A LangGraph retry policy that asks the error itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langchain_core.exceptions import ModelError
from langgraph.types import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

_langgraph_default = cast("Callable[[Exception], bool]", RetryPolicy().retry_on)


def _may_succeed_later(error: Exception) -> bool:
    # Errors that are not model errors are left to LangGraph's default.
    return error.is_retryable if isinstance(error, ModelError) else _langgraph_default(error)


QWEN_RETRY_POLICY = RetryPolicy(retry_on=_may_succeed_later)
"""A policy for `add_node(retry_policy=…)` that retries errors with `is_retryable`.

LangGraph's default policy retries network errors only, not rate limits. This policy also repeats a
request whose answer was interrupted; its code may then run twice.
"""
