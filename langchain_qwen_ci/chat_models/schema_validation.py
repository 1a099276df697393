"""Checks answers against JSON schemas.

The keywords that schemas of answers use most are checked, because the package depends on nothing
that checks all of them. Other keywords are ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.request.json_schema import resolve_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
}
_EXCERPT_LENGTH = 60


def find_mismatch(answer: object, schema: Mapping[str, Any]) -> str | None:
    """Return the first difference between an answer and a JSON schema; None if there is none.

    Checked are type, enum, const, properties, required, additionalProperties, items, prefixItems,
    anyOf, oneOf (as anyOf), allOf, and $ref within the schema.
    """
    try:
        return next(_mismatches(answer, schema, schema, "the answer"), None)
    except RecursionError:
        return "the answer is nested too deeply, or the schema refers to itself without end"


def _mismatches(
    value: object, schema: object, root: Mapping[str, Any], place: str
) -> Iterator[str]:
    if schema is False:
        yield f"{place} is not allowed"
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield from _mismatches(value, resolve_reference(schema, root), root, place)
    yield from _type_mismatches(value, schema, place)
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices is not None and not any(_equal(value, choice) for choice in choices):
        yield f"{place} is {_excerpt(value)}, none of {_excerpt(choices)}"
    if isinstance(value, dict):
        yield from _member_mismatches(value, schema, root, place)
    elif isinstance(value, list):
        yield from _item_mismatches(value, schema, root, place)
    yield from _alternative_mismatches(value, schema, root, place)


def _type_mismatches(value: object, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    types = schema.get("type", [])
    names = types if isinstance(types, list) else [types]
    if names and not any(_TYPES[name](value) for name in names if name in _TYPES):
        yield f"{place} is {_excerpt(value)}, not of type {' or '.join(map(str, names))}"


def _member_mismatches(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{place} has no {name!r}"
    # A name that is no property may fit one of the patterns, which are not checked.
    additional = None if "patternProperties" in schema else schema.get("additionalProperties")
    for name, member in value.items():
        expected = properties.get(name, additional)
        yield from _mismatches(member, expected, root, f"{place}.{name}")


def _item_mismatches(
    value: Sequence[object], schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    first = schema.get("prefixItems", [])
    for index, item in enumerate(value):
        expected = first[index] if index < len(first) else schema.get("items")
        yield from _mismatches(item, expected, root, f"{place}[{index}]")


def _alternative_mismatches(
    value: object, schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    for part in schema.get("allOf", []):
        yield from _mismatches(value, part, root, place)
    for keyword in ("anyOf", "oneOf"):
        choices = schema.get(keyword, [])
        found = [next(_mismatches(value, choice, root, place), None) for choice in choices]
        if found and None not in found:
            yield f"{place} fits no alternative ({'; '.join(filter(None, found))})"


def _equal(value: object, choice: object) -> bool:
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)


def _excerpt(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _EXCERPT_LENGTH else f"{text[:_EXCERPT_LENGTH]}…"
