"""Compressed bodies, correct and corrupt."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable

from expected_answers import SAMPLE_ANSWERS
from fault_server import Silence

from fault_cases.definitions import Case, fault
from fault_cases.outcomes import answer, interrupted
from fault_cases.responses import encoded_response, stream_head

SECTION = "Compression"


@fault("gzip", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((encoded_response(gzip.compress(SAMPLE_ANSWERS[wire].body), "gzip"),), answer(wire))


@fault("deflate", SECTION)
def _(wire: str) -> Iterable[Case]:
    body = SAMPLE_ANSWERS[wire].body
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for packed in (zlib.compress(body), bare.compress(body) + bare.flush()):
        yield Case((encoded_response(packed, "deflate"),), answer(wire))


@fault("`identity`", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((encoded_response(SAMPLE_ANSWERS[wire].body, "identity"),), answer(wire))


def _gzip_without_trailer(data: bytes) -> bytes:
    """Gzip without its end; all bytes before it can be decompressed."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@fault("truncated gzip", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    yield Case(
        (encoded_response(_gzip_without_trailer(sample.until(sample.text)), "gzip"),),
        interrupted(sample.parts_before(sample.text)),
    )


@fault("corrupt gzip", SECTION)
def _(wire: str) -> Iterable[Case]:
    sample = SAMPLE_ANSWERS[wire]
    corrupt = _gzip_without_trailer(sample.until(sample.text)) + b"\xff" * 50
    play = (stream_head(Content_Encoding="gzip", Connection="close") + corrupt, Silence())
    yield Case((play,), interrupted(sample.parts_before(sample.text)))


@fault("gzip with a wrong checksum", SECTION)
def _(wire: str) -> Iterable[Case]:
    packed = bytearray(gzip.compress(SAMPLE_ANSWERS[wire].body))
    packed[-8] ^= 1
    yield Case(
        (encoded_response(bytes(packed), "gzip"),), answer(wire)
    )  # the terminal event was received


@fault("`Content-Encoding: gzip` on plain text", SECTION)
def _(wire: str) -> Iterable[Case]:
    yield Case((encoded_response(SAMPLE_ANSWERS[wire].body, "gzip"),), interrupted(None))


@fault("an encoding that was not requested", SECTION)
def _(wire: str) -> Iterable[Case]:
    for encoding in ("br", "zstd", "rot13"):
        yield Case((encoded_response(SAMPLE_ANSWERS[wire].body, encoding),), interrupted(None))
