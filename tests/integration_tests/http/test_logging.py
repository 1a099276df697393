"""What httpx logs about a response."""

from __future__ import annotations

import asyncio
import logging
import socketserver
import threading

import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenError

HEAD = b"HTTP/1.1 400 Owned\x1b[31m\xff\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(HEAD)


def test_reason_phrase_of_a_server_is_not_logged(caplog):
    caplog.set_level(logging.INFO)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with ChatQwenCodeInterpreter(base_url=url, api_key="k") as model:
            with pytest.raises(QwenError):
                model.invoke("Hi")
            with pytest.raises(QwenError):
                asyncio.run(model.ainvoke("Hi"))
        server.shutdown()
    logged = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert len(logged) == 2
    for line in logged:
        assert line.endswith('"HTTP/1.1 400 Bad Request"')
