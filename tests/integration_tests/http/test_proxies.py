"""Requests with a proxy in the environment, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socketserver
import threading
from collections.abc import Iterator

import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.errors import QwenConnectionError, QwenError, QwenInputError

LOOPBACK = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1.1.1",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
]
pytestmark = pytest.mark.allow_hosts(LOOPBACK)
SECRET = "sk-secret-of-this-test"  # not a real one


class RecordingProxy(socketserver.ThreadingTCPServer):
    """Records the first bytes of each connection, sends `reply` and closes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.received: list[bytes] = []
        self.reply = b""

    def finish_request(self, request, client_address) -> None:
        self.received.append(request.recv(65536))
        request.sendall(self.reply)


@pytest.fixture
def proxy(monkeypatch) -> Iterator[RecordingProxy]:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with RecordingProxy() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, url)
        yield server
        server.shutdown()


def ask(base_url: str, **fields: object) -> None:
    fields = {"api_key": SECRET, "max_retries": 0, **fields}
    with ChatQwenCodeInterpreter(base_url=base_url, **fields) as model:
        model.invoke("What is 6 * 7?")
        asyncio.run(model.ainvoke("What is 6 * 7?"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_answers_without_the_proxy(proxy, host):
    with EmulatorServer() as server:
        ask(server.url.replace("127.0.0.1", host))
    assert proxy.received == []


@pytest.mark.parametrize("host", ["127.0.0.2", "127.1.1.1", "x.localhost", "[0:0:0:0:0:0:0:1]"])
def test_no_spelling_of_this_machine_leads_to_the_proxy(proxy, host):
    with pytest.raises(QwenError, match="could not be reached"):
        ask(f"http://{host}:9")
    assert proxy.received == []


def test_other_hosts_are_reached_through_the_proxy(proxy):
    with pytest.raises(QwenError, match="could not be reached"):
        ask("https://gate.example")
    with pytest.raises(QwenError, match="could not be reached"):
        ask("http://gate.example", api_key="", allow_plain_http=True, api="responses")
    first, second = proxy.received
    assert first.startswith(b"CONNECT gate.example:443 ")
    assert SECRET.encode() not in first
    assert second.startswith(b"POST http://gate.example/")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_unusable_proxy_is_an_error_of_the_call(proxy, monkeypatch, name):
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv(name, f"ftp://user:{SECRET}@proxy.example")
    with pytest.raises(QwenInputError, match=f"{name} is not the URL of a proxy") as caught:
        ask("https://gate.example")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (b"407 Proxy Authentication Required", "407 Proxy Authentication Required"),
        (b"502 Bad Gateway", "502 Bad Gateway"),
        (b"403 \x1b[31mNo", r"403 \\u001b\[31mNo"),
    ],
)
def test_refusal_of_a_proxy_is_a_connection_error_with_its_status(proxy, status, reason):
    proxy.reply = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(QwenConnectionError, match=f"gate.example could not be reached .{reason}"):
        ask("https://gate.example")
    assert all(SECRET.encode() not in one for one in proxy.received)


def test_proxy_that_speaks_another_protocol_is_a_connection_error(proxy):
    proxy.reply = b"SSH-2.0-OpenSSH_9.2\r\n"
    with pytest.raises(QwenConnectionError, match="could not be reached"):
        ask("https://gate.example")


def test_proxy_is_read_at_the_first_request(proxy, monkeypatch):
    url = os.environ["HTTPS_PROXY"]
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name)
    model = ChatQwenCodeInterpreter(base_url="https://gate.example", api_key=SECRET, max_retries=0)
    monkeypatch.setenv("HTTPS_PROXY", url)
    for _ in range(2):
        with pytest.raises(QwenError, match="could not be reached"):
            model.invoke("?")
        monkeypatch.delenv("HTTPS_PROXY", raising=False)
    assert [one.startswith(b"CONNECT gate.example:443 ") for one in proxy.received] == [True] * 2
