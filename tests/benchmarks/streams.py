"""What a chunk costs: client CPU, beside the floor and the official SDK, in one run.

`make bench`. A server in another process replays a stream of the native wire; every client reads
it several times in turn, and the median of its CPU time counts. Absolute figures move from machine
to machine: the ratios are what to quote.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import dashscope
import httpx
from pydantic_core import from_json

from langchain_qwen_ci import ChatQwenCodeInterpreter

sys.path.insert(0, str(__import__("pathlib").Path(__file__).parent.parent))
from native import code, frame, stream, usage

ROUNDS = 7
SIZES = {"medium": (1_000, 5, 1_024), "large": (5_000, 20, 4_096)}
PATH = "/api/v1/services/aigc/text-generation/generation"


def frames(chunks: int, executions: int, size: int) -> list[bytes]:
    """A stream of so many chunks; `tool_info` grows by one program at even distances."""
    programs = ["".join(f"x{n} = {n} + 1\n" for n in range(size // 12)) for _ in range(executions)]
    every = chunks // (executions + 1)
    payloads = []
    for number in range(chunks - 1):
        runs = programs[: number // every] if number < chunks // 2 * 2 else programs
        shown: dict[str, Any] = {"runs": code(*runs) if runs else None}
        shown["used"] = usage(300 + 450 * len(runs), number, runs=len(runs))
        if number < chunks // 2:
            payloads.append(frame(thought=" thinking", **shown))
        else:
            payloads.append(frame(said=" speaking", **shown))
    payloads.append(frame(finish="stop", runs=code(*programs), used=usage(9000, chunks, runs=9)))
    return [stream(payload) for payload in payloads]


def serve(listener: socket.socket, bodies: dict[str, list[bytes]]) -> None:
    """Answer every request on a connection; the model's name says with which stream."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            while request := _request(lines):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                for body in bodies[request["model"].rpartition("-")[2]]:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(body), body))
                connection.sendall(b"0\r\n\r\n")


def _request(lines: Any) -> dict[str, Any] | None:
    length = 0
    while (line := lines.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(lines.read(length)) if length else None


def raw(url: str, model: str) -> Callable[[], None]:
    """httpx's own bytes, split at newlines, every data line parsed: nothing else."""
    client = httpx.Client()

    def read() -> None:
        with client.stream("POST", url + PATH, json={"model": model}) as response:
            rest = b""
            for piece in response.iter_raw():
                *complete, rest = (rest + piece).split(b"\n")
                for line in complete:
                    if line.startswith(b"data:"):
                        from_json(line[5:])

    return read


def ours(url: str, model: str, how: str) -> Callable[[], None]:
    chat = ChatQwenCodeInterpreter(model=model, base_url=url, api_key="any")

    def stream() -> None:
        for _ in chat.stream("?"):
            pass

    return stream if how == "stream" else lambda: chat.invoke("?")


def official(url: str, model: str) -> Callable[[], None]:
    dashscope.base_http_api_url = f"{url}/api/v1"

    def read() -> None:
        for _ in dashscope.Generation.call(
            model=model,
            messages=[{"role": "user", "content": "?"}],
            api_key="any",
            stream=True,
            incremental_output=True,
            result_format="message",
        ):
            pass

    return read


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    bodies = {name: frames(*size) for name, size in SIZES.items()}
    # One connection at a time is answered, so every client has a server of its own.
    servers = [
        multiprocessing.Process(target=serve, args=(listener, bodies), daemon=True)
        for _ in range(len(SIZES) * 4)
    ]
    for server in servers:
        server.start()
    for name, (chunks, *_) in SIZES.items():
        model = f"qwen3-max-{name}"
        clients = {
            "httpx raw + parse": raw(url, model),
            "invoke": ours(url, model, "invoke"),
            "stream": ours(url, model, "stream"),
            "dashscope SDK": official(url, model),
        }
        times: dict[str, list[float]] = {client: [] for client in clients}
        for _ in range(ROUNDS):
            for client, read in clients.items():
                started = time.process_time()
                read()
                times[client].append((time.process_time() - started) / chunks * 1e6)
        floor = statistics.median(times["httpx raw + parse"])
        for client, spent in times.items():
            cost = statistics.median(spent)
            print(f"{name:8}{client:20}{cost:8.1f} µs a chunk{cost / floor:8.2f} of the floor")


if __name__ == "__main__":
    main()
