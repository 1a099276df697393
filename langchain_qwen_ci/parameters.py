"""What a request may ask for: fields of the chat model, and keyword arguments of every call.

Ranges are those of DashScope's API reference; what is out of range is refused before sending.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field

from langchain_qwen_ci import catalogue
from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError
from langchain_qwen_ci.wire.prompt import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTERPRETER_TOOL = "code_interpreter"


class Parameters(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(default="qwen3-max", min_length=1)
    """Name of the model; `catalogue.MODELS` lists those known to run code."""

    endpoint: catalogue.Endpoint | None = None
    """The native path to use, for a model whose path the catalogue has wrong."""

    enable_code_interpreter: bool = True
    """Whether the service may write Python and run it. Excludes function tools."""

    enable_thinking: bool | None = None
    """None: on with the interpreter, else as the model does by default."""

    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    """Longest reasoning, in tokens."""

    temperature: Annotated[float, Field(ge=0, lt=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest answer, in tokens."""

    seed: Annotated[int, Field(ge=0)] | None = None
    stop: str | list[str] | None = None

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Any other parameter of the service, under its own name: arguments for every call."""


_SENT_AS_THEY_ARE = (
    "thinking_budget",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "seed",
)
_OWN_CALL_ARGUMENTS = ("tools", "functions", "stream")


def resolve(fields: Parameters, call: Mapping[str, Any], stop: Sequence[str] | None) -> Options:
    """What one call asks for: the model's fields, overridden by the call's arguments.

    Every way into the service passes here, so this is where function tools are refused.

    Args:
        fields: the chat model.
        call: the keyword arguments of the call; names that are no fields are sent as
            parameters of the service.
        stop: the call's own stop sequences.

    Raises:
        ToolsNotAllowedError: function tools while the interpreter is on.
        ValueError: a value out of range, or one that contradicts another.
    """
    more = call.get("model_kwargs", fields.model_kwargs)
    if isinstance(more, dict):  # anything else is refused below
        call = {**more, **call}
    chosen = {name: call.get(name, getattr(fields, name)) for name in Parameters.model_fields}
    if stop is not None:
        chosen["stop"] = list(stop)
    wishes = Parameters.model_validate(chosen)
    others = {
        name: value
        for name, value in call.items()
        if name not in Parameters.model_fields and name not in _OWN_CALL_ARGUMENTS
    }
    tools = [*(call.get("tools") or ()), *map(_as_tool, call.get("functions") or ())]
    interpreter = wishes.enable_code_interpreter or any(map(is_interpreter, tools))
    given = [tool for tool in tools if not is_interpreter(tool)]
    if interpreter:
        refuse_tools(given)
    functions = [as_function(tool) for tool in given]
    parameters = _parameters(wishes, others)
    if not functions:
        parameters.pop("tool_choice", None)
        parameters.pop("parallel_tool_calls", None)
    elif "tool_choice" in parameters:
        parameters["tool_choice"] = _tool_choice(parameters["tool_choice"], functions)
    return Options(
        model=wishes.model,
        endpoint=wishes.endpoint or catalogue.endpoint_of(wishes.model),
        enable_code_interpreter=interpreter,
        enable_thinking=thinking(
            wishes.model, wished=wishes.enable_thinking, interpreter=interpreter
        ),
        tools=functions,
        parameters=parameters,
    )


def thinking(model: str, *, wished: bool | None, interpreter: bool) -> bool | None:
    """Whether to think: on with the interpreter, unless said otherwise.

    Raises:
        QwenInputError: the model cannot run code without thinking.
    """
    if not interpreter:
        return wished
    row = catalogue.known_model(model)
    if wished is False and row is not None and row.thinking == "required":
        raise QwenInputError(
            f"{model} cannot run code with thinking off: drop enable_thinking=False, or pass "
            "enable_code_interpreter=False."
        )
    return wished is not False


def is_interpreter(tool: object) -> bool:
    """Whether a tool is the switch for the interpreter and no function."""
    return isinstance(tool, dict) and tool.get("type") == INTERPRETER_TOOL


def refuse_tools(functions: Sequence[object]) -> None:
    """Refuse function tools beside the interpreter.

    Raises:
        ToolsNotAllowedError: there are some.
    """
    if not functions:
        return
    names = ", ".join(_name(function) for function in functions)
    raise ToolsNotAllowedError(
        f"The code interpreter is on, and the service does not take function tools beside it "
        f"(given: {names}). Either pass enable_code_interpreter=False to use the tools, or leave "
        "the tools out; for both in one program, use two models, one for each."
    )


def _name(function: object) -> str:
    if isinstance(function, dict):
        inner = function.get("function")
        named = inner if isinstance(inner, dict) else function
        return str(named.get("name") or named.get("title") or named.get("type") or "unnamed")
    return str(getattr(function, "name", None) or getattr(function, "__name__", "unnamed"))


def _as_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's older `functions=` lists the functions without their wrapping."""
    return {"type": "function", "function": dict(function)}


def _parameters(wishes: Parameters, others: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        name: value for name in _SENT_AS_THEY_ARE if (value := getattr(wishes, name)) is not None
    }
    if wishes.stop:
        parameters["stop"] = wishes.stop
    parameters |= {name: value for name, value in others.items() if value is not None}
    if "thinking_budget" in parameters and "reasoning_effort" in parameters:
        raise QwenInputError(
            "Pass thinking_budget or reasoning_effort: the service takes only one."
        )
    return parameters


def _tool_choice(choice: object, functions: Sequence[Mapping[str, Any]]) -> object:
    """LangChain's ways to say it, in the service's: "auto", "none", or one function by name.

    Raises:
        QwenInputError: a tool is named that was not given.
    """
    if isinstance(choice, dict) or choice in ("auto", "none"):
        return choice
    names = [function["function"]["name"] for function in functions]
    if choice in ("any", "required", True):
        if len(names) > 1:
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


def as_function(tool: object) -> dict[str, Any]:
    """A LangChain tool, function, class or schema in OpenAI's shape."""
    return convert_to_openai_tool(tool)  # type: ignore[arg-type]  # it checks by itself
