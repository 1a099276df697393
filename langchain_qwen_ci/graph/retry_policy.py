"""A LangGraph retry policy that reads `is_retryable` of model errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langchain_core.exceptions import ModelError
from langgraph.types import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

_langgraph_default = cast("Callable[[Exception], bool]", RetryPolicy().retry_on)


def _should_retry(error: Exception) -> bool:
    # `is_retryable` is defined for model errors only.
    return error.is_retryable if isinstance(error, ModelError) else _langgraph_default(error)


QWEN_RETRY_POLICY = RetryPolicy(retry_on=_should_retry)
"""A policy for `add_node(retry_policy=…)` that retries model errors with `is_retryable`.

LangGraph's default policy (langgraph 1.2) does not read `is_retryable`. It retries every exception
except some built-in classes, such as `ValueError` and `OSError`. So it would also retry permanent
errors that are not of these classes: a `QwenAPIError` with an unknown error code, or an
authentication error of a fallback model of another provider.

Both policies also retry an interrupted answer; its code may then run twice.
"""
