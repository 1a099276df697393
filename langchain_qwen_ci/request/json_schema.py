"""Makes JSON schemas from pydantic classes, and resolves their references."""

from __future__ import annotations

import json
import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter


class _WithoutFieldTitles(GenerateJsonSchema):
    """Omits the titles that pydantic derives from the names of fields: they cost tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's method
        return False


def schema_of(source: type[Any] | TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class, or of what a `TypeAdapter` describes."""
    if not isinstance(source, type):
        schema = source.json_schema(schema_generator=_WithoutFieldTitles)
    elif issubclass(source, BaseModel):
        schema = source.model_json_schema(schema_generator=_WithoutFieldTitles)
    else:
        schema = dict(source.schema())  # pydantic 1 returns the dict that it caches
    return inline_root(schema)


def inline_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose root is no reference.

    The schema of a recursive class is a reference into its own definitions.
    """
    if "$ref" not in schema:
        return schema
    rest = {name: value for name, value in schema.items() if name != "$ref"}
    return {**(resolve_reference(schema, schema) or {}), **rest}


def without_required(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema none of whose objects has required members."""
    return {
        # A property may have the name too, and is no list.
        name: _without_required_in(value)
        for name, value in schema.items()
        if not (name == "required" and isinstance(value, list))
    }


def _without_required_in(value: Any) -> Any:  # noqa: ANN401  # any value of a schema
    if isinstance(value, dict):
        return without_required(value)
    return list(map(_without_required_in, value)) if isinstance(value, list) else value


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Return whether a definition of a schema refers to itself, directly or through others."""
    definitions: dict[str, Any] = next(iter(_definitions(schema).values()), {})
    references = {
        name: re.findall(r'"#/(?:\$defs|definitions)/([^"]+)"', json.dumps(definition))
        for name, definition in definitions.items()
    }
    try:
        TopologicalSorter(references).prepare()
    except CycleError:
        return True
    return False


def resolve_reference(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a schema is a dict or a bool
    """Return the part of the root that a schema refers to; None if it is not in there."""
    found: Any = root
    path, *names = str(schema["$ref"]).split("/")
    for name in names:
        key = name.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found if path == "#" else None


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in ("$defs", "definitions") if name in schema}
