"""Where a request ends an answer: at its stop sequences and at its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.responders.responder import Finish, Say, Think
from langchain_qwen_ci.emulator.token_usage import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_qwen_ci.emulator.responders.responder import Step


class StopLimiter:
    """Passes the steps of a mind on, and ends the answer where the request wants it to end.

    Text that may be the beginning of a stop sequence waits until it is known what follows.

    Args:
        stop: sequences that end the text, and are no part of it.
        max_tokens: the longest text, in tokens. Reasoning does not count.
        thinking_budget: the longest reasoning, in tokens; what exceeds it is left out.
    """

    def __init__(
        self, stop: tuple[str, ...], max_tokens: int | None, thinking_budget: int | None
    ) -> None:
        self._stop = stop
        self._tokens_left = max_tokens
        self._thoughts_left = thinking_budget
        self._waiting = ""

    def step(self, step: Step) -> Iterator[Step]:
        """The steps that take the place of this one; after a `Finish` nothing may follow."""
        if isinstance(step, Say):
            yield from self._say(step.text)
            return
        yield from self.end()
        yield from self._think(step.text) if isinstance(step, Think) else (step,)

    def end(self) -> Iterator[Step]:
        """What still waits: no stop sequence has come of it."""
        waiting, self._waiting = self._waiting, ""
        yield from self._within_limit(waiting)

    def _say(self, text: str) -> Iterator[Step]:
        text = self._waiting + text
        found = [at for sequence in self._stop if (at := text.find(sequence)) >= 0]
        if found:
            self._waiting = ""
            yield from self._within_limit(text[: min(found)])
            yield Finish("stop")
            return
        held = max((_overlap(text, sequence) for sequence in self._stop), default=0)
        self._waiting = text[len(text) - held :]
        yield from self._within_limit(text[: len(text) - held])

    def _within_limit(self, text: str) -> Iterator[Step]:
        if not text:
            return
        kept = pieces(text)[: self._tokens_left]
        if kept:
            yield Say("".join(kept))
        if self._tokens_left is None:
            return
        self._tokens_left -= len(kept)
        if len("".join(kept)) < len(text):
            yield Finish("length")

    def _think(self, text: str) -> Iterator[Step]:
        kept = pieces(text)[: self._thoughts_left]
        if self._thoughts_left is not None:
            self._thoughts_left -= len(kept)
        if kept:
            yield Think("".join(kept))


def _overlap(text: str, sequence: str) -> int:
    """How many characters at the end of a text begin a sequence."""
    longest = min(len(text), len(sequence) - 1)
    return next((n for n in range(longest, 0, -1) if sequence.startswith(text[-n:])), 0)
