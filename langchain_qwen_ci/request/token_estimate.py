"""Estimates the number of tokens before sending. Afterwards `usage_metadata` has the exact number.

Qwen's tokenizer works on bytes and is not part of this package. One token for every four bytes of
UTF-8 means four characters of English or 1.3 of Chinese. Model Studio's documentation says three to
four and 1.5 to 1.8, so the estimate is rather too high than too low.
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
    """Estimate the tokens of a text, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def of_prompt(prompt: Prompt, functions: Sequence[Mapping[str, Any]] = ()) -> int:
    """Estimate the tokens of a conversation and of the function tools.

    Images, video and audio count as 0, and so do the about 800 tokens that the service adds for the
    interpreter.
    """
    texts = [json.dumps(function, ensure_ascii=False) for function in functions]
    for message in prompt:
        texts += [message.text, *(call.name + call.arguments for call in message.calls)]
    return _TOKENS_PER_MESSAGE * len(prompt) + sum(map(of_text, texts))
