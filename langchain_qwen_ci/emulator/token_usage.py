"""Counts the tokens of the emulator's answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.responders.responder import Result

_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_CHARACTERS_PER_TOKEN = 4
# Tokens of the service's own prompts; with the interpreter about 800 over two inferences.
_PROMPT_TOKENS = 10
_INTERPRETER_TOKENS = 270


def pieces(text: str) -> list[str]:
    """Split a text into the parts that a stream sends; each counts as one token."""
    return _PIECE.findall(text)


class TokenUsage:
    """The token counts of one answer, the same for all APIs.

    Attributes:
        counts: number of calls of each tool of the service, by name.
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
        """Count one part of the text."""
        self.output += 1

    def count_reasoning(self) -> None:
        """Count one part of the reasoning."""
        self.output += 1
        self.reasoning += 1

    def count_output(self, text: str) -> None:
        """Count code, or the arguments of a function call, which are sent at once."""
        self.output += 1 + len(text) // _CHARACTERS_PER_TOKEN

    def count_tool_call(self, tool: str) -> None:
        """Count a call of a tool of the service."""
        self.counts[tool] = self.counts.get(tool, 0) + 1

    def start_inference(self, result: Result | str) -> None:
        """Count the input of the next inference: everything so far and the result of a tool."""
        output = result if isinstance(result, str) else result.output
        self.input += self._prompt + self.output + len(output) // _CHARACTERS_PER_TOKEN

    def plugins(self) -> dict[str, Any]:
        """Return the counts in the format of the APIs."""
        return {name: {"count": count} for name, count in self.counts.items()}
