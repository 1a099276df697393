"""An emulator of Qwen's code-interpreter endpoints on this machine: no key, no costs, no network.

```python
from langchain_qwen_ci.emulator import EmulatorServer

with EmulatorServer() as server:
    print(server.url)
```

Needs the extra `emulator`.
"""

try:
    from langchain_qwen_ci.emulator.server import EmulatorServer, UnusedFaultWarning
except ModuleNotFoundError as missing:
    if missing.name not in {"starlette", "uvicorn", "pydantic_monty"}:
        raise
    raise ImportError(
        f"The emulator needs {missing.name}: pip install 'langchain-qwen-ci[emulator]'"
    ) from missing

from langchain_qwen_ci.emulator.faults import (
    Cut,
    ErrorBody,
    ErrorFrame,
    FailedResponse,
    Fault,
    Garbage,
    Reset,
    Stall,
    Status,
)
from langchain_qwen_ci.emulator.requests.recorded_requests import RecordedRequest
from langchain_qwen_ci.emulator.responders.planner import Planner
from langchain_qwen_ci.emulator.responders.responder import (
    Call,
    ChatMessage,
    Extract,
    Finish,
    ModelRequest,
    Responder,
    Result,
    Run,
    Say,
    Search,
    Step,
    Think,
)
from langchain_qwen_ci.emulator.responders.script import Script
from langchain_qwen_ci.emulator.sandbox import Limits

__all__ = [
    "Call",
    "ChatMessage",
    "Cut",
    "EmulatorServer",
    "ErrorBody",
    "ErrorFrame",
    "Extract",
    "FailedResponse",
    "Fault",
    "Finish",
    "Garbage",
    "Limits",
    "ModelRequest",
    "Planner",
    "RecordedRequest",
    "Reset",
    "Responder",
    "Result",
    "Run",
    "Say",
    "Script",
    "Search",
    "Stall",
    "Status",
    "Step",
    "Think",
    "UnusedFaultWarning",
]
