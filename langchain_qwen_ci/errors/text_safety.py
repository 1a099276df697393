"""Makes text from outside safe in terminals and logs: control characters and secrets.

Code, output and messages of the service may hold terminal escape sequences, line breaks that
imitate another log line, characters that reverse the direction of writing, and letters that look
like nothing.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from typing import TYPE_CHECKING, TextIO
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Collection

# Control, format, surrogate, line separator and paragraph separator characters.
_CONTROL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indic text, and emoji sequences, need them
_LINE_CHARACTERS = frozenset("\n\t")
# Letters without a glyph: the fillers of Hangul, and the blank pattern of Braille.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_HAS_BLANK_LETTER = re.compile(f"[{''.join(_BLANK_LETTERS)}]").search
_MASK = "***"
_MIN_SECRET_LENGTH = 8
# A shorter beginning of a secret is of no use, and may be that of another word.
_MIN_CUT_LENGTH = 4
_ERROR_HANDLER = "langchain_qwen_ci.json_escape"


def escape_unprintable(text: str) -> str:
    """Escape control and bidirectional characters and blank letters; keep line breaks and tabs.

    The escapes are those of JSON strings, so a JSON document stays the same document.
    """
    return _escape(text, keep=_JOINERS | _LINE_CHARACTERS)


def escape_line(text: str) -> str:
    """Escape line breaks and tabs too, so that the result is a single line."""
    return _escape(text, keep=_JOINERS)


def _escape(text: str, *, keep: frozenset[str]) -> str:
    if text.isprintable() and not _HAS_BLANK_LETTER(text):
        return text
    return "".join(
        _json_escape(character)
        if character in _BLANK_LETTERS
        or (category(character) in _CONTROL_CATEGORIES and character not in keep)
        else character
        for character in text
    )


def _json_escape(character: str) -> str:
    # json.dumps leaves DEL as it is, but terminals act on it.
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def mask_repeated_secrets(text: str, secrets: Collection[str]) -> str:
    """Replace the words of secrets by asterisks, also one that is cut off where a quotation ends.

    Words of less than 8 characters, such as "Bearer", may be part of any text and are kept.
    """
    words = {word for secret in secrets for word in secret.split()}
    for word in sorted(words, key=len, reverse=True):  # one may contain another
        if len(word) < _MIN_SECRET_LENGTH:
            continue
        text = text.replace(word, _MASK)
        if "…" in text:
            for length in range(len(word) - 1, _MIN_CUT_LENGTH - 1, -1):
                text = text.replace(f"{word[:length]}…", f"{_MASK}…")
    return text


def escape_unencodable(stream: TextIO | None) -> None:
    """Make a stream write the characters that its encoding does not have as escapes.

    The encoding is ASCII or a code page in many containers, CI jobs and Windows consoles.
    """
    if isinstance(stream, io.TextIOWrapper):
        codecs.register_error(_ERROR_HANDLER, _escape_encoding_error)
        stream.reconfigure(errors=_ERROR_HANDLER)


def _escape_encoding_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
