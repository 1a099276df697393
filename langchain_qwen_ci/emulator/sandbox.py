"""Runs code in pydantic-monty, a Python interpreter without files, network or processes.

Each worker is a separate process, so that neither an endless loop nor a crash affects the server.
Monty supports a useful part of Python (math, json, re, datetime, decimal, itertools, classes), not
numpy.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic_monty import CollectString, Monty, MontyError

from langchain_qwen_ci.emulator.responders.responder import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pydantic_monty import MontySession

_WORKERS = 16
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run: seconds, bytes of memory, and characters of output."""

    seconds: float = 5.0
    memory: int = 256 * 1024 * 1024
    output: int = 256 * 1024


class Sandbox:
    """A pool of worker processes, open inside `async with`.

    It uses monty's blocking pool in threads, because the asyncio pool wakes the event loop from a
    thread of its own, which aborts the interpreter if it happens at exit. There are as many threads
    as workers, and a program waits for a free worker in the event loop, so no thread waits.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = Monty(min_processes=0, max_processes=_WORKERS)
        self.threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="qwen-emulator-sandbox")
        self.free = asyncio.Semaphore(_WORKERS)

    async def __aenter__(self) -> Self:
        self.pool.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.threads.shutdown()
        self.pool.__exit__(kind, error, traceback)

    def session(self) -> Session:
        """Return the session of one request; a program finds what earlier ones have defined."""
        return Session(self)


class Session:
    """Runs the code of one request.

    It uses a worker only while a program runs and stores what the program has defined. Otherwise a
    slow stream would keep a worker from all other requests.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._defined: bytes | None = None

    async def run(self, code: str) -> Result:
        """Run code as a REPL does: return its output, then its last value unless that is None."""
        sandbox = self._sandbox
        async with sandbox.free:
            program = _Program(sandbox, code, self._defined)
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(sandbox.threads, program.run)
            try:
                result, self._defined = await asyncio.shield(running)
            except asyncio.CancelledError:  # the client has disconnected
                program.stop()
                await asyncio.gather(
                    running, return_exceptions=True
                )  # wait until its worker is free
                raise
        return result


class _Program:
    """One run of code in a thread; it can be stopped from another thread."""

    def __init__(self, sandbox: Sandbox, code: str, defined: bytes | None) -> None:
        self._sandbox = sandbox
        self._code = code
        self._defined = defined
        self._changing = threading.Lock()
        self._process: int | None = None  # the worker's process id, while it runs this program
        self._stopped = False

    def run(self) -> tuple[Result, bytes | None]:
        """Return the result, and the dump of what is defined afterwards."""
        limits = self._sandbox.limits
        result = None
        try:
            with self._sandbox.pool.checkout(
                limits={"max_feed_duration_secs": limits.seconds, "max_memory": limits.memory}
            ) as worker:
                if self._defined is not None:
                    worker.load_session(self._defined)
                with self._taken(worker):
                    result = (
                        Result("") if self._stopped else _run(worker, self._code, limits.output)
                    )
                crashed = worker.worker_pid is None
                return result, self._defined if crashed else worker.dump()
        except MontyError as error:  # the worker crashed before or after the run
            return result or Result(_trace(error), failed=True), self._defined

    @contextmanager
    def _taken(self, worker: MontySession) -> Iterator[None]:
        with self._changing:
            self._process = worker.worker_pid
        try:
            yield
        finally:
            with self._changing:
                self._process = None

    def stop(self) -> None:
        """Terminate the worker process; monty itself can stop a worker only between runs."""
        with self._changing:
            self._stopped = True
            if self._process is not None:
                with suppress(ProcessLookupError):  # the worker has crashed already
                    os.kill(self._process, signal.SIGTERM)


def _run(worker: MontySession, code: str, most: int) -> Result:
    printed = CollectString(max_bytes=4 * most)  # a character has up to 4 bytes
    try:
        value = worker.feed_run(code, print_callback=printed)
        return Result(_cut(printed.output + _echo(value), most))
    except MontyError as error:
        return Result(_cut(printed.output, most) + _trace(error), failed=True)
    except (ValueError, RecursionError) as error:
        # The value cannot be formatted: Python does not print integers of more than 4300 digits.
        return Result(_cut(printed.output, most) + _traced(error), failed=True)


def _echo(value: object) -> str:
    return "" if value is None else repr(value)


def _cut(output: str, most: int) -> str:
    return output if len(output) <= most else f"{output[:most]}… ({len(output) - most} more)\n"


def _trace(error: MontyError) -> str:
    # A worker that crashed or reached a limit has a message and no traceback.
    display = getattr(error, "display", None)
    shown = str(display(format="traceback")) if display else ""
    return shown if shown.startswith(_TRACEBACK) else _traced(error)


def _traced(error: Exception) -> str:
    # Format an error as Python does, because a failed program is recognised by its traceback.
    text = str(error)
    name = type(error).__name__
    return f"{_TRACEBACK}\n{text if text.partition(':')[0].isidentifier() else f'{name}: {text}'}"
