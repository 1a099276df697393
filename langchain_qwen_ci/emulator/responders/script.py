"""A responder with prepared answers, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from langchain_qwen_ci.emulator.responders.responder import ModelRequest, Step, Steps

Turn = Iterable[Step] | Callable[[ModelRequest], Iterable[Step]]


class Script:
    """One prepared answer for each request, in order.

    An answer is a list of steps, or a function of the request that returns one.

    Example:
        ```python
        Script([Think("Let me see."), Run("6 * 7"), Say("It is 42.")])
        ```
    """

    def __init__(self, *turns: Turn) -> None:
        self._turns = turns
        self._numbers = itertools.count()  # `next` is atomic, so threads may share a script

    def respond(self, model_request: ModelRequest) -> Steps:
        """Yield the steps of the next answer.

        Raises:
            LookupError: there is no further answer; the server answers 500.
        """
        number = next(self._numbers)
        if number >= len(self._turns):
            raise LookupError(
                f"The script has {len(self._turns)} turns, and this is request {number + 1}."
            )
        turn = self._turns[number]
        # `yield from` would send results to the list's iterator, which does not accept any.
        for step in turn(model_request) if callable(turn) else turn:  # noqa: UP028
            yield step
