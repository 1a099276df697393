"""Timeouts of each phase, and the deadline of a whole call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from dashscope_streams import ONE_RUN, REQUEST_ID, STREAMS, stream
from entry_points import ENTRY_POINTS, every_entry_point
from mock_service import StreamedBody
from slow_server import SlowServer, pause
from stream_corpus import CORPUS

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenConnectionError,
    QwenError,
    QwenStreamError,
    QwenTimeoutError,
)

WHOLE = STREAMS["one run"].body
HALF = stream(*ONE_RUN[:6])
pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


SLOW_BODIES = {"drips": (b":" * 10_000, 0.02), "is silent": (b"", 0.0)}


@pytest.mark.parametrize(("body", "seconds"), SLOW_BODIES.values(), ids=SLOW_BODIES)
@every_entry_point
def test_call_ends_at_its_total_timeout(entry_point, body, seconds):
    with SlowServer(body, seconds) as server:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="k", total_timeout=0.4)
        with pytest.raises(QwenTimeoutError, match=r"total_timeout \(0.4 s\)") as caught:
            entry_point(model)
        assert server.client_disconnected.wait(10)  # the other timeouts are 300 s
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


@every_entry_point
def test_retry_wait_beyond_the_deadline_is_not_started(mock_service, entry_point, recorded_waits):
    body = {"code": "Throttling", "message": "No.", "request_id": REQUEST_ID}
    headers = {"retry-after": "30"}
    backend = mock_service(lambda: httpx.Response(429, json=body, headers=headers))
    with pytest.raises(QwenAPIError, match="No"):
        entry_point(backend.model(total_timeout=10))
    assert (len(backend.requests), recorded_waits) == (1, [])
    with pytest.raises(QwenAPIError, match="No"):
        entry_point(backend.model(total_timeout=100))
    assert recorded_waits == [30.0, 30.0]


def test_complete_answer_at_the_deadline_is_returned(mock_service):
    class Late(StreamedBody):
        def __iter__(self) -> Iterator[bytes]:
            yield WHOLE
            pause(0.15)
            yield b"\n"

    result = mock_service(Late()).model(total_timeout=0.1).invoke("?")
    assert result.content == STREAMS["one run"].content


def test_usage_after_the_finish_is_read_after_the_deadline(mock_service):
    answer = CORPUS["chat_completions: an answer"]
    before, usage, after = answer.body.partition(b'data: {"choices": []')

    class Late(StreamedBody):
        def __iter__(self) -> Iterator[bytes]:
            yield before
            pause(0.15)
            yield b": still here\n\n"
            yield usage + after

    result = mock_service(Late()).model(api=answer.api, total_timeout=0.1).invoke("?")
    assert result.usage_metadata["total_tokens"] == answer.usage[2]


def test_missing_end_of_body_is_not_awaited(mock_service, monkeypatch):
    """The answer is complete, so the client must not wait for `stream_chunk_timeout`."""
    monkeypatch.setattr("langchain_qwen_ci.http.exchanges._DRAIN_SECONDS", 0.05)

    class Open(StreamedBody):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield WHOLE
            await asyncio.Event().wait()

    for entry_point in ("ainvoke", "astream"):
        body = Open()
        assert ENTRY_POINTS[entry_point](mock_service(body).model())
        assert body.closed


def test_timeout_error_reports_a_running_program(mock_service):
    for frames, text in [(4, True), (6, False)]:
        body = StreamedBody(stream(*ONE_RUN[:frames]), error=httpx.ReadTimeout("slow"))
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout") as caught:
            mock_service(body).model().invoke("?")
        assert ("A program was running" in str(caught.value)) is text


def test_keepalive_detects_a_dead_connection():
    """TCP keepalive probes tell a service that runs code from one that is gone."""
    with SlowServer(b"", 0.0) as server, httpx.Client() as client:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="k", http_client=client)
        stored: list[Any] = []
        send = client.send

        def remember(*given: Any, **how: Any) -> httpx.Response:
            stored.append(send(*given, **how))
            return stored[-1]

        client.send = remember  # type: ignore[method-assign]
        chunks = model.stream("?")
        next(chunks)
        connection = stored[0].extensions["network_stream"].get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        chunks.close()


@pytest.mark.parametrize(
    ("total", "sent", "reading"),
    [(None, (3, 5, 5), 7), (4, (3, 4, 4), 4), (1e-9, (0.001,) * 3, 0.001)],
)
def test_each_phase_has_its_own_timeout(mock_service, total, sent, reading):
    """None exceeds the remaining total, and none is 0, which makes a socket non-blocking."""
    observed: list[dict[str, float]] = []

    def answer() -> httpx.Response:
        observed.append(dict(backend.requests[0].extensions["timeout"]))
        return httpx.Response(200, stream=StreamedBody(WHOLE))

    backend = mock_service(answer)
    times = {"connect_timeout": 3, "timeout": 5, "stream_chunk_timeout": 7, "total_timeout": total}
    assert backend.model(**times).invoke("?").content
    assert tuple(observed[0][part] for part in ("connect", "read", "write")) == pytest.approx(
        sent, 0.1
    )
    assert backend.requests[0].extensions["timeout"]["read"] == pytest.approx(reading, 0.1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (HALF, QwenStreamError),
        (StreamedBody(HALF, error=httpx.ReadTimeout("slow")), QwenTimeoutError),
        (httpx.ConnectError("refused"), QwenConnectionError),
    ],
)
def test_error_before_the_deadline_keeps_its_class(mock_service, answer, kind):
    with pytest.raises(kind) as caught:
        mock_service(answer).model(total_timeout=1000, max_retries=0).invoke("?")
    assert type(caught.value) is kind
    assert "total_timeout" not in str(caught.value)


def test_answer_in_many_pieces_is_read_before_the_deadline(mock_service):
    body = StreamedBody(*(frame + b"\n\n" for frame in WHOLE.split(b"\n\n")))
    result = mock_service(body).model(total_timeout=1000).invoke("?")
    assert result.content == STREAMS["one run"].content


def test_answer_is_not_read_after_the_deadline(mock_service):
    body = StreamedBody(HALF, WHOLE[len(HALF) :])
    with pytest.raises(QwenTimeoutError, match="total_timeout") as caught:
        mock_service(body).model(total_timeout=1e-9).invoke("?")
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
    assert not body.fully_read


def test_rest_of_the_body_is_drained_for_reuse(mock_service):
    body = StreamedBody(WHOLE, b"\n")
    assert mock_service(body).model(total_timeout=1e-9).invoke("?").content
    assert body.fully_read


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: httpx.Response(400, content=b"No."), QwenAPIError),
        (b":" * 2000, QwenAnswerLimitError),
    ],
)
def test_api_errors_after_the_deadline_keep_their_class(mock_service, answer, kind):
    with pytest.raises(kind):
        mock_service(answer).model(total_timeout=1e-9, max_frame_bytes=1000).invoke("?")


def test_none_disables_a_timeout(mock_service):
    times = dict.fromkeys(("connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout"))
    backend = mock_service(WHOLE)
    assert backend.model(**times).invoke("?").content
    assert backend.requests[0].extensions["timeout"] == dict.fromkeys(
        ("connect", "read", "write", "pool")
    )


def test_error_messages_say_what_to_do():
    for kind in QwenAPIError.__subclasses__():
        assert (
            kind.advice or kind.__name__ == "QwenInvalidRequestError"
        )  # its message is the advice
    assert issubclass(QwenAnswerLimitError, QwenError)
