"""What a chunk costs: client CPU by each API, beside the floor and other clients, in one run.

`make bench`. A server in other processes replays streams; every client reads them several times
in turn, and the median of its CPU time counts. Absolute figures move from machine to machine: the
ratios are what to quote.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import socket
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dashscope
import httpx
import openai
from langchain_community.chat_models import ChatTongyi
from langchain_openai import ChatOpenAI
from langchain_qwq import ChatQwen
from pydantic_core import from_json

from langchain_qwen_ci import ChatQwenCodeInterpreter

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import chat_completions_streams
import dashscope_streams
import responses_streams

ROUNDS = 7
PATHS = {
    "dashscope": "/api/v1/services/aigc/text-generation/generation",
    "responses": "/compatible-mode/v1/responses",
    "chat_completions": "/compatible-mode/v1/chat/completions",
}


@dataclass(frozen=True)
class Size:
    chunks: int
    executions: int
    code_bytes: int

    @property
    def programs(self) -> list[str]:
        lines = "".join(f"x{n} = {n} + 1\n" for n in range(self.code_bytes // 12))
        return [lines] * self.executions


SIZES = {"medium": Size(1_000, 5, 1_024), "large": Size(5_000, 20, 4_096)}


def native_frames(size: Size) -> list[bytes]:
    """`tool_info` grows by one program at even distances, and every frame repeats it."""
    every = size.chunks // (size.executions + 1)
    frames = []
    for number in range(size.chunks - 1):
        runs = size.programs[: number // every]
        displayed = {
            "tool_info": dashscope_streams.tool_info(*runs) if runs else None,
            "usage": dashscope_streams.usage(300 + 450 * len(runs), number, executions=len(runs)),
        }
        is_reasoning = number < size.chunks // 2
        frames.append(
            dashscope_streams.frame(
                **{"reasoning" if is_reasoning else "content": " a word"}, **displayed
            )
        )
    used = dashscope_streams.usage(9000, size.chunks, executions=size.executions)
    end = dashscope_streams.frame(
        finish_reason="stop", tool_info=dashscope_streams.tool_info(*size.programs), usage=used
    )
    return [dashscope_streams.stream(payload) for payload in [*frames, end]]


def responses_frames(size: Size) -> list[bytes]:
    """Thinking and runs in turn, then the text; the last frame repeats every item."""
    words = [" a word"] * (size.chunks // 2 // (size.executions + 1))
    items = []
    for number, program in enumerate(size.programs):
        items.append(responses_streams.reasoning(f"msg_r{number}", *words))
        items.append(
            responses_streams.code_interpreter_call(f"msg_c{number}", program, "```\n1\n```")
        )
    items.append(responses_streams.message("msg_m", *[" a word"] * (size.chunks // 2)))
    used = responses_streams.usage(9000, size.chunks, code_interpreter=size.executions)
    events = [responses_streams.CREATED, *(event for item in items for event in item)]
    end = responses_streams.completed_event(used, *items)
    return [responses_streams.stream(event) for event in [*events, end]]


def chat_frames(size: Size) -> list[bytes]:
    half = size.chunks // 2
    chunks = [chat_completions_streams.reasoning_chunk(" a word")] * half + [
        chat_completions_streams.text_chunk(" a word")
    ] * half
    end = [
        chat_completions_streams.chunk("stop", content=""),
        chat_completions_streams.usage_chunk(9000, size.chunks),
    ]
    return [chat_completions_streams.stream(chunk, done=False) for chunk in [*chunks, *end]] + [
        b"data: [DONE]\n\n"
    ]


FRAMES = {
    "dashscope": native_frames,
    "responses": responses_frames,
    "chat_completions": chat_frames,
}
Bodies = dict[tuple[str, str], list[bytes]]


def serve(listener: socket.socket, bodies: Bodies) -> None:
    """Answer every request on a connection; path and model's name say with which stream."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            while request := _request(lines):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                for body in bodies[request]:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(body), body))
                connection.sendall(b"0\r\n\r\n")


def _request(lines: Any) -> tuple[str, str] | None:
    line = lines.readline().split()
    length = 0
    while (header := lines.readline()) not in (b"\r\n", b""):
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not length:
        return None
    api = next(api for api, path in PATHS.items() if path == line[1].decode())
    return api, json.loads(lines.read(length))["model"].rpartition("-")[2]


Read = Callable[[], Any]


def floor(url: str, api: str, model: str) -> Read:
    """httpx's own bytes, split at newlines, every data line parsed: nothing else."""
    client = httpx.Client()

    def read() -> None:
        with client.stream("POST", url + PATHS[api], json={"model": model}) as response:
            rest = b""
            for piece in response.iter_raw():
                *complete, rest = (rest + piece).split(b"\n")
                for line in complete:
                    if line.startswith(b"data:") and not line.endswith(b"[DONE]"):
                        from_json(line[5:])

    return read


def drained(stream: Callable[[], Any]) -> Read:
    def read() -> None:
        for _ in stream():
            pass

    return read


def ours(url: str, api: str, model: str) -> dict[str, Read]:
    chat = ChatQwenCodeInterpreter(api=api, model=model, base_url=url, api_key="any")
    return {
        "stream": drained(lambda: chat.stream("?")),
        "invoke": lambda: chat.invoke("?"),
        "v3 events": drained(lambda: chat.stream_events("?", version="v3")),
    }


def others(url: str, api: str, model: str) -> dict[str, Read]:
    compatible = {"model": model, "base_url": f"{url}/compatible-mode/v1", "api_key": "any"}
    sent = [{"role": "user", "content": "?"}]
    if api == "dashscope":
        dashscope.base_http_api_url = f"{url}/api/v1"
        how = {"stream": True, "incremental_output": True, "result_format": "message"}
        tongyi = ChatTongyi(model=model, api_key="any", streaming=True)
        return {
            "dashscope SDK": drained(
                lambda: dashscope.Generation.call(model=model, messages=sent, api_key="any", **how)
            ),
            "ChatTongyi stream": drained(lambda: tongyi.stream("?")),
        }
    client = openai.OpenAI(base_url=compatible["base_url"], api_key="any")
    if api == "responses":
        chat = ChatOpenAI(**compatible, use_responses_api=True)
        sdk = drained(lambda: client.responses.create(model=model, input="?", stream=True))
        more: dict[str, Read] = {}
    else:
        chat = ChatOpenAI(**compatible)
        sdk = drained(
            lambda: client.chat.completions.create(model=model, messages=sent, stream=True)
        )
        qwq = ChatQwen(model=model, api_base=compatible["base_url"], api_key="any")
        more = {"ChatQwen stream": drained(lambda: qwq.stream("?"))}
    return {
        "openai SDK": sdk,
        "ChatOpenAI stream": drained(lambda: chat.stream("?")),
        "ChatOpenAI v3 events": drained(lambda: chat.stream_events("?", version="v3")),
        **more,
    }


def measure(clients: dict[str, Read], rounds: int, chunks: int) -> dict[str, float]:
    """Median CPU of each client, in microseconds a chunk; they take turns."""
    times: dict[str, list[float]] = {client: [] for client in clients}
    for turn in range(rounds + 1):
        for client, read in clients.items():
            gc.collect()
            started = time.process_time()
            read()
            if turn:  # the first one warms up
                times[client].append((time.process_time() - started) / chunks * 1e6)
    return {client: statistics.median(spent) for client, spent in times.items()}


def main() -> None:
    warnings.simplefilter("ignore")
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    bodies = {
        (api, name): frames(size) for api, frames in FRAMES.items() for name, size in SIZES.items()
    }
    # A server answers one connection at a time, and every client keeps one.
    for _ in range(60):
        multiprocessing.Process(target=serve, args=(listener, bodies), daemon=True).start()
    for api in FRAMES:
        for name, size in SIZES.items():
            model = f"qwen3-max-{name}"
            clients = {"httpx raw + parse": floor(url, api, model), **ours(url, api, model)}
            clients |= others(url, api, model)
            spent = measure(clients, ROUNDS if name == "medium" else 3, size.chunks)
            for client, cost in spent.items():
                ratio = cost / spent["httpx raw + parse"]
                print(f"{api:17}{name:8}{client:22}{cost:9.1f} µs a chunk{ratio:9.2f} of the floor")


if __name__ == "__main__":
    main()
