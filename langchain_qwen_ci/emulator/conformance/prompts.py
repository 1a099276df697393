"""Prompts and values of the requests that checks send, the same for every API.

Any capable model can answer the prompts, because checks test the structure of answers and not
their words.
"""

from __future__ import annotations

from typing import Any

# Two programs, because checks test that frames with the second one repeat the first one.
CODE_PROMPT = (
    "Use the code interpreter to compute 123**21; then, in a second program, divide that by 7. "
    "Tell me both results."
)
# The answer needs more than 16 tokens, the smallest max_output_tokens of Responses, which cuts it.
TEXT_PROMPT = "Write three long English sentences about the history of mathematics."
CONVERSATION = (
    {"role": "system", "content": "You answer in English."},
    {"role": "user", "content": "Use the code interpreter to compute 12**3."},
    {"role": "assistant", "content": "12**3 is 1728."},
    {"role": "user", "content": "Use it again, and divide that by 5."},
)
MAX_TOKENS = 5
MIN_RESPONSES_TOKENS = 16  # documented
STOP_SEQUENCE = "e"  # almost every English sentence has one
UNKNOWN_MODEL = "no-such-model"
WRONG_KEY = "sk-00000000000000000000000000000000"
# Names both functions of the checks that call two of them.
CALLS_PROMPT = "Call look_up and translate, both with the word tea, at the same time."
FUNCTION_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}
FORCED_CHOICE = {"type": "function", "function": {"name": "look_up"}}
