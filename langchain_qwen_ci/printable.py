"""Text from outside, made fit to be printed: it must not steer a terminal, or hide in a log."""

from __future__ import annotations

from unicodedata import category

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Lines, tabs, and what joins letters and emoji.
_KEPT = frozenset("\n\t\u200c\u200d")


def printable(text: str) -> str:
    """Control characters, and those that turn the direction of writing, as escapes."""
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if _steers(sign) else sign for sign in text)


def _steers(sign: str) -> bool:
    return category(sign) in _STEERING and sign not in _KEPT


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
