"""httpx clients: built when first needed, shared, and closed when nobody needs them any more."""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

# httpx's default of 100 connections makes the 101st stream wait for another to end.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class SharedClient:
    """One sync client, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def get(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(verify=_ssl_context(), limits=_LIMITS)
                weakref.finalize(self, self._client.close)
            return self._client

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()


class ClientOfEachLoop:
    """An async client works in the event loop that first used it, and in no other.

    So every loop gets its own. It lives in an async generator: asyncio closes those when a loop
    ends (`asyncio.run` does), and with the generator the client and its sockets.
    """

    def __init__(self) -> None:
        self._lives: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[httpx.AsyncClient]]
        ] = WeakKeyDictionary()

    async def get(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop in self._lives:
            client, _ = self._lives[loop]
            if not client.is_closed:
                return client
        life = _client_life()
        client = await anext(life)
        self._lives[loop] = (client, life)
        return client

    async def close(self) -> None:
        _, life = self._lives.pop(asyncio.get_running_loop(), (None, None))
        if life is not None:
            await life.aclose()


async def _client_life() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=_ssl_context(), limits=_LIMITS) as client:
        yield client


@cache
def _ssl_context() -> ssl.SSLContext:
    """Reading the certificates is most of what a client costs (some 30 ms): do it once."""
    return httpx.create_ssl_context()
