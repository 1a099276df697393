"""Ends an answer at the stop sequences and token limits of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.responders.responder import Finish, Say, Think
from langchain_qwen_ci.emulator.token_usage import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_qwen_ci.emulator.responders.responder import Step


class StopLimiter:
    """Passes the steps of a responder on until a stop sequence or a token limit is reached.

    Text that may be the start of a stop sequence is held back until the next text decides.

    Args:
        stop: sequences that end the text; they are not part of it.
        max_tokens: maximum number of text tokens; reasoning does not count.
        thinking_budget: maximum number of reasoning tokens; further reasoning is dropped.
    """

    def __init__(
        self, stop: tuple[str, ...], max_tokens: int | None, thinking_budget: int | None
    ) -> None:
        self._stop = stop
        self._text_tokens_left = max_tokens
        self._reasoning_tokens_left = thinking_budget
        self._held_text = ""

    def step(self, step: Step) -> Iterator[Step]:
        """Yield the steps that replace a step; nothing may follow a `Finish`."""
        if isinstance(step, Say):
            yield from self._text_steps(step.text)
            return
        yield from self.end()
        yield from self._reasoning_steps(step.text) if isinstance(step, Think) else (step,)

    def end(self) -> Iterator[Step]:
        """Yield the text that was held back."""
        held_text, self._held_text = self._held_text, ""
        yield from self._limited_text_steps(held_text)

    def _text_steps(self, text: str) -> Iterator[Step]:
        text = self._held_text + text
        found = [at for sequence in self._stop if (at := text.find(sequence)) >= 0]
        if found:
            self._held_text = ""
            yield from self._limited_text_steps(text[: min(found)])
            yield Finish("stop")
            return
        held = max((_overlap_length(text, sequence) for sequence in self._stop), default=0)
        self._held_text = text[len(text) - held :]
        yield from self._limited_text_steps(text[: len(text) - held])

    def _limited_text_steps(self, text: str) -> Iterator[Step]:
        if not text:
            return
        kept = pieces(text)[: self._text_tokens_left]
        if kept:
            yield Say("".join(kept))
        if self._text_tokens_left is None:
            return
        self._text_tokens_left -= len(kept)
        if len("".join(kept)) < len(text):
            yield Finish("length")

    def _reasoning_steps(self, text: str) -> Iterator[Step]:
        kept = pieces(text)[: self._reasoning_tokens_left]
        if self._reasoning_tokens_left is not None:
            self._reasoning_tokens_left -= len(kept)
        if kept:
            yield Think("".join(kept))


def _overlap_length(text: str, sequence: str) -> int:
    """Return how many characters at the end of a text are the start of a sequence."""
    longest = min(len(text), len(sequence) - 1)
    return next((n for n in range(longest, 0, -1) if sequence.startswith(text[-n:])), 0)
