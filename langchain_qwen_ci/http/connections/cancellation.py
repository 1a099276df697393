"""Delivers cancellations to httpx only where its connection pool can handle them.

httpcore 1.0.9 loses a connection, which then stays open or keeps its place in the pool for ever, if
a cancellation arrives at one of these moments:

- between connecting and sending, or between a connection's assignment to a request and its use.
  There it only yields to the event loop, to acquire a free lock or while it closes another
  connection (27 of 925 calls that were cancelled once at random);
- after the wait for a connection has ended and before the task continues;
- while it returns the connection to the pool at the end of an answer, and waits for the lock that
  another request holds (3 of 1,000 calls under uvloop);
- while it closes the connection because of an earlier cancellation. `AsyncShieldCancellation` does
  not protect this code from `asyncio.Task.cancel` (8 of 8 calls that were cancelled twice).

httpcore2 2.16 removes such connections from its pool later
(https://github.com/pydantic/httpx2/pull/564).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")

# Maximum time for one wait of the code that handles a cancellation. Closing a connection waits for
# a lock at most, which another request holds for one iteration of the event loop.
_CLEANUP_SECONDS = 0.5
# anyio 4.16 yields to the loop until a cancellation is delivered, if a scope was cancelled before
# it waits for something. httpcore yields once for each idle connection that it closes.
_MAX_ITERATIONS = 100
# Acquiring a free lock takes one iteration, and another one after each request that waited for it.
_ITERATIONS_WITH_LOCK = 3


class CancellableAtWaits(Generic[T]):
    """Awaits a coroutine, and cancels it only while it waits for something, and only once.

    A cancellation that arrives at another moment is delayed until the next wait, or raised at the
    end of the coroutine. While the coroutine handles a cancellation, further ones are delayed to
    its end.

    Attributes:
        is_closing: whether the coroutine ends its use of a connection. Cancellations are delayed
            then, too.
    """

    __slots__ = (
        "_cancelled_before",
        "_coroutine",
        "_delayed",
        "_is_handling",
        "_iterations",
        "_task",
        "is_closing",
    )

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.is_closing = False
        self._delayed: list[asyncio.CancelledError] = []
        self._is_handling = False
        self._iterations = 0  # of the loop, since a cancellation was delayed

    def __await__(self) -> Generator[Any, Any, T]:
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        self._cancelled_before = self._task.cancelling()
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                awaited = resume(value)
            except StopIteration as end:
                self.deliver_delayed()
                return end.value  # type: ignore[no-any-return]
            except asyncio.CancelledError:
                raise
            except BaseException:
                self.deliver_delayed()
                raise
            resume, value = self._coroutine.send, None
            # Nothing is raised inside of the `except` blocks: anyio would read the `__context__`
            # and take the cancellation of the task for one of its own.
            try:
                cancellation = yield from self._suspend(awaited)
            except BaseException as error:  # noqa: BLE001  # the coroutine may raise it again
                resume, value = self._coroutine.throw, error
                continue
            if cancellation is not None:
                resume, value = self._coroutine.throw, cancellation
                self._is_handling = True

    def deliver_delayed(self) -> None:
        """Raise a delayed cancellation. The coroutine calls it where it can handle one."""
        if self._is_cancelled():
            self._is_handling = True
            raise self._next_cancellation()

    def _next_cancellation(self) -> asyncio.CancelledError:
        # There may be none: asyncio delivers two cancellations of one iteration as one, and if the
        # other one was anyio's own, anyio has caught both.
        return self._delayed.pop(0) if self._delayed else asyncio.CancelledError()

    def _is_cancelled(self) -> bool:
        """Return whether the task was cancelled, other than by the coroutine itself.

        anyio and `asyncio.timeout` also cancel the task, but they catch that and uncancel it.
        """
        if self._task.cancelling() > self._cancelled_before:
            return True
        self._delayed.clear()
        self._is_handling = False
        return False

    def _suspend(
        self, awaited: asyncio.Future[Any] | None
    ) -> Generator[Any, Any, asyncio.CancelledError | None]:
        """Suspend the task until a future is done, or for one iteration of the event loop.

        Returns:
            The cancellation to be raised in the coroutine; None to continue it.
        """
        is_cancelled = (self._is_handling or self._delayed) and self._is_cancelled()
        if awaited is not None and (self.is_closing or (is_cancelled and self._is_handling)):
            return (yield from self._finish_wait(awaited))
        if awaited is not None and is_cancelled:
            return (yield from self._cancel(awaited))
        self._iterations = self._iterations + 1 if is_cancelled else 0
        if self._iterations > _MAX_ITERATIONS:
            self._iterations = 0
            return self._next_cancellation()
        try:
            yield awaited
        except asyncio.CancelledError as cancellation:
            if awaited is not None and (awaited.cancelled() or not awaited.done()):
                return cancellation
            self._delayed.append(cancellation)
        return None

    def _cancel(
        self, awaited: asyncio.Future[Any]
    ) -> Generator[Any, Any, asyncio.CancelledError | None]:
        """Cancel a future because of a delayed cancellation, unless it is done."""
        if awaited.done():
            return None
        cancellation = self._next_cancellation()
        awaited.cancel()
        # Its callbacks come first: one of them unregisters the socket of the event loop.
        yield from self._finish_wait(awaited)
        if awaited.done() and not awaited.cancelled():
            self._delayed.insert(0, cancellation)
            return None
        return cancellation

    def _finish_wait(
        self, awaited: asyncio.Future[Any]
    ) -> Generator[Any, Any, asyncio.CancelledError | None]:
        """Wait for a future; a cancellation of the task does not reach it.

        Returns:
            A cancellation if the task was cancelled and the future takes too long.
        """
        end: float | None = None
        while not awaited.done():
            seconds = None
            if self._is_handling or self._delayed:
                end = end or time.monotonic() + _CLEANUP_SECONDS
                seconds = end - time.monotonic()
            if seconds is not None and seconds <= 0:
                awaited.cancel()
                return self._next_cancellation()
            try:
                yield from asyncio.wait((awaited,), timeout=seconds).__await__()
            except asyncio.CancelledError as cancellation:
                self._delayed.append(cancellation)
        return None


class CancellableSend(CancellableAtWaits[T]):
    """Awaits the sending of a request. It also protects waits for locks and for a connection.

    Attributes:
        is_queued: whether the request waits in a pool of httpcore until it gets a connection.
    """

    __slots__ = ("is_queued",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__(coroutine)
        self.is_queued = False

    def _suspend(
        self, awaited: asyncio.Future[Any] | None
    ) -> Generator[Any, Any, asyncio.CancelledError | None]:
        if awaited is None or self._is_handling or self._delayed:
            return (yield from super()._suspend(awaited))
        try:
            # `Task.cancel` would cancel the future itself, and it could not be waited for then.
            yield from asyncio.wait((awaited,)).__await__()
        except asyncio.CancelledError as cancellation:
            self._delayed.append(cancellation)
        if not self._delayed:
            return None
        # httpcore 1.0.9 assigns an idle connection to several requests. One that waits for its lock
        # gets it soon; if it is cancelled while it cleans up, the connection is lost.
        for _ in range(_ITERATIONS_WITH_LOCK):
            yield from super()._suspend(None)
        return (yield from self._cancel(awaited))

    def _cancel(
        self, awaited: asyncio.Future[Any]
    ) -> Generator[Any, Any, asyncio.CancelledError | None]:
        if self.is_queued and not awaited.done():
            # At once, because the pool of httpcore 1.0.9 assigns connections to requests until they
            # have left the queue, and then loses them.
            awaited.cancel()
            return self._next_cancellation()
        return (yield from super()._cancel(awaited))
