"""Bytes, cut anywhere, to frames."""

from __future__ import annotations

import pytest

from langchain_qwen_ci.wire.sse import Frame, SSEParser


def frames_of(*pieces: bytes) -> list[Frame]:
    reader = SSEParser()
    return [*(frame for piece in pieces for frame in reader.feed(piece)), *reader.close()]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\n \n"])
def test_frames_however_lines_end_and_wherever_bytes_are_cut(before, newline):
    stream = (
        b"data:first\n\nevent: error \nid:7\n:HTTP_STATUS/400\n:ping\ndata: one\n"
        b"data:  two\n\nid:8\n\nevent:dropped\n:HTTP_STATUS/500\n\ndata:\n\ndata:last"
    )
    body = (before + stream).replace(b"\n", newline)
    frames = [Frame(b"first"), Frame(b"one\n two", "error", 400), Frame(b""), Frame(b"last")]
    assert frames_of(body) == frames
    assert frames_of(*(body[at : at + 1] for at in range(len(body)))) == frames
    for at in range(len(body)):
        assert frames_of(body[:at], body[at:]) == frames
        assert frames_of(body[:at], b"", body[at : at + 1], body[at + 1 :]) == frames


@pytest.mark.parametrize(
    "body", [b"data:1\r\n\ndata:2\n\n", b"id:1\rdata:1\n\ndata:2\n\n", b"data:1\n\r\rdata:2\r\r"]
)
def test_lines_may_end_in_every_way_within_one_stream(body):
    assert frames_of(body) == [Frame(b"1"), Frame(b"2")]
    assert frames_of(*(body[at : at + 1] for at in range(len(body)))) == [Frame(b"1"), Frame(b"2")]


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
def test_the_status_of_a_frame(line, status):
    assert frames_of(line + b"\ndata:1\n\n") == [Frame(b"1", "", status)]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n\t ", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("document", [b'{\n "a": 1,\n\n "data": 2\n}\n', b"[\n\n1]", b"{}"])
def test_a_document_is_one_frame_however_it_is_written(before, document):
    body = before + document
    assert frames_of(body) == [Frame(document)]
    (frame,) = frames_of(*(body[at : at + 1] for at in range(len(body))))
    assert frame.data.strip() == document.strip()


def test_the_name_of_a_frame_may_be_no_utf8():
    assert frames_of(b"event:\xff\ndata:1\n\n") == [Frame(b"1", "\ufffd")]


def test_a_mark_of_byte_order_stands_at_the_beginning_or_is_none():
    assert frames_of(b"\n\xef\xbb\xbfdata:1\n\n") == []
    assert frames_of(b"\n", b"\xef\xbb\xbfdata:1\n\n") == []
    assert frames_of(b"\xef\xbb") == []
    assert frames_of() == []
