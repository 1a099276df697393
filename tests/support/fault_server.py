"""An HTTP/1.1 server on loopback sockets that sends arbitrary bytes and breaks the protocol.

The response to a request is a `Play`: a sequence of bytes and actions. Actions that last until the
client closes the connection also end after a few seconds, so that a client that does not close it
fails a test instead of blocking it.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Self

from self_signed import self_signed_context

_PATIENCE_SECONDS = 10.0
_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Drip:
    """These bytes, one after the other."""

    data: bytes
    seconds: float

    def perform(self, connection: socket.socket) -> None:
        for byte in self.data:
            connection.sendall(bytes([byte]))
            time.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Endless:
    """A piece again and again, until the client closes or has received 32 MiB."""

    piece: bytes

    def perform(self, connection: socket.socket) -> None:
        many = self.piece * (1 + 2**16 // len(self.piece))
        for _ in range(_MOST_BYTES // len(many)):
            connection.sendall(many)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing, until the client closes the connection."""

    def perform(self, connection: socket.socket) -> None:
        _wait_for_close(connection)


class Ending(Enum):
    """How a play ends that does not end with an orderly close."""

    RESET = "the connection is reset: the client receives a RST"
    KEEP = "the connection stays open for another request"


Action = bytes | Drip | Endless | Silence | Ending
Play = tuple[Action, ...]
RESET, KEEP = Ending.RESET, Ending.KEEP


def head(status: int = 200, **headers: str | int) -> bytes:
    """The head of a response; `content_length=3` is `Content-Length: 3`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} Status\r\n{''.join(lines)}\r\n".encode()


def chunked(*pieces: bytes, ends: bool = True) -> bytes:
    """A body in chunks; `ends=False` omits the last one."""
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join([*chunks, b"0\r\n\r\n" if ends else b""])


class FaultServer:
    """Answers request by request with these plays, the last one again and again.

    Args:
        plays: can be replaced with `play`.
        greeting: sent to each client that connects, before anything is read.
        secure: use TLS, with a self-signed certificate.
        names: replacements in the plays, such as the address of another server.
    """

    def __init__(
        self,
        *plays: Play,
        greeting: Play = (),
        secure: bool = False,
        names: Mapping[bytes, str] | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._greeting = greeting
        self._context = self_signed_context() if secure else None
        self._names = names or {}
        self._changed = threading.Condition()
        self._states: dict[int, str] = {}  # of each connection: busy, idle, closed
        self._numbers = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))  # without `listen`: connections to it are refused
        self.play(*plays)

    def play(self, *plays: Play) -> None:
        """Answer the next requests with these, and restart the counts."""
        self._plays = plays
        self.requests.clear()
        self.connections = 0

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def refusing_url(self) -> str:
        """An address that refuses connections."""
        return f"http://127.0.0.1:{self._refusing.getsockname()[1]}"

    def busy(self) -> int:
        """The number of connections in an exchange that should be over: the client must close
        those that it does not keep for its next request."""
        return self._connections_still("busy")

    def open(self) -> int:
        """The number of connections that are open although all should be closed."""
        return self._connections_still("busy", "idle")

    def _connections_still(self, *states: str) -> int:
        """Wait until no connection is in one of these states; return how many still are."""
        with self._changed:
            gone = self._changed.wait_for(
                lambda: not any(state in states for state in self._states.values()),
                timeout=_PATIENCE_SECONDS / 4,
            )
            return 0 if gone else sum(state in states for state in self._states.values())

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._refusing.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed by __exit__
                return
            self.connections += 1
            number = next(self._numbers)
            self._set_state(number, "busy")
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE_SECONDS)
        # A client may close or reset the connection at any time.
        with suppress(OSError), self._with_tls(connection) as secured:
            self._exchange(secured, number)
        self._set_state(number, "closed")

    def _set_state(self, number: int, state: str) -> None:
        with self._changed:
            self._states[number] = state
            self._changed.notify_all()

    def _with_tls(self, connection: socket.socket) -> socket.socket:
        if self._context is None:
            return connection
        return self._context.wrap_socket(connection, server_side=True)

    def _exchange(self, connection: socket.socket, number: int) -> None:
        if self._greeting:
            self._perform(connection, self._greeting)
            return
        while request := _read_request(connection):
            self._set_state(number, "busy")
            self.requests.append(request)
            play = self._plays[min(len(self.requests), len(self._plays)) - 1]
            if not self._perform(connection, play):
                return
            self._set_state(number, "idle")

    def _perform(self, connection: socket.socket, play: Play) -> bool:
        """Play it. Return whether the connection stays open for another request."""
        for action in play:
            if action is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if action is KEEP:
                return True
            if isinstance(action, bytes):
                connection.sendall(self._replace_names(action))
            else:
                action.perform(connection)
        connection.shutdown(socket.SHUT_WR)
        _wait_for_close(connection)
        return False

    def _replace_names(self, data: bytes) -> bytes:
        for name, value in self._names.items():
            data = data.replace(name, value.encode())
        return data


def _read_request(connection: socket.socket) -> bytes:
    """One request; empty if the client has closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(2**16)):
            return b""
        data += more
    start = data.index(b"\r\n\r\n") + 4
    length = re.search(rb"(?i)content-length: (\d+)", data)
    while length and len(data) < start + int(length[1]):
        if not (more := connection.recv(2**16)):
            return b""
        data += more
    return data


def _wait_for_close(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass
