"""Checks the options of a call against an API, and converts them to those of a request."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import models
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.request.accepted_names import to_list
from langchain_qwen_ci.request.prompt import RequestOptions
from langchain_qwen_ci.request.tool_choice import (
    forces_call,
    to_tool_choice,
    warn_parallel_calls_not_limited,
    warn_tool_choice_not_sent,
)
from langchain_qwen_ci.request.tools import ToolSet, reveal_secrets, to_openai_tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.request.call_options import CallOptions
    from langchain_qwen_ci.request.parameters import Parameters

# Fields that are sent under their own name. A wire file renames those that its API names otherwise.
_SENT_UNCHANGED = (
    "thinking_budget",
    "reasoning_effort",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "instructions",
    "previous_response_id",
    "conversation",
    "store",
)
_RESPONSES_ONLY = ("instructions", "previous_response_id", "conversation", "store", "session_cache")
# Arguments of LangChain's calls that are not parameters of the service.
_NOT_SENT = ("tools", "functions", "stream")
_TOOL_PARAMETERS = ("tool_choice", "parallel_tool_calls")
# A container with these options only is what the service uses by itself.
_DEFAULT_CONTAINER = {"type": "auto"}


def resolve_options(call: CallOptions, target: models.Target) -> RequestOptions:
    """Convert the options of a call to those of a request to one API of one host.

    Every call passes through this function, so it is the one place where function tools are
    rejected while the interpreter is on.

    Raises:
        ToolsNotAllowedError: function tools while the interpreter is on.
        ValueError: a value contradicts another one, or this API does not support it.
    """
    fields, extra = call.parameters, call.extra
    check_api_support(fields, target)
    parameters = _service_parameters(fields, extra)
    legacy_functions = [
        {"type": "function", "function": function}
        for function in to_list(extra.get("functions") or ())
    ]
    tools = ToolSet.from_any(
        [*fields.builtin_tools, *to_list(extra.get("tools") or ()), *legacy_functions]
    )
    tools.check_server_tools(target.api)
    interpreter = fields.enable_code_interpreter or tools.interpreter
    if interpreter:
        _warn_of_unsent_options(tools.interpreter_tool or {}, target.api)
        tools.reject_functions()
        _reject_response_format(parameters)
    functions = [to_openai_tool(tool) for tool in tools.functions]
    parameters = _with_tool_choice(parameters, tools, functions, target, interpreter=interpreter)
    effort = _reasoning_effort(fields, extra)
    enable_thinking = resolve_thinking(fields, target, interpreter=interpreter, effort=effort)
    if (
        enable_thinking is None
        and effort in (None, "none")
        and forces_call(parameters.get("tool_choice"))
    ):
        # The service rejects a forced tool call from a model that is thinking, and newer models
        # think by default (cloudwego/eino#994, QwenLM/qwen-code#7659).
        enable_thinking = False
    endpoint = fields.endpoint or models.native_endpoint(fields.model)
    return RequestOptions(
        model=fields.model,
        endpoint=endpoint,
        # The compatible APIs of other hosts serve models that the catalogue does not describe.
        takes_media=endpoint == "multimodal-generation"
        or not (target.alibaba or target.api == "dashscope"),
        enable_code_interpreter=interpreter,
        interpreter_tool=_interpreter_tool(tools, target),
        enable_thinking=enable_thinking,
        preserve_thinking=fields.preserve_thinking,
        send_reasoning=models.preserves_thinking(fields.model, target.api)
        if fields.preserve_thinking is None
        else fields.preserve_thinking,
        functions=functions,
        server_tools=tuple(map(reveal_secrets, tools.server_tools)),
        session_cache=bool(fields.session_cache),
        parse_think_tags=_parse_think_tags(fields, target),
        parameters=parameters,
    )


def _interpreter_tool(tools: ToolSet, target: models.Target) -> Mapping[str, Any]:
    """Return the interpreter as a tool of the Responses API.

    OpenAI's API requires a container, and so do servers that follow it; Alibaba's needs none.
    """
    default = {} if target.alibaba else {"container": _DEFAULT_CONTAINER}
    return {"type": CODE_INTERPRETER, **default, **(tools.interpreter_tool or {})}


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


def check_api_support(fields: Parameters, target: models.Target) -> None:
    """Reject parameters and tools that the API does not have, and parameters that exclude others.

    Raises:
        QwenInputError: such a parameter or tool is set.
    """
    if fields.thinking_budget is not None and fields.reasoning_effort is not None:
        raise QwenInputError(
            "Pass thinking_budget or reasoning_effort: the service takes only one."
        )
    if fields.conversation is not None and fields.previous_response_id is not None:
        raise QwenInputError(
            "Pass conversation or previous_response_id: the service takes only one."
        )
    ToolSet.from_any(fields.builtin_tools).check_server_tools(target.api)
    if target.alibaba and target.api != "chat_completions":
        _check_reasoning_effort(fields, target)
    if fields.parse_think_tags and target.api == "dashscope":
        raise QwenInputError(
            'parse_think_tags is for api="responses" and api="chat_completions": the native API '
            "sends reasoning separately."
        )
    if target.api == "responses":
        return
    for name in _RESPONSES_ONLY:
        if getattr(fields, name) is not None:
            raise QwenInputError(
                f'{name} is a parameter of api="responses" only, not of {target.api!r}.'
            )


def _parse_think_tags(fields: Parameters, target: models.Target) -> bool:
    if fields.parse_think_tags is not None:
        return fields.parse_think_tags
    return target.api != "dashscope" and not target.alibaba


def _check_reasoning_effort(fields: Parameters, target: models.Target) -> None:
    effort = fields.reasoning_effort
    if effort is None:
        return
    known = target.find_model(fields.model) is not None
    if known and not models.takes_reasoning_effort(fields.model, target.api):
        raise QwenInputError(
            f"{fields.model} takes no reasoning_effort on the native API, only qwen3.8 models do: "
            'pass thinking_budget, or use api="responses".'
        )
    if effort not in models.REASONING_EFFORTS:
        raise QwenInputError(
            f"reasoning_effort {effort!r} is none of {', '.join(models.REASONING_EFFORTS)}."
        )


def resolve_thinking(
    fields: Parameters, target: models.Target, *, interpreter: bool, effort: object
) -> bool | None:
    """Return the value of `enable_thinking`: on with the interpreter unless turned off.

    Args:
        fields: the fields of the model, overridden by the call's arguments.
        target: the API and the host.
        interpreter: whether the interpreter is on, as a field or as a tool.
        effort: the reasoning effort, from the field or from `reasoning`. "none" turns thinking off.

    Raises:
        QwenInputError: the service does not run code without thinking.
    """
    requested = fields.enable_thinking
    if not interpreter:
        return requested
    # On Responses the effort takes precedence.
    if effort is not None and (requested is None or target.api == "responses"):
        off = effort == "none"
    else:
        off = requested is False
    if off and _interpreter_requires_thinking(fields.model, target):
        raise QwenInputError(
            f"{fields.model} cannot run code with thinking off on api={target.api!r}: drop "
            'enable_thinking=False or reasoning_effort="none", or pass '
            "enable_code_interpreter=False."
        )
    if off and requested is None:
        return None  # the effort is sent
    return requested is not False


def _interpreter_requires_thinking(model: str, target: models.Target) -> bool:
    if not target.alibaba or target.api == "chat_completions":
        # Measured on Chat Completions: code runs without thinking, even on qwen3-max, for which
        # the documentation requires it.
        return False
    if target.api == "responses":
        return True  # measured for every model: the answer is `response.failed`
    spec = target.find_model(model)
    return spec is not None and spec.thinking == "required"


def _reasoning_effort(fields: Parameters, extra: Mapping[str, Any]) -> object:
    """Return the reasoning effort, from the field or in the format of the Responses API."""
    if fields.reasoning_effort is not None:
        return fields.reasoning_effort
    reasoning = extra.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, dict) else None


def _service_parameters(fields: Parameters, extra: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        name: value for name in _SENT_UNCHANGED if (value := getattr(fields, name)) is not None
    }
    if fields.stop:
        parameters["stop"] = fields.stop
    parameters |= {name: value for name, value in extra.items() if name not in _NOT_SENT}
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
    parameters: dict[str, Any],
    tools: ToolSet,
    functions: Sequence[Mapping[str, Any]],
    target: models.Target,
    *,
    interpreter: bool,
) -> dict[str, Any]:
    """Convert `tool_choice`; remove the parameters about tools where there are no tools."""
    tool_count = len(functions) + len(tools.server_tools)
    if target.api == "responses":
        tool_count += interpreter  # a flag, and not a tool, on the other APIs
    choice = parameters.get("tool_choice")
    if not tool_count:
        if choice not in (None, "auto", "none"):
            warn_tool_choice_not_sent(choice, interpreter=interpreter)
        return {name: value for name, value in parameters.items() if name not in _TOOL_PARAMETERS}
    if choice is not None:
        parameters["tool_choice"] = to_tool_choice(choice, functions, target, tool_count=tool_count)
    if (
        parameters.get("parallel_tool_calls") is False
        and target.alibaba
        and target.api == "responses"
    ):
        warn_parallel_calls_not_limited()
    return parameters
