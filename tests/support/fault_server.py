"""A server that does wrong: HTTP/1.1 by hand on loopback sockets, so that it can do anything.

It plays: the answer to a request is bytes, and what happens between them. Nothing here waits for
long: what lasts until the client leaves ends by itself, too, and a client that should have left
is then found out.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import itertools
import re
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
    """A piece again and again, until the client leaves or has got more than it should take."""

    piece: bytes

    def perform(self, connection: socket.socket) -> None:
        many = self.piece * (1 + 2**16 // len(self.piece))
        for _ in range(_MOST_BYTES // len(many)):
            connection.sendall(many)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing, until the client leaves."""

    def perform(self, connection: socket.socket) -> None:
        _until_left(connection)


class Ending(Enum):
    """How a play ends that does not end with the connection, orderly."""

    RESET = "the connection is torn down: the client gets a RST and no end"
    KEEP = "the connection stays open for another request"


Action = bytes | Drip | Endless | Silence | Ending
Play = tuple[Action, ...]
RESET, KEEP = Ending.RESET, Ending.KEEP


def head(status: int = 200, **headers: str | int) -> bytes:
    """The head of a response; `content_length=3` is `Content-Length: 3`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} Status\r\n{''.join(lines)}\r\n".encode()


def chunked(*pieces: bytes, ends: bool = True) -> bytes:
    """A body in chunks; without its end it is one that was cut."""
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join([*chunks, b"0\r\n\r\n" if ends else b""])


class FaultServer:
    """Answers request by request with these plays, the last one again and again.

    Args:
        plays: can be set anew with `play`.
        greeting: played to whoever connects, before anything is read.
        secure: speak TLS, with a certificate that nobody trusts.
        names: what stands for what in the plays, such as the address of another server.
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
        self._context = _untrusted() if secure else None
        self._names = names or {}
        self._changed = threading.Condition()
        self._states: dict[int, str] = {}  # of its connections: busy, idle, closed
        self._numbers = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._deaf = socket.socket()
        self._deaf.bind(("127.0.0.1", 0))  # and never listens: connections to it are refused
        self.play(*plays)

    def play(self, *plays: Play) -> None:
        """Answer the next requests with these, and count them from the beginning."""
        self._plays = plays
        self.requests.clear()
        self.connections = 0

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def deaf_url(self) -> str:
        """Where nobody listens."""
        return f"http://127.0.0.1:{self._deaf.getsockname()[1]}"

    def busy(self) -> int:
        """How many connections are in an exchange that should be over: the client has to leave
        those that it does not keep for its next request."""
        return self._client_disconnected("busy")

    def open(self) -> int:
        """How many connections are open that should all be closed."""
        return self._client_disconnected("busy", "idle")

    def _client_disconnected(self, *states: str) -> int:
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
        self._deaf.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the end
                return
            self.connections += 1
            number = next(self._numbers)
            self._is_now(number, "busy")
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE_SECONDS)
        # A client may leave at any time, in any manner.
        with suppress(OSError), self._secured(connection) as secured:
            self._exchange(secured, number)
        self._is_now(number, "closed")

    def _is_now(self, number: int, state: str) -> None:
        with self._changed:
            self._states[number] = state
            self._changed.notify_all()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._context is None:
            return connection
        return self._context.wrap_socket(connection, server_side=True)

    def _exchange(self, connection: socket.socket, number: int) -> None:
        if self._greeting:
            self._perform(connection, self._greeting)
            return
        while request := _read(connection):
            self._is_now(number, "busy")
            self.requests.append(request)
            play = self._plays[min(len(self.requests), len(self._plays)) - 1]
            if not self._perform(connection, play):
                return
            self._is_now(number, "idle")

    def _perform(self, connection: socket.socket, play: Play) -> bool:
        """Play it; whether the connection stays open for another request."""
        for action in play:
            if action is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if action is KEEP:
                return True
            if isinstance(action, bytes):
                connection.sendall(self._named(action))
            else:
                action.perform(connection)
        connection.shutdown(socket.SHUT_WR)
        _until_left(connection)
        return False

    def _named(self, data: bytes) -> bytes:
        for name, value in self._names.items():
            data = data.replace(name, value.encode())
        return data


def _read(connection: socket.socket) -> bytes:
    """One request, or nothing if the client has left."""
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


def _until_left(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


@functools.cache
def _untrusted() -> ssl.SSLContext:
    """A context with a certificate for 127.0.0.1 that has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(path)
    return context
