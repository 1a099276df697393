"""Compressed answers, unpacked in pieces of bounded size: httpx unpacks what it reads at a stretch,
which a thousandfold compressed nothing turns into all memory."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from langchain_qwen_ci.errors import QwenStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPTED = "gzip, deflate"
_PIECE_BYTES = 64 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # whichever its first bytes say
_BARE = -zlib.MAX_WBITS
_HEADER_BYTES = 2
_GZIP = b"\x1f\x8b"


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
    match encoding.lower():
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
        self._header = b""
        self._zlib: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._zlib is None:
            self._header = data = self._header + data
            if len(data) < _HEADER_BYTES:
                return
            self._zlib = zlib.decompressobj(_window(data))
        while not self._zlib.eof:
            checkpoint = self._zlib.copy()
            try:
                piece = self._zlib.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                yield from _inflate_available(checkpoint, data)
                raise QwenStreamError(
                    f"The compressed answer cannot be unpacked: {error}."
                ) from error
            yield piece
            # A full piece may have more behind it that has been read, but not been written.
            if len(piece) < _PIECE_BYTES:
                return
            data = self._zlib.unconsumed_tail


def _inflate_available(checkpoint: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What damaged data hold before the damage, less than a piece: nothing received is lost."""
    with suppress(zlib.error):
        while piece := checkpoint.decompress(data, 1):
            data = checkpoint.unconsumed_tail
            yield piece


def _window(header: bytes) -> int:
    """What zlib is to expect. Some servers send "deflate" without the header that belongs to it."""
    is_zlib = header[0] & 0x0F == zlib.DEFLATED and int.from_bytes(header[:2]) % 31 == 0  # RFC 1950
    return _GZIP_OR_ZLIB if is_zlib or header.startswith(_GZIP) else _BARE
