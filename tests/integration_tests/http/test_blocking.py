"""Nothing blocks an event loop, not even what the first call of a process has to build."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import blocking_program
import httpx2
import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenTimeoutError


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


@pytest.mark.parametrize("client", ["httpx", "fast", "httpx2"])
async def test_connect_timeout_that_passes_in_a_blocked_loop_is_a_timeout(client):
    """anyio raises ValueError if no attempt to connect has begun until then."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with httpx2.AsyncClient() as httpx2_client:
            own = {"http_async_client": httpx2_client}
            model = ChatQwenCodeInterpreter(
                base_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
                api_key="any",
                connect_timeout=0.01,
                timeout=0.05,
                max_retries=0,
                **(own if client == "httpx2" else {"transport": client}),
            )
            with pytest.raises(QwenTimeoutError):
                await model.ainvoke("builds the client")
            for iterations in range(10):
                asking = asyncio.ensure_future(model.ainvoke("?"))
                for _ in range(iterations):
                    await asyncio.sleep(0)
                time.sleep(0.03)  # noqa: ASYNC251  # blocks the loop
                with pytest.raises(QwenTimeoutError):
                    await asking
            await model.aclose()
