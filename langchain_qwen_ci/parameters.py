"""What a request may ask for: fields of the chat model, and keyword arguments of every call.

Ranges are those of DashScope's API reference; what is out of range is refused before sending.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from langchain_qwen_ci import catalogue
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.limits import Limits
from langchain_qwen_ci.tools import Tools, as_function, as_tool_choice, revealed
from langchain_qwen_ci.wire.prompt import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Parameters(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(default="qwen3-max", min_length=1)
    """Name of the model; `catalogue.MODELS` lists those known to run code."""

    endpoint: catalogue.Endpoint | None = None
    """The native path to use, for a model whose path the catalogue has wrong."""

    enable_code_interpreter: bool = True
    """Whether the service may write Python and run it. Excludes function tools."""

    builtin_tools: list[str] = Field(default_factory=list)
    """Names of other tools of the service, such as "web_search"; `api="responses"` only. They go
    beside the interpreter. One that needs more than its name, such as an MCP server and its secret
    headers, is bound with `bind_tools`: what stands here is shown in traces."""

    enable_thinking: bool | None = None
    """None: on with the interpreter, else as the model does by default."""

    preserve_thinking: bool | None = None
    """Whether earlier answers go with their reasoning, for the model to read it again."""

    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    """Longest reasoning, in tokens. Not for `api="responses"`, which has `reasoning_effort`."""

    temperature: Annotated[float, Field(ge=0, lt=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest answer, in tokens; 16 or more with `api="responses"`."""

    max_request_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of one request, over all its inferences: more of them end the answer with
    `QwenBudgetError`, and what there is as its `partial`. Checked as the service tells of them."""

    max_code_executions: Annotated[int, Field(ge=0)] | None = None
    """Most programs of one request; one more ends the answer in the same way. Chat Completions
    shows none, so there is nothing to count there."""

    seed: Annotated[int, Field(ge=0)] | None = None
    stop: str | list[str] | None = None

    instructions: str | None = None
    """A system message for this request only; `api="responses"` only."""

    previous_response_id: str | None = None
    """`request_id` of an answer to go on from, which the service keeps for seven days;
    `api="responses"` only."""

    store: bool | None = None
    """Whether the service keeps the answer to go on from (default: it does);
    `api="responses"` only."""

    session_cache: bool | None = None
    """Whether the service may cache the conversation; `api="responses"` only."""

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
    "instructions",
    "previous_response_id",
    "store",
)
_RESPONSES_ONLY = ("instructions", "previous_response_id", "store", "session_cache")
_OWN_CALL_ARGUMENTS = ("tools", "functions", "stream")
_ABOUT_TOOLS = ("tool_choice", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one call asks for: the model's fields, overridden by the call's arguments.

    Attributes:
        parameters: the fields, in their ranges.
        others: arguments of the call that are no fields: tools, and parameters of the service.
    """

    parameters: Parameters
    others: Mapping[str, Any]

    @classmethod
    def of(
        cls, fields: Parameters, call: Mapping[str, Any], stop: Sequence[str] | None = None
    ) -> Wishes:
        """Put them together.

        Args:
            fields: the chat model.
            call: the keyword arguments of the call.
            stop: the call's own stop sequences.

        Raises:
            ValueError: a value out of range.
        """
        more = call.get("model_kwargs", fields.model_kwargs)
        if isinstance(more, dict):  # anything else is refused below
            call = {**more, **call}
        chosen = {name: call.get(name, getattr(fields, name)) for name in Parameters.model_fields}
        if stop is not None:
            chosen["stop"] = list(stop)
        others = {
            name: value
            for name, value in call.items()
            if name not in Parameters.model_fields and value is not None
        }
        return cls(Parameters.model_validate(chosen), others)

    @property
    def limits(self) -> tuple[Limits, ...]:
        """The limits that are set on the request, for its watchers."""
        chosen = self.parameters
        limits = Limits(chosen.max_request_tokens, chosen.max_code_executions)
        return (limits,) if limits != Limits() else ()


def resolve(wishes: Wishes, api: catalogue.Api) -> Options:
    """What is sent by an API for these wishes.

    Every way into the service passes here, so this is where function tools are refused.

    Raises:
        ToolsNotAllowedError: function tools while the interpreter is on.
        ValueError: a value that contradicts another, or that this API does not take.
    """
    chosen, others = wishes.parameters, wishes.others
    check_api(chosen, api)
    parameters = _parameters(chosen, others)
    functions = [
        {"type": "function", "function": dict(one)} for one in others.get("functions") or ()
    ]
    tools = Tools.sorted([*chosen.builtin_tools, *(others.get("tools") or ()), *functions])
    tools.check_server_tools(api)
    interpreter = chosen.enable_code_interpreter or tools.interpreter
    if interpreter:
        tools.refuse_functions()
        _refuse_format(parameters)
    functions = [as_function(tool) for tool in tools.functions]
    parameters = _with_tool_choice(parameters, tools, functions)
    think = thinking(chosen.model, wished=chosen.enable_thinking, interpreter=interpreter)
    if think is None and isinstance(parameters.get("tool_choice"), dict):
        # A model that thinks by default is refused a forced call, by what users report.
        think = False
    return Options(
        model=chosen.model,
        endpoint=chosen.endpoint or catalogue.endpoint_of(chosen.model),
        enable_code_interpreter=interpreter,
        enable_thinking=think,
        preserve_thinking=bool(chosen.preserve_thinking),
        functions=functions,
        server_tools=tuple(map(revealed, tools.server)),
        session_cache=bool(chosen.session_cache),
        parameters=parameters,
    )


def check_api(wishes: Parameters, api: catalogue.Api) -> None:
    """Refuse what only the Responses API has, on the others.

    Raises:
        QwenInputError: such a parameter or tool is set.
    """
    Tools.sorted(wishes.builtin_tools).check_server_tools(api)
    if api == "responses":
        return
    for name in _RESPONSES_ONLY:
        if getattr(wishes, name) is not None:
            raise QwenInputError(f'{name} is a parameter of api="responses" only, not of {api!r}.')


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


def _parameters(chosen: Parameters, others: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        name: value for name in _SENT_AS_THEY_ARE if (value := getattr(chosen, name)) is not None
    }
    if chosen.stop:
        parameters["stop"] = chosen.stop
    parameters |= {name: value for name, value in others.items() if name not in _OWN_CALL_ARGUMENTS}
    if "thinking_budget" in parameters and "reasoning_effort" in parameters:
        raise QwenInputError(
            "Pass thinking_budget or reasoning_effort: the service takes only one."
        )
    if parameters.get("n", 1) != 1:
        raise QwenInputError("A message holds one answer: for more of them, use batch, not n.")
    return parameters


def _refuse_format(parameters: Mapping[str, Any]) -> None:
    """Refuse a response format beside the interpreter: the model thinks, and the service takes
    none then.

    Raises:
        QwenInputError: there is one.
    """
    form = parameters.get("response_format")
    if form is not None and form != {"type": "text"}:
        raise QwenInputError(
            "The code interpreter is on, and the service takes no response_format beside it: use "
            "with_structured_output, which works all the same, or enable_code_interpreter=False."
        )


def _with_tool_choice(
    parameters: dict[str, Any], tools: Tools, functions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What is said about tools is sent where there are some."""
    if not functions and not tools.server:
        return {name: value for name, value in parameters.items() if name not in _ABOUT_TOOLS}
    if "tool_choice" in parameters:
        parameters["tool_choice"] = as_tool_choice(parameters["tool_choice"], functions)
    return parameters
