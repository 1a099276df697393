"""Bodies of HTTP/1.1, split anywhere, and the heads before them."""

from __future__ import annotations

import h11
import httpx
import pytest

from langchain_qwen_ci.http.connections.http1 import (
    ChunkedBody,
    HeadExchange,
    ResponseBody,
    body_of,
    keeps_connection,
)

CHUNKED = b"5\r\nHello\r\n1;name=value\r\n,\r\n00A \r\n wonderful\r\n0\r\nX-Trailer: 1\r\n\r\n"


def received(body: ResponseBody, *pieces: bytes) -> bytes:
    return b"".join(map(body.feed, pieces))


def head(*headers: tuple[str, str], status: int = 200, version: str = "1.1") -> h11.Response:
    return h11.Response(status_code=status, headers=headers, http_version=version.encode())


@pytest.mark.parametrize("first", range(len(CHUNKED)))
def test_chunks_are_found_at_every_split(first: int):
    for second in range(first, len(CHUNKED)):
        body = ChunkedBody()
        data = received(body, CHUNKED[:first], CHUNKED[first:second], CHUNKED[second:])
        assert (data, body.is_complete, body.has_surplus) == (b"Hello, wonderful", True, False)


def test_part_of_a_chunk_is_returned_at_once():
    assert ChunkedBody().feed(b"10\r\nHell") == b"Hell"


@pytest.mark.parametrize("surplus", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_surplus_bytes_are_noticed(surplus: bytes):
    for body, sent in ((ChunkedBody(), b"1\r\na\r\n0\r\n\r\n"), (ResponseBody(1), b"a")):
        assert body.feed(sent + surplus) == b"a"
        assert (body.is_complete, body.has_surplus) == (True, bool(surplus))


@pytest.mark.parametrize(
    "garbage",
    [
        b"zz\r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"5\n",
        b"F" * 17 + b"\r\n",
        b"5;\0\r\n",
        b"5" + b" " * 20_000,
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 5_000,
    ],
)
def test_invalid_chunk_is_an_error_after_the_data_before_it(garbage: bytes):
    with pytest.raises(httpx.RemoteProtocolError, match="chunked encoding"):
        ChunkedBody().feed(garbage)
    body = ChunkedBody()
    assert body.feed(b"1\r\na\r\n" + garbage) == b"a"
    assert isinstance(body.error, httpx.RemoteProtocolError)


def test_missing_line_break_after_a_chunk_is_an_error():
    body = ChunkedBody()
    assert body.feed(b"1\r\naX") == b"a"
    assert body.error


@pytest.mark.parametrize("end", range(len(CHUNKED)))
def test_chunked_body_that_is_cut_is_an_error(end: int):
    body = ChunkedBody()
    body.feed(CHUNKED[:end])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        body.close()


def test_body_with_a_length_that_is_cut_is_an_error():
    body = ResponseBody(5)
    assert body.feed(b"Hell") == b"Hell"
    with pytest.raises(httpx.RemoteProtocolError):
        body.close()


def test_body_without_a_length_lasts_until_the_connection_is_closed():
    body = body_of(head())
    assert body.feed(b"Hello") == b"Hello"
    assert not body.is_complete
    body.close()
    assert body.is_complete


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int):
    assert body_of(head(("Content-Length", "5"), status=status)).is_complete


@pytest.mark.parametrize(
    ("headers", "version", "kept"),
    [
        ((), "1.1", True),
        ((("Connection", "Keep-Alive, CLOSE"),), "1.1", False),
        ((("Connection", "keep-alive"), ("Connection", "close")), "1.1", False),
        ((), "1.0", False),
    ],
)
def test_connection_is_kept_as_the_head_says(headers, version: str, kept: bool):
    assert keeps_connection(head(*headers, version=version)) is kept


def test_heads_of_status_1xx_are_skipped():
    exchange = HeadExchange(httpx.Request("POST", "http://127.0.0.1/", content=b"?"))
    sent = exchange.request_head() + exchange.request_data(b"?") + exchange.request_end()
    assert sent.startswith(b"POST / HTTP/1.1\r\n")
    assert sent.endswith(b"\r\n\r\n?")
    assert exchange.receive(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 20") is None
    found = exchange.receive(b"0 OK\r\nContent-Length: 1\r\n\r\n!")
    assert found
    assert (found.status_code, exchange.body_start()) == (200, b"!")
