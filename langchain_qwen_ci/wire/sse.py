"""Parses server-sent events: bytes, split anywhere, to frames.

Follows the WHATWG specification (https://html.spec.whatwg.org/multipage/server-sent-events.html),
with two additions for Qwen's endpoints: the HTTP status of an error is in a comment
(`:HTTP_STATUS/400`), and an endpoint may answer a streaming request with a JSON document, which is
then returned as the only frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = b":HTTP_STATUS/"
_DIGITS = 3
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream.

    Attributes:
        data: the values of its `data` lines, joined by newlines.
        event: its `event` field; `""` if it has none.
        status: the HTTP status in its comment; None if it has none.
    """

    data: bytes
    event: str = ""
    status: int | None = None


class SSEParser:
    """A push parser: `feed` yields each frame as soon as it is complete."""

    __slots__ = ("_after_cr", "_data", "_document", "_event", "_pieces", "_started", "_status")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the incomplete line
        self._after_cr = False
        self._started = False
        self._document = False
        self._data: list[bytes] = []
        self._event = ""
        self._status: int | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data`, the next bytes, completes."""
        if not self._started:
            data = self._start(data)
        if self._document:
            self._pieces.append(data)
            return
        for line in self._lines(data):
            if line:
                self._field(line)
            elif frame := self._dispatch():
                yield frame

    def close(self) -> Iterator[Frame]:
        """Yield the last frame if the body ends without a blank line after it.

        The specification drops such a frame. Qwen's streams end with the connection, so the frame
        may be complete; if it is not, parsing its JSON fails.
        """
        remaining = b"".join(self._pieces)
        if self._document:
            yield Frame(remaining)
        else:
            self._field(remaining)
        if frame := self._dispatch():
            yield frame

    def _start(self, data: bytes) -> bytes:
        """Decide from the first bytes whether the body is a stream or a JSON document."""
        self._pieces.append(data)
        head = b"".join(self._pieces)
        if _BYTE_ORDER_MARK.startswith(head):  # not enough bytes to tell
            return b""
        self._pieces.clear()
        head = head.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \t\r\n")
        self._started = bool(head)
        if not head:
            self._pieces.append(b"\n")  # a byte order mark counts at the very start only
        self._document = head.startswith((b"{", b"["))
        return head

    def _lines(self, data: bytes) -> list[bytes]:
        """Return the complete lines, which end with LF, CR or CRLF."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif data:
            self._after_cr = False
        if b"\n" not in data:
            # Pieces are joined once, when the line is complete. Concatenating each of them would
            # copy a long line once for every piece.
            self._pieces.append(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
        *lines, incomplete = data.split(b"\n")
        if incomplete:
            self._pieces.append(incomplete)
        return lines

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode("utf-8", "replace")
        elif line.startswith(_STATUS):
            status = line[len(_STATUS) :].strip()
            self._status = int(status) if len(status) == _DIGITS and status.isdigit() else None

    def _dispatch(self) -> Frame | None:
        """Return the frame that a blank line ends; None without data, as the specification says."""
        data, event, status = self._data, self._event, self._status
        self._data, self._event, self._status = [], "", None
        if not data:
            return None
        return Frame(b"\n".join(data), event, status)
