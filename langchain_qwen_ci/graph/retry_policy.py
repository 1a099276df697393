"""A LangGraph retry policy that asks the error itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langchain_core.exceptions import ModelError
from langgraph.types import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

_langgraph_default = cast("Callable[[Exception], bool]", RetryPolicy().retry_on)


def _may_succeed_later(error: Exception) -> bool:
    """What the error says of itself; LangGraph's own rule for errors of other kinds."""
    return error.is_retryable if isinstance(error, ModelError) else _langgraph_default(error)


QWEN_RETRY_POLICY = RetryPolicy(retry_on=_may_succeed_later)
"""For `add_node(retry_policy=…)`: asks an error whether the same request may succeed later.

LangGraph's default knows errors of networks only, and would not try a rate limit again. A request
that broke off in the middle is tried again too, and its code may then have run twice.
"""
