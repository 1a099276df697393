"""Nothing blocks an event loop, not even what the first call of a process has to build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import blocking_program
import pytest


@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_first_calls_do_not_block_the_event_loop(api):
    done = subprocess.run(
        [sys.executable, Path(blocking_program.__file__), api],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["blocks are seen"]
    assert result["answers"] == ["7**5 = 16807."] * (blocking_program.CALLS_AT_ONCE + 2)
    # Calls that come first together share a client, and sync and async share the certificates.
    assert result["built"] == ["AsyncClient", "create_ssl_context"]
