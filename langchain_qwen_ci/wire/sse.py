"""Server-sent events: bytes, cut anywhere, become frames.

After the WHATWG specification (https://html.spec.whatwg.org/multipage/server-sent-events.html),
with two things that Qwen's endpoints add: the status of an error stands in a comment
(`:HTTP_STATUS/400`), and an endpoint asked for a stream may answer with one bare JSON document,
which then is the only frame.
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
        data: the bytes of its `data` lines, joined by newlines.
        event: its `event` field, `""` if it has none.
        status: the HTTP status it names in a comment; None if it names none.
    """

    data: bytes
    event: str = ""
    status: int | None = None


class SSEParser:
    """Feed it bytes; it yields each frame when its last byte has come."""

    __slots__ = ("_after_cr", "_data", "_document", "_event", "_pieces", "_started", "_status")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that is not complete yet
        self._after_cr = False
        self._started = False
        self._document = False
        self._data: list[bytes] = []
        self._event = ""
        self._status: int | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
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
        """The frame that the end of the bytes leaves without its closing blank line, if any.

        The specification drops it; Qwen's streams end with the connection, so the last frame
        may be whole all the same. Who reads it finds out.
        """
        rest = b"".join(self._pieces)
        if self._document:
            yield Frame(rest)
        else:
            self._field(rest)
        if frame := self._dispatch():
            yield frame

    def _start(self, data: bytes) -> bytes:
        """Find out from the first bytes whether this is a stream or one JSON document."""
        self._pieces.append(data)
        head = b"".join(self._pieces)
        if _BYTE_ORDER_MARK.startswith(head):  # not enough bytes to tell
            return b""
        self._pieces.clear()
        head = head.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \t\r\n")
        self._started = bool(head)
        if not head:
            self._pieces.append(b"\n")  # the mark stands at the very beginning or is none
        self._document = head.startswith((b"{", b"["))
        return head

    def _lines(self, data: bytes) -> list[bytes]:
        """The complete lines, ended by LF, CR or CRLF."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif data:
            self._after_cr = False
        if b"\n" not in data:
            # Pieces are joined once, when the line is complete: adding them up one by one
            # would copy a long line again for every piece.
            self._pieces.append(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self._pieces.append(rest)
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
        """The frame that a blank line ends; None for one without data, as the spec says."""
        data, event, status = self._data, self._event, self._status
        self._data, self._event, self._status = [], "", None
        if not data:
            return None
        return Frame(b"\n".join(data), event, status)
