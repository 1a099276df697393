"""A mind that says exactly what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.mind import Question, Step

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.mind import Result

Turn = Iterable[Step] | Callable[[Question], Iterable[Step]]


class ScriptExhaustedError(Exception):
    """More requests came than the script has turns."""


class Script:
    """`Script([Think("…"), Run("2**10"), Say("…")], …)`: one turn for each request.

    A turn is a list of steps, or a function from the question to steps. A function may be a
    generator function; then it is sent the results of its runs.
    """

    def __init__(self, *turns: Turn) -> None:
        self._turns = turns
        self._taken = 0
        self._lock = threading.Lock()

    def answer(self, question: Question) -> Generator[Step, Result | None, None]:
        """Play the next turn; a request past the last one is an error that says so."""
        turn = self._take()
        steps = turn(question) if callable(turn) else turn
        if isinstance(steps, Generator):
            yield from steps
        else:
            for step in steps:
                yield step

    def _take(self) -> Turn:
        with self._lock:
            taken, self._taken = self._taken, self._taken + 1
        if taken >= len(self._turns):
            raise ScriptExhaustedError(
                f"The script has {len(self._turns)} turn(s), and this is request {taken + 1}."
            )
        return self._turns[taken]
