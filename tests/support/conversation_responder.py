"""The emulator's responder for the graphs of `conversation_graphs.py`."""

from __future__ import annotations

from typing import Any

from conversation_graphs import QUESTIONS

from langchain_qwen_ci.emulator import Run, Say, Think

TURNS = {
    QUESTIONS[0]: [
        Think("I should compute it."),
        Run("x = 6 * 7\nprint(x)"),
        Think("And once more, to be sure."),
        Run("7 * 6"),
        Say("It is 42."),
    ],
    QUESTIONS[1]: [Say("I try. "), Run("42 / 0"), Say("It cannot be done.")],
}
CODES = ["x = 6 * 7\nprint(x)", "7 * 6", "42 / 0"]
COUNTS = {"code_interpreter": 3}


class TurnsResponder:
    """Answers each question with its entry in `TURNS`."""

    def respond(self, request: Any) -> Any:
        # The emulator sends results into the generator; `yield from` a list cannot receive them.
        for step in TURNS[request.text]:  # noqa: UP028
            yield step
