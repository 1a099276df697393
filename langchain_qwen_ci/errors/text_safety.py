"""Escapes control characters in text from outside, so that it is safe in terminals and logs.

Code, output and messages of the service may hold terminal escape sequences, line breaks that
imitate another log line, and characters that reverse the direction of writing.
"""

from __future__ import annotations

import json
from unicodedata import category

# Control, format, surrogate, line separator and paragraph separator characters.
_CONTROL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indic text, and emoji sequences, need them
_LINE_CHARACTERS = frozenset("\n\t")


def escape_unprintable(text: str) -> str:
    """Escape control and bidirectional characters; keep line breaks and tabs.

    The escapes are those of JSON strings, so a JSON document stays the same document.
    """
    return _escape(text, keep=_JOINERS | _LINE_CHARACTERS)


def escape_line(text: str) -> str:
    """Escape line breaks and tabs too, so that the result is a single line."""
    return _escape(text, keep=_JOINERS)


def _escape(text: str, *, keep: frozenset[str]) -> str:
    if text.isprintable():
        return text
    return "".join(
        _json_escape(character)
        if category(character) in _CONTROL_CATEGORIES and character not in keep
        else character
        for character in text
    )


def _json_escape(character: str) -> str:
    # json.dumps leaves DEL as it is, but terminals act on it.
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
