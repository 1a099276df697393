"""Compressed answers and error bodies: every encoding, corrupt data, decompression bombs."""

from __future__ import annotations

import functools
import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest
from dashscope_streams import ONE_RUN, REQUEST_ID, STREAMS, stream
from entry_points import every_entry_point
from mock_service import StreamedBody
from stream_corpus import CORPUS

from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenPermissionDeniedError,
    QwenStreamError,
)

WHOLE = STREAMS["one run"].body
HALF = stream(*ONE_RUN[:6])
FINISH = b'data:{"output":{"choices":[{"finish_reason":"stop"}]}}\n\n'
MIB = 1024 * 1024
pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


def encoded_response(
    encoding: str, *pieces: bytes, status_code: int = 200
) -> Callable[[], httpx.Response]:
    """Build a response whose pieces are already compressed with this encoding."""
    headers = {"content-encoding": encoding}
    return lambda: httpx.Response(status_code, headers=headers, stream=StreamedBody(*pieces))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


COMPRESS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("name", ["dashscope: one run", "responses: one run"])
@every_entry_point
def test_compressed_answers_are_read(mock_service, entry_point, encoding, name):
    body = COMPRESS[encoding](CORPUS[name].body)
    for step in (1, 7, len(body)):
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        backend = mock_service(encoded_response(encoding, *pieces))
        result = entry_point(backend.model(api=CORPUS[name].api))
        messages = result if isinstance(result, list) else [result]
        text = "".join(message.text for message in messages)
        assert text == CORPUS[name].content
        assert backend.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("missing", [20, 50])
def test_output_after_a_full_piece_needs_no_further_bytes(mock_service, missing):
    """zlib holds more output after a full piece of 64 KiB. The byte that ends the deflate stream
    is missing, so no further read brings that output."""
    end = b"\n\n" + HALF + b":" + FINISH + FINISH
    body = b":".ljust(64 * 1024 - len(end) + missing) + end
    packed = raw_deflate(body)[:-1]
    backend = mock_service(encoded_response("deflate", packed))
    assert backend.model().invoke("?").response_metadata["finish_reason"] == "stop"


def stored(data: bytes, first: int) -> bytes:
    """Return an uncompressed block of raw deflate; the upper bits of `first` are arbitrary."""
    end = b"" if first & 1 else b"\x03\x00"
    size = len(data).to_bytes(2, "little")
    return bytes((first,)) + size + bytes(255 - byte for byte in size) + data + end


@pytest.mark.parametrize(("first", "divisible"), [(0x08, False), (0x09, True), (0x01, True)])
def test_partial_zlib_header_is_not_a_header(mock_service, first, divisible):
    pads = (WHOLE + b"\n" * number for number in range(200))
    packed = next(
        one
        for one in (stored(body, first) for body in pads)
        if (int.from_bytes(one[:2]) % 31 == 0) is divisible
    )
    backend = mock_service(encoded_response("deflate", packed))
    assert backend.model().invoke("?").content == STREAMS["one run"].content


packed_bomb = functools.cache(gzip.compress)


BOMBS = {
    "zeros": b"\0" * 24 * MIB,
    "empty lines": b"\n" * 24 * MIB,
    "after half an answer": HALF + b"\n" * 24 * MIB,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@every_entry_point
def test_decompression_bomb_is_limited(mock_service, entry_point, bomb):
    packed = packed_bomb(bomb)
    assert len(packed) < len(bomb) / 900
    backend = mock_service(encoded_response("gzip", packed))
    model = backend.model(max_frame_bytes=MIB)
    tracemalloc.start()
    try:
        with pytest.raises(QwenAnswerLimitError):
            entry_point(model)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@every_entry_point
def test_decompression_bomb_in_an_error_body_is_limited(mock_service, entry_point):
    packed = packed_bomb(b"[" * 24 * MIB)
    backend = mock_service(encoded_response("gzip", packed, status_code=400))
    tracemalloc.start()
    try:
        with pytest.raises(QwenAPIError, match="HTTP 400"):
            entry_point(backend.model())
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


UNREADABLE_BODIES = {
    "unsupported encoding": ("br", WHOLE, "'br'"),
    "compressed twice": (
        "gzip, gzip",
        gzip.compress(gzip.compress(WHOLE)),
        "which was not requested",
    ),
    "not compressed": ("gzip", WHOLE, "cannot be unpacked"),
    "corrupt": ("gzip", gzip.compress(WHOLE)[:60] + b"\xff" * 99, "cannot be unpacked"),
    "truncated": ("gzip", gzip.compress(WHOLE)[:-90], "cannot be read"),
    "empty": ("gzip", b"", "broke off"),
}


@pytest.mark.parametrize(
    ("encoding", "body", "text"), UNREADABLE_BODIES.values(), ids=UNREADABLE_BODIES
)
@every_entry_point
def test_answers_that_cannot_be_decompressed(mock_service, entry_point, encoding, body, text):
    backend = mock_service(encoded_response(encoding, body))
    with pytest.raises(QwenStreamError, match=text):
        entry_point(backend.model())
    assert len(backend.requests) == 1


@pytest.mark.parametrize("step", [10_000, 50, 1])
def test_data_before_corruption_is_kept(mock_service, step):
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    whole = packer.compress(HALF) + packer.flush(zlib.Z_SYNC_FLUSH)
    body = whole + b"\xff" * 20
    pieces = StreamedBody(*(body[at : at + step] for at in range(0, len(body), step)))
    answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=pieces)
    with pytest.raises(QwenStreamError, match="cannot be unpacked") as caught:
        mock_service(lambda: answer).model().invoke("?")
    assert caught.value.partial.content == "7 to the power of 5 "


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_long_error_body_is_read(mock_service, encoding):
    body = {"code": "AccessDenied", "request_id": REQUEST_ID, "message": "No. " * 100_000}
    packed = COMPRESS[encoding](json.dumps(body).encode())
    pieces = [packed[at : at + 999] for at in range(0, len(packed), 999)]
    backend = mock_service(encoded_response(encoding, *pieces, status_code=400))
    with pytest.raises(QwenPermissionDeniedError) as caught:
        backend.model().invoke("?")
    assert caught.value.request_id == REQUEST_ID


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_endless_error_body_is_limited(mock_service, encoding):
    packed = COMPRESS[encoding](random.Random(1).randbytes(8 * MIB))
    body = StreamedBody(*(packed[at : at + 65536] for at in range(0, len(packed), 65536)))
    headers = {"content-encoding": encoding}
    with pytest.raises(QwenPermissionDeniedError):
        mock_service(lambda: httpx.Response(403, headers=headers, stream=body)).model().invoke("?")
    assert not body.fully_read


def test_truncated_error_body_is_an_error_by_status(mock_service):
    body = StreamedBody(b"N", b"o.", error=httpx.ReadError("reset"))
    with pytest.raises(QwenPermissionDeniedError, match=r"No\."):
        mock_service(lambda: httpx.Response(403, stream=body)).model().invoke("?")


def test_undecodable_error_body_is_an_error_by_status(mock_service):
    refusal = httpx.Response(403, headers={"content-encoding": "br"}, stream=StreamedBody(b"?"))
    with pytest.raises(QwenAPIError, match="HTTP 403"):
        mock_service(lambda: refusal).model().invoke("?")
