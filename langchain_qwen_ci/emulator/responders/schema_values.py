"""Creates values that fit a JSON schema from a text, for function arguments and JSON answers."""

from __future__ import annotations

import json
import math
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests.parsed_request import as_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]|(?<!\w)['‘]([^'‘’]+)['’](?!\w)")  # noqa: RUF001
# The results in a sentence such as "7**5 = 16807.".
_RESULT = re.compile(r" = (\S+)")
# The subject of a question follows its last preposition.
_TOPIC = re.compile(r".*\b(?:in|of|for|about|is)\s+([^?.!\n]+)", re.DOTALL)
# Schemas may be recursive: below the first depth only required members are created, and below the
# second none.
_FULL_DEPTH = 4
_MAX_DEPTH = 16
# Limits on the work that the text or the schema of a single request can cause.
_MAX_ITEMS = 100
_MAX_BRACES = 200
_MAX_CHARACTERS = 10_000
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "uri": "https://example.com/",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class ExampleValues:
    """The numbers and words from which values are made.

    Args:
        text: the question, or an answer whose results (after "=") are its first numbers.
        numbers: a text whose numbers are used first, such as the results of code.

    Attributes:
        words: the words for strings: a quotation, the topic of the question, or all of it.
    """

    def __init__(self, text: str, numbers: str = "") -> None:
        results = " ".join(_RESULT.findall(text))
        self._numbers = iter(_numbers_in(f"{numbers} {results} {text}"))
        # Instructions about the format of the answer are in later paragraphs.
        question = text.strip().partition("\n\n")[0]
        quoted, topic = _QUOTED.search(question), _TOPIC.match(question)
        words = (quoted[1] or quoted[2]) if quoted else topic[1] if topic else question
        self.words = words.strip() or "something"

    def number(self) -> float:
        """Return the next number; 0 when all are used."""
        return next(self._numbers, 0)


def _numbers_in(text: str) -> list[float]:
    """Return the numbers of a text, integers as int, without those that Python cannot represent."""
    found: list[float] = []
    for number in _NUMBER.findall(text):
        with suppress(ValueError):  # Python converts no more than 4300 digits to an int
            found.append(float(number) if any(mark in number for mark in ".e") else int(number))
    return [number for number in found if abs(number) < math.inf]


def value_for(schema: Mapping[str, Any], examples: ExampleValues) -> object:
    """Return a value that fits a JSON schema."""
    return _Builder(schema, examples).value(schema, 0)


def arguments_for(schema: Mapping[str, Any], examples: ExampleValues) -> dict[str, object]:
    """Return arguments that fit the schema of a function's parameters."""
    return _Builder(schema, examples).members(schema, 0)


def schema_in(text: str) -> dict[str, Any] | None:
    """Return the last JSON schema of an object in a text; None if there is none."""
    found = [schema for _, schema in _schemas(text)]
    return found[-1] if found else None


def without_schemas(text: str) -> str:
    """Return a text without its JSON schemas and the fences around them."""
    for source, _ in _schemas(text):
        text = text.replace(source, "")
    return re.sub(r"```(?:json)?\s*```", "", text)


def _schemas(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    decoder = json.JSONDecoder()
    at = text.find("{") if '"properties"' in text else -1
    tries = _MAX_BRACES  # each try may read the text to its end
    while at >= 0 and tries:
        tries -= 1
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:  # nested too deeply, as are the objects inside it
            return
        except ValueError:
            end = at + 1
        else:
            if isinstance(as_object(value).get("properties"), dict):
                yield text[at:end], value
        at = text.find("{", end)


def _list(value: object) -> list[Any]:
    """Return the value if it is a JSON array, otherwise an empty list."""
    return value if isinstance(value, list) else []


class _Builder:
    """Builds values for the parts of one schema; references are resolved in its root."""

    def __init__(self, root: Mapping[str, Any], examples: ExampleValues) -> None:
        self._root = root
        self._examples = examples

    def value(self, schema: Mapping[str, Any], depth: int) -> object:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return self._choose(choices)
        kinds = schema.get("type") or ("object" if "properties" in schema else "string")
        named = kinds if isinstance(kinds, list) else [kinds]
        match next((kind for kind in named if kind != "null"), "null"):
            case "object":
                return self.members(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema)
            case kind:
                return self._scalar(schema, str(kind))

    def members(self, schema: Mapping[str, Any], depth: int) -> dict[str, object]:
        properties = as_object(schema.get("properties"))
        required = _list(schema.get("required")) if depth < _MAX_DEPTH else []
        wanted = properties if _is_shallow(depth) else filter(properties.get, map(str, required))
        return {name: self.value(as_object(properties[name]), depth + 1) for name in wanted}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[object]:
        items = as_object(schema.get("items"))
        least = min(_numeric_keyword(schema, "minItems", 1), _MAX_ITEMS)
        wanted = max(1, int(least)) if _is_shallow(depth) else 0
        return [self.value(items, depth + 1) for _ in range(wanted)]

    def _scalar(self, schema: Mapping[str, Any], kind: str) -> float | bool | None:
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        return True if kind == "boolean" else None

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow references, and take the first alternative that is not null."""
        for _ in range(_MAX_DEPTH):
            choices = _list(schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"))
            if reference := schema.get("$ref"):
                schema = self._resolve(str(reference))
            elif choices:
                schemas = map(as_object, choices)
                schema = next(
                    (choice for choice in schemas if choice.get("type") != "null"), {"type": "null"}
                )
            else:
                break
        return schema

    def _resolve(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = as_object(found).get(name)
        return as_object(found)

    def _choose(self, choices: list[object]) -> object:
        """Return the choice that the text mentions, otherwise the first."""
        words_in_text = self._examples.words.lower()
        mentioned = (choice for choice in choices if str(choice).lower() in words_in_text)
        return next(mentioned, choices[0])

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        value = self._examples.number()
        for name, step in (("minimum", 0), ("exclusiveMinimum", 1)):
            value = max(value, _numeric_keyword(schema, name, value - step) + step)
        for name, step in (("maximum", 0), ("exclusiveMaximum", 1)):
            value = min(value, _numeric_keyword(schema, name, value + step) - step)
        return int(value) if whole or abs(value) > sys.float_info.max else float(value)

    def _string(self, schema: Mapping[str, Any]) -> str:
        words = _FORMATS.get(str(schema.get("format")), self._examples.words)
        shortest = min(_numeric_keyword(schema, "minLength", 0), _MAX_CHARACTERS)
        words = words.ljust(int(shortest), ".")
        return words[: max(0, int(_numeric_keyword(schema, "maxLength", len(words))))]


def _is_shallow(depth: int) -> bool:
    return depth < _FULL_DEPTH


def _numeric_keyword(schema: Mapping[str, Any], name: str, default: float) -> float:
    """Return a numeric keyword of a schema; the default if its value is not a number."""
    value = schema.get(name)
    return value if isinstance(value, int | float) and abs(value) < math.inf else default
