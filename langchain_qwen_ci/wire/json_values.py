"""Values of JSON, checked where a wire takes them: what it hands on, everything else may trust.

Only what a wire keeps is checked, and where it is kept. A value that is used at once, such as an
object whose fields are read, says by itself that it is none.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")

# LangGraph keeps messages as msgpack, whose whole numbers have 64 bits.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
# Above it numbers of JSON are not exact (RFC 8259, 6): no count is as large.
_LARGEST_COUNT = 2**53


def as_string(value: object) -> str:
    """A string as it is.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, str):
        return value
    raise TypeError(f"a string was expected, not {type(value).__name__}")


def as_optional_string(value: object) -> str | None:
    """A string as it is; None for what is empty.

    Raises:
        TypeError: it is something else.
    """
    return as_string(value) if value else None


def as_object(value: object) -> dict[str, Any]:
    """An object of JSON as it is.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, dict):
        return value
    raise TypeError(f"an object was expected, not {type(value).__name__}")


def as_list(value: object) -> list[Any]:
    """A list as it is.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, list):
        return value
    raise TypeError(f"a list was expected, not {type(value).__name__}")


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a number of tokens or calls."""
    return type(value) is int and 0 <= value <= _LARGEST_COUNT


def json_safe(value: T) -> T:
    """A value that is handed on as it came.

    Raises:
        ValueError: it holds a number that cannot be stored.
    """
    if is_json_safe(value):
        return value
    raise ValueError("a number is too large")


def is_json_safe(value: object) -> bool:
    """Whether every number in it can be kept in a checkpoint and written as JSON: infinity cannot,
    which `1e999` is read as."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
        elif isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, int) and not _SMALLEST <= one <= _LARGEST:
            return False
    return True
