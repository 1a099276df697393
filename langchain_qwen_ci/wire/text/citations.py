"""Converts annotations of OpenAI's APIs to LangChain's citations."""

from __future__ import annotations

from typing import Any

from langchain_qwen_ci.wire.json_values import as_object, json_safe

_CITATION_FIELDS = ("url", "title", "start_index", "end_index")
_NOT_EXTRAS = frozenset({"type", "filename", *_CITATION_FIELDS})


def to_citation(annotation: object) -> dict[str, Any]:
    """Convert an annotation to an annotation of LangChain's text blocks.

    The known types are "url_citation", "file_citation", "container_file_citation" and "file_path";
    each becomes a `citation`, whose `title` is the name of a cited file. Chat Completions nests the
    fields under the type. Any other annotation becomes a `non_standard_annotation`.

    Raises:
        TypeError: the annotation is not an object.
        ValueError: it contains a number that cannot be stored.
    """
    fields = as_object(json_safe(annotation))
    kind = fields.get("type")
    if not isinstance(kind, str) or not kind.endswith(("citation", "file_path")):
        return {"type": "non_standard_annotation", "value": fields}
    if isinstance(nested := fields.get(kind), dict):
        fields = nested
    citation = {name: fields[name] for name in _CITATION_FIELDS if fields.get(name) is not None}
    if fields.get("filename"):
        citation.setdefault("title", fields["filename"])
    extras = {name: value for name, value in fields.items() if name not in _NOT_EXTRAS}
    return {"type": "citation", **citation, **({"extras": extras} if extras else {})}
