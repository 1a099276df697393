"""Parsing of server-sent events from bytes that are split anywhere."""

from __future__ import annotations

import pytest

from langchain_qwen_ci.wire.sse import Frame, SSEParser


def parse(*pieces: bytes) -> list[Frame]:
    parser = SSEParser()
    return [*(frame for piece in pieces for frame in parser.feed(piece)), *parser.close()]


def single_bytes(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\n \n"])
def test_frames_do_not_depend_on_line_ends_and_splits(prefix, newline):
    stream = (
        b"data:first\n\nevent: error \nid:7\n:HTTP_STATUS/400\n:ping\ndata: one\n"
        b"data:  two\n\nid:8\n\nevent:dropped\n:HTTP_STATUS/500\n\ndata:\n\ndata:last"
    )
    body = (prefix + stream).replace(b"\n", newline)
    frames = [Frame(b"first"), Frame(b"one\n two", "error", 400), Frame(b""), Frame(b"last")]
    assert parse(body) == frames
    assert parse(*single_bytes(body)) == frames
    for at in range(len(body)):
        assert parse(body[:at], body[at:]) == frames
        assert parse(body[:at], b"", body[at : at + 1], body[at + 1 :]) == frames


@pytest.mark.parametrize(
    "body", [b"data:1\r\n\ndata:2\n\n", b"id:1\rdata:1\n\ndata:2\n\n", b"data:1\n\r\rdata:2\r\r"]
)
def test_line_ends_may_be_mixed(body):
    assert parse(body) == [Frame(b"1"), Frame(b"2")]
    assert parse(*single_bytes(body)) == [Frame(b"1"), Frame(b"2")]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b":HTTP_STATUS/429", 429),
        (b":HTTP_STATUS/ 429 ", 429),
        (b":HTTP_STATUS/42", None),
        (b":HTTP_STATUS/4290", None),
        (b":HTTP_STATUS/4x9", None),
        (b":HTTP_STATUS/429\n:HTTP_STATUS/x", None),
        (b":HTTP_STATUS/429\n:HTTP_STATUS", 429),
        (b"HTTP_STATUS/429", None),
    ],
)
def test_status_comment(line, status):
    assert parse(line + b"\ndata:1\n\n") == [Frame(b"1", "", status)]


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\r\n\t ", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("document", [b'{\n "a": 1,\n\n "data": 2\n}\n', b"[\n\n1]", b"{}"])
def test_json_document_is_one_frame(prefix, document):
    body = prefix + document
    assert parse(body) == [Frame(document)]
    (frame,) = parse(*single_bytes(body))
    assert frame.data.strip() == document.strip()


def test_invalid_utf8_in_event_name_is_replaced():
    assert parse(b"event:\xff\ndata:1\n\n") == [Frame(b"1", "\ufffd")]


def test_byte_order_mark_is_removed_only_at_the_beginning():
    assert parse(b"\n\xef\xbb\xbfdata:1\n\n") == []
    assert parse(b"\n", b"\xef\xbb\xbfdata:1\n\n") == []
    assert parse(b"\xef\xbb") == []
    assert parse() == []


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"data:1\n\n"], [True]),
        ([b"dat", b"a", b":", b" ", b"1", b"2", b"\n", b"\n"], [False] * 4 + [True] * 3 + [False]),
        ([b": keep-alive\n\n", b": keep", b"-alive"], [False] * 3),
        ([b"event: ping\nid: 1\nretry: 5\n\n", b"event:"], [False] * 2),
        ([b"data:\n\n", b"data: ", b"\n\n"], [False] * 3),
        ([b":HTTP_STATUS/200\n", b"data:1"], [False, True]),
        ([b"data:1\n\n: keep", b"-alive\n\n", b"\n"], [True, False, False]),
        ([b": keep-alive\n\ndata:1", b"\n: keep-alive"], [True, True]),
        ([b"\xef\xbb", b"\xbf", b"\n", b"data:1"], [False, False, False, True]),
        ([b'{"a"', b": 1}"], [True, True]),
    ],
)
def test_only_data_is_new_data(pieces, expected):
    parser = SSEParser()
    received = []
    for piece in pieces:
        list(parser.feed(piece))
        received.append(parser.has_new_data)
    assert received == expected
