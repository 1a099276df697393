"""Observers of a streamed answer: limits, tracing and custom stream events are built on them.

Observers see wire-independent events and not chunks: chunks describe the same execution differently
in each output format, and the end of an execution without output makes no chunk at all.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.wire.events import Event


class EventObserver:
    """Receives each event of a streamed answer, after it was added to the message.

    An observer that does I/O overrides the asynchronous methods too.
    """

    def on_event(self, event: Event, builder: MessageBuilder) -> None:
        """Handle an event that the builder has just added.

        Raises:
            QwenError: the answer should end here.
        """

    async def aon_event(self, event: Event, builder: MessageBuilder) -> None:
        """Asynchronous form of `on_event`."""
        self.on_event(event, builder)

    def on_error(self, error: BaseException) -> None:
        """Handle the early end of an answer: an error, a reader that stopped reading, or a repeated
        request, whose first event then follows. The builder still holds that answer."""

    async def aon_error(self, error: BaseException) -> None:
        """Asynchronous form of `on_error`."""
        self.on_error(error)


_FACTORIES: ContextVar[tuple[Callable[[], EventObserver], ...]] = ContextVar(
    "observer_factories", default=()
)


def new_observers() -> tuple[EventObserver, ...]:
    """Return an observer of each factory that `observe` has set in this context."""
    return tuple(factory() for factory in _FACTORIES.get())


@contextmanager
def observe(factory: Callable[[], EventObserver]) -> Iterator[None]:
    """Let a new observer receive the events of each call made inside the block.

    Each call has its own, because calls may run at the same time and fail one by one. A context
    variable carries the factory, because nothing can be passed through `model.invoke` without being
    traced or becoming part of a cache key.
    """
    token = _FACTORIES.set((*_FACTORIES.get(), factory))
    try:
        yield
    finally:
        _FACTORIES.reset(token)
