"""A mind that says what a test wrote."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_qwen_ci.emulator.responders.responder import ModelRequest, Step, Steps

    Turn = Iterable[Step] | Callable[[ModelRequest], Iterable[Step]]


class Script:
    """One turn for each request, in order.

    A turn is a list of steps, or a function of the question that returns one.

    Example:
        ```python
        Script([Think("Let me see."), Run("6 * 7"), Say("It is 42.")])
        ```
    """

    def __init__(self, *turns: Turn) -> None:
        self._turns = turns
        self._numbers = itertools.count()  # atomic, so that threads may share a script

    def respond(self, model_request: ModelRequest) -> Steps:
        """The steps of the next turn.

        Raises:
            LookupError: every turn has been taken; the server answers 500.
        """
        number = next(self._numbers)
        if number >= len(self._turns):
            raise LookupError(
                f"The script has {len(self._turns)} turns, and this is request {number + 1}."
            )
        turn = self._turns[number]
        # A list cannot be sent a result, which `yield from` would try to do.
        for step in turn(model_request) if callable(turn) else turn:  # noqa: UP028
            yield step
