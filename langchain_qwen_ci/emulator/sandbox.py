"""Runs code in pydantic-monty, a Python interpreter without files, network or processes.

Each worker is a separate process, so that an endless loop or a crash does not affect the server.
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

_WORKERS = 16  # programs that run at the same time; started when needed
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program. A program that exceeds them fails; output is truncated.

    Attributes:
        seconds: maximum run time.
        memory: maximum bytes of memory.
        output: maximum characters of output.
    """

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
        """Return the session of one request, in which programs share their variables."""
        return Session(self)


class Session:
    """Runs the code of one request.

    It uses a worker only while a program runs, and stores the variables between programs. A worker
    for the whole request would be unavailable to others while a slow stream is sent.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._variables: bytes | None = None

    async def run(self, code: str) -> Result:
        """Run code as a REPL does.

        Returns:
            What the code printed, followed by its last value unless that is None.
        """
        sandbox = self._sandbox
        async with sandbox.free:
            program = _Program(sandbox, code, self._variables)
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(sandbox.threads, program.run)
            try:
                result, self._variables = await asyncio.shield(running)
            except asyncio.CancelledError:  # the client has disconnected
                program.stop()
                # The semaphore may be released only when the worker and its thread are free.
                await asyncio.gather(running, return_exceptions=True)
                raise
        return result


class _Program:
    """One run of code in a thread; it can be stopped from another thread."""

    def __init__(self, sandbox: Sandbox, code: str, variables: bytes | None) -> None:
        self._sandbox = sandbox
        self._code = code
        self._variables = variables
        self._lock = threading.Lock()
        self._process: int | None = None  # the worker's process id, while it runs this program
        self._stopped = False

    def run(self) -> tuple[Result, bytes | None]:
        """Return the result, and the dump of the variables afterwards."""
        limits = self._sandbox.limits
        result = None
        try:
            with self._sandbox.pool.checkout(
                limits={"max_feed_duration_secs": limits.seconds, "max_memory": limits.memory}
            ) as worker:
                if self._variables is not None:
                    worker.load_session(self._variables)
                with self._stoppable(worker):
                    result = (
                        Result("") if self._stopped else _run(worker, self._code, limits.output)
                    )
                crashed = worker.worker_pid is None
                return result, self._variables if crashed else worker.dump()
        except MontyError as error:  # the worker crashed before or after the run
            return result or Result(_monty_traceback(error), failed=True), self._variables

    @contextmanager
    def _stoppable(self, worker: MontySession) -> Iterator[None]:
        """Let `stop` terminate the worker inside the block, and not when it has other work."""
        with self._lock:
            self._process = worker.worker_pid
        try:
            yield
        finally:
            with self._lock:
                self._process = None

    def stop(self) -> None:
        """Terminate the worker process; monty itself can stop a worker only between runs."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with suppress(ProcessLookupError):  # the worker has crashed already
                    os.kill(self._process, signal.SIGTERM)


def _run(worker: MontySession, code: str, max_output: int) -> Result:
    printed = CollectString(max_bytes=4 * max_output)  # a character has up to 4 bytes
    try:
        value = worker.feed_run(code, print_callback=printed)
        echo = "" if value is None else repr(value)
        return Result(_truncate(printed.output + echo, max_output))
    except MontyError as error:
        return Result(_truncate(printed.output, max_output) + _monty_traceback(error), failed=True)
    except (ValueError, RecursionError) as error:
        # The value cannot be formatted: Python does not print integers of more than 4300 digits.
        output = _truncate(printed.output, max_output)
        return Result(output + _one_line_traceback(error), failed=True)


def _truncate(output: str, limit: int) -> str:
    excess = len(output) - limit
    return output if excess <= 0 else f"{output[:limit]}… ({excess} more)\n"


def _monty_traceback(error: MontyError) -> str:
    # An error of a worker that crashed or reached a limit has a message and no traceback.
    display = getattr(error, "display", None)
    text = str(display(format="traceback")) if display else ""
    return text if text.startswith(_TRACEBACK) else _one_line_traceback(error)


def _one_line_traceback(error: Exception) -> str:
    # Clients recognise a failed program by its traceback, so every error has one.
    text = str(error)
    name = type(error).__name__
    return f"{_TRACEBACK}\n{text if text.partition(':')[0].isidentifier() else f'{name}: {text}'}"
