"""Converts the service's `usage` object to a `TokensUsed` event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.wire.events import TokensUsed
from langchain_qwen_ci.wire.json_values import is_count, is_json_safe

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.events import Event


# LangChain's names of details; other details lose the suffix "_tokens".
_DETAIL_NAMES = {"cached_tokens": "cache_read", "cache_creation_input_tokens": "cache_creation"}


def usage_events(usage: dict[str, Any]) -> list[Event]:
    """Return the event for a `usage` object; an empty list for an empty object."""
    return [to_tokens_used(usage)] if usage else []


def to_tokens_used(usage: dict[str, Any]) -> TokensUsed:
    """Convert the `usage` object of any API. A value that is not a count is read as 0.

    The native API and Responses name the counts `input_tokens` and `output_tokens`, Chat
    Completions `prompt_tokens` and `completion_tokens`. Call counts of plugins are in `plugins`, on
    Responses in `x_tools`.
    """
    input_tokens = _count(usage.get("input_tokens")) or _count(usage.get("prompt_tokens"))
    output_tokens = _count(usage.get("output_tokens")) or _count(usage.get("completion_tokens"))
    return TokensUsed(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=_count(usage.get("total_tokens")) or input_tokens + output_tokens,
        # Tokens written to the cache may also be counted outside of the details.
        input_details=_details(
            {"cache_creation_input_tokens": usage.get("cache_creation_input_tokens")}
        )
        | _details(usage.get("input_tokens_details"))
        | _details(usage.get("prompt_tokens_details")),
        output_details=_details(usage.get("output_tokens_details"))
        | _details(usage.get("completion_tokens_details")),
        plugins=_plugins(usage.get("plugins")) or _plugins(usage.get("x_tools")),
    )


def _plugins(plugins: object) -> dict[str, dict[str, Any]] | None:
    if not isinstance(plugins, dict):
        return None
    return {name: _plugin(usage) for name, usage in plugins.items() if isinstance(usage, dict)}


def _plugin(usage: dict[str, Any]) -> dict[str, Any]:
    """Keep the fields that can be stored, such as `{"count": 1, "strategy": "turbo"}`."""
    return {
        name: _count(value) if name == "count" else value
        for name, value in usage.items()
        if is_json_safe(value) or name == "count"
    }


def _details(details: object) -> dict[str, int]:
    """Convert `{"cached_tokens": 3, "text_tokens": 5}` to LangChain's names.

    Values that are not integers are dropped: LangChain cannot add them when it merges chunks.
    """
    if not isinstance(details, dict):
        return {}
    return {
        _DETAIL_NAMES.get(name) or name.removesuffix("_tokens"): count
        for name, count in details.items()
        if is_count(count)
    }


def _count(value: object) -> int:
    return value if is_count(value) else 0
