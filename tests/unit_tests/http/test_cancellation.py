"""`CancellableAtWaits` cancels a coroutine only while it waits, only once, and never not at all."""

from __future__ import annotations

import asyncio

import anyio.lowlevel
import pytest

from langchain_qwen_ci.http.connections.cancellation import CancellableAtWaits, CancellableSend

BOTH = pytest.mark.parametrize("kind", [CancellableAtWaits, CancellableSend])


class Connection:
    """What a coroutine of httpcore does: it opens a connection, waits, and closes it."""

    def __init__(self) -> None:
        self.is_open = False
        self.was_cancelled = False
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def use(self) -> str:
        await asyncio.sleep(0)
        self.is_open = True
        await asyncio.sleep(0)  # acquires a lock, before the `try`
        try:
            return await self.answer
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            await asyncio.sleep(0)  # acquires a lock
            await asyncio.sleep(0)
            self.is_open = False

    async def fail(self) -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise ConnectionResetError


async def run(kind, function):
    return await kind(function())


@BOTH
@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize("between", [None, 0, 1, 2, 3, 4])
async def test_connection_is_closed_at_whatever_step_a_task_is_cancelled(kind, before, between):
    connection = Connection()
    running = asyncio.ensure_future(run(kind, connection.use))
    for _ in range(before):
        await asyncio.sleep(0)
    running.cancel()
    if between is not None:
        for _ in range(between):
            await asyncio.sleep(0)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not connection.is_open


@BOTH
async def test_answer_at_the_moment_of_the_cancellation_does_not_prevent_it(kind):
    connection = Connection()
    running = asyncio.ensure_future(run(kind, connection.use))
    await asyncio.sleep(0.01)
    connection.answer.set_result("?")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (connection.is_open, connection.was_cancelled) == (False, False)


@BOTH
@pytest.mark.parametrize("before", [1, 2])
async def test_error_after_the_cancellation_does_not_prevent_it(kind, before):
    running = asyncio.ensure_future(run(kind, Connection().fail))
    for _ in range(before):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@BOTH
async def test_results_errors_and_timeouts_inside_are_unchanged(kind):
    connection = Connection()
    connection.answer.set_result("answer")
    assert await kind(connection.use()) == "answer"
    with pytest.raises(ConnectionResetError):
        await kind(connection.fail())

    async def times_out() -> str:
        with anyio.move_on_after(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    assert await kind(times_out()) == "late"


@BOTH
async def test_cancellation_in_the_iteration_of_a_timeout_inside_is_delivered(kind):
    """asyncio makes one `CancelledError` of both, and anyio catches it."""
    scope = anyio.CancelScope()

    async def wait_twice() -> None:
        with scope:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    running = asyncio.ensure_future(run(kind, wait_twice))
    await asyncio.sleep(0.01)
    scope.cancel()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@BOTH
async def test_scope_of_anyio_that_was_cancelled_before_a_wait_ends(kind):
    """anyio yields to the loop until its cancellation is delivered."""

    async def check() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()
        return "answer"

    async with asyncio.timeout(10):
        assert await kind(check()) == "answer"


@BOTH
async def test_cancelled_scope_of_anyio_around_a_call_closes_its_connection(kind):
    connection = Connection()
    with anyio.move_on_after(0.01) as scope:
        await kind(connection.use())
    assert scope.cancelled_caught
    assert not connection.is_open
