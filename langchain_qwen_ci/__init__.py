"""A LangChain chat model for Qwen's code-interpreter-enabled endpoints.

```python
from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts

message = ChatQwenCodeInterpreter(model="qwen3-max").invoke("What is 123 to the power of 21?")
code_executions(message)  # the programs that ran
plugin_counts(message)  # the number of calls of each plugin
```
"""

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.__about__ import __version__
from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenAuthenticationError,
    QwenBudgetError,
    QwenCertificateError,
    QwenConnectionError,
    QwenError,
    QwenInputError,
    QwenInvalidRequestError,
    QwenModelNotFoundError,
    QwenPermissionDeniedError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
    ToolsNotAllowedError,
)
from langchain_qwen_ci.metadata import (
    CodeExecution,
    PluginUsage,
    code_delta,
    code_executions,
    plugin_counts,
)
from langchain_qwen_ci.response.context_usage import with_context_usage

if TYPE_CHECKING:
    from langchain_qwen_ci.graph import (
        QWEN_RETRY_POLICY,
        CodeInterpreterState,
        QwenCodeInterpreterNode,
    )

__all__ = [
    "QWEN_RETRY_POLICY",
    "ChatQwenCodeInterpreter",
    "CodeExecution",
    "CodeInterpreterState",
    "PluginUsage",
    "QwenAPIError",
    "QwenAnswerLimitError",
    "QwenAuthenticationError",
    "QwenBudgetError",
    "QwenCertificateError",
    "QwenCodeInterpreterNode",
    "QwenConnectionError",
    "QwenError",
    "QwenInputError",
    "QwenInvalidRequestError",
    "QwenModelNotFoundError",
    "QwenPermissionDeniedError",
    "QwenRateLimitError",
    "QwenServerError",
    "QwenStreamError",
    "QwenTimeoutError",
    "ToolsNotAllowedError",
    "__version__",
    "code_delta",
    "code_executions",
    "plugin_counts",
    "with_context_usage",
]

_GRAPH_NAMES = ("QWEN_RETRY_POLICY", "CodeInterpreterState", "QwenCodeInterpreterNode")


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the signature of a module's __getattr__
    # LangGraph takes long to import, so the names that need it are imported at their first use.
    if name in _GRAPH_NAMES:
        from langchain_qwen_ci import graph  # noqa: PLC0415  # see above

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
