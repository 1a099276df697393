"""A server that sends a response slowly."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import Self

from dashscope_streams import ONE_RUN, stream

HALF = stream(*ONE_RUN[:6])


def pause(seconds: float) -> None:
    """Sleep although `recorded_waits` has replaced `time.sleep`."""
    threading.Event().wait(seconds)


class SlowServer:
    """Sends the head and half an answer at once, then one byte of `body` after each pause."""

    def __init__(self, body: bytes, seconds: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._body = body
        self._seconds = seconds
        self.client_disconnected = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with closing(connection), connection:
            sent = b""
            while not sent.endswith(b"}}"):  # the end of the JSON body
                sent += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + HALF)
            try:
                for byte in self._body:
                    pause(self._seconds)
                    connection.sendall(bytes((byte,)))
                connection.settimeout(30)
                connection.recv(1)
            except OSError:
                pass
            self.client_disconnected.set()
