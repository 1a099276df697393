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
    """Name of the model; `catalogue.MODELS` lists those known to run code."""

    endpoint: NativeEndpoint | None = None
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
