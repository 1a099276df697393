"""The command that runs a Python program with every warning as an error."""

from __future__ import annotations

import sys

STRICT_PYTHON = [
    sys.executable,
    *("-W", "error"),
    # langsmith calls it when it is imported; deprecated since Python 3.14.
    *("-W", "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"),
]
