"""What the service may send, and how long a call may take."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import random
import socket
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Self

import httpx
import pytest
from dashscope_streams import ONE_RUN, REQUEST_ID, STREAMS, stream
from entry_points import ENTRY_POINTS, every_entry_point
from mock_service import Pieces
from stream_corpus import CORPUS

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.errors import (
    QwenAnswerLimitError,
    QwenAPIError,
    QwenConnectionError,
    QwenError,
    QwenPermissionDeniedError,
    QwenStreamError,
    QwenTimeoutError,
)

WHOLE = STREAMS["one run"].body
HALF = stream(*ONE_RUN[:6])
FINISH = b'data:{"output":{"choices":[{"finish_reason":"stop"}]}}\n\n'
MIB = 1024 * 1024
pytestmark = [
    pytest.mark.usefixtures("waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


def pause(seconds: float) -> None:
    """`time.sleep` takes no time here."""
    threading.Event().wait(seconds)


def endless(piece: bytes) -> Callable[[], httpx.Response]:
    """Half an answer, and then this again and again; 64 KiB at a time, as httpx reads."""
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
    "fields that are not known": b"retry: 1\n",
    "empty frames": b"data\n\n",
    "frames that tell nothing": b'data:{"output":{"choices":[]}}\n\n',
}


@pytest.mark.parametrize("piece", ENDLESS.values(), ids=ENDLESS)
@every_entry_point
def test_endless_answer_without_events_is_ended(service, entry_point, piece):
    served = service(endless(piece))
    with pytest.raises(QwenStreamError) as caught:
        entry_point(served.model(max_frame_bytes=MIB))
    assert len(served.requests) == 1
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
    if not isinstance(caught.value, QwenAnswerLimitError):
        assert "cannot be read" in str(caught.value)


def test_endless_answer_with_events_is_ended(service):
    text = b'data:{"output":{"choices":[{"message":{"content":"la "}}]}}\n\n'
    served = service(endless(text))
    with pytest.raises(QwenAnswerLimitError, match=r"max_answer_bytes \(1048576\)") as caught:
        served.model(max_answer_bytes=MIB).invoke("?")
    assert caught.value.partial.content.endswith("la la ")
    assert not caught.value.is_retryable


FRAMES = [frame + b"\n\n" for frame in WHOLE.split(b"\n\n") if frame]


def test_answer_of_exactly_the_maximum_size_is_read(service):
    before_the_finish = sum(map(len, FRAMES[:-1]))  # with which it is whole
    result = service(Pieces(*FRAMES)).model(max_answer_bytes=before_the_finish).invoke("?")
    assert result.content == STREAMS["one run"].content
    with pytest.raises(QwenAnswerLimitError, match="max_answer_bytes"):
        service(Pieces(*FRAMES)).model(max_answer_bytes=before_the_finish - 1).invoke("?")


def test_bytes_without_events_count_from_the_last_event(service):
    comments = (b":" * 400, b":" * 500, b"\n\n")
    body = (*comments, FRAMES[0], *comments, *FRAMES[1:])
    most = 400 + 500 + 2
    assert len(FRAMES[0]) < most < len(b"".join(FRAMES))
    result = service(Pieces(*body)).model(max_frame_bytes=most).invoke("?")
    assert result.content == STREAMS["one run"].content
    for late in ((*comments, *FRAMES), (FRAMES[0], *comments, *FRAMES[1:])):
        with pytest.raises(QwenAnswerLimitError, match="max_frame_bytes"):
            service(Pieces(*late)).model(max_frame_bytes=most - 1).invoke("?")


def test_deeply_nested_json_raises_an_error(service):
    deep = b"[" * 100_000
    served = service(HALF + b'data:{"output":' + deep + b"\n\n")
    with pytest.raises(QwenStreamError, match="cannot be read") as caught:
        served.model().invoke("?")
    assert code_executions(caught.value.partial)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("name", ["dashscope: one run", "responses: one run"])
@every_entry_point
def test_compressed_answers_are_read(service, entry_point, encoding, name):
    body, headers = PACKED[encoding](CORPUS[name].body), {"content-encoding": encoding}
    for step in (1, 7, len(body)):
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        served = service(lambda: httpx.Response(200, headers=headers, stream=Pieces(*pieces)))  # noqa: B023
        result = entry_point(served.model(api=CORPUS[name].api))
        messages = result if isinstance(result, list) else [result]
        text = "".join(message.text for message in messages)
        assert text == CORPUS[name].content
        assert served.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("missing", [20, 50])
def test_output_after_a_full_piece_needs_no_further_bytes(service, missing):
    """The last frame is a repetition, so its end has been read with the piece before. The mark at
    the end of the compression does not come."""
    end = b"\n\n" + HALF + b":" + FINISH + FINISH
    body = b":".ljust(64 * 1024 - len(end) + missing) + end
    packed, headers = raw_deflate(body)[:-1], {"content-encoding": "deflate"}
    served = service(lambda: httpx.Response(200, headers=headers, stream=Pieces(packed)))
    assert served.model().invoke("?").response_metadata["finish_reason"] == "stop"


def stored(data: bytes, first: int) -> bytes:
    """A block of raw deflate with data as it is; the upper bits of its first byte are free."""
    end = b"" if first & 1 else b"\x03\x00"
    size = len(data).to_bytes(2, "little")
    return bytes((first,)) + size + bytes(255 - byte for byte in size) + data + end


@pytest.mark.parametrize(("first", "divisible"), [(0x08, False), (0x09, True), (0x01, True)])
def test_partial_zlib_header_is_not_a_header(service, first, divisible):
    pads = (WHOLE + b"\n" * number for number in range(200))
    packed = next(
        one
        for one in (stored(body, first) for body in pads)
        if (int.from_bytes(one[:2]) % 31 == 0) is divisible
    )
    headers = {"content-encoding": "deflate"}
    served = service(lambda: httpx.Response(200, headers=headers, stream=Pieces(packed)))
    assert served.model().invoke("?").content == STREAMS["one run"].content


packed_bomb = functools.cache(gzip.compress)
BOMBS = {
    "of nothing": b"\0" * 24 * MIB,
    "of empty lines": b"\n" * 24 * MIB,
    "behind half an answer": HALF + b"\n" * 24 * MIB,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@every_entry_point
def test_decompression_bomb_is_limited(service, entry_point, bomb):
    packed, headers = packed_bomb(bomb), {"content-encoding": "gzip"}
    assert len(packed) < len(bomb) / 900
    served = service(lambda: httpx.Response(200, headers=headers, stream=Pieces(packed)))
    model = served.model(max_frame_bytes=MIB)
    tracemalloc.start()
    try:
        with pytest.raises(QwenAnswerLimitError):
            entry_point(model)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@every_entry_point
def test_decompression_bomb_in_an_error_body_is_limited(service, entry_point):
    packed, headers = packed_bomb(b"[" * 24 * MIB), {"content-encoding": "gzip"}
    served = service(lambda: httpx.Response(400, headers=headers, stream=Pieces(packed)))
    tracemalloc.start()
    try:
        with pytest.raises(QwenAPIError, match="HTTP 400"):
            entry_point(served.model())
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


WRONGLY_PACKED = {
    "of another kind": ("br", WHOLE, "'br'"),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(WHOLE)), "which was not asked for"),
    "not at all": ("gzip", WHOLE, "cannot be unpacked"),
    "and damaged": ("gzip", gzip.compress(WHOLE)[:60] + b"\xff" * 99, "cannot be unpacked"),
    "and cut": ("gzip", gzip.compress(WHOLE)[:-90], "cannot be read"),
    "and empty": ("gzip", b"", "broke off"),
}


@pytest.mark.parametrize(("encoding", "body", "text"), WRONGLY_PACKED.values(), ids=WRONGLY_PACKED)
@every_entry_point
def test_answers_that_cannot_be_decompressed(service, entry_point, encoding, body, text):
    headers = {"content-encoding": encoding}
    served = service(lambda: httpx.Response(200, headers=headers, stream=Pieces(body)))
    with pytest.raises(QwenStreamError, match=text):
        entry_point(served.model())
    assert len(served.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_long_error_body_is_read(service, encoding):
    body = {"code": "AccessDenied", "request_id": REQUEST_ID, "message": "No. " * 100_000}
    packed, headers = PACKED[encoding](json.dumps(body).encode()), {"content-encoding": encoding}
    pieces = [packed[at : at + 999] for at in range(0, len(packed), 999)]
    served = service(lambda: httpx.Response(400, headers=headers, stream=Pieces(*pieces)))
    with pytest.raises(QwenPermissionDeniedError) as caught:
        served.model().invoke("?")
    assert caught.value.request_id == REQUEST_ID


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_endless_error_body_is_limited(service, encoding):
    packed = PACKED[encoding](random.Random(1).randbytes(8 * MIB))
    body = Pieces(*(packed[at : at + 65536] for at in range(0, len(packed), 65536)))
    headers = {"content-encoding": encoding}
    with pytest.raises(QwenPermissionDeniedError):
        service(lambda: httpx.Response(403, headers=headers, stream=body)).model().invoke("?")
    assert not body.read_to_the_end


def test_truncated_error_body_is_an_error_by_status(service):
    body = Pieces(b"N", b"o.", breaks=httpx.ReadError("reset"))
    with pytest.raises(QwenPermissionDeniedError, match=r"No\."):
        service(lambda: httpx.Response(403, stream=body)).model().invoke("?")


@pytest.mark.parametrize("step", [10_000, 50, 1])
def test_data_before_corruption_is_kept(service, step):
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    whole = packer.compress(HALF) + packer.flush(zlib.Z_SYNC_FLUSH)
    body = whole + b"\xff" * 20
    pieces = Pieces(*(body[at : at + step] for at in range(0, len(body), step)))
    answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=pieces)
    with pytest.raises(QwenStreamError, match="cannot be unpacked") as caught:
        service(lambda: answer).model().invoke("?")
    assert caught.value.partial.content == "7 to the power of 5 "


def test_undecodable_error_body_is_an_error_by_status(service):
    refusal = httpx.Response(403, headers={"content-encoding": "br"}, stream=Pieces(b"?"))
    with pytest.raises(QwenAPIError, match="HTTP 403"):
        service(lambda: refusal).model().invoke("?")


class Dripping:
    """A server that sends the head at once and then the body, so many seconds a byte."""

    def __init__(self, body: bytes, seconds: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._body = body
        self._seconds = seconds
        self.left = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with closing(connection), connection:
            sent = b""
            while not sent.endswith(b"}}"):  # the body's
                sent += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + HALF)
            try:
                for byte in self._body:
                    pause(self._seconds)
                    connection.sendall(bytes((byte,)))
                connection.settimeout(30)
                connection.recv(1)
            except OSError:
                pass
            self.left.set()


DRIPS = {"drips": (b":" * 10_000, 0.02), "is silent": (b"", 0.0)}


@pytest.mark.parametrize(("body", "seconds"), DRIPS.values(), ids=DRIPS)
@every_entry_point
def test_call_ends_at_its_total_timeout(entry_point, body, seconds):
    with Dripping(body, seconds) as server:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="k", total_timeout=0.4)
        with pytest.raises(QwenTimeoutError, match=r"total_timeout \(0.4 s\)") as caught:
            entry_point(model)
        assert server.left.wait(10)  # though nothing else would have ended it for 300 s
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


@every_entry_point
def test_retry_wait_beyond_the_deadline_is_not_started(service, entry_point, waits):
    body = {"code": "Throttling", "message": "No.", "request_id": REQUEST_ID}
    headers = {"retry-after": "30"}
    served = service(lambda: httpx.Response(429, json=body, headers=headers))
    with pytest.raises(QwenAPIError, match="No"):
        entry_point(served.model(total_timeout=10))
    assert (len(served.requests), waits) == (1, [])
    with pytest.raises(QwenAPIError, match="No"):
        entry_point(served.model(total_timeout=100))
    assert waits == [30.0, 30.0]


def test_closing_a_model_wakes_a_reading_thread():
    code_received = threading.Event()

    def read(model: ChatQwenCodeInterpreter) -> None:
        for chunk in model.stream("?"):
            if code_executions(chunk):
                code_received.set()

    with Dripping(b"", 0.0) as server, ThreadPoolExecutor(1) as threads:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="k")
        reading = threads.submit(read, model)
        assert code_received.wait(10)
        model.close()
        with pytest.raises(QwenStreamError, match="broke off") as caught:
            reading.result(10)
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


def test_complete_answer_at_the_deadline_is_returned(service):
    class Late(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield WHOLE
            pause(0.15)
            yield b"\n"

    result = service(Late()).model(total_timeout=0.1).invoke("?")
    assert result.content == STREAMS["one run"].content


def test_usage_after_the_finish_is_read_after_the_deadline(service):
    answer = CORPUS["chat_completions: an answer"]
    before, usage, after = answer.body.partition(b'data: {"choices": []')

    class Late(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield before
            pause(0.15)
            yield b": still here\n\n"
            yield usage + after

    result = service(Late()).model(api=answer.api, total_timeout=0.1).invoke("?")
    assert result.usage_metadata["total_tokens"] == answer.usage[2]


def test_missing_end_of_body_is_not_awaited(service, monkeypatch):
    """The answer is complete, so the client must not wait for `stream_chunk_timeout`."""
    monkeypatch.setattr("langchain_qwen_ci.http.exchanges._DRAIN_SECONDS", 0.05)

    class Open(Pieces):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield WHOLE
            await asyncio.Event().wait()

    for entry_point in ("ainvoke", "astream"):
        body = Open()
        assert ENTRY_POINTS[entry_point](service(body).model())
        assert body.closed


def test_timeout_error_reports_a_running_program(service):
    for frames, text in [(4, True), (6, False)]:
        body = Pieces(stream(*ONE_RUN[:frames]), breaks=httpx.ReadTimeout("slow"))
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout") as caught:
            service(body).model().invoke("?")
        assert ("A program was running" in str(caught.value)) is text


def test_keepalive_detects_a_dead_connection():
    """The system probes it: a service that computes answers, one that is gone does not."""
    with Dripping(b"", 0.0) as server, httpx.Client() as client:
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
    "field",
    ["connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout", "max_frame_bytes"],
)
@pytest.mark.parametrize("value", [0, -1, "soon"])
def test_limits_must_be_positive(field, value):
    with pytest.raises(ValueError, match=field):
        ChatQwenCodeInterpreter(api_key="k", **{field: value})


@pytest.mark.parametrize(
    ("total", "sent", "reading"),
    [(None, (3, 5, 5), 7), (4, (3, 4, 4), 4), (1e-9, (0.001,) * 3, 0.001)],
)
def test_each_phase_has_its_own_timeout(service, total, sent, reading):
    """No more than what is left of all of it, but never 0, which sockets take for no limit."""
    observed: list[dict[str, float]] = []

    def answer() -> httpx.Response:
        observed.append(dict(served.requests[0].extensions["timeout"]))
        return httpx.Response(200, stream=Pieces(WHOLE))

    served = service(answer)
    times = {"connect_timeout": 3, "timeout": 5, "stream_chunk_timeout": 7, "total_timeout": total}
    assert served.model(**times).invoke("?").content
    assert tuple(observed[0][part] for part in ("connect", "read", "write")) == pytest.approx(
        sent, 0.1
    )
    assert served.requests[0].extensions["timeout"]["read"] == pytest.approx(reading, 0.1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (HALF, QwenStreamError),
        (Pieces(HALF, breaks=httpx.ReadTimeout("slow")), QwenTimeoutError),
        (httpx.ConnectError("refused"), QwenConnectionError),
    ],
)
def test_error_before_the_deadline_keeps_its_class(service, answer, kind):
    with pytest.raises(kind) as caught:
        service(answer).model(total_timeout=1000, max_retries=0).invoke("?")
    assert type(caught.value) is kind
    assert "total_timeout" not in str(caught.value)


def test_answer_in_many_pieces_is_read_before_the_deadline(service):
    body = Pieces(*(frame + b"\n\n" for frame in WHOLE.split(b"\n\n")))
    result = service(body).model(total_timeout=1000).invoke("?")
    assert result.content == STREAMS["one run"].content


def test_answer_is_not_read_after_the_deadline(service):
    body = Pieces(HALF, WHOLE[len(HALF) :])
    with pytest.raises(QwenTimeoutError, match="total_timeout") as caught:
        service(body).model(total_timeout=1e-9).invoke("?")
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
    assert not body.read_to_the_end


def test_rest_of_the_body_is_drained_for_reuse(service):
    body = Pieces(WHOLE, b"\n")
    assert service(body).model(total_timeout=1e-9).invoke("?").content
    assert body.read_to_the_end


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: httpx.Response(400, content=b"No."), QwenAPIError),
        (b":" * 2000, QwenAnswerLimitError),
    ],
)
def test_api_errors_after_the_deadline_keep_their_class(service, answer, kind):
    with pytest.raises(kind):
        service(answer).model(total_timeout=1e-9, max_frame_bytes=1000).invoke("?")


def test_none_disables_a_timeout(service):
    times = dict.fromkeys(("connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout"))
    served = service(WHOLE)
    assert served.model(**times).invoke("?").content
    assert served.requests[0].extensions["timeout"] == dict.fromkeys(
        ("connect", "read", "write", "pool")
    )


def test_error_messages_say_what_to_do():
    for kind in QwenAPIError.__subclasses__():
        assert kind.advice or kind.__name__ == "QwenInvalidRequestError"  # which says what it is
    assert issubclass(QwenAnswerLimitError, QwenError)
