"""httpx clients: built when first needed, shared, and closed when nobody needs them any more."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

# httpx's default of 100 connections makes the 101st stream wait for another to end.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class _Certificates:
    """Reading them is most of what a client costs (some 30 ms): once for all clients, and never in
    an event loop, which would stand still."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def read(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = httpx.create_ssl_context()
            return self._context

    async def aread(self) -> ssl.SSLContext:
        if self._context is not None:
            return self._context
        return await asyncio.to_thread(self.read)


_CERTIFICATES = _Certificates()


class SharedClient:
    """One sync client, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def get(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(verify=_CERTIFICATES.read(), limits=_LIMITS)
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
        if client := self._open_in(loop):
            return client
        certificates = await _CERTIFICATES.aread()
        if client := self._open_in(loop):  # another call has built it in the meantime
            return client
        life = _client_life(certificates)
        client = await anext(life)
        self._lives[loop] = (client, life)
        return client

    def _open_in(self, loop: asyncio.AbstractEventLoop) -> httpx.AsyncClient | None:
        client, _ = self._lives.get(loop, (None, None))
        return None if client is None or client.is_closed else client

    async def close(self) -> None:
        _, life = self._lives.pop(asyncio.get_running_loop(), (None, None))
        if life is not None:
            await life.aclose()


async def _client_life(certificates: ssl.SSLContext) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=certificates, limits=_LIMITS) as client:
        yield client
