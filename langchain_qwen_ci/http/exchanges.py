"""Executes the commands of a call flow with httpx: one class for threads and one for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.errors import QwenConnectionError
from langchain_qwen_ci.http.call_flow import Drain, Read, ResponseHead, Send, Wait
from langchain_qwen_ci.http.connections.cancellation import CancellableAtWaits, CancellableSend
from langchain_qwen_ci.http.connections.clients import InterruptibleClient
from langchain_qwen_ci.http.connections.httpx2_clients import classes_named, raise_as_httpx
from langchain_qwen_ci.http.connections.network_streams import (
    AsyncTrace,
    OpenStreams,
    SyncTrace,
    shut_down,
    streams_of_running_loop,
)
from langchain_qwen_ci.http.deadline import Deadline
from langchain_qwen_ci.http.service_address import socket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from langchain_qwen_ci.http.call_flow import Command
    from langchain_qwen_ci.http.service_address import ServiceAddress
    from langchain_qwen_ci.wire import WireRequest

# Maximum time to read the rest of a body after all events were received. httpcore reuses a
# connection only if its response was read to the end.
_DRAIN_SECONDS = 2.0


class SyncExchange:
    """Executes the commands of one call flow in a thread."""

    def __init__(
        self,
        address: ServiceAddress,
        get_client: Callable[[], httpx.Client],
        deadline: Deadline,
    ) -> None:
        self._address = address
        self._get_client = get_client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: Iterator[bytes] = iter(())
        self._timer: threading.Timer | None = None
        self.thread = threading.current_thread()  # the thread that executed the last command

    def execute(self, command: Command) -> ResponseHead | bytes | None:
        self.thread = threading.current_thread()
        try:
            match command:
                case Read():
                    return self._read(command.seconds)
                case Send():
                    return self._send(command.request)
                case Drain():
                    self._drain()
                case Wait():
                    self.close()
                    time.sleep(command.seconds)
        except Exception as error:
            raise_as_httpx(error)
            raise
        return None

    def _send(self, wire_request: WireRequest) -> ResponseHead:
        client = self._get_client()
        request = self._address.request(client, wire_request, self._deadline)
        # `close` does not concern a client of the user.
        streams = client.streams if isinstance(client, InterruptibleClient) else OpenStreams()
        request.extensions["trace"] = SyncTrace(streams)
        try:
            response = client.send(request, stream=True, follow_redirects=False)
        except RuntimeError:
            # Another thread has closed the model after `get_client` returned; open a new client.
            if not client.is_closed or self._get_client() is client:
                raise
            return self._send(wire_request)
        except (httpx.HTTPError, ConnectionAbortedError) as failure:
            if not streams.is_closed:
                raise
            # It is not retried, because `close` was called to end it.
            raise QwenConnectionError(
                "The model was closed while a call waited for its answer: `close` ends the calls "
                "of all threads. Close it after the last call."
            ) from failure
        self._response = response
        self._set_timer(self._deadline)
        # Raw bytes, because `content_encoding` decompresses. A mock transport's response that was
        # built from bytes has been read and decompressed already; it has no raw bytes.
        consumed = response.is_stream_consumed
        self._body = response.iter_bytes() if consumed else response.iter_raw()
        return self._address.on_response(response, self._deadline)

    def _read(self, seconds: float | None) -> bytes:
        if seconds is None:
            return next(self._body, b"")
        self._set_timer(Deadline(self._deadline.cap(seconds)))
        try:
            return next(self._body, b"")
        finally:
            self._set_timer(self._deadline)

    def _drain(self) -> None:
        drain_deadline = Deadline(self._deadline.cap(_DRAIN_SECONDS))
        self._set_timer(drain_deadline)
        with suppress(*classes_named("HTTPError")):
            while next(self._body, b"") and not drain_deadline.expired:
                pass

    def _set_timer(self, deadline: Deadline) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = _deadline_timer(self._response, deadline) if self._response else None

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._response:
            self._response.close()


def _deadline_timer(response: httpx.Response, deadline: Deadline) -> threading.Timer | None:
    """Start a timer that shuts the socket of a response down at the deadline.

    The remaining time gets shorter with every chunk, but httpx reads the timeout of a body once, so
    a read in a thread could outlive the deadline.
    """
    if deadline.remaining is None or socket_of(response) is None:
        return None
    # The thread must not reference the response: in a process forked meanwhile, the thread does not
    # exist, and its response would never be collected.
    timer = threading.Timer(deadline.remaining, _shutdown_if_alive, (weakref.ref(response),))
    timer.daemon = True
    timer.start()
    return timer


def _shutdown_if_alive(reference: weakref.ref[httpx.Response]) -> None:
    if response := reference():
        _shutdown_socket(response)


def _shutdown_socket(response: httpx.Response) -> None:
    """Shut the socket of a response down, so that a thread that reads from it wakes up."""
    # A connection of HTTP/2, which a user's client may enable, also carries other requests. The
    # connection of a closed response may serve another request.
    if response.http_version != "HTTP/2" and not response.is_closed:
        shut_down(socket_of(response))


class AsyncExchange:
    """Executes the commands of one call flow in an event loop."""

    def __init__(
        self,
        address: ServiceAddress,
        get_client: Callable[[], Awaitable[httpx.AsyncClient]],
        deadline: Deadline,
    ) -> None:
        self._address = address
        self._get_client = get_client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes]
        self._sending: CancellableSend[ResponseHead]
        self._trace = AsyncTrace(streams_of_running_loop())

    async def execute(self, command: Command) -> ResponseHead | bytes | None:
        executing: CancellableAtWaits[Any]
        seconds = self._deadline.remaining
        match command:
            case Read():
                executing = CancellableAtWaits(self._read())
                seconds = self._deadline.cap(command.seconds)
            case Send():
                executing = self._sending = CancellableSend(self._send(command.request))
            case Drain():
                executing = CancellableAtWaits(self._drain())
            case Wait():
                await self.close()
                await asyncio.sleep(command.seconds)
                return None
        self._trace.executing = executing
        try:
            if seconds is None:
                return await executing
            async with asyncio.timeout(seconds):
                return await executing
        except TimeoutError:
            raise httpx.ReadTimeout("The deadline was reached.") from None
        except Exception as error:
            raise_as_httpx(error)
            raise

    async def _read(self) -> bytes:
        return await anext(self._body, b"")

    async def _send(self, wire_request: WireRequest) -> ResponseHead:
        # A loop's client is closed only in that loop, where nothing runs between the next two
        # calls, so no retry with a new client is needed as in `SyncExchange._send`.
        client = await self._get_client()
        request = self._address.request(client, wire_request, self._deadline)
        request.extensions["trace"] = self._trace
        self._trace.on_send(client, self._sending)
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        finally:
            self._trace.on_sent()
        self._response = response
        if stream := response.extensions.get("network_stream"):
            # The user's client may have opened it for another request.
            streams_of_running_loop().add(stream)
        consumed = response.is_stream_consumed  # see `SyncExchange._send`
        self._body = response.aiter_bytes() if consumed else response.aiter_raw()
        return self._address.on_response(response, self._deadline)

    async def _drain(self) -> None:
        drain_deadline = Deadline(self._deadline.cap(_DRAIN_SECONDS))
        with suppress(*classes_named("HTTPError"), TimeoutError):
            async with asyncio.timeout(drain_deadline.remaining):
                while await anext(self._body, b"") and not drain_deadline.expired:
                    pass

    async def close(self) -> None:
        if self._response:
            closing = self._trace.executing = CancellableAtWaits(self._response.aclose())
            await closing
