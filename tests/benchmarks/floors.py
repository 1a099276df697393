"""What reading a stream costs at least: its bytes split into lines, and each data line parsed."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json
from streams import PATHS


class Lines:
    """Splits pieces of a body into lines, and parses the data of each."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Any]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and not line.endswith(b"[DONE]"):
                yield from_json(line[5:])


def raw_httpx(url: str, api: str) -> dict[str, Callable[[str], Any]]:
    """httpx `iter_raw`, split, parse: the base of the ratios."""
    import httpx

    client = httpx.Client()
    async_client = httpx.AsyncClient(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    )
    address = url + PATHS[api]

    def stream(name: str) -> Iterator[Any]:
        lines = Lines()
        with client.stream("POST", address, json={"model": f"raw-{name}"}) as response:
            for piece in response.iter_raw():
                yield from lines.feed(piece)

    async def astream(name: str) -> AsyncIterator[Any]:
        lines = Lines()
        body = {"model": f"raw-{name}"}
        async with async_client.stream("POST", address, json=body, timeout=60) as response:
            async for piece in response.aiter_raw():
                for payload in lines.feed(piece):
                    yield payload

    return {"stream": stream, "astream": astream}


def raw_aiohttp(url: str, api: str) -> dict[str, Callable[[str], Any]]:
    """The same with aiohttp, whose HTTP parser is written in C."""
    import aiohttp

    sessions: list[aiohttp.ClientSession] = []  # built in the event loop

    async def astream(name: str) -> AsyncIterator[Any]:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        lines = Lines()
        async with sessions[0].post(url + PATHS[api], json={"model": f"raw-{name}"}) as response:
            async for piece in response.content.iter_any():
                for payload in lines.feed(piece):
                    yield payload

    return {"astream": astream}


def bare_socket(url: str, api: str) -> dict[str, Callable[[str], Any]]:
    """A socket, without an HTTP parser: lines without data, such as chunk sizes, are skipped."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))

    def stream(name: str) -> Iterator[Any]:
        body = json.dumps({"model": f"raw-{name}"}).encode()
        head = f"POST {PATHS[api]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        lines = Lines()
        end = b""
        while end != b"\r\n0\r\n\r\n":
            piece = connection.recv(65_536)
            end = (end + piece)[-7:]
            yield from lines.feed(piece)

    return {"stream": stream}
