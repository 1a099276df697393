"""Qwen's code-interpreter-enabled endpoints on this machine: no key, no bill, no network.

```python
from langchain_qwen_ci.emulator import EmulatorServer

with EmulatorServer() as server:
    print(server.url)
```

Needs the extra `emulator`.
"""

try:
    from langchain_qwen_ci.emulator.endpoint import Received
    from langchain_qwen_ci.emulator.server import EmulatorServer
except ModuleNotFoundError as missing:
    if missing.name not in {"starlette", "uvicorn", "pydantic_monty"}:
        raise
    raise ImportError(
        f"The emulator needs {missing.name}: pip install 'langchain-qwen-ci[emulator]'"
    ) from missing

from langchain_qwen_ci.emulator.faults import (
    Cut,
    ErrorFrame,
    Failed,
    Fault,
    Garbage,
    JsonError,
    Reset,
    Stall,
    Status,
)
from langchain_qwen_ci.emulator.mind import (
    Call,
    Extract,
    Finish,
    Mind,
    Question,
    Result,
    Run,
    Said,
    Say,
    Search,
    Step,
    Think,
)
from langchain_qwen_ci.emulator.planner import Planner
from langchain_qwen_ci.emulator.sandbox import Limits
from langchain_qwen_ci.emulator.script import Script

__all__ = [
    "Call",
    "Cut",
    "EmulatorServer",
    "ErrorFrame",
    "Extract",
    "Failed",
    "Fault",
    "Finish",
    "Garbage",
    "JsonError",
    "Limits",
    "Mind",
    "Planner",
    "Question",
    "Received",
    "Reset",
    "Result",
    "Run",
    "Said",
    "Say",
    "Script",
    "Search",
    "Stall",
    "Status",
    "Step",
    "Think",
]
