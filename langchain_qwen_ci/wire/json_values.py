"""Checks the types of JSON values that are stored in events.

The wire modules check each value that they put into an event, so that the code that reads events
need not check them again. A value that is used at once needs no check here: reading the fields of a
string raises an exception anyway, and `FramedDecoder` reports a malformed frame.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeGuard, TypeVar

from pydantic_core import from_json

T = TypeVar("T")

# In JSON text: a pair of surrogates, a lone one, or any other escape.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."
)

# LangGraph stores messages as msgpack, whose integers have 64 bits.
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1
# Larger integers are not interoperable in JSON (RFC 8259, section 6), and no count is as large.
_MAX_COUNT = 2**53


def parse_json(data: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """Parse JSON; an escape of half a surrogate pair becomes U+FFFD.

    Servers send such halves when they cut a text between the two halves of a character.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return from_json(data)
    except ValueError:
        repaired = _ESCAPE.sub(lambda found: b"\\ufffd" if found["lone"] else found[0], data)
        if repaired == data:
            raise
        return from_json(repaired)


def is_json(text: str) -> bool:
    """Return whether a text is a complete JSON value."""
    try:
        from_json(text)
    except ValueError:
        return False
    return True


def as_string(value: object) -> str:
    """Return a string unchanged.

    Raises:
        TypeError: the value is not a string.
    """
    if isinstance(value, str):
        return value
    raise TypeError(f"a string was expected, not {type(value).__name__}")


def as_optional_string(value: object) -> str | None:
    """Return a string unchanged, and None for an empty value.

    Raises:
        TypeError: the value is neither empty nor a string.
    """
    return as_string(value) if value else None


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object unchanged.

    Raises:
        TypeError: the value is not an object.
    """
    if isinstance(value, dict):
        return value
    raise TypeError(f"an object was expected, not {type(value).__name__}")


def as_list(value: object) -> list[Any]:
    """Return a list unchanged.

    Raises:
        TypeError: the value is not a list.
    """
    if isinstance(value, list):
        return value
    raise TypeError(f"a list was expected, not {type(value).__name__}")


def is_count(value: object) -> TypeGuard[int]:
    """Return whether the value can be a number of tokens or calls."""
    return type(value) is int and 0 <= value <= _MAX_COUNT


def json_safe(value: T) -> T:
    """Return a JSON value unchanged if it can be stored; see `is_json_safe`.

    Raises:
        ValueError: it contains a number that cannot be stored.
    """
    if is_json_safe(value):
        return value
    raise ValueError("a number is too large")


def is_json_safe(value: object) -> bool:
    """Return whether all numbers in a JSON value can be stored in a checkpoint and as JSON.

    Integers of more than 64 bits cannot, and neither can infinity, which the JSON parser returns
    for `1e999`.
    """
    remaining = [value]
    while remaining:
        item = remaining.pop()
        if isinstance(item, dict):
            remaining += item.values()
        elif isinstance(item, list):
            remaining += item
        elif isinstance(item, float):
            if not math.isfinite(item):
                return False
        elif isinstance(item, int) and not _MIN_INTEGER <= item <= _MAX_INTEGER:
            return False
    return True
