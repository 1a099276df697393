"""Text from outside, made fit to be printed: it must not steer a terminal, or hide in a log."""

from __future__ import annotations

import json
from unicodedata import category

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # of letters and emoji
_LINES = frozenset("\n\t")


def printable(text: str) -> str:
    """Control characters, and those that turn the direction of writing, as escapes of JSON: so what
    was JSON still is. Lines and tabs stay."""
    return _escaped(text, kept=_JOINERS | _LINES)


def in_one_line(text: str) -> str:
    """`printable`, without line breaks: it cannot pass for another line of a log."""
    return _escaped(text, kept=_JOINERS)


def _escaped(text: str, *, kept: frozenset[str]) -> str:
    if text.isprintable():
        return text
    return "".join(
        _escape(sign) if category(sign) in _STEERING and sign not in kept else sign for sign in text
    )


def _escape(sign: str) -> str:
    return json.dumps(sign)[1:-1] if sign != "\x7f" else "\\u007f"
