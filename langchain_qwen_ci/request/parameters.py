"""The parameters of a request: fields of the chat model and keyword arguments of every call.

The ranges are those of DashScope's API reference. A value out of range is rejected before a request
is sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import to_json

from langchain_qwen_ci.models import NativeEndpoint  # noqa: TC001  # pydantic reads the annotations


class Parameters(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(protected_namespaces=(), use_attribute_docstrings=True)

    model: str = Field(default="qwen3-max", min_length=1)
    """Name of the model. `models.MODELS` lists known models and the APIs that run code for them."""

    endpoint: NativeEndpoint | None = None
    """Path of the native API, for a model for which `models.MODELS` has the wrong one."""

    enable_code_interpreter: bool = True
    """Whether the service may write Python code and run it. Excludes function tools."""

    builtin_tools: list[str] = Field(default_factory=list)
    """Names of other tools of the service, such as "web_search", which can be used together with
    the interpreter; `api="responses"` only. Traces show this field, so pass a tool that has more
    than a name, such as an MCP server with secret headers, to `bind_tools`."""

    enable_thinking: bool | None = None
    """Whether the model thinks. None: on with the interpreter, else the model's default."""

    preserve_thinking: bool | None = None
    """Whether the reasoning of earlier answers is sent back to the model."""

    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    """Maximum length of the reasoning in tokens. Not for `api="responses"`: use
    `reasoning_effort` there."""

    reasoning_effort: str | None = None
    """How much the model thinks. On `api="responses"`: "none", "minimal", "low", "medium", "high",
    "xhigh" or "max"; on `api="dashscope"` the same for qwen3.8 models only, and not together with
    `thinking_budget`; on `api="chat_completions"` it is sent unchanged."""

    temperature: Annotated[float, Field(ge=0, lt=2)] | None = None
    """Randomness of the answer, from 0 to below 2. None: the default of the model."""

    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only the most likely tokens with this total probability are candidates."""

    top_k: Annotated[int, Field(ge=0)] | None = None
    """Number of most likely tokens that are candidates."""

    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """From -2 to 2; higher values make the model repeat itself less."""

    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    """Penalty for repeated sequences; 1 is none."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum length of the answer in tokens; at least 16 with `api="responses"`."""

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    """The limit under the name with which Chat Completions has replaced `max_tokens`. There it
    includes the reasoning, and only Qwen3.5-Plus and later models accept it. The other APIs have
    one limit, which both names set."""

    max_request_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum total tokens of one request, summed over its inferences. When it is exceeded,
    `QwenBudgetError` is raised; its `partial` holds the message so far. Checked each time the
    service reports usage."""

    max_code_executions: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of code executions of one request. When one more starts, `QwenBudgetError` is
    raised, as above. Without effect on Chat Completions, which does not report executions."""

    seed: Annotated[int, Field(ge=0)] | None = None
    """With the same seed and parameters, the service tries to give the same answer."""

    stop: str | list[str] | None = None
    """The answer ends before the first of these strings; one string is one sequence."""

    instructions: str | None = None
    """A system message for this request only; `api="responses"` only."""

    previous_response_id: str | None = None
    """`request_id` of the answer to continue from. The service stores answers for seven days;
    `api="responses"` only."""

    conversation: str | dict[str, Any] | None = None
    """The conversation that the service stores the answer in and continues from: its id, or
    `{"id": …}`. Excludes `previous_response_id`; `api="responses"` only."""

    store: bool | None = None
    """Whether the service stores the answer, for `previous_response_id`. None: it does;
    `api="responses"` only."""

    session_cache: bool | None = None
    """Whether the service may cache the conversation; `api="responses"` only."""

    parse_think_tags: bool | None = None
    """Whether reasoning that the server sends in `<think>` tags at the beginning of the text is
    separated from the text; not on the native API. None: on hosts that are not Alibaba's, because
    servers without a reasoning parser send it there."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Other parameters of the service, with the service's names. They are merged into the arguments
    of every call."""

    @field_validator("builtin_tools", mode="before")
    @classmethod
    def _accept_one_tool(cls, names: Any) -> Any:  # noqa: ANN401  # any input
        names = [names] if isinstance(names, (str, dict)) else names
        if isinstance(names, (list, tuple)) and any(isinstance(name, dict) for name in names):
            raise ValueError(
                'builtin_tools takes names, such as "web_search": pass a tool that is a dictionary '
                "to bind_tools."
            )
        return names

    @field_validator("model_kwargs")
    @classmethod
    def _check_json(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        # LangChain serializes the model for traces, where a dictionary that contains itself would
        # raise RecursionError. Values that are no JSON at all are reported by the call, with their
        # place.
        to_json(parameters, fallback=repr)
        return parameters

    @model_validator(mode="after")
    def _check_token_limits(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("Pass max_tokens or max_completion_tokens, not both.")
        return self
