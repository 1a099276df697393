"""A LangChain chat model for Qwen's code-interpreter-enabled endpoints.

```python
from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts

message = ChatQwenCodeInterpreter(model="qwen3-max").invoke("What is 123 to the power of 21?")
code_executions(message)  # what ran
plugin_counts(message)  # what is counted for it
```
"""

from langchain_qwen_ci._version import __version__
from langchain_qwen_ci.chat_models import ChatQwenCodeInterpreter
from langchain_qwen_ci.metadata import CodeExecution, PluginUsage, code_executions, plugin_counts

__all__ = [
    "ChatQwenCodeInterpreter",
    "CodeExecution",
    "PluginUsage",
    "__version__",
    "code_executions",
    "plugin_counts",
]
