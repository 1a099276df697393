"""Executes the commands of a call flow with httpx, one class for threads and one for asyncio."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from langchain_qwen_ci.http.call_flow import Drain, Read, ResponseHead, Send, Wait
from langchain_qwen_ci.http.deadline import Deadline
from langchain_qwen_ci.http.service_address import socket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from langchain_qwen_ci.http.call_flow import Command
    from langchain_qwen_ci.http.service_address import ServiceAddress
    from langchain_qwen_ci.wire import WireRequest

# Longest time to read the rest of a body that holds no more events.
_DRAIN_SECONDS = 2.0


class SyncExchange:
    """Carries out the commands of one flow."""

    def __init__(self, address: ServiceAddress, client: httpx.Client, deadline: Deadline) -> None:
        self._service_address = address
        self._client = client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: Iterator[bytes] = iter(())
        self._deadline_timer: threading.Timer | None = None

    def execute(self, command: Command) -> ResponseHead | bytes | None:
        match command:
            case Read():
                return next(self._body, b"")
            case Send():
                return self._send(command.request)
            case Drain():
                self._drain()
            case Wait():
                self.close()
                time.sleep(command.seconds)
        return None

    def _send(self, wire_request: WireRequest) -> ResponseHead:
        request = self._service_address.request(self._client, wire_request, self._deadline)
        response = self._client.send(request, stream=True, follow_redirects=False)
        self._response = response
        self._set_deadline_timer(self._deadline)
        consumed = response.is_stream_consumed
        self._body = response.iter_bytes() if consumed else response.iter_raw()
        return self._service_address.on_response(response, self._deadline)

    def _drain(self) -> None:
        drain_deadline = Deadline(self._deadline.cap(_DRAIN_SECONDS))
        self._set_deadline_timer(drain_deadline)
        with suppress(httpx.HTTPError):
            while next(self._body, b"") and not drain_deadline.expired:
                pass

    def _set_deadline_timer(self, deadline: Deadline) -> None:
        if self._deadline_timer:
            self._deadline_timer.cancel()
        self._deadline_timer = _deadline_timer(self._response, deadline) if self._response else None

    def interrupt(self) -> None:
        """End it from another thread."""
        if self._response:
            _shutdown_socket(self._response)

    def close(self) -> None:
        if self._deadline_timer:
            self._deadline_timer.cancel()
        if self._response:
            self._response.close()


def _shutdown_socket(response: httpx.Response) -> None:
    """Break the connection of a response, so that whoever waits for its bytes does not any more:
    closing a socket does not wake a thread."""
    connection = socket_of(response)
    if connection is None or response.http_version == "HTTP/2":
        return
    if not response.is_closed:  # then the connection serves another call
        with suppress(OSError):
            # Of the plain socket: that of TLS would change what the reading thread works with.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _shutdown_if_alive(reference: weakref.ref[httpx.Response]) -> None:
    if response := reference():
        _shutdown_socket(response)


def _deadline_timer(response: httpx.Response, deadline: Deadline) -> threading.Timer | None:
    """Breaks the connection at the deadline: a read in a thread cannot be told of one.

    A read has its own timeout, but what is left shrinks with every chunk, and httpx takes the
    timeout of a body once.
    """
    if deadline.remaining is None or socket_of(response) is None:
        return None
    # The thread must not hold the response: in a process that is forked meanwhile it never ends.
    timer = threading.Timer(deadline.remaining, _shutdown_if_alive, (weakref.ref(response),))
    timer.daemon = True
    timer.start()
    return timer


class AsyncExchange:
    """Carries out the commands of one flow, for asyncio."""

    def __init__(
        self,
        address: ServiceAddress,
        client: Callable[[], Awaitable[httpx.AsyncClient]],
        deadline: Deadline,
    ) -> None:
        self._service_address = address
        self._client = client
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes]

    async def execute(self, command: Command) -> ResponseHead | bytes | None:
        if self._deadline.remaining is None or isinstance(command, Wait):
            return await self._execute(command)
        try:
            async with asyncio.timeout(self._deadline.remaining):
                return await self._execute(command)
        except TimeoutError:
            raise httpx.ReadTimeout("The time for the call is over.") from None

    async def _execute(self, command: Command) -> ResponseHead | bytes | None:
        match command:
            case Read():
                return await anext(self._body, b"")
            case Send():
                return await self._send(command.request)
            case Drain():
                await self._drain()
            case Wait():
                await self.close()
                await asyncio.sleep(command.seconds)
        return None

    async def _drain(self) -> None:
        drain_deadline = Deadline(self._deadline.cap(_DRAIN_SECONDS))
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(drain_deadline.remaining):
                while await anext(self._body, b"") and not drain_deadline.expired:
                    pass

    async def _send(self, wire_request: WireRequest) -> ResponseHead:
        client = await self._client()
        request = self._service_address.request(client, wire_request, self._deadline)
        response = await client.send(request, stream=True, follow_redirects=False)
        self._response = response
        consumed = response.is_stream_consumed
        self._body = response.aiter_bytes() if consumed else response.aiter_raw()
        return self._service_address.on_response(response, self._deadline)

    async def close(self) -> None:
        if self._response:
            await self._response.aclose()
