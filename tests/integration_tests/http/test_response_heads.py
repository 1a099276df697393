"""Response heads that httpx logs or parses as they are."""

from __future__ import annotations

import asyncio
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenError, QwenInvalidRequestError

REST = b"content-length: 2\r\nconnection: close\r\n\r\n{}"


@contextmanager
def server_with(head: bytes) -> Iterator[str]:
    """Answer every request with this head; the value is the URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(head + REST)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_reason_phrase_of_a_server_is_not_logged(caplog):
    caplog.set_level(logging.INFO)
    with (
        server_with(b"HTTP/1.1 400 Owned\x1b[31m\xff\r\n") as url,
        ChatQwenCodeInterpreter(base_url=url, api_key="k") as model,
    ):
        with pytest.raises(QwenError):
            model.invoke("Hi")
        with pytest.raises(QwenError):
            asyncio.run(model.ainvoke("Hi"))
    logged = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert len(logged) == 2
    for line in logged:
        assert line.endswith('"HTTP/1.1 400 Bad Request"')


@pytest.mark.parametrize("location", [b"https://xn--a.example/", b"https://a:x/", b"//\xff"])
def test_redirect_to_an_invalid_url_is_a_qwen_error(location):
    with (
        server_with(b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\n") as url,
        ChatQwenCodeInterpreter(base_url=url, api_key="k") as model,
    ):
        with pytest.raises(QwenInvalidRequestError, match="check base_url"):
            model.invoke("Hi")
        with pytest.raises(QwenInvalidRequestError, match="check base_url"):
            asyncio.run(model.ainvoke("Hi"))
