"""HTTP/1.1 for the fast transports, without I/O.

h11, on which httpx is built as well, writes the request and parses the head of the response, so
that the same heads are accepted and rejected as with httpx. h11 parses a body event by event, which
is most of the cost of a chunk; `ResponseBody` finds all data of a read at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h11
import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

# As in httpcore 1.0.9: a longer head is rejected.
_MAX_HEAD_BYTES = 100 * 1024
# Of a chunk's size with its extensions, and of the trailers.
_MAX_LINES_BYTES = 16 * 1024
_BODILESS = (204, 304)
_CRLF = b"\r\n"
_SIZE = rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n"
_FIRST_SIZE = re.compile(_SIZE)
_NEXT_SIZE = re.compile(_CRLF + _SIZE)  # after the line break that ends the chunk before
_INVALID_CHUNK = "The body is not in the chunked encoding that the head announced."


class HeadExchange:
    """Writes one request, and parses the head of its response.

    Raises:
        httpx.LocalProtocolError: the request cannot be sent.
    """

    def __init__(self, request: httpx.Request) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._request = request

    def request_head(self) -> bytes:
        return self._write(
            h11.Request(
                method=self._request.method,
                target=self._request.url.raw_path,
                headers=self._request.headers.raw,
            )
        )

    def request_data(self, data: bytes) -> bytes:
        return self._write(h11.Data(data=data))

    def request_end(self) -> bytes:
        return self._write(h11.EndOfMessage())

    def _write(self, event: h11.Event) -> bytes:
        try:
            return self._connection.send(event) or b""
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error

    def receive(self, received: bytes) -> h11.Response | None:
        """Return the head, if it is complete with the next bytes. Heads of status 1xx are skipped.

        Args:
            received: `b""` if the connection was closed.

        Raises:
            httpx.RemoteProtocolError: the head is invalid, or the connection was closed before.
        """
        if not received:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        try:
            self._connection.receive_data(received)
            while isinstance(event := self._connection.next_event(), h11.InformationalResponse):
                pass
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        if event is h11.PAUSED:
            raise httpx.RemoteProtocolError("The server switched to another protocol.")
        return event if isinstance(event, h11.Response) else None

    def body_start(self) -> bytes:
        """Return what was received after the head."""
        return self._connection.trailing_data[0]


def body_of(head: h11.Response) -> ResponseBody:
    """Return the parser for the body that follows a head (RFC 9112, section 6.3)."""
    # h11 has checked both headers: there is one length, and no encoding other than chunked.
    headers = dict(head.headers)
    if head.status_code in _BODILESS:
        return ResponseBody(0)
    if b"transfer-encoding" in headers:
        return ChunkedBody()
    length = headers.get(b"content-length")
    return ResponseBody(None if length is None else int(length))


def keeps_connection(head: h11.Response) -> bool:
    """Return whether the server keeps the connection open after this response."""
    options = [
        option.strip().lower()
        for name, value in head.headers
        if name == b"connection"
        for option in value.split(b",")
    ]
    return head.http_version == b"1.1" and b"close" not in options


class ResponseBody:
    """Finds the data of a body in the bytes that follow a head, split anywhere.

    Args:
        length: the number of bytes; None if the body lasts until the connection is closed.

    Attributes:
        is_complete: whether the end of the body was received.
        has_surplus: whether bytes followed the end. The connection cannot be used again then.
        error: what follows the data that `feed` has returned. It is raised after they are used.
    """

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.is_complete = length == 0
        self.has_surplus = False
        self.error: httpx.RemoteProtocolError | None = None

    def feed(self, received: bytes) -> bytes:
        """Return the data in the next bytes, which may be none.

        Raises:
            httpx.RemoteProtocolError: the bytes are invalid, and contain no data before the error.
        """
        if self._left is None:
            return received
        data = received[: self._left]
        self._left -= len(data)
        self.is_complete = self._left == 0
        self.has_surplus = len(data) < len(received)
        return data

    def raise_error(self) -> None:
        """Raise `error`, if there is one."""
        if self.error:
            raise self.error

    def close(self) -> None:
        """Take note that the connection was closed.

        Raises:
            httpx.RemoteProtocolError: the body is incomplete.
        """
        if self._left is not None:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
            )
        self.is_complete = True


class ChunkedBody(ResponseBody):
    """A body in chunks, each after its size (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        super().__init__(length=None)
        self._left: int = 0  # bytes of the current chunk
        self._pattern = _FIRST_SIZE
        self._pending = b""  # an incomplete line
        self._is_in_trailers = False

    def feed(self, received: bytes) -> bytes:
        pieces = []
        try:
            for piece in self._pieces(received):
                pieces.append(piece)  # noqa: PERF402  # keeps those before an error
        except httpx.RemoteProtocolError as error:
            if not pieces:
                raise
            self.error = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pieces(self, received: bytes) -> Iterator[bytes]:
        if self._pending:
            received, self._pending = self._pending + received, b""
        position = 0
        while not self._is_in_trailers:
            if self._left:
                piece = received[position : position + self._left]
                if not piece:
                    return
                position += len(piece)
                self._left -= len(piece)
                yield piece
                if self._left:
                    return
            size = self._pattern.match(received, position)
            if size is None:
                self._keep_line(received[position:])
                return
            position = size.end()
            self._pattern = _NEXT_SIZE
            self._left = int(size[1], 16)
            self._is_in_trailers = self._left == 0
        self._read_trailers(received[position:])

    def _keep_line(self, line: bytes) -> None:
        """Keep the start of a line that has a chunk's size.

        Raises:
            httpx.RemoteProtocolError: it is not the start of such a line.
        """
        start = 0 if self._pattern is _FIRST_SIZE else len(_CRLF)
        if b"\n" in line[start:] or not _CRLF.startswith(line[:start]):
            raise httpx.RemoteProtocolError(_INVALID_CHUNK)
        self._keep(line)

    def _keep(self, lines: bytes) -> None:
        if len(lines) > _MAX_LINES_BYTES:
            raise httpx.RemoteProtocolError(_INVALID_CHUNK)
        self._pending = lines

    def _read_trailers(self, lines: bytes) -> None:
        # Trailers are not used, only skipped.
        end = 0 if lines.startswith(_CRLF) else lines.find(_CRLF + _CRLF) + len(_CRLF)
        if end == len(_CRLF) - 1:  # not found
            self._keep(lines)
            return
        if any(b":" not in line for line in lines[:end].splitlines()):
            raise httpx.RemoteProtocolError(_INVALID_CHUNK)
        self.is_complete = True
        self.has_surplus = len(lines) > end + len(_CRLF)
