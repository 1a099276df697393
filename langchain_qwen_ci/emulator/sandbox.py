"""Where code really runs: pydantic-monty, a Python without files, network or processes.

Each worker is a process of its own, so neither an endless loop nor a crash reaches the server.
It covers a useful part of Python (math, json, re, datetime, decimal, itertools, classes), not
numpy.
"""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar, TypeVarTuple, Unpack

from pydantic_monty import CollectString, Monty, MontyError

from langchain_qwen_ci.emulator.mind import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pydantic_monty import MontySession


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use: seconds, and bytes of memory."""

    seconds: float = 5.0
    memory: int = 256 * 1024 * 1024


class Sandbox:
    """A pool of workers, open inside `async with`.

    It is the blocking pool, run in threads: the asyncio one wakes the event loop from a thread
    of its own, which aborts the interpreter if that happens while it exits. There are as many
    threads as workers, and a request waits for a worker in the event loop: waiting in a thread,
    requests would keep those that have a worker from running.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = Monty(min_processes=0, max_processes=_WORKERS)
        self.threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="qwen-emulator-sandbox")
        self.free = asyncio.Semaphore(_WORKERS)
        self.sessions: set[Session] = set()

    async def __aenter__(self) -> Self:
        self.pool.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An answer that nobody reads to its end still has its session open.
        for session in tuple(self.sessions):
            await session.close()
        self.threads.shutdown()
        self.pool.__exit__(kind, error, traceback)

    def session(self) -> Session:
        """The sandbox of one request: what a run defines, the next one finds."""
        return Session(self)


class Session:
    """Runs the code of one request. It takes a worker only when there is something to run."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._worker: MontySession | None = None
        self._taken = AsyncExitStack()
        self._checkout = ExitStack()

    async def __aenter__(self) -> Self:
        self._sandbox.sessions.add(self)
        return self

    async def __aexit__(self, *exit_details: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the worker back, even if it is cancelled meanwhile: its client has left then, and
        the next one needs the worker. Closing twice does nothing."""
        self._sandbox.sessions.discard(self)
        await asyncio.shield(self._taken.aclose())

    async def run(self, code: str) -> Result:
        """Run code as a REPL would: what it prints, then its last value unless that is None."""
        worker = await self._worker_of_its_own()
        process = worker.worker_pid
        try:
            return await self._in_thread(_run, worker, code)
        except asyncio.CancelledError:  # the client has left: nobody waits for the result
            _kill(process)
            raise

    async def _worker_of_its_own(self) -> MontySession:
        if self._worker is None:
            await self._taken.enter_async_context(self._sandbox.free)
        elif self._worker.worker_pid is not None:
            return self._worker
        # There is none yet, or it has crashed, and its variables are gone.
        # A client that leaves in the middle of this must not leave the worker taken.
        taking = asyncio.ensure_future(self._in_thread(self._check_out))
        self._taken.push_async_callback(self._give_back, taking)
        self._worker = await asyncio.shield(taking)
        return self._worker

    async def _give_back(self, taking: asyncio.Future[MontySession]) -> None:
        await asyncio.wait([taking])
        await self._in_thread(self._checkout.close)

    async def _in_thread(self, call: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._sandbox.threads, call, *arguments)

    def _check_out(self) -> MontySession:
        self._checkout.close()  # a worker that has crashed would count as taken
        limits = self._sandbox.limits
        return self._checkout.enter_context(
            self._sandbox.pool.checkout(
                limits={"max_feed_duration_secs": limits.seconds, "max_memory": limits.memory}
            )
        )


def _run(worker: MontySession, code: str) -> Result:
    printed = CollectString()
    try:
        value = worker.feed_run(code, print_callback=printed)
        return Result(printed.output + _echo(value))
    except MontyError as error:
        return Result(printed.output + _trace(error), failed=True)
    except (ValueError, RecursionError) as error:
        # The value came back but cannot be shown: Python prints no integer of 4300 digits.
        return Result(f"{printed.output}{type(error).__name__}: {error}", failed=True)


def _kill(process: int | None) -> None:
    """End a run that has no other end: monty stops a worker only between runs."""
    if process is None:  # it has crashed already
        return
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


def _echo(value: object) -> str:
    return "" if value is None else repr(value)


def _trace(error: MontyError) -> str:
    # A crashed worker leaves a message only; code that failed leaves a traceback.
    display = getattr(error, "display", None)
    return str(display(format="traceback")) if display else f"{type(error).__name__}: {error}"
