"""One call: a request that has passed every check, on its way, and what takes its answer.

Watchers see every event of the answer after it has been taken in, and before the next is read.
They are set for a model, such as its limits, or with `watched` for all calls made inside, by
whichever of LangChain's ways: a node follows executions so, without streaming by itself.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.transport import Transport
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event


class Watcher(Protocol):
    """What sees an answer grow."""

    def see(self, event: Event, answer: Answer) -> None:
        """An event that the answer has just taken in.

        Raises:
            QwenError: the answer should end here.
        """


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
    answer: Answer
    watchers: tuple[Watcher, ...] = ()

    @contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """Send the request; inside, the events of its answer. Leaving ends the connection.

        Raises:
            QwenError: the call failed; what had arrived is its `partial`.
        """
        watchers = (*self.watchers, *_WATCHERS.get())
        events = self.transport.events(self.wire, self.request)
        with self.answer.kept_on_error(), closing(events):
            yield self._seen(events, watchers) if watchers else events

    @asynccontextmanager
    async def aevents(self) -> AsyncIterator[AsyncIterator[Event]]:
        """`events`, for asyncio."""
        watchers = (*self.watchers, *_WATCHERS.get())
        with self.answer.kept_on_error():
            async with aclosing(self.transport.aevents(self.wire, self.request)) as events:
                yield self._aseen(events, watchers) if watchers else events

    def _seen(self, events: Generator[Event], watchers: tuple[Watcher, ...]) -> Generator[Event]:
        for event in events:
            yield event
            self._show(event, watchers)

    async def _aseen(
        self, events: AsyncGenerator[Event], watchers: tuple[Watcher, ...]
    ) -> AsyncGenerator[Event]:
        async for event in events:
            yield event
            self._show(event, watchers)

    def _show(self, event: Event, watchers: tuple[Watcher, ...]) -> None:
        for watcher in watchers:
            watcher.see(event, self.answer)
