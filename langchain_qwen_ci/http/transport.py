"""Runs a call flow with httpx: two short drivers, one for threads and one for asyncio."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self

import httpx

from langchain_qwen_ci.http.call_flow import call_flow
from langchain_qwen_ci.http.connections.clients import AsyncClientPerLoop, SyncClient
from langchain_qwen_ci.http.deadline import Deadline
from langchain_qwen_ci.http.exchanges import AsyncExchange, SyncExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from langchain_qwen_ci.http.call_flow import CallPolicy, Command
    from langchain_qwen_ci.http.connections.clients import TransportName
    from langchain_qwen_ci.http.hosts import Host
    from langchain_qwen_ci.http.service_address import ServiceAddress
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event


class Transport:
    """Sends requests to one address. Its clients are built at their first use and shared."""

    def __init__(
        self,
        address: ServiceAddress,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        name: TransportName = "httpx",
    ) -> None:
        self._address = address
        self._name: TransportName = name
        self._custom_client = http_client
        self._custom_async_client = http_async_client
        self._client = SyncClient(address.host.url, name)
        self._async_clients = AsyncClientPerLoop(address.host.url, name)
        # Open calls, to close them at exit. Weak, so that an abandoned one is collected.
        self._exchanges: weakref.WeakSet[SyncExchange] = weakref.WeakSet()
        _TRANSPORTS.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Transport:
        # Connections cannot be copied.
        return Transport(self._address, self._custom_client, self._custom_async_client, self._name)

    @property
    def host(self) -> Host:
        """The host that requests go to."""
        return self._address.host

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts of every request that no error may repeat."""
        return self._address.secrets

    def matches(
        self,
        address: ServiceAddress,
        http_client: httpx.Client | None,
        http_async_client: httpx.AsyncClient | None,
        name: TransportName,
    ) -> bool:
        """Return whether this transport was built with these arguments."""
        return (self._address, self._custom_client, self._custom_async_client, self._name) == (
            address,
            http_client,
            http_async_client,
            name,
        )

    def events(
        self, wire: Wire, request: WireRequest, policy: CallPolicy
    ) -> Generator[list[Event]]:
        """Send a request and yield the events of its answer, those of one read together.

        Raises:
            QwenError: the call failed; see `errors`.
        """
        deadline = Deadline(policy.total_timeout)
        exchange = SyncExchange(self._address, self._get_client, deadline)
        self._exchanges.add(exchange)
        flow = call_flow(wire, request, policy, deadline)
        resume: Callable[[Any], Command | list[Event]] = flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = flow.send, None
                if isinstance(step, list):
                    yield step
                    continue
                try:
                    outcome = exchange.execute(step)
                except httpx.HTTPError as failure:
                    resume, outcome = flow.throw, failure
        except StopIteration:
            return
        finally:
            exchange.close()

    def aevents(self, wire: Wire, request: WireRequest, policy: CallPolicy) -> AsyncEvents:
        """Asynchronous form of `events`."""
        deadline = Deadline(policy.total_timeout)
        exchange = AsyncExchange(self._address, self._get_async_client, deadline)
        return AsyncEvents(exchange, call_flow(wire, request, policy, deadline))

    def _get_client(self) -> httpx.Client:
        return self._custom_client or self._client.get()

    async def _get_async_client(self) -> httpx.AsyncClient:
        return self._custom_async_client or await self._async_clients.get()

    def close(self) -> None:
        """Close the sync client, unless it is the user's. Calls in other threads get an error."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the async client of the running loop, and the sync client."""
        self.close()
        await self._async_clients.close()

    def close_abandoned_exchanges(self) -> None:
        """Close the responses of sync streams that no other running thread reads."""
        for exchange in tuple(self._exchanges):
            thread = exchange.thread
            if thread is threading.current_thread() or not thread.is_alive():
                exchange.close()

    def discard_exchanges(self) -> None:
        """Drop all exchanges without closing them, because they belong to another process."""
        self._exchanges.clear()


class AsyncEvents:
    """The events of an answer, those of one read together, as an asynchronous iterator.

    It is a class and not an async generator. An event loop that ends closes all open async
    generators in any order, and closing one that is already being closed by its reader raises an
    error.
    """

    def __init__(
        self, exchange: AsyncExchange, flow: Generator[Command | list[Event], Any, None]
    ) -> None:
        self._exchange = exchange
        self._flow = flow

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        resume: Callable[[Any], Command | list[Event]] = self._flow.send
        outcome: Any = None
        try:
            while True:
                step = resume(outcome)
                resume, outcome = self._flow.send, None
                if isinstance(step, list):
                    return step
                try:
                    outcome = await self._exchange.execute(step)
                except httpx.HTTPError as failure:
                    resume, outcome = self._flow.throw, failure
        except StopIteration:
            await self.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the connection, unless the answer has ended. Closing twice has no effect."""
        self._flow.close()
        await self._exchange.close()


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


@atexit.register
def _close_open_streams() -> None:
    """Close the responses of streams that the program has neither read to the end nor closed.

    Otherwise the generator of such a stream closes its response when it is garbage-collected, after
    the types of C modules were taken down. httpx creates a `timedelta` there, and CPython 3.13.0
    ends with a segmentation fault (40 of 40 runs). A response that another thread reads is not
    closed: the thread is a daemon, whose generators are never collected, and it would print an
    error.
    """
    for transport in tuple(_TRANSPORTS):
        transport.close_abandoned_exchanges()


def _reset_after_fork() -> None:
    """Keep a forked process from ending its parent's streams when it exits or closes a model."""
    for transport in tuple(_TRANSPORTS):
        transport.discard_exchanges()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
