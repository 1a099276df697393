"""The replay server, a process of its own: prints its port, and answers until stdin is closed."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from typing import IO

from streams import PATHS, SHAPES, http_chunks

APIS = {path.encode(): api for api, path in PATHS.items()}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer_requests, args=(connection,), daemon=True).start()


def answer_requests(connection: socket.socket) -> None:
    # A client may leave in the middle of a stream.
    with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as incoming:
        while request := _read_request(incoming):
            api, stream = request
            chunks = http_chunks(api, stream)
            connection.sendall(HEAD)
            _send(connection, chunks, SHAPES[stream].pace)
            connection.sendall(b"0\r\n\r\n")


def _send(connection: socket.socket, chunks: list[bytes], pace: float) -> None:
    started = time.monotonic()
    for number, chunk in enumerate(chunks):
        if pace:
            time.sleep(max(0.0, started + number * pace - time.monotonic()))
        connection.sendall(chunk)


def _read_request(incoming: IO[bytes]) -> tuple[str, str] | None:
    """Return the API and the stream of the next request, or None at the end of the connection."""
    request_line = incoming.readline().split()
    length = 0
    while (header := incoming.readline()) not in (b"\r\n", b""):
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not request_line:
        return None
    model = json.loads(incoming.read(length))["model"]
    return APIS[request_line[1].partition(b"?")[0]], model.rpartition("-")[2]


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
