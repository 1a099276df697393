"""The tools of a request of the Responses API, and its choice among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests.parsed_request import as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.emulator.wires.interface import Payload

SERVER_TOOLS = frozenset(
    ("web_search", "web_extractor", "web_search_image", "image_search", "file_search", "mcp")
)


def tools_and_choice(body: Mapping[str, Any]) -> tuple[list[Payload], object]:
    """Return the tools that the request allows, and its choice in the format of Chat Completions.

    A choice that does not exist is returned unchanged.
    """
    given = body.get("tools")
    # The values have not been checked: a type that is not a string may not be hashable.
    tools = [
        tool
        for tool in (given if isinstance(given, list) else [])
        if isinstance(as_object(tool).get("type"), str)
    ]
    choice = body.get("tool_choice") or "auto"
    details = as_object(choice)
    if details.get("type") == "function":
        return tools, {"type": "function", "function": {"name": details.get("name")}}
    if details.get("type") == "allowed_tools":
        allowed = details.get("tools")
        if details.get("mode") not in ("auto", "required") or not isinstance(allowed, list):
            return tools, choice
        tools = [tool for tool in tools if any(_is_named(tool, entry) for entry in allowed)]
        choice = details["mode"]
    if choice == "required" and len(tools) > 1:
        choice = "auto"  # tools of the service count, too (see `ParsedRequest.forced_tool`)
    return tools, choice


def nested_functions(tools: list[Payload]) -> list[Payload]:
    """Convert function tools to the format of Chat Completions, which nests each in "function"."""
    return [{"type": "function", "function": tool} for tool in tools if tool["type"] == "function"]


def _is_named(tool: Payload, entry: object) -> bool:
    """Return whether an entry of allowed_tools names a tool, by its type and a function's name."""
    named = as_object(entry)
    names_equal = tool["type"] != "function" or tool.get("name") == named.get("name")
    return bool(tool["type"] == named.get("type")) and names_equal
