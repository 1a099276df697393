"""Tokens of the emulator: pieces of text, and what an answer has cost so far."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.responders.responder import Result

_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_CHARACTERS_PER_TOKEN = 4
# What the service's own prompts cost: about 800 tokens over two inferences for the interpreter.
_PROMPT_TOKENS = 10
_INTERPRETER_TOKENS = 270


def pieces(text: str) -> list[str]:
    """A text in the pieces that a stream carries it in, each of which counts as one token."""
    return _PIECE.findall(text)


class TokenUsage:
    """What one answer has cost so far; every wire shows the same numbers in its own words.

    Attributes:
        counts: how often each of the service's own tools was used, by its name.
    """

    def __init__(self, prompt: str, *, interpreter: bool) -> None:
        own = _PROMPT_TOKENS + (_INTERPRETER_TOKENS if interpreter else 0)
        self._prompt = len(prompt) // _CHARACTERS_PER_TOKEN + own
        self.input = self._prompt
        self.output = 0
        self.reasoning = 0
        self.counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        return self.input + self.output

    def count_text(self) -> None:
        """One piece of the answer."""
        self.output += 1

    def count_reasoning(self) -> None:
        """One piece of reasoning."""
        self.output += 1
        self.reasoning += 1

    def count_output(self, text: str) -> None:
        """Code, or the arguments of a call: they come in one piece."""
        self.output += 1 + len(text) // _CHARACTERS_PER_TOKEN

    def count_tool_call(self, tool: str) -> None:
        """The service called a tool of its own."""
        self.counts[tool] = self.counts.get(tool, 0) + 1

    def start_inference(self, result: Result | str) -> None:
        """The next inference reads everything again, and what a tool has put out."""
        output = result if isinstance(result, str) else result.output
        self.input += self._prompt + self.output + len(output) // _CHARACTERS_PER_TOKEN

    def plugins(self) -> dict[str, Any]:
        """The counts as every wire that has them writes them."""
        return {name: {"count": count} for name, count in self.counts.items()}
