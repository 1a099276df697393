"""Decompresses responses in pieces of limited size.

httpx decompresses each read at once, so that a small compressed body can fill the memory.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from langchain_qwen_ci.errors import QwenStreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ACCEPT_ENCODING = "gzip, deflate"  # br and zstd cannot be decompressed in limited pieces
_PIECE_BYTES = 64 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # zlib detects which one from the header
_RAW_DEFLATE = -zlib.MAX_WBITS
_HEADER_BYTES = 2
_GZIP_MAGIC = b"\x1f\x8b"


class Decompressor(Protocol):
    """Decompresses the bytes of a body, split anywhere."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Return the decompressed pieces of `data`, the next bytes.

        Raises:
            QwenStreamError: the data cannot be decompressed.
        """


def decompressor(encoding: str) -> Decompressor:
    """Return a decompressor for a `Content-Encoding`; "" means uncompressed.

    Raises:
        QwenStreamError: the encoding is not in `ACCEPT_ENCODING`.
    """
    match encoding.lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip" | "deflate":
            return _Inflater()
    raise QwenStreamError(
        f"The answer is compressed as {encoding!r}, which was not requested: only "
        f"{ACCEPT_ENCODING} was. Switch it off in whatever stands between here and the service."
    )


class _Identity:
    def feed(self, data: bytes) -> Iterable[bytes]:
        return (data,)


class _Inflater:
    def __init__(self) -> None:
        self._header = b""
        self._zlib: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._zlib is None:
            self._header = data = self._header + data
            if len(data) < _HEADER_BYTES:
                return
            self._zlib = zlib.decompressobj(_window_bits(data))
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
            # After a full piece, zlib may hold more output although all input was consumed.
            if len(piece) < _PIECE_BYTES:
                return
            data = self._zlib.unconsumed_tail


def _inflate_available(checkpoint: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what corrupt data contains before the error, byte by byte; less than one piece."""
    with suppress(zlib.error):
        while piece := checkpoint.decompress(data, 1):
            data = checkpoint.unconsumed_tail
            yield piece


def _window_bits(header: bytes) -> int:
    # Some servers send "deflate" without the zlib header that it requires (RFC 1950).
    is_zlib = header[0] & 0x0F == zlib.DEFLATED and int.from_bytes(header[:2]) % 31 == 0
    return _GZIP_OR_ZLIB if is_zlib or header.startswith(_GZIP_MAGIC) else _RAW_DEFLATE
