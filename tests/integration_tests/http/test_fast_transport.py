"""What only `transport="fast"` can break: which requests it sends, and when data arrives."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading

import httpx
import pytest
from dashscope_streams import ONE_RUN, stream

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenConnectionError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def served(answers: list[bytes], released: threading.Event) -> str:
    """Serve one connection: each answer after the one before was sent and `released` is set."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            for answer in answers:
                connection.sendall(answer)
                released.wait(30)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def fast_model(**fields) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(transport="fast", api_key="any", max_retries=0, **fields)


def as_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_token_arrives_before_the_service_goes_on():
    released = threading.Event()
    first = HEAD + as_chunk(stream(ONE_RUN[0]))
    rest = as_chunk(stream(*ONE_RUN[1:])) + b"0\r\n\r\n"
    chunks = fast_model(base_url=served([first, rest], released)).stream("?")
    assert next(chunks)
    released.set()
    assert list(chunks)


async def test_token_arrives_before_the_service_goes_on_async():
    released = threading.Event()
    first = HEAD + as_chunk(stream(ONE_RUN[0]))
    rest = as_chunk(stream(*ONE_RUN[1:])) + b"0\r\n\r\n"
    async with fast_model(base_url=served([first, rest], released)) as model:
        chunks = aiter(model.astream("?"))
        assert await anext(chunks)
        released.set()
        assert [chunk async for chunk in chunks]


def test_requests_through_a_proxy_are_sent_by_httpx(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[bytes] = []

        def serve() -> None:
            with proxy.accept()[0] as connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(QwenConnectionError, match="403"):
            fast_model(base_url="https://service.example").invoke("?")
        assert asked[0].startswith(b"CONNECT service.example:443 ")


def test_transport_beside_both_clients_is_an_error():
    clients = {"http_client": httpx.Client(), "http_async_client": httpx.AsyncClient()}
    with pytest.raises(ValueError, match="no effect with http_client and http_async_client"):
        fast_model(**clients)


def test_unknown_transport_is_an_error():
    with pytest.raises(ValueError, match="'httpx' or 'fast'"):
        ChatQwenCodeInterpreter(transport="aiohttp", api_key="any")


def test_calls_of_both_kinds_work_with_an_ipv6_address():
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    answer = HEAD + as_chunk(stream(*ONE_RUN)) + b"0\r\n\r\n"

    def serve() -> None:
        for _ in range(2):
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    model = fast_model(base_url=f"http://[::1]:{listener.getsockname()[1]}")
    expected = model.invoke("?").content
    assert expected
    assert asyncio.run(model.ainvoke("?")).content == expected


def test_calls_work_in_a_loop_of_uvloop():
    uvloop = pytest.importorskip("uvloop")
    released = threading.Event()
    released.set()
    url = served([HEAD + as_chunk(stream(*ONE_RUN)) + b"0\r\n\r\n"], released)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(fast_model(base_url=url).ainvoke("?")).content


def test_cancelled_connection_closes_no_other_descriptor():
    """With a socket that was handed over to uvloop 0.23, a cancellation ended the process here."""
    uvloop = pytest.importorskip("uvloop")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for steps in range(40):
            runner.run(cancelled_after(steps, url))


async def cancelled_after(steps: int, url: str) -> None:
    async with fast_model(base_url=url) as model:
        call = asyncio.ensure_future(model.ainvoke("?"))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        del call
        gc.collect()
        reader, writer = os.pipe()  # has the lowest free numbers
        try:
            await asyncio.sleep(0.01)
            os.write(writer, b"open")
            assert os.read(reader, 4) == b"open"
        finally:
            os.close(reader)
            os.close(writer)
