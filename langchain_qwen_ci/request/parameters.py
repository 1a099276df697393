"""The parameters of a request: fields of the chat model, and keyword arguments of every call.

The ranges are those of DashScope's API reference; a value out of range is refused before sending.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from langchain_qwen_ci.models import NativeEndpoint  # noqa: TC001  # pydantic reads the annotations


class Parameters(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(default="qwen3-max", min_length=1)
    """Name of the model. `langchain_qwen_ci.models.MODELS` lists the models known to run code."""

    endpoint: NativeEndpoint | None = None
    """The path of the native API, for a model whose path the package does not know. The default
    depends on the model."""

    enable_code_interpreter: bool = True
    """Whether the model may write Python and the service may run it. Excludes function tools."""

    builtin_tools: list[str] = Field(default_factory=list)
    """Names of other tools of the service, such as "web_search", which can be used together with
    the interpreter. `api="responses"` only. Use `bind_tools` for a tool that needs more than its
    name, such as an MCP server with secret headers: the values of this field appear in traces."""

    enable_thinking: bool | None = None
    """Whether the model thinks before it answers. None: yes with the interpreter, otherwise the
    model's default."""

    preserve_thinking: bool | None = None
    """Whether the reasoning of earlier answers is sent again with the history."""

    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of reasoning tokens. Not for `api="responses"`; use `reasoning_effort`
    there."""

    temperature: Annotated[float, Field(ge=0, lt=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of tokens of the answer; at least 16 with `api="responses"`."""

    max_request_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum total tokens of one request, summed over its inferences. When it is exceeded,
    `QwenBudgetError` is raised; its `partial` holds the message so far. Checked each time the
    service reports usage."""

    max_code_executions: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of programs of one request. One more raises `QwenBudgetError`. Has no effect
    with Chat Completions, which returns no programs."""

    seed: Annotated[int, Field(ge=0)] | None = None
    stop: str | list[str] | None = None

    instructions: str | None = None
    """A system message for this request only. `api="responses"` only."""

    previous_response_id: str | None = None
    """The `request_id` of a stored answer to continue from; the service stores it for seven days.
    `api="responses"` only."""

    store: bool | None = None
    """Whether the service stores the answer, so that a request can continue from it (the service's
    default: yes). `api="responses"` only."""

    session_cache: bool | None = None
    """Whether the service may cache the conversation. `api="responses"` only."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Other parameters of the service, with the service's names, sent with every call."""
