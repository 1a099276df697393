"""One call: a request that has passed every check, on its way, and what takes its answer.

Watchers see every event of the answer after it has been taken in, and before the next is read.
They are set for a model, such as its limits, or with `watched` for all calls made inside, by
whichever of LangChain's ways: a node follows executions so, without streaming by itself.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from types import TracebackType

    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.flow import CallPolicy
    from langchain_qwen_ci.transport import Transport
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event


class Watcher:
    """What sees an answer grow. A watcher that does I/O has async forms of its own."""

    def see(self, event: Event, answer: Answer) -> None:
        """An event that the answer has just taken in.

        Raises:
            QwenError: the answer should end here.
        """

    async def asee(self, event: Event, answer: Answer) -> None:
        """`see`, for asyncio."""
        self.see(event, answer)

    def broken(self, error: BaseException) -> None:
        """The answer ends before its end: by an error, or because nobody reads on."""

    async def abroken(self, error: BaseException) -> None:
        """`broken`, for asyncio."""
        self.broken(error)


_WATCHERS: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Show the answers of all calls made inside to a watcher, too."""
    token = _WATCHERS.set((*_WATCHERS.get(), watcher))
    try:
        yield
    finally:
        _WATCHERS.reset(token)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and the answer that its events are to be taken into."""

    transport: Transport
    wire: Wire
    request: WireRequest
    policy: CallPolicy
    answer: Answer
    watchers: tuple[Watcher, ...] = ()

    def repeatable(self) -> Call:
        """The same, for a caller that hands nothing on before the end: an answer that breaks off
        is asked for again. A `ResponseStarted` in the middle begins the new one."""
        return replace(self, policy=replace(self.policy, retry_cut_answers=True))

    @contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """Send the request; inside, the events of its answer. Leaving ends the connection.

        Raises:
            QwenError: the call failed; what had arrived is its `partial`.
        """
        watchers = (*self.watchers, *_WATCHERS.get())
        events = self.transport.events(self.wire, self.request, self.policy)
        with self.answer.kept_on_error(), closing(events):
            try:
                yield self._seen(events, watchers) if watchers else events
            except BaseException as error:
                for watcher in watchers:
                    watcher.broken(error)
                raise

    def aevents(self) -> _AsyncCall:
        """`events`, for asyncio."""
        return _AsyncCall(self, (*self.watchers, *_WATCHERS.get()))

    def _seen(self, events: Generator[Event], watchers: tuple[Watcher, ...]) -> Generator[Event]:
        for event in events:
            yield event
            for watcher in watchers:
                watcher.see(event, self.answer)


class _AsyncCall:
    """The events of a call, inside `async with`. No async generator: see `AsyncEvents`."""

    def __init__(self, call: Call, watchers: tuple[Watcher, ...]) -> None:
        self._call = call
        self._watchers = watchers
        self._leaving = AsyncExitStack()

    async def __aenter__(self) -> AsyncIterator[Event]:
        call = self._call
        self._leaving.enter_context(call.answer.kept_on_error())
        events = call.transport.aevents(call.wire, call.request, call.policy)
        await self._leaving.enter_async_context(aclosing(events))
        self._leaving.push_async_exit(self._broken)
        return self._seen(events) if self._watchers else events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._leaving.__aexit__(kind, error, trace)

    async def _broken(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            for watcher in self._watchers:
                await watcher.abroken(error)

    async def _seen(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            yield event
            for watcher in self._watchers:
                await watcher.asee(event, self._call.answer)
