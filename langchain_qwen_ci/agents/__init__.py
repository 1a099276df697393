"""The code interpreter in agents that also have function tools.

One request can use function tools or the interpreter, not both. So either the interpreter is a tool
of the agent and runs in a second model (`code_interpreter_tool`), or one model uses tools in some
turns and the interpreter in others (`CodeInterpreterMiddleware`). Needs the extra `agents`.
"""

try:
    import langchain  # noqa: F401  # the modules below need it
except ModuleNotFoundError as missing:
    if missing.name != "langchain":
        raise
    raise ImportError("Agents need langchain: pip install 'langchain-qwen-ci[agents]'") from missing

from langchain_qwen_ci.agents.interpreter_tool import code_interpreter_tool
from langchain_qwen_ci.agents.middleware import (
    USE_INTERPRETER_TOOL,
    CodeExecutionsMiddleware,
    CodeInterpreterAgentState,
    CodeInterpreterMiddleware,
)
from langchain_qwen_ci.agents.summarization import QwenSummarizationMiddleware

__all__ = [
    "USE_INTERPRETER_TOOL",
    "CodeExecutionsMiddleware",
    "CodeInterpreterAgentState",
    "CodeInterpreterMiddleware",
    "QwenSummarizationMiddleware",
    "code_interpreter_tool",
]
