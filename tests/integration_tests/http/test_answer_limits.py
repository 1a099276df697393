"""Limits on the size of an answer: endless frames, endless answers, deeply nested JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from dashscope_streams import ONE_RUN, STREAMS, stream
from entry_points import every_entry_point
from mock_service import StreamedBody

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenStreamError,
)

WHOLE = STREAMS["one run"].body
HALF = stream(*ONE_RUN[:6])
MIB = 1024 * 1024
pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


def endless(piece: bytes) -> Callable[[], httpx.Response]:
    """Build responses of half an answer and an endless repetition of `piece`, 64 KiB a read."""
    many = piece * (64 * 1024 // len(piece) + 1)

    def pieces() -> Iterator[bytes]:
        yield HALF
        while True:
            yield many

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return pieces()

        async def __aiter__(self):
            for one in pieces():
                yield one

    return lambda: httpx.Response(200, stream=Body())


ENDLESS = {
    "a line": b"x",
    "a data line": b"data:",
    "empty lines": b"\n",
    "empty lines of Windows": b"\r\n",
    "comments": b":\n\n",
    "unknown fields": b"retry: 1\n",
    "empty frames": b"data\n\n",
    "frames without content": b'data:{"output":{"choices":[]}}\n\n',
}


@pytest.mark.parametrize("piece", ENDLESS.values(), ids=ENDLESS)
@every_entry_point
def test_endless_answer_without_events_is_ended(mock_service, entry_point, piece):
    backend = mock_service(endless(piece))
    with pytest.raises(QwenStreamError) as caught:
        entry_point(backend.model(max_frame_bytes=MIB))
    assert len(backend.requests) == 1
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
    if not isinstance(caught.value, QwenAnswerLimitError):
        assert "cannot be read" in str(caught.value)


def test_endless_answer_with_events_is_ended(mock_service):
    text = b'data:{"output":{"choices":[{"message":{"content":"la "}}]}}\n\n'
    backend = mock_service(endless(text))
    with pytest.raises(QwenAnswerLimitError, match=r"max_answer_bytes \(1048576\)") as caught:
        backend.model(max_answer_bytes=MIB).invoke("?")
    assert caught.value.partial.content.endswith("la la ")
    assert not caught.value.is_retryable


FRAMES = [frame + b"\n\n" for frame in WHOLE.split(b"\n\n") if frame]


def test_answer_of_exactly_the_maximum_size_is_read(mock_service):
    before_the_finish = sum(map(len, FRAMES[:-1]))  # the last frame ends the answer
    result = (
        mock_service(StreamedBody(*FRAMES)).model(max_answer_bytes=before_the_finish).invoke("?")
    )
    assert result.content == STREAMS["one run"].content
    with pytest.raises(QwenAnswerLimitError, match="max_answer_bytes"):
        mock_service(StreamedBody(*FRAMES)).model(max_answer_bytes=before_the_finish - 1).invoke(
            "?"
        )


def test_bytes_without_events_count_from_the_last_event(mock_service):
    comments = (b":" * 400, b":" * 500, b"\n\n")
    body = (*comments, FRAMES[0], *comments, *FRAMES[1:])
    most = 400 + 500 + 2
    assert len(FRAMES[0]) < most < len(b"".join(FRAMES))
    result = mock_service(StreamedBody(*body)).model(max_frame_bytes=most).invoke("?")
    assert result.content == STREAMS["one run"].content
    for late in ((*comments, *FRAMES), (FRAMES[0], *comments, *FRAMES[1:])):
        with pytest.raises(QwenAnswerLimitError, match="max_frame_bytes"):
            mock_service(StreamedBody(*late)).model(max_frame_bytes=most - 1).invoke("?")


def test_deeply_nested_json_raises_an_error(mock_service):
    deep = b"[" * 100_000
    backend = mock_service(HALF + b'data:{"output":' + deep + b"\n\n")
    with pytest.raises(QwenStreamError, match="cannot be read") as caught:
        backend.model().invoke("?")
    assert code_executions(caught.value.partial)


@pytest.mark.parametrize(
    "field",
    ["connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout", "max_frame_bytes"],
)
@pytest.mark.parametrize("value", [0, -1, "soon"])
def test_limits_must_be_positive(field, value):
    with pytest.raises(ValueError, match=field):
        ChatQwenCodeInterpreter(api_key="k", **{field: value})
