"""Owners of httpx clients: a client is built at its first use, shared, and closed with its owner.

A forked process has copies of its parent's connections, on which both would read the same response,
and of locks that a thread may hold which does not exist in the child. So the child discards them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakSet

import httpx

from langchain_qwen_ci.http.connections.direct_async import AsyncDirectTransport
from langchain_qwen_ci.http.connections.direct_sync import DirectTransport
from langchain_qwen_ci.http.connections.network_streams import OpenStreams
from langchain_qwen_ci.http.proxies import proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

# httpx's default of 100 connections makes the 101st stream wait for another one to end.
# httpcore 1.0.9 may close a surplus idle connection while another thread takes it from the pool
# (EBADF in 4 of 6,000 calls with 20 idle connections and 100 threads), so no idle connection is
# surplus here: threads are few.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
# A request checks every idle connection. With 100 of them a burst of 200 streams costs 15 ms a
# call, with 20 of them 1.9 ms, which is less than new connections cost.
_ASYNC_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)

# Owners are often garbage-collected while a program ends. asyncio cancels unfinished tasks then, so
# a client is closed after a delay; if the event loop ends earlier, it closes the client.
_CLOSE_DELAY_SECONDS = 0.1


class _Transport(httpx.HTTPTransport):
    """Removes from response heads what httpx cannot handle; see `_remove_unsafe`."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _remove_unsafe(super().handle_request(request))


class _AsyncTransport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return _remove_unsafe(await super().handle_async_request(request))


def _remove_unsafe(response: httpx.Response) -> httpx.Response:
    # httpx logs the reason phrase, which a server chooses, with terminal escapes in it.
    response.extensions.pop("reason_phrase", None)
    try:
        _ = httpx.URL(response.headers.get("location", "")).host
    except (httpx.InvalidURL, UnicodeError):
        # httpx 0.28 parses it although the redirect is not followed, and raises UnicodeError for an
        # invalid international name.
        del response.headers["location"]
    return response


class _DirectTransport(DirectTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _remove_unsafe(super().handle_request(request))


class _AsyncDirectTransport(AsyncDirectTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return _remove_unsafe(await super().handle_async_request(request))


class _Certificates:
    """The TLS context of all clients.

    Reading the certificates takes about 30 ms, most of the cost of a client. So they are read once,
    and never in an event loop, which they would block.
    """

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


# "fast" is httpx's client with a transport of this package, which is without HTTP/2 and proxies.
TransportName = Literal["httpx", "fast"]


class InterruptibleClient(httpx.Client):
    """A sync client whose `close` also ends the requests of other threads.

    The one of httpx closes the sockets, which does not wake a thread that waits for one, and it
    knows no connection that is being opened.

    Attributes:
        streams: the network streams that the client has opened.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.streams = OpenStreams()

    def close(self) -> None:
        self.streams.close()
        super().close()


class SyncClient:
    """Owns one sync client for all threads.

    Args:
        url: a URL of the host of all requests, which decides about the proxy.
        transport: what the client sends requests with, unless there is a proxy.
    """

    def __init__(self, url: str, transport: TransportName) -> None:
        self._url = url
        self._transport = transport
        self._reset()
        _OWNERS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._client: InterruptibleClient | None = None

    def get(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = InterruptibleClient(transport=self._build_transport())
                # Sockets of a client that is collected without a close cause a ResourceWarning.
                # Not `InterruptibleClient.close`: at exit it would wake daemon threads, and they
                # would print the error.
                self._finalizer = weakref.finalize(self, httpx.Client.close, self._client)
            return self._client

    def _build_transport(self) -> httpx.BaseTransport:
        certificates, proxy = _CERTIFICATES.read(), proxy_for(self._url)
        if self._transport == "fast" and proxy is None:
            return _DirectTransport(certificates)
        return _Transport(verify=certificates, limits=_LIMITS, proxy=proxy)

    def discard(self) -> None:
        """Drop the client without closing it, because it belongs to another process."""
        if self._client is not None:
            self._finalizer.detach()
        self._reset()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            self._finalizer.detach()
            client.close()


class AsyncClientPerLoop:
    """Owns one async client for each event loop, because a client works only in one loop.

    A client is closed when this owner is garbage-collected or closed, and at the latest when its
    loop ends; see `_LoopClients`.

    Args:
        url: a URL of the host of all requests, which decides about the proxy.
        transport: what a client sends requests with, unless there is a proxy.
    """

    def __init__(self, url: str, transport: TransportName) -> None:
        self._url = url
        self._transport = transport
        self._clients: dict[asyncio.AbstractEventLoop, _CachedClient] = {}
        _OWNERS.add(self)

    async def get(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if client := self._open_client(loop):
            return client
        certificates = await _CERTIFICATES.aread()
        if client := self._open_client(loop):  # another call built it during the await
            return client
        # Iterate over a copy: other threads use this owner in their own loops at the same time.
        for ended_loop in [known for known in tuple(self._clients) if known.is_closed()]:
            if ended_client := self._clients.pop(ended_loop, None):
                ended_client.detach_owner()
        cached = _CachedClient(httpx.AsyncClient(transport=self._build_transport(certificates)))
        self._clients[loop] = cached
        cached.owner_finalizer = weakref.finalize(self, cached.schedule_close, loop)
        await _LoopClients.of(loop).add(cached)
        return cached.client

    def _build_transport(self, certificates: ssl.SSLContext) -> httpx.AsyncBaseTransport:
        proxy = proxy_for(self._url)
        if self._transport == "fast" and proxy is None:
            return _AsyncDirectTransport(certificates)
        return _AsyncTransport(verify=certificates, limits=_ASYNC_LIMITS, proxy=proxy)

    def _open_client(self, loop: asyncio.AbstractEventLoop) -> httpx.AsyncClient | None:
        cached = self._clients.get(loop)
        return None if cached is None or cached.client.is_closed else cached.client

    def discard(self) -> None:
        """Drop all clients without closing them, because they belong to another process."""
        for cached in self._clients.values():
            cached.detach_owner()
        self._clients.clear()

    async def close(self) -> None:
        """Close the client of the running loop."""
        if cached := self._clients.pop(asyncio.get_running_loop(), None):
            await cached.close()


class _CachedClient:
    """An async client that is closed once, although its owner and its loop both close it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.owner_finalizer: weakref.finalize[..., AsyncClientPerLoop] | None = None
        self._closing: asyncio.Future[None] | None = None

    def schedule_close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the client after a delay. May be called in any thread: the garbage collector's."""
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(loop.call_later, _CLOSE_DELAY_SECONDS, self._start_closing)

    def detach_owner(self) -> None:
        """Remove the owner's finalizer, which references the client and its loop."""
        if self.owner_finalizer:
            self.owner_finalizer.detach()

    async def close(self) -> None:
        """Close the client, or wait until it is closed."""
        # Shielded, because the owner and the loop may await the same task, and one be cancelled.
        await asyncio.shield(self._start_closing())

    def _start_closing(self) -> asyncio.Future[None]:
        if self._closing is None:
            self.detach_owner()
            self._closing = asyncio.ensure_future(self.client.aclose())
        return self._closing


class _LoopClients:
    """The open clients of one event loop, closed when the loop ends.

    asyncio reports the end of a loop to async generators only (`asyncio.run` and pytest's loops
    call `shutdown_asyncgens`), so one async generator for each loop waits for it. `_by_loop`
    references the generator, and no call does: asyncio closes a generator that is collected just
    before the loop ends in a task, for which it is too late then.
    """

    _by_loop: ClassVar[dict[asyncio.AbstractEventLoop, _LoopClients]] = {}

    def __init__(self) -> None:
        self._clients: WeakSet[_CachedClient] = WeakSet()
        self._waiting: AsyncGenerator[None] | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _LoopClients:
        for ended_loop in [known for known in cls._by_loop.copy() if known.is_closed()]:
            cls._by_loop.pop(ended_loop, None)
        return cls._by_loop.setdefault(loop, cls())

    @classmethod
    def discard_all(cls) -> None:
        """Drop all clients, because they belong to another process.

        A process that is forked in a loop shares the loop's epoll with its parent. If it closed the
        connections, it would also unregister those of the parent.
        """
        for loop_clients in cls._by_loop.values():
            loop_clients.discard()

    def discard(self) -> None:
        self._clients.clear()

    async def add(self, cached: _CachedClient) -> None:
        self._clients.add(cached)
        if self._waiting is None:
            self._waiting = self._close_with_loop()
            await anext(self._waiting)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._by_loop.pop(asyncio.get_running_loop(), None)
            closing = [cached.close() for cached in tuple(self._clients)]
            await asyncio.gather(*closing, return_exceptions=True)


_OWNERS: WeakSet[SyncClient | AsyncClientPerLoop] = WeakSet()


def _reset_after_fork() -> None:
    _CERTIFICATES.reset_lock()
    for owner in tuple(_OWNERS):
        owner.discard()
    _LoopClients.discard_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
