"""Where code really runs: pydantic-monty, a Python without files, network or processes.

Each worker is a process of its own, so neither an endless loop nor a crash reaches the server.
It covers a useful part of Python (math, json, re, datetime, decimal, itertools, classes), not
numpy.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic_monty import CollectString, Monty, MontyError

from langchain_qwen_ci.emulator.mind import Result

if TYPE_CHECKING:
    from types import TracebackType

    from pydantic_monty import MontySession


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use: seconds, and bytes of memory."""

    seconds: float = 5.0
    memory: int = 256 * 1024 * 1024


class Sandbox:
    """A pool of workers, open inside `async with`.

    It is the blocking pool, run in threads: the asyncio one wakes the event loop from a thread
    of its own, which aborts the interpreter if that happens while it exits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = Monty(min_processes=0)

    async def __aenter__(self) -> Self:
        self._pool.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._pool.__exit__, kind, error, traceback)

    def session(self) -> Session:
        """The sandbox of one request: what a run defines, the next one finds."""
        return Session(self._pool, self._limits)


class Session:
    """Runs the code of one request. It takes a worker only when there is something to run."""

    def __init__(self, pool: Monty, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits
        self._worker: MontySession | None = None
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exit_details: object) -> None:
        if self._worker is not None:
            await asyncio.to_thread(self._stack.close)

    async def run(self, code: str) -> Result:
        """Run code as a REPL would: what it prints, then its last value unless that is None."""
        return await asyncio.to_thread(self._run, code)

    def _run(self, code: str) -> Result:
        printed = CollectString()
        try:
            value = self._checked_out().feed_run(code, print_callback=printed)
            return Result(printed.output + _echo(value))
        except MontyError as error:
            return Result(printed.output + _trace(error), failed=True)
        except (ValueError, RecursionError) as error:
            # The value came back but cannot be shown: Python prints no integer of 4300 digits.
            return Result(f"{printed.output}{type(error).__name__}: {error}", failed=True)

    def _checked_out(self) -> MontySession:
        if self._worker is None:
            limits = self._limits
            self._worker = self._stack.enter_context(
                self._pool.checkout(
                    limits={
                        "max_feed_duration_secs": limits.seconds,
                        "max_memory": limits.memory,
                    }
                )
            )
        return self._worker


def _echo(value: object) -> str:
    return "" if value is None else repr(value)


def _trace(error: MontyError) -> str:
    # A crashed worker leaves a message only; code that failed leaves a traceback.
    display = getattr(error, "display", None)
    return str(display(format="traceback")) if display else f"{type(error).__name__}: {error}"
