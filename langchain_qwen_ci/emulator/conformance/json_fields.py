"""Strict access to fields of JSON values.

A field that is missing or of the wrong type is a `ViolationError`. The package's own decoders are
more lenient, so they cannot be used here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance.errors import ViolationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def value_at(value: object, *path: str | int) -> Any:  # noqa: ANN401  # JSON holds anything
    """Return the value at a path of keys and indexes.

    Raises:
        ViolationError: the path does not exist.
    """
    current: Any = value
    for step in path:
        if isinstance(step, int):
            exists = isinstance(current, list) and -len(current) <= step < len(current)
        else:
            exists = isinstance(current, dict) and step in current
        if not exists:
            raise ViolationError(f"there is no {_dotted(path)} in {as_json(value)}")
        current = current[step]
    return current


def string_at(value: object, *path: str | int) -> str:
    """Return the string at a path; it may be empty."""
    found = value_at(value, *path)
    if isinstance(found, str):
        return found
    raise ViolationError(f"{_dotted(path)} is {as_json(found)} and not a string")


def nonempty_string_at(value: object, *path: str | int) -> str:
    """Return the string at a path, which must not be empty."""
    if found := string_at(value, *path):
        return found
    raise ViolationError(f"{_dotted(path)} is empty")


def count_at(value: object, *path: str | int) -> int:
    """Return the integer at a path, which must not be negative."""
    found = value_at(value, *path)
    if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
        return found
    raise ViolationError(f"{_dotted(path)} is {as_json(found)} and not a count")


def list_at(value: object, *path: str | int) -> list[Any]:
    """Return the list at a path."""
    found = value_at(value, *path)
    if isinstance(found, list):
        return found
    raise ViolationError(f"{_dotted(path)} is {as_json(found)} and not a list")


def object_at(value: object, *path: str | int) -> dict[str, Any]:
    """Return the JSON object at a path."""
    found = value_at(value, *path)
    if isinstance(found, dict):
        return found
    raise ViolationError(f"{_dotted(path)} is {as_json(found)} and not an object")


def optional_string(value: object, name: str) -> str:
    """Return the string in a field of an object; "" if the field is null or missing."""
    found = object_at(value).get(name)
    return "" if found is None else string_at(value, name)


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ViolationError: the text is not a JSON object.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise ViolationError(f"this is not a JSON object: {text}")


def as_json(value: object) -> str:
    """Format a value for an error message."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "a value that is nested too deeply"


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))
