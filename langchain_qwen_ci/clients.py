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

_SOON_SECONDS = 0.1

# What runs on this machine is not reached by a proxy, which would see the key besides.
_WITHOUT_PROXY: dict[str, httpx.BaseTransport | None] = dict.fromkeys(
    ("all://127.0.0.1", "all://localhost", "all://[::1]")
)
_ASYNC_WITHOUT_PROXY: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(_WITHOUT_PROXY)


class _Certificates:
    """Reading them is most of what a client costs (some 30 ms): once for all clients, and never in
    an event loop, which would stand still."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self.forget_lock()

    def forget_lock(self) -> None:
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


class SharedClient:
    """One sync client, for all threads."""

    def __init__(self) -> None:
        self._begin()
        _OWNERS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def get(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    verify=_CERTIFICATES.read(), limits=_LIMITS, mounts=_WITHOUT_PROXY
                )
                self._owned = weakref.finalize(self, self._client.close)
            return self._client

    def forget(self) -> None:
        """Have none, without closing what is another process's."""
        if self._client is not None:
            self._owned.detach()
        self._begin()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            self._owned.detach()
            client.close()


class ClientOfEachLoop:
    """An async client works in the event loop that first used it, and in no other.

    So every loop gets its own. It is closed when its owner is no longer there, and at the latest
    when the loop ends: `_Loop` sees to that.
    """

    def __init__(self) -> None:
        self._clients: dict[asyncio.AbstractEventLoop, _Kept] = {}
        _OWNERS.add(self)

    async def get(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if client := self._open_in(loop):
            return client
        certificates = await _CERTIFICATES.aread()
        if client := self._open_in(loop):  # another call has built it in the meantime
            return client
        # A copy: other threads have loops of their own, and use this one's owner at the same time.
        for ended in [known for known in tuple(self._clients) if known.is_closed()]:
            if kept := self._clients.pop(ended, None):
                kept.leave_owner()
        kept = _Kept(
            httpx.AsyncClient(
                verify=certificates, limits=_ASYNC_LIMITS, mounts=_ASYNC_WITHOUT_PROXY
            )
        )
        self._clients[loop] = kept
        kept.owned = weakref.finalize(self, kept.close_soon, loop)
        await _Loop.running(loop).keep(kept)
        return kept.client

    def _open_in(self, loop: asyncio.AbstractEventLoop) -> httpx.AsyncClient | None:
        kept = self._clients.get(loop)
        return None if kept is None or kept.client.is_closed else kept.client

    def forget(self) -> None:
        """Have none, without closing what is another process's."""
        for kept in self._clients.values():
            kept.leave_owner()
        self._clients.clear()

    async def close(self) -> None:
        if kept := self._clients.pop(asyncio.get_running_loop(), None):
            await kept.closed()


class _Kept:
    """A client that several may want to close, and that is closed once."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.owned: weakref.finalize[..., ClientOfEachLoop] | None = None
        self._closing: asyncio.Future[None] | None = None

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from wherever its owner went, which may be another thread.

        Not at once: owners go when a program ends, and what asyncio finds unfinished then it
        cancels. A loop that ends sooner closes it by itself.
        """
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(loop.call_later, _SOON_SECONDS, self._begin_to_close)

    def leave_owner(self) -> None:
        """What waits for the owner's end holds the client, and its loop, too."""
        if self.owned:
            self.owned.detach()

    async def closed(self) -> None:
        """Close it, or wait until whoever is doing so is done."""
        await asyncio.shield(self._begin_to_close())

    def _begin_to_close(self) -> asyncio.Future[None]:
        if self._closing is None:
            self.leave_owner()
            self._closing = asyncio.ensure_future(self.client.aclose())
        return self._closing


class _Loop:
    """The open clients of one event loop, to be closed when it ends.

    asyncio tells the end of a loop to async generators only (`asyncio.run` does, and pytest's
    loops do), so one of those stands by. It is held here, by nobody's call: one that dies with its
    owner just before the loop ends would be closed too late.
    """

    _known: ClassVar[dict[asyncio.AbstractEventLoop, _Loop]] = {}

    def __init__(self) -> None:
        self._clients: WeakSet[_Kept] = WeakSet()
        self._end: AsyncGenerator[None] | None = None

    @classmethod
    def running(cls, loop: asyncio.AbstractEventLoop) -> _Loop:
        for ended in [known for known in cls._known.copy() if known.is_closed()]:
            cls._known.pop(ended, None)
        return cls._known.setdefault(loop, cls())

    async def keep(self, kept: _Kept) -> None:
        self._clients.add(kept)
        if self._end is None:
            self._end = self._until_the_end()
            await anext(self._end)

    async def _until_the_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._known.pop(asyncio.get_running_loop(), None)
            closing = [kept.closed() for kept in tuple(self._clients)]
            await asyncio.gather(*closing, return_exceptions=True)


_OWNERS: WeakSet[SharedClient | ClientOfEachLoop] = WeakSet()


def _forget_the_parents() -> None:
    _CERTIFICATES.forget_lock()
    for owner in tuple(_OWNERS):
        owner.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
