"""Merges the model's fields with the arguments of a call, and checks the result against an API."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import models
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.request.parameters import Parameters
from langchain_qwen_ci.request.prompt import RequestOptions
from langchain_qwen_ci.request.tools import ToolSet, reveal_secrets, to_openai_tool, to_tool_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Fields that are sent under their own name. A wire file renames those that its API names otherwise.
_SENT_UNCHANGED = (
    "thinking_budget",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "seed",
    "instructions",
    "previous_response_id",
    "store",
)
_RESPONSES_ONLY = ("instructions", "previous_response_id", "store", "session_cache")
# Arguments of LangChain's calls that are not parameters of the service.
_NOT_SENT = ("tools", "functions", "stream")
_TOOL_PARAMETERS = ("tool_choice", "parallel_tool_calls")
_DEFAULT_INTERPRETER_TOOL = {"type": CODE_INTERPRETER}
# A container with these options only is what the service uses by itself.
_DEFAULT_CONTAINER = {"type": "auto"}


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call: the model's fields, overridden by the call's arguments.

    Attributes:
        parameters: the fields, validated.
        extra: arguments of the call that are not fields: tools, and parameters of the service that
            this package does not declare.
    """

    parameters: Parameters
    extra: Mapping[str, Any]

    @classmethod
    def merge(
        cls, fields: Parameters, arguments: Mapping[str, Any], stop: Sequence[str] | None = None
    ) -> CallOptions:
        """Merge the model's fields with the arguments of a call.

        Args:
            fields: the chat model.
            arguments: the keyword arguments of the call.
            stop: the call's own stop sequences.

        Raises:
            ValueError: a value is out of range.
        """
        model_kwargs = arguments.get("model_kwargs", fields.model_kwargs)
        if isinstance(model_kwargs, dict):  # another type is an error of the validation below
            arguments = {**model_kwargs, **arguments}
        values = {
            name: arguments.get(name, getattr(fields, name)) for name in Parameters.model_fields
        }
        if stop is not None:
            values["stop"] = list(stop)
        extra = {
            name: value
            for name, value in arguments.items()
            if name not in Parameters.model_fields and value is not None
        }
        return cls(Parameters.model_validate(values), extra)


def resolve_options(call: CallOptions, api: models.Api) -> RequestOptions:
    """Convert the options of a call to those of a request to one API.

    Every call passes through this function, so it is the one place where function tools are
    rejected while the interpreter is on.

    Raises:
        ToolsNotAllowedError: function tools while the interpreter is on.
        ValueError: a value contradicts another one, or this API does not support it.
    """
    fields, extra = call.parameters, call.extra
    check_api_support(fields, api)
    parameters = _service_parameters(fields, extra)
    legacy_functions = [
        {"type": "function", "function": dict(function)}
        for function in extra.get("functions") or ()
    ]
    tools = ToolSet.from_any(
        [*fields.builtin_tools, *(extra.get("tools") or ()), *legacy_functions]
    )
    tools.check_server_tools(api)
    interpreter = fields.enable_code_interpreter or tools.interpreter
    if interpreter:
        _warn_of_unsent_options(tools.interpreter_tool or {}, api)
        tools.reject_functions()
        _reject_response_format(parameters)
    functions = [to_openai_tool(tool) for tool in tools.functions]
    parameters = _with_tool_choice(parameters, tools, functions)
    enable_thinking = resolve_thinking(
        fields.model, requested=fields.enable_thinking, interpreter=interpreter
    )
    if enable_thinking is None and isinstance(parameters.get("tool_choice"), dict):
        # The service rejects a forced tool call from a model that is thinking, and newer models
        # think by default (cloudwego/eino#994, QwenLM/qwen-code#7659).
        enable_thinking = False
    return RequestOptions(
        model=fields.model,
        endpoint=fields.endpoint or models.native_endpoint(fields.model),
        enable_code_interpreter=interpreter,
        interpreter_tool=tools.interpreter_tool or _DEFAULT_INTERPRETER_TOOL,
        enable_thinking=enable_thinking,
        preserve_thinking=bool(fields.preserve_thinking),
        functions=functions,
        server_tools=tuple(map(reveal_secrets, tools.server_tools)),
        session_cache=bool(fields.session_cache),
        parameters=parameters,
    )


def _warn_of_unsent_options(interpreter_tool: Mapping[str, Any], api: models.Api) -> None:
    """Warn of options of the interpreter on an API where it is a flag and not a tool."""
    names = [name for name in interpreter_tool if name != "type"]
    if interpreter_tool.get("container") == _DEFAULT_CONTAINER:
        names.remove("container")
    if names and api != "responses":
        warnings.warn(
            f"{', '.join(names)} of the code interpreter is not sent with api={api!r}, where the "
            'interpreter has no options: use api="responses".',
            stacklevel=2,
        )


def check_api_support(fields: Parameters, api: models.Api) -> None:
    """Reject parameters and tools that only the Responses API has, on the other APIs.

    Raises:
        QwenInputError: such a parameter or tool is set.
    """
    ToolSet.from_any(fields.builtin_tools).check_server_tools(api)
    if api == "responses":
        return
    for name in _RESPONSES_ONLY:
        if getattr(fields, name) is not None:
            raise QwenInputError(f'{name} is a parameter of api="responses" only, not of {api!r}.')


def resolve_thinking(model: str, *, requested: bool | None, interpreter: bool) -> bool | None:
    """Return the value of `enable_thinking`: on with the interpreter unless turned off.

    Raises:
        QwenInputError: the model cannot run code without thinking.
    """
    if not interpreter:
        return requested
    spec = models.find_model(model)
    if requested is False and spec is not None and spec.thinking == "required":
        raise QwenInputError(
            f"{model} cannot run code with thinking off: drop enable_thinking=False, or pass "
            "enable_code_interpreter=False."
        )
    return requested is not False


def _service_parameters(fields: Parameters, extra: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        name: value for name in _SENT_UNCHANGED if (value := getattr(fields, name)) is not None
    }
    if fields.stop:
        parameters["stop"] = fields.stop
    parameters |= {name: value for name, value in extra.items() if name not in _NOT_SENT}
    if "thinking_budget" in parameters and "reasoning_effort" in parameters:
        raise QwenInputError(
            "Pass thinking_budget or reasoning_effort: the service takes only one."
        )
    if parameters.get("n", 1) != 1:
        raise QwenInputError("A message holds one answer: for more of them, use batch, not n.")
    return parameters


def _reject_response_format(parameters: Mapping[str, Any]) -> None:
    """Reject a response format while the interpreter is on.

    With the interpreter the model thinks, and the service takes no response format then.

    Raises:
        QwenInputError: there is one.
    """
    response_format = parameters.get("response_format")
    if response_format is not None and response_format != {"type": "text"}:
        raise QwenInputError(
            "The code interpreter is on, and the service takes no response_format with it: use "
            "with_structured_output, which works all the same, or enable_code_interpreter=False."
        )


def _with_tool_choice(
    parameters: dict[str, Any], tools: ToolSet, functions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Convert `tool_choice`; remove the parameters about tools where there are no tools."""
    if not functions and not tools.server_tools:
        return {name: value for name, value in parameters.items() if name not in _TOOL_PARAMETERS}
    if "tool_choice" in parameters:
        parameters["tool_choice"] = to_tool_choice(parameters["tool_choice"], functions)
    return parameters
