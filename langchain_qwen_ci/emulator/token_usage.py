"""Counts the tokens of the emulator's answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.responders.responder import Result

# At most one word, and of long words (URLs, text without spaces) a part.
_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_CHARACTERS_PER_TOKEN = 4  # a usual average
# Tokens of the service's own prompts in each inference; with the interpreter they are reported to
# be about 800 in a request of several inferences.
_PROMPT_TOKENS = 10
_INTERPRETER_TOKENS = 270


def pieces(text: str) -> list[str]:
    """Split a text into the parts that a stream sends; each counts as one token."""
    return _PIECE.findall(text)


class TokenUsage:
    """The token counts of one answer, the same for all APIs.

    Attributes:
        input: input tokens, summed over all inferences.
        output: output tokens, including the reasoning.
        reasoning: reasoning tokens.
        counts: number of calls of each tool of the service, by name.
    """

    def __init__(self, prompt: str, *, interpreter: bool) -> None:
        service_prompt = _PROMPT_TOKENS + (_INTERPRETER_TOKENS if interpreter else 0)
        self._prompt = len(prompt) // _CHARACTERS_PER_TOKEN + service_prompt
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
        """Count the input of the next inference: the prompt, the output and the tool's result."""
        output = result if isinstance(result, str) else result.output
        self.input += self._prompt + self.output + len(output) // _CHARACTERS_PER_TOKEN

    def plugins(self) -> dict[str, Any]:
        """Return the counts in the format of the APIs."""
        return {name: {"count": count} for name, count in self.counts.items()}
