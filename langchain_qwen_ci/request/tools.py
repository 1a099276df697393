"""Tools of a request, sorted: the interpreter's switch, other tools of the service, functions.

The service takes the interpreter or function tools, and not both; here that is refused.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError
from langchain_qwen_ci.response.content_blocks import CODE_INTERPRETER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Where the keys to an MCP server stand.
_SECRET = frozenset({"headers", "authorization"})
# A dictionary with another type is a tool of the service: they come faster than versions of this
# package. "object" is the type of a JSON schema, which stands for a function here.
_TYPES_OF_FUNCTIONS = frozenset({"function", "object"})


class MaskedSecret:
    """A secret of a tool of the service, which only a request shows."""

    def __init__(self, value: object = None) -> None:
        self._value = value

    def reveal(self) -> object:
        """The secret.

        Raises:
            QwenInputError: it was lost.
        """
        if self._value is None:
            raise QwenInputError("Pickles hold no keys of tools: bind the tool again.")
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[type[MaskedSecret], tuple[()]]:
        return MaskedSecret, ()

    def __copy__(self) -> MaskedSecret:
        return self

    def __deepcopy__(self, memo: object) -> MaskedSecret:
        return self


@dataclass(frozen=True, slots=True)
class ToolSet:
    """What was given as tools.

    Attributes:
        interpreter: whether the interpreter's switch is among them.
        server: other tools of the service, such as `{"type": "web_search"}`.
        functions: everything else, as it was given.
    """

    interpreter: bool
    server_tools: tuple[dict[str, Any], ...]
    functions: tuple[Any, ...]

    @classmethod
    def from_any(cls, tools: Iterable[Any]) -> ToolSet:
        """Sort tools; a name alone, such as "web_search", is a tool of the service."""
        tools = [{"type": tool} if isinstance(tool, str) else tool for tool in tools]
        server_tools = [tool for tool in tools if _is_server_tool(tool)]
        return cls(
            interpreter=any(tool["type"] == CODE_INTERPRETER for tool in server_tools),
            server_tools=tuple(tool for tool in server_tools if tool["type"] != CODE_INTERPRETER),
            functions=tuple(tool for tool in tools if not _is_server_tool(tool)),
        )

    def reject_functions(self) -> None:
        """Refuse function tools beside the interpreter.

        Raises:
            ToolsNotAllowedError: there are some.
        """
        if not self.functions:
            return
        names = ", ".join(map(_name, self.functions))
        raise ToolsNotAllowedError(
            "The code interpreter is on, and the service does not take function tools beside it "
            f"(given: {names}). Either pass enable_code_interpreter=False to use the tools, or "
            "leave the tools out; for both in one program, use two models, one for each."
        )

    def check_server_tools(self, api: str) -> None:
        """Refuse tools of the service that this API or combination does not have.

        Raises:
            QwenInputError: there are some.
        """
        names = [str(tool["type"]) for tool in self.server_tools]
        if names and api != "responses":
            raise QwenInputError(
                f"{', '.join(names)}: the service has such tools on the Responses API only. Use "
                'api="responses"; for a web search on this one, pass enable_search=True.'
            )
        if "web_extractor" in names and "web_search" not in names:  # measured: response.failed
            raise QwenInputError("web_extractor works with web_search only: pass both.")


def mask_secrets(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool of the service as a binding keeps it, which may be printed or serialised."""
    return {
        name: MaskedSecret(value)
        if name in _SECRET and not isinstance(value, MaskedSecret)
        else value
        for name, value in tool.items()
    }


def reveal_secrets(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool of the service as it is sent."""
    return {
        name: value.reveal() if isinstance(value, MaskedSecret) else value
        for name, value in tool.items()
    }


def redact_secrets(tool: object) -> object:
    """A tool as it may be shown in a trace."""
    if not isinstance(tool, dict):
        return tool
    return {name: "***" if name in _SECRET else value for name, value in tool.items()}


def _is_server_tool(tool: object) -> bool:
    return (
        isinstance(tool, dict)
        and isinstance(tool.get("type"), str)
        and tool["type"] not in _TYPES_OF_FUNCTIONS
        and "function" not in tool
    )


def _name(function: object) -> str:
    if isinstance(function, dict):
        inner = function.get("function")
        named = inner if isinstance(inner, dict) else function
        return str(named.get("name") or named.get("title") or named.get("type") or "unnamed")
    return str(getattr(function, "name", None) or getattr(function, "__name__", "unnamed"))


def to_openai_tool(tool: object, *, strict: bool | None = None) -> dict[str, Any]:
    """A LangChain tool, function, class or schema in OpenAI's shape."""
    return convert_to_openai_tool(tool, strict=strict)  # type: ignore[arg-type]  # it checks


def to_tool_choice(choice: object, functions: Sequence[Mapping[str, Any]]) -> object:
    """LangChain's ways to say it, in the service's: "auto", "none", or one function by name.

    Raises:
        QwenInputError: a tool is named that was not given.
    """
    if isinstance(choice, dict) or choice in ("auto", "none"):
        return choice
    names = [function["function"]["name"] for function in functions]
    if choice in ("any", "required", True):
        if len(names) != 1:
            warnings.warn(
                "The service cannot be made to call any one of several tools: "
                f'tool_choice={choice!r} is sent as "auto".',
                stacklevel=2,
            )
            return "auto"
        choice = names[0]
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    raise QwenInputError(f"tool_choice {choice!r} is none of the tools: {', '.join(names)}.")
