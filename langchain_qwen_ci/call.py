"""One call: a request that has passed every check, on its way, and what takes its answer."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.transport import Transport
    from langchain_qwen_ci.wire import Wire, WireRequest
    from langchain_qwen_ci.wire.events import Event


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and the answer that its events are to be taken into."""

    transport: Transport
    wire: Wire
    request: WireRequest
    answer: Answer

    @contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """Send the request; inside, the events of its answer. Leaving ends the connection.

        Raises:
            QwenError: the call failed; what had arrived is its `partial`.
        """
        events = self.transport.events(self.wire, self.request)
        with self.answer.kept_on_error(), closing(events):
            yield events

    @asynccontextmanager
    async def aevents(self) -> AsyncIterator[AsyncIterator[Event]]:
        """`events`, for asyncio."""
        with self.answer.kept_on_error():
            async with aclosing(self.transport.aevents(self.wire, self.request)) as events:
                yield events
