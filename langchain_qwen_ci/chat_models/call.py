"""One call: a validated request, the transport that sends it, the builder that collects events."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from langchain_qwen_ci.errors import QwenStreamError
from langchain_qwen_ci.response.observers import new_observers
from langchain_qwen_ci.wire.events import ResponseStarted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from types import TracebackType

    from langchain_qwen_ci.http.call_flow import CallPolicy
    from langchain_qwen_ci.http.transport import Transport
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.response.observers import EventObserver
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event

# The error of an interrupted answer whose request was repeated, for observers.
_REQUEST_REPEATED = QwenStreamError("The answer was interrupted, and the request was repeated.")


@dataclass(frozen=True, slots=True)
class Call:
    """A validated request, the transport that sends it, and the builder that collects its events.

    The code that reads the events adds them to the builder; observers are notified afterwards.
    """

    transport: Transport
    wire: Wire
    request: WireRequest
    policy: CallPolicy
    builder: MessageBuilder
    observers: tuple[EventObserver, ...] = ()

    def with_retries_after_start(self) -> Call:
        """Return the same call, with retries of answers that were interrupted after their start.

        Only for callers that hand on nothing before the end. A second `ResponseStarted` event marks
        the start of the next attempt, and the builder then discards the interrupted answer.
        """
        return replace(self, policy=replace(self.policy, retry_cut_answers=True))

    @contextmanager
    def events(self) -> Iterator[Iterator[list[Event]]]:
        """Send the request and yield an iterator of its events; leaving the block ends the request.

        The iterator yields the events that one read completes as a list.

        Raises:
            QwenError: the call failed; `partial` is the message received before the error.
        """
        observers = self._all_observers()
        events = self.transport.events(self.wire, self.request, self.policy)
        with self.builder.attach_partial_to_errors(), closing(events):
            try:
                yield self._notify(events, observers) if observers else events
            except BaseException as error:
                for observer in observers:
                    observer.on_error(error)
                raise

    def aevents(self) -> _AsyncEventStream:
        """Asynchronous form of `events`."""
        return _AsyncEventStream(self, self._all_observers())

    def _all_observers(self) -> tuple[EventObserver, ...]:
        # The limits are among the call's own observers, and end the answer. The others come first,
        # so that they have the program that exceeds a limit.
        return (*new_observers(), *self.observers)

    def _notify(
        self, answer: Generator[list[Event]], observers: tuple[EventObserver, ...]
    ) -> Generator[list[Event]]:
        started = False
        for event in chain.from_iterable(answer):
            if isinstance(event, ResponseStarted):
                if started:
                    for observer in observers:
                        observer.on_error(_REQUEST_REPEATED)
                started = True
            yield [event]  # the reader adds it to the builder before it requests the next event
            for observer in observers:
                observer.on_event(event, self.builder)


class _AsyncEventStream:
    """The events of a call, as an asynchronous context manager.

    It is a class and not an async generator, because an event loop that ends closes all open async
    generators in any order; see `http.transport.AsyncEvents`.
    """

    def __init__(self, call: Call, observers: tuple[EventObserver, ...]) -> None:
        self._call = call
        self._observers = observers
        self._exit_stack = AsyncExitStack()

    async def __aenter__(self) -> AsyncIterator[list[Event]]:
        call = self._call
        self._exit_stack.enter_context(call.builder.attach_partial_to_errors())
        events = call.transport.aevents(call.wire, call.request, call.policy)
        await self._exit_stack.enter_async_context(aclosing(events))
        self._exit_stack.push_async_exit(self._notify_error)
        return self._notify(events) if self._observers else events

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._exit_stack.__aexit__(exc_type, error, traceback)

    async def _notify_error(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            for observer in self._observers:
                await observer.aon_error(error)

    async def _notify(self, answer: AsyncIterator[list[Event]]) -> AsyncIterator[list[Event]]:
        started = False
        async for events in answer:
            for event in events:
                if isinstance(event, ResponseStarted):
                    if started:
                        await self._notify_error(None, _REQUEST_REPEATED, None)
                    started = True
                yield [event]
                for observer in self._observers:
                    await observer.aon_event(event, self._call.builder)
