"""Arguments of a wrong type or value: the error names the argument and says what to pass."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from pydantic import ValidationError

from langchain_qwen_ci import ChatQwenCodeInterpreter

SECRET = "sk-very-secret"
CLIENT, ASYNC_CLIENT = httpx.Client(), httpx.AsyncClient()
TIMEOUTS = ("connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout")
WRONG: list[tuple[dict[str, Any], str]] = [
    *[
        ({name: value}, f"{name} takes a number of seconds.*connect_timeout=….*timeout=…")
        for name in TIMEOUTS
        for value in (httpx.Timeout(5), httpx2.Timeout(5), (5, 60))
    ],
    *[({name: "5 s"}, f"{name}\n.*valid number") for name in TIMEOUTS],
    *[({name: 0}, f"{name}\n.*greater than 0") for name in TIMEOUTS],
    *[({name: float("inf")}, f"{name}\n.*less than or equal to 1000000") for name in TIMEOUTS],
    (
        {"http_client": ASYNC_CLIENT},
        r"takes an httpx\.Client\. Pass this AsyncClient as http_async_client",
    ),
    (
        {"http_async_client": CLIENT},
        r"takes an httpx\.AsyncClient\. Pass this Client as http_client",
    ),
    (
        {"http_client": httpx2.AsyncClient()},
        r"takes an httpx\.Client\. Pass this AsyncClient as http_async_client",
    ),
    (
        {"http_async_client": httpx2.Client()},
        r"takes an httpx\.AsyncClient\. Pass this Client as http_client",
    ),
    ({"http_client": httpx2.Client}, r"http_client takes an httpx\.Client\."),
    ({"http_client": httpx.Client}, r"http_client takes an httpx\.Client\."),
    ({"http_async_client": httpx.AsyncClient}, r"http_async_client takes an httpx\.AsyncClient\."),
    ({"http_client": httpx.HTTPTransport()}, r"http_client takes an httpx\.Client\."),
    ({"http_client": SECRET}, r"http_client takes an httpx\.Client\."),
    ({"region": 5}, "region\n.*valid string"),
    ({"region": "singapore"}, "Unknown region 'singapore'; known are .*ap-southeast-1"),
    ({"workspace": [SECRET]}, "workspace\n.*valid string"),
    ({"base_url": httpx.URL("https://gate.example")}, "base_url\n.*valid string"),
    ({"api_key": [SECRET]}, "api_key\n.*valid string"),
    ({"api_key": lambda: SECRET}, "api_key\n.*valid string"),
    ({"callbacks": "handler"}, r"callbacks\.list\[.*BaseCallbackHandler\]\]\n.*valid list"),
    ({"callbacks": BaseCallbackHandler}, "instance of BaseCallbackManager"),
    ({"callbacks": [print]}, "instance of BaseCallbackHandler"),
    ({"default_headers": f"Authorization: {SECRET}"}, "default_headers\n.*valid dictionary"),
    ({"default_headers": [("Authorization", SECRET)]}, "default_headers\n.*valid dictionary"),
    ({"default_headers": {"X-Team": 5}}, r"default_headers\.X-Team\n.*valid string"),
    *[
        ({"builtin_tools": tools, "api": "responses"}, "takes names, such as .*to bind_tools")
        for tools in ({"type": "mcp", "headers": SECRET}, [{"type": "mcp", "headers": SECRET}])
    ],
    ({"builtin_tools": 5}, "builtin_tools\n.*valid list"),
    ({"stop": 5}, r"stop\.str\n.*valid string"),
    ({"stop": [5]}, r"stop\.list\[str\]\.0\n.*valid string"),
    ({"model": None}, "model\n.*valid string"),
    ({"model": ""}, "model\n.*at least 1 character"),
    ({"api": "openai"}, "api\n.*'dashscope', 'responses' or 'chat_completions'"),
    ({"endpoint": "chat"}, "endpoint\n.*'text-generation' or 'multimodal-generation'"),
    ({"conversation": 5}, r"conversation\.str\n.*valid string"),
    ({"model_kwargs": ["top_k"]}, "model_kwargs\n.*valid dictionary"),
    ({"max_retries": -1}, "max_retries\n.*greater than or equal to 0"),
    ({"temperature": 2}, "temperature\n.*less than 2"),
    ({"tags": 5}, "tags\n.*valid list"),
    ({"metadata": "team"}, "metadata\n.*valid dictionary"),
    ({"cache": "yes please"}, "cache.*BaseCache"),
    ({"rate_limiter": 5}, "rate_limiter\n.*instance of BaseRateLimiter"),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), WRONG, ids=[",".join(arguments) for arguments, _ in WRONG]
)
def test_wrong_type_says_what_to_pass(arguments: dict[str, Any], expected: str):
    with pytest.raises(ValidationError, match=f"(?s){expected}") as caught:
        ChatQwenCodeInterpreter(**arguments)
    assert SECRET not in f"{caught.value}{caught.value!r}"
