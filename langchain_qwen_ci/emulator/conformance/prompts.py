"""What is asked, on every wire: what any decent model can do, so that structure can be judged."""

from __future__ import annotations

from typing import Any

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.conformance.checks import NotApplicableError

# Two programs, so that what is shown of the first can be seen to stay.
QUESTION = (
    "Use the code interpreter to compute 123**21; then, in a second program, divide that by 7. "
    "Tell me both results."
)
# Longer than sixteen tokens, which is the least that Responses can be limited to.
PLAIN = "Write three long English sentences about the history of mathematics."
CONVERSATION = (
    {"role": "system", "content": "You answer in English."},
    {"role": "user", "content": "Use the code interpreter to compute 12**3."},
    {"role": "assistant", "content": "12**3 is 1728."},
    {"role": "user", "content": "Use it again, and divide that by 5."},
)
FEW_TOKENS = 5
FEWEST_TOKENS = 16
# No English sentence does without it.
STOP = "e"
NO_MODEL = "no-such-model"
WRONG_KEY = "sk-00000000000000000000000000000000"
FUNCTION: dict[str, Any] = {
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
}
FUNCTION_TOOL = {"type": "function", "function": FUNCTION}


def must_need_thinking(model: str) -> None:
    """Whether the model runs code only while it thinks (documented for some).

    Raises:
        NotApplicableError: it does not.
    """
    spec = models.find_model(model)
    if spec is None or spec.thinking != "required":
        raise NotApplicableError(f"{model} is not known to need thinking")
