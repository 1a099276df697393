"""A responder with prepared answers, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from langchain_qwen_ci.emulator.responders.responder import ModelRequest, Step, Steps

Turn = Iterable[Step] | Callable[[ModelRequest], Iterable[Step]]


class Script:
    """One prepared answer for each request, in order.

    An answer is a list of steps, or a function of the request that returns one.

    Example:
        ```python
        Script([Think("Let me see."), Run("6 * 7"), Say("It is 42.")])
        ```

    Raises:
        TypeError: an argument is no list of steps. The steps of a function or an iterator are
            checked when they are sent; the server then answers 500.
    """

    def __init__(self, *turns: Turn) -> None:
        for number, turn in enumerate(turns, 1):
            _check_turn(number, turn)
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
        if callable(turn):
            turn = turn(model_request)
            _check_turn(number + 1, turn)
        # `yield from` would send results to the list's iterator, which does not accept any.
        for step in turn:
            _check_step(number + 1, step)
            yield step


def _check_turn(number: int, turn: object) -> None:
    """Raise TypeError unless an answer is a list of steps, or a function that returns one."""
    if callable(turn) and not isinstance(turn, type):
        return
    if isinstance(turn, str):
        hint = f"a list of steps, such as [Say({turn!r})]"
    elif isinstance(turn, get_args(Step)):
        hint = f"a list of steps: [{turn!r}]"
    elif isinstance(turn, type | bytes | Mapping) or not isinstance(turn, Iterable):
        hint = "a list of steps, or a function of the request that returns one"
    else:
        if not isinstance(turn, Iterator):  # checking would use it up, and it may be endless
            for step in turn:
                _check_step(number, step)
        return
    raise TypeError(f"Answer {number} of the script must be {hint}; not {turn!r}.")


def _check_step(number: int, step: object) -> None:
    if not isinstance(step, get_args(Step)):
        names = ", ".join(kind.__name__ for kind in get_args(Step))
        raise TypeError(f"Answer {number} of the script has {step!r}, which is no step ({names}).")
