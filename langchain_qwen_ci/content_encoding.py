"""Compressed answers, unpacked in pieces of bounded size: httpx unpacks what it reads at a stretch,
which a thousandfold compressed nothing turns into all memory."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from langchain_qwen_ci.errors import QwenStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPTED = "gzip, deflate"
_PIECE_BYTES = 64 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # whichever its first bytes say
_BARE = -zlib.MAX_WBITS


class Decompressor(Protocol):
    """Turns the bytes of a body, cut anywhere, into what was compressed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that `data`, the next bytes, completes.

        Raises:
            QwenStreamError: they cannot be unpacked.
        """


def decompressor(encoding: str) -> Decompressor:
    """The one for a `Content-Encoding`; "" is none.

    Raises:
        QwenStreamError: it was not asked for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip" | "deflate":
            return _Inflater()
    raise QwenStreamError(
        f"The answer is compressed as {encoding!r}, which was not asked for: only {ACCEPTED} was. "
        "Switch it off in whatever stands between here and the service."
    )


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Inflater:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._zlib.eof:
            piece = self._inflated(data)
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail
            # A full piece may have more behind it that has been read, but not been written.
            if not data and len(piece) < _PIECE_BYTES:
                return

    def _inflated(self, data: bytes) -> bytes:
        try:
            piece = self._zlib.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if self._begun:
                raise _unreadable(error) from error
            piece = self._bare(data)
        self._begun = self._begun or bool(data)
        return piece

    def _bare(self, data: bytes) -> bytes:
        """Some servers send "deflate" without the header that belongs to it."""
        self._zlib = zlib.decompressobj(_BARE)
        try:
            return self._zlib.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            raise _unreadable(error) from error


def _unreadable(error: zlib.error) -> QwenStreamError:
    return QwenStreamError(f"The compressed answer cannot be unpacked: {error}.")
