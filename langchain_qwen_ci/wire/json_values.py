"""Checks of JSON values, made where an API file stores them; later code trusts the events.

A value that is used at once, such as an object whose fields are read, needs no check: a wrong type
raises an error by itself.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")

# LangGraph's checkpointers store messages as msgpack, whose integers have 64 bits.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
# JSON numbers above it are not exact (RFC 8259, section 6), and no count is as large.
_LARGEST_COUNT = 2**53


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
    """Return whether a value can be a number of tokens or calls."""
    return type(value) is int and 0 <= value <= _LARGEST_COUNT


def json_safe(value: T) -> T:
    """Return a value unchanged.

    Raises:
        ValueError: it contains a number that a checkpoint or JSON cannot store.
    """
    if is_json_safe(value):
        return value
    raise ValueError("a number is too large")


def is_json_safe(value: object) -> bool:
    """Return whether a checkpoint and JSON can store every number in a value.

    Infinity cannot be stored; JSON parsers produce it for `1e999`.
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
        elif isinstance(item, int) and not _SMALLEST <= item <= _LARGEST:
            return False
    return True
