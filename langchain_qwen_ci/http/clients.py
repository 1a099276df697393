"""httpx clients: built when first needed, shared, and closed when nobody needs them any more.

A process that was forked has copies of its parent's connections, on which the two would read each
other's answers, and of locks that a thread which it does not have may hold. So it forgets them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

# httpx's default of 100 connections makes the 101st stream wait for another to end.
# httpcore may close a connection that is one too many to be kept in the moment in which another
# thread has taken it (seen in 1.0.9), so for threads none is: they are few.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
# A request looks at every connection that is kept: with 100 of them a burst of 200 streams costs
# eight times as much as with 20, more than new connections do.
_ASYNC_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)

_CLOSE_DELAY_SECONDS = 0.1

# What runs on this machine is not reached by a proxy, which would see the key besides.
_NO_PROXY: dict[str, httpx.BaseTransport | None] = dict.fromkeys(
    ("all://127.0.0.1", "all://localhost", "all://[::1]")
)
_ASYNC_NO_PROXY: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(_NO_PROXY)


class _Certificates:
    """Reading them is most of what a client costs (some 30 ms): once for all clients, and never in
    an event loop, which would stand still."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self.reset_lock()

    def reset_lock(self) -> None:
        self._lock = threading.Lock()

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


class SyncClient:
    """One sync client, for all threads."""

    def __init__(self) -> None:
        self._reset()
        _OWNERS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def get(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    verify=_CERTIFICATES.read(), limits=_LIMITS, mounts=_NO_PROXY
                )
                self._owner_finalizer = weakref.finalize(self, self._client.close)
            return self._client

    def discard(self) -> None:
        """Have none, without closing what is another process's."""
        if self._client is not None:
            self._owner_finalizer.detach()
        self._reset()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            self._owner_finalizer.detach()
            client.close()


class AsyncClientPerLoop:
    """An async client works in the event loop that first used it, and in no other.

    So every loop gets its own. It is closed when its owner is no longer there, and at the latest
    when the loop ends: `_LoopClients` sees to that.
    """

    def __init__(self) -> None:
        self._clients: dict[asyncio.AbstractEventLoop, _CachedClient] = {}
        _OWNERS.add(self)

    async def get(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if client := self._open_in(loop):
            return client
        certificates = await _CERTIFICATES.aread()
        if client := self._open_in(loop):  # another call has built it in the meantime
            return client
        # A copy: other threads have loops of their own, and use this one's owner at the same time.
        for ended in [loop_known for loop_known in tuple(self._clients) if loop_known.is_closed()]:
            if cached := self._clients.pop(ended, None):
                cached.detach_owner()
        cached = _CachedClient(
            httpx.AsyncClient(verify=certificates, limits=_ASYNC_LIMITS, mounts=_ASYNC_NO_PROXY)
        )
        self._clients[loop] = cached
        cached.owner_finalizer = weakref.finalize(self, cached.schedule_close, loop)
        await _LoopClients.for_loop(loop).register(cached)
        return cached.client

    def _open_in(self, loop: asyncio.AbstractEventLoop) -> httpx.AsyncClient | None:
        cached = self._clients.get(loop)
        return None if cached is None or cached.client.is_closed else cached.client

    def discard(self) -> None:
        """Have none, without closing what is another process's."""
        for cached in self._clients.values():
            cached.detach_owner()
        self._clients.clear()

    async def close(self) -> None:
        if cached := self._clients.pop(asyncio.get_running_loop(), None):
            await cached.close()


class _CachedClient:
    """A client that several may want to close, and that is closed once."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.owner_finalizer: weakref.finalize[..., AsyncClientPerLoop] | None = None
        self._closing: asyncio.Future[None] | None = None

    def schedule_close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from wherever its owner went, which may be another thread.

        Not at once: owners go when a program ends, and what asyncio finds unfinished then it
        cancels. A loop that ends sooner closes it by itself.
        """
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(loop.call_later, _CLOSE_DELAY_SECONDS, self._start_closing)

    def detach_owner(self) -> None:
        """What waits for the owner's end holds the client, and its loop, too."""
        if self.owner_finalizer:
            self.owner_finalizer.detach()

    async def close(self) -> None:
        """Close it, or wait until whoever is doing so is done."""
        await asyncio.shield(self._start_closing())

    def _start_closing(self) -> asyncio.Future[None]:
        if self._closing is None:
            self.detach_owner()
            self._closing = asyncio.ensure_future(self.client.aclose())
        return self._closing


class _LoopClients:
    """The open clients of one event loop, to be closed when it ends.

    asyncio tells the end of a loop to async generators only (`asyncio.run` does, and pytest's
    loops do), so one of those stands by. It is held here, by nobody's call: one that dies with its
    owner just before the loop ends would be closed too late.
    """

    _known: ClassVar[dict[asyncio.AbstractEventLoop, _LoopClients]] = {}

    def __init__(self) -> None:
        self._clients: WeakSet[_CachedClient] = WeakSet()
        self._end: AsyncGenerator[None] | None = None

    @classmethod
    def for_loop(cls, loop: asyncio.AbstractEventLoop) -> _LoopClients:
        for ended in [loop_known for loop_known in cls._known.copy() if loop_known.is_closed()]:
            cls._known.pop(ended, None)
        return cls._known.setdefault(loop, cls())

    async def register(self, cached: _CachedClient) -> None:
        self._clients.add(cached)
        if self._end is None:
            self._end = self._close_with_loop()
            await anext(self._end)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._known.pop(asyncio.get_running_loop(), None)
            closing = [cached.close() for cached in tuple(self._clients)]
            await asyncio.gather(*closing, return_exceptions=True)


_OWNERS: WeakSet[SyncClient | AsyncClientPerLoop] = WeakSet()


def _reset_after_fork() -> None:
    _CERTIFICATES.reset_lock()
    for owner in tuple(_OWNERS):
        owner.discard()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
