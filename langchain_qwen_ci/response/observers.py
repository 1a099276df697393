"""Observers of a streamed answer: limits, tracing and custom stream events are built on them.

Observers see wire-independent events and not chunks: chunks describe the same execution differently
in each output format, and the end of an execution without output makes no chunk at all.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        """Handle the early end of the answer: an error, or a reader that stopped reading."""

    async def aon_error(self, error: BaseException) -> None:
        """Asynchronous form of `on_error`."""
        self.on_error(error)


_OBSERVERS: ContextVar[tuple[EventObserver, ...]] = ContextVar("observers", default=())


def current_observers() -> tuple[EventObserver, ...]:
    """Return the observers that `observe` has set in this context."""
    return _OBSERVERS.get()


@contextmanager
def observe(observer: EventObserver) -> Iterator[None]:
    """Let an observer receive the events of all calls made inside the block.

    A context variable carries it, because nothing can be passed through `model.invoke` without
    being traced or becoming part of a cache key.
    """
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield
    finally:
        _OBSERVERS.reset(token)
