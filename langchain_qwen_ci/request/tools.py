"""Sorts the tools of a request: the code interpreter, other tools of the service, functions.

This package sends the interpreter or function tools, but not both; `ToolSet.reject_functions`
raises for both. The service rejects both on Chat Completions (measured) and on the native API
(documented). On Responses they were seen to run together; its documentation allows it on one page
and excludes it on others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError
from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.request.accepted_names import to_list
from langchain_qwen_ci.request.json_schema import inline_root, is_recursive, schema_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Fields of an MCP server tool that hold its credentials.
_SECRET_FIELDS = frozenset({"headers", "authorization"})
# A dictionary of any other type is a tool of the service, because the service gets new tools more
# often than this package is released. "object" is the type of a JSON schema, which LangChain
# accepts as a function tool.
_FUNCTION_TYPES = frozenset({"function", "object"})
# Anthropic's type of its interpreter ends in the date of a version: "code_execution_20250825".
_ANTHROPIC_INTERPRETER = re.compile(r"code_execution_\d+")
# Google's interpreter is a dictionary with this key and no type: `{"code_execution": {}}`.
_GOOGLE_INTERPRETER = "code_execution"


Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
"""Anything that LangChain accepts as a tool."""


class MaskedSecret:
    """A secret of a bound tool. `repr` and pickles do not contain it; `reveal` returns it."""

    def __init__(self, value: object = None) -> None:
        self._value = value

    def reveal(self) -> object:
        """Return the secret.

        Raises:
            QwenInputError: the object was unpickled, and pickles do not contain the secret.
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
    """The tools of a call, sorted.

    Attributes:
        interpreter_tool: the code interpreter, if it is one of them, in the format of the Responses
            API: `{"type": "code_interpreter"}`, with a `container` if the caller passed one.
        server_tools: other tools of the service, such as `{"type": "web_search"}`.
        functions: all other tools, not yet converted to OpenAI's format.
    """

    interpreter_tool: Mapping[str, Any] | None
    server_tools: tuple[dict[str, Any], ...]
    functions: tuple[Any, ...]

    @classmethod
    def from_any(cls, tools: Any) -> ToolSet:  # noqa: ANN401  # one tool or several, of any type
        """Sort tools. A string, such as "web_search", is the name of a tool of the service.

        Anthropic's and Google's names of the interpreter mean `{"type": "code_interpreter"}`. If
        the interpreter is given several times, fields of later ones replace those of earlier ones.

        Raises:
            QwenInputError: an interpreter of Anthropic or Google has options.
        """
        tools = [
            _to_interpreter_tool({"type": tool} if isinstance(tool, str) else tool)
            for tool in to_list(tools)
        ]
        server_tools = [tool for tool in tools if _is_server_tool(tool)]
        interpreters = [tool for tool in server_tools if tool["type"] == CODE_INTERPRETER]
        merged = {name: value for tool in interpreters for name, value in tool.items()}
        return cls(
            interpreter_tool=merged or None,
            server_tools=tuple(tool for tool in server_tools if tool["type"] != CODE_INTERPRETER),
            functions=tuple(tool for tool in tools if not _is_server_tool(tool)),
        )

    @property
    def interpreter(self) -> bool:
        """Whether the code interpreter is one of the tools."""
        return self.interpreter_tool is not None

    def reject_functions(self) -> None:
        """Reject function tools; called while the interpreter is on.

        Raises:
            ToolsNotAllowedError: there are function tools.
        """
        if not self.functions:
            return
        names = ", ".join(map(_name, self.functions))
        raise ToolsNotAllowedError(
            "The code interpreter is on, and this package sends no function tools with it "
            f"(given: {names}). Either pass enable_code_interpreter=False to use the tools, or "
            "leave the tools out. For both in one agent, let it switch: create_agent(model, tools, "
            "middleware=[CodeInterpreterMiddleware()]); or make the interpreter one of its tools: "
            "create_agent(model_without_interpreter, [*tools, code_interpreter_tool(model)]). "
            "Both are in langchain_qwen_ci.agents."
        )

    def check_server_tools(self, api: str) -> None:
        """Reject tools of the service that the API, or a combination of tools, does not support.

        Raises:
            QwenInputError: there is such a tool.
        """
        names = [str(tool["type"]) for tool in self.server_tools]
        if names and api != "responses":
            raise QwenInputError(
                f"{', '.join(names)}: the service has such tools on the Responses API only. Use "
                'api="responses"; for a web search on this one, pass '
                'model_kwargs={"enable_search": True}.'
            )
        if "web_extractor" in names and "web_search" not in names:
            # Measured: the service answers with `response.failed`.
            raise QwenInputError("web_extractor works with web_search only: pass both.")


def mask_secrets(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool with its secrets masked: a binding that stores it may be printed or pickled."""
    return {
        name: MaskedSecret(value)
        if name in _SECRET_FIELDS and not isinstance(value, MaskedSecret)
        else value
        for name, value in tool.items()
    }


def reveal_secrets(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool with its secrets, to be sent."""
    return {
        name: value.reveal() if isinstance(value, MaskedSecret) else value
        for name, value in tool.items()
    }


def secret_fields(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the fields of tools that hold secrets, for an error."""
    return [
        f"{name} of the tool {tool['type']!r}"
        for tool in tools
        for name in sorted(_SECRET_FIELDS & tool.keys())
        if tool[name]
    ]


def secret_texts(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the secrets of tools, which no error may repeat."""
    values = [tool.get(name) for tool in tools for name in _SECRET_FIELDS]
    return [
        text
        for value in values
        for text in (value.values() if isinstance(value, dict) else [value])
        if isinstance(text, str)
    ]


def redact_secrets(tool: object) -> object:
    """Return a tool with its secrets replaced by asterisks, for traces."""
    if not isinstance(tool, dict):
        return tool
    return {name: "***" if name in _SECRET_FIELDS else value for name, value in tool.items()}


def _to_interpreter_tool(tool: Any) -> Any:  # noqa: ANN401  # tools of any kind
    """Convert Anthropic's and Google's interpreter to the service's; return other tools as given.

    Raises:
        QwenInputError: the interpreter has options, which the service does not know.
    """
    if not isinstance(tool, dict):
        return tool
    if _ANTHROPIC_INTERPRETER.fullmatch(str(tool.get("type"))):
        options = {name: value for name, value in tool.items() if name not in ("type", "name")}
    elif _GOOGLE_INTERPRETER in tool and "type" not in tool:
        options = {name: value for name, value in tool.items() if name != _GOOGLE_INTERPRETER}
        options |= tool[_GOOGLE_INTERPRETER] or {}
    else:
        return tool
    if options:
        raise QwenInputError(
            f"Qwen's code interpreter has no {', '.join(map(str, options))}: leave that out, or "
            'pass {"type": "code_interpreter"}.'
        )
    return {"type": CODE_INTERPRETER}


def _is_server_tool(tool: object) -> bool:
    return (
        isinstance(tool, dict)
        and isinstance(tool.get("type"), str)
        and tool["type"] not in _FUNCTION_TYPES
        and "function" not in tool
    )


def _name(function: object) -> str:
    """Return the name of a function tool of any form that LangChain accepts, for an error."""
    if isinstance(function, dict):
        inner = function.get("function")
        schema = inner if isinstance(inner, dict) else function
        names = (schema.get(name) for name in ("name", "title", "type"))
        return next((name for name in names if isinstance(name, str) and name), "unnamed")
    name = getattr(function, "name", None) or getattr(function, "__name__", None)
    return name if isinstance(name, str) else f"of type {type(function).__name__}"


def to_openai_tool(tool: object, *, strict: bool | None = None) -> dict[str, Any]:
    """Convert a LangChain tool, function, class or JSON schema to OpenAI's format.

    Raises:
        QwenInputError: LangChain cannot convert it.
    """
    try:
        # LangChain checks the type at runtime.
        given: Any = _with_references(tool)
        converted = convert_to_openai_tool(given, strict=strict)
        # LangChain returns a dictionary that looks converted without a check.
        if not isinstance(converted["function"]["name"], str):
            raise TypeError("the name is not a string")  # noqa: TRY301  # reported below
    except RecursionError:
        raise QwenInputError(
            f"The schema of the tool {_name(tool)} contains itself, or is nested too deeply."
        ) from None
    except Exception as error:  # noqa: BLE001  # LangChain, pydantic, the tool raise any type
        # LangChain's error repeats a dictionary, which may contain the credentials of a server.
        reason = "" if isinstance(tool, dict) else f" ({' '.join(str(error).split())})"
        raise QwenInputError(
            f"The tool {_name(tool)} cannot be converted to a JSON schema{reason}. Pass a function "
            "with annotations and a docstring, a LangChain tool, a pydantic class, or a dictionary "
            "in OpenAI's format."
        ) from (None if isinstance(tool, dict) else error)
    return converted


def _with_references(tool: object) -> object:
    """Return a tool whose schema is recursive as a dictionary; return other tools as given.

    LangChain replaces references by what they refer to (langchain-core 1.6 to 1.8), and recursive
    ones by a schema that anything fits.
    """
    source = _argument_schema(tool)
    if isinstance(source, type) and issubclass(source, BaseModel):
        schema = schema_of(source)
    elif isinstance(source, dict) and "$defs" in source:  # a JSON schema
        schema = inline_root(source)
    else:
        return tool
    if not is_recursive(schema):
        return tool
    described = (
        {"name": tool.name, "description": tool.description}
        if isinstance(tool, BaseTool)
        else {"name": schema.get("title"), "description": schema.get("description", "")}
    )
    parameters = {name: schema[name] for name in schema if name not in ("title", "description")}
    return {**described, "parameters": parameters}


def _argument_schema(tool: object) -> object:
    """Return the class or JSON schema of a tool's arguments."""
    if isinstance(tool, BaseTool):
        return tool.tool_call_schema
    if isinstance(tool, FunctionType):
        # As LangChain converts a function.
        return create_schema_from_function(
            tool.__name__,
            tool,
            filter_args=(),
            parse_docstring=True,
            error_on_invalid_docstring=False,
            include_injected=False,
        )
    return tool
