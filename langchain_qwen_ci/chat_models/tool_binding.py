"""Implements the model's `bind_tools`: tools of the service, function tools, an agent's schema."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from langchain_core.tools import StructuredTool

from langchain_qwen_ci.chat_models.schema_turn import answer_in_json, call_schema_tool
from langchain_qwen_ci.request.tools import mask_secrets, to_openai_tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from langchain_qwen_ci.request.tools import ToolSet

    Model = Runnable[LanguageModelInput, AIMessage]


@dataclass(frozen=True, slots=True)
class ToolBinding:
    """Binds tools to a model.

    Attributes:
        tool_choice: bound only if there are tools.
        strict: whether the service should enforce the schema of arguments.
    """

    model: BaseChatModel
    tools: ToolSet
    tool_choice: str | dict[str, Any] | bool | None
    strict: bool | None

    def without_interpreter(self, arguments: Mapping[str, Any]) -> Model:
        """Bind function tools and tools of the service, with the other arguments of each call."""
        functions = [to_openai_tool(tool, strict=self.strict) for tool in self.tools.functions]
        bound = [*map(mask_secrets, self.tools.server_tools), *functions]
        return self.model.bind(**self._with_tools(arguments, bound))

    def with_interpreter(self, arguments: Mapping[str, Any]) -> Model:
        """Bind tools of the service, and a schema of `create_agent(response_format=…)`.

        Raises:
            ToolsNotAllowedError: there are function tools.
        """
        schemas = [tool for tool in self.tools.functions if _is_schema_tool(tool)]
        functions = tuple(tool for tool in self.tools.functions if not _is_schema_tool(tool))
        replace(self.tools, functions=functions).reject_functions()
        # Without options the interpreter's tool says no more than enable_code_interpreter.
        interpreter = self.tools.interpreter_tool or {}
        options = [interpreter] if len(interpreter) > 1 else []
        bound = [*options, *map(mask_secrets, self.tools.server_tools)]
        if schemas:  # the tool choice concerns them
            answering = self.model.bind(**arguments, **({"tools": bound} if bound else {}))
            return call_schema_tool(
                self.model, answering, schemas, strict=self.strict, arguments=arguments
            )
        response_format = arguments.get("response_format")
        if _is_json_schema(response_format):
            others = {key: value for key, value in arguments.items() if key != "response_format"}
            answering = self.model.bind(**self._with_tools(others, bound))
            return answer_in_json(self.model, answering, response_format, arguments=others)
        return self.model.bind(**self._with_tools(arguments, bound))

    def _with_tools(
        self, arguments: Mapping[str, Any], bound: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        tools = {"tools": bound} if bound else {}
        # The interpreter counts as a tool that can be chosen, though it is a flag without options.
        has_choice = self.tool_choice is not None and (bound or self.tools.interpreter_tool)
        choice = {"tool_choice": self.tool_choice} if has_choice else {}
        return {**arguments, **tools, **choice}


def _is_schema_tool(tool: object) -> TypeGuard[StructuredTool]:
    """Return whether a function tool has no function to run: the schema of a `ToolStrategy`."""
    return isinstance(tool, StructuredTool) and tool.func is None and tool.coroutine is None


def _is_json_schema(response_format: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a `response_format` has a schema, as that of a `ProviderStrategy`."""
    return isinstance(response_format, dict) and response_format.get("type") == "json_schema"
