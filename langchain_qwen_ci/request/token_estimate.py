"""How many tokens something is, roughly, before it is sent. `usage_metadata` knows afterwards.

Qwen's tokenizer works on bytes and is not part of this package. A token for every four bytes of
UTF-8 makes four characters of English one token, and one and a third of Chinese, where Model
Studio's documentation says three to four, and 1.5 to 1.8: it errs on the high side.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.request.prompt import Prompt

_BYTES_PER_TOKEN = 4
_TOKENS_PER_TURN = 4  # for the role and what separates it from the next


def of_text(text: str) -> int:
    """An estimate of the tokens of a text, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def of_prompt(prompt: Prompt, functions: Sequence[Mapping[str, Any]] = ()) -> int:
    """An estimate of the tokens of a conversation, with the functions offered to the model.

    Images, video and sound count nothing; nor do the some 800 tokens that the service adds for
    the interpreter.
    """
    texts = [json.dumps(function, ensure_ascii=False) for function in functions]
    for turn in prompt:
        texts += [turn.text, *(call.name + call.arguments for call in turn.calls)]
    return _TOKENS_PER_TURN * len(prompt) + sum(map(of_text, texts))
