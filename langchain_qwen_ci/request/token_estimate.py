"""Estimates the number of tokens of a prompt before it is sent.

Qwen's tokenizer works on bytes and is not part of this package. The estimate is one token for four
bytes of UTF-8, which is four characters of English or one and a third of Chinese. Model Studio's
documentation says three to four characters of English and 1.5 to 1.8 of Chinese, so the estimate
is at the low end for English and too high for Chinese. The `usage_metadata` of the answer has the
exact number.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.request.prompt import Prompt

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4  # for the role and the separators


def of_text(text: str) -> int:
    """Return the estimated number of tokens of a text, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def of_prompt(prompt: Prompt, functions: Sequence[Mapping[str, Any]] = ()) -> int:
    """Return the estimated number of tokens of a prompt and of the function tools sent with it.

    Images, video and audio are not counted, nor are the about 800 tokens that the service adds for
    the interpreter.
    """
    texts = [json.dumps(function, ensure_ascii=False) for function in functions]
    for message in prompt:
        texts += [message.text, *(call.name + call.arguments for call in message.calls)]
    return _TOKENS_PER_MESSAGE * len(prompt) + sum(map(of_text, texts))
