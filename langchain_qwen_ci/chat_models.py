"""`ChatQwenCodeInterpreter`: its fields, and thin hooks between LangChain and the house.

One call: messages → `messages.to_prompt` → `wire.request` → `transport` → bytes → `wire.decoder`
→ events → `chunks`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from langchain_qwen_ci import catalogue, token_estimate
from langchain_qwen_ci._version import __version__
from langchain_qwen_ci.answer import Answer
from langchain_qwen_ci.blocks import PROVIDER
from langchain_qwen_ci.call import Call
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.flow import CallPolicy
from langchain_qwen_ci.messages import refuse_media, to_prompt
from langchain_qwen_ci.parameters import Parameters, Wishes, check_api, resolve, thinking
from langchain_qwen_ci.structured_output import StructuredOutput
from langchain_qwen_ci.tools import Tools, as_function, hidden, without_secrets
from langchain_qwen_ci.tracing import execution_runs
from langchain_qwen_ci.transport import Destination, Transport
from langchain_qwen_ci.ways_in import WaysIn
from langchain_qwen_ci.wire.chat_completions import ChatCompletionsWire
from langchain_qwen_ci.wire.dashscope import DashScopeWire
from langchain_qwen_ci.wire.responses import ResponsesWire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import LangSmithParams, LanguageModelInput
    from langchain_core.language_models.model_profile import ModelProfile
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from pydantic import BaseModel

    from langchain_qwen_ci.structured_output import Method
    from langchain_qwen_ci.tracing import Parent
    from langchain_qwen_ci.wire import Wire, WireRequest

_WIRES: dict[catalogue.Api, Wire] = {
    "dashscope": DashScopeWire(),
    "responses": ResponsesWire(),
    "chat_completions": ChatCompletionsWire(),
}


_MIB = 1024 * 1024


class ChatQwenCodeInterpreter(WaysIn, Parameters):
    """A Qwen model that may write Python and run it in the service's sandbox.

    Example:
        ```python
        from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions

        model = ChatQwenCodeInterpreter(model="qwen3-max")
        message = model.invoke("What is 123 to the power of 21?")
        message.content
        code_executions(message)  # [{"id": …, "code": "123**21", "status": "completed"}]
        ```

    Every finished message carries `response_metadata["code_executions"]` and, where something
    was called, `response_metadata["plugins"]`; `usage_metadata` counts every inference of the
    request, once. While the interpreter is on, function tools are refused with
    `ToolsNotAllowedError`, since the service does not take both.

    Calls raise the errors of `langchain_qwen_ci.errors`; an error in the middle of an answer
    carries what had arrived as `partial`.
    """

    api: catalogue.Api = "dashscope"
    """Which API of the service to speak. "dashscope", its native one, shows code and counts on
    every model; "responses" also what the code printed; "chat_completions" neither."""

    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("DASHSCOPE_API_KEY", default=None)
    )
    """Default: environment variable `DASHSCOPE_API_KEY`. Bound to a region."""

    region: str | None = None
    """Such as "cn-beijing" or "ap-southeast-1"; see `catalogue.REGIONS`. Default:
    `DASHSCOPE_REGION`, then cn-beijing."""

    workspace: str | None = Field(default=None, repr=False)
    """Workspace id. Default: `DASHSCOPE_WORKSPACE`. With a region it names the host, too. As
    little shown or serialised as the key."""

    base_url: str | None = None
    """A host, with or without `/api/v1`; goes before region. Default: `DASHSCOPE_BASE_URL`."""

    allow_plain_http: bool = False
    """Whether base_url may be plain http to another machine. The key and all that is said can be
    read on the way; to this machine it is always allowed."""

    connect_timeout: float | None = Field(default=10.0, gt=0)
    """Seconds until there is a connection; None waits for ever."""

    timeout: float | None = Field(default=300.0, gt=0)
    """Seconds until the first byte of an answer; None waits for ever."""

    stream_chunk_timeout: float | None = Field(default=300.0, gt=0)
    """Seconds between two chunks; None waits for ever. No chunk comes while code runs."""

    total_timeout: float | None = Field(default=None, gt=0)
    """Seconds for a whole call, with its retries and waits, and with what the reader of a stream
    takes; None sets no limit. Sync calls wait longer where the head of a response drips in."""

    max_retries: int = Field(default=2, ge=0)
    """How often a request is sent again that the service did not begin to answer."""

    max_request_bytes: int = Field(default=64 * _MIB, ge=1)
    """Largest request; a larger one is refused before it is sent."""

    max_frame_bytes: int = Field(default=8 * _MIB, ge=1)
    """Most bytes of an answer in which nothing is told: more than in any frame."""

    max_answer_bytes: int = Field(default=1024 * _MIB, ge=1)
    """Most bytes of an answer. The native API sends all code so far with every chunk."""

    default_headers: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    """Sent with every request. Never shown or serialised: they may hold secrets."""

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` to use instead of an own one; never closed here."""

    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` to use instead of an own one; never closed here."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # all fields are the input of a check, and so the key is
    )

    _transport: Transport | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _take_streaming(cls, fields: Any) -> Any:  # noqa: ANN401  # whatever was passed
        """Other models have a field `streaming`. Here every answer is streamed from the service,
        so True says nothing new; and as a field, False would make LangChain stream nowhere."""
        if not isinstance(fields, dict) or "streaming" not in fields:
            return fields
        if fields["streaming"] is not True:
            raise ValueError(
                "streaming=False: every answer is streamed from the service, and `invoke` adds it "
                "up. To have `stream` give it whole, pass disable_streaming=True."
            )
        return {name: value for name, value in fields.items() if name != "streaming"}

    @field_validator("workspace")
    @classmethod
    def _check_workspace(cls, workspace: str | None) -> str | None:
        return workspace and catalogue.checked_workspace(workspace)

    @model_validator(mode="after")
    def _check_wishes(self) -> Self:
        thinking(self.model, wished=self.enable_thinking, interpreter=self.enable_code_interpreter)
        check_api(self, self.api)
        self._destination()
        self._warn(self.model, interpreter=self.enable_code_interpreter)
        return self

    @model_validator(mode="after")
    def _set_qwen_version(self) -> Self:
        self._add_version("langchain-qwen-ci", __version__)
        return self

    # What LangChain asks of a model.

    @property
    def _llm_type(self) -> str:
        return "qwen-code-interpreter"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_qwen_ci", "chat_models"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": "DASHSCOPE_API_KEY", "workspace": "DASHSCOPE_WORKSPACE"}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        shown = ("api", "region", "base_url", *Parameters.model_fields)
        return {name: value for name in shown if (value := getattr(self, name)) is not None}

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        params = super()._get_invocation_params(stop=stop, **kwargs)
        if tools := params.get("tools"):
            params["tools"] = list(map(without_secrets, tools))
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        return catalogue.profile(self.model, interpreter=self.enable_code_interpreter)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind function tools, while the interpreter is off; or tools of the service.

        Args:
            tools: anything LangChain takes as a tool; `{"type": "code_interpreter"}`, the switch
                that turns the interpreter on; or other tools of the service, such as
                `{"type": "web_search"}` (`api="responses"` only). An empty list binds nothing.
            tool_choice: "auto", "none", a tool's name, or "any" for the only one.
            strict: whether arguments should follow their schema to the letter.
            kwargs: bound to every call, such as `enable_code_interpreter=False`.

        Raises:
            ToolsNotAllowedError: function tools while the interpreter is on.
            QwenInputError: a tool that this API of the service does not have.
        """
        given = Tools.sorted(tools)
        given.check_server_tools(self.api)
        if given.interpreter:
            kwargs["enable_code_interpreter"] = True
        if kwargs.get("enable_code_interpreter", self.enable_code_interpreter):
            given.refuse_functions()
        functions = [as_function(tool, strict=strict) for tool in given.functions]
        if bound := [*map(hidden, given.server), *functions]:
            kwargs["tools"] = bound
        if bound and tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(**kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        reformat: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answers in the form of a schema; also with the interpreter on.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema, or a function in OpenAI's shape.
                A pydantic class gives its instances, anything else dictionaries.
            method: "function_calling" (default), "json_schema" and "json_mode" are the service's
                own ways; they turn thinking off unless you have turned it on. "prompt" puts the
                schema into the prompt and reads JSON from the answer. It is all that the service
                takes beside the interpreter, so there every method is that one; and so is any
                but "function_calling" where you have turned thinking on.
            include_raw: give `{"raw": message, "parsed": …, "parsing_error": …}` and never raise
                for an answer that does not fit.
            strict: whether the service should hold itself to the schema to the letter.
            reformat: with "prompt", whether an answer that does not fit is sent back once, with
                interpreter and thinking off, to be put into JSON. It costs a second request.
            kwargs: bound to every call.

        Raises:
            QwenInputError: an unknown method, or `reformat` with another one than "prompt".
        """
        settings = Wishes.of(self, kwargs).parameters
        form = StructuredOutput(self, settings, schema, strict=strict)
        return form.chain(method, kwargs, include_raw=include_raw, reformat=reformat)

    def get_num_tokens(self, text: str) -> int:
        """An estimate; see `token_estimate.of_text`."""
        return token_estimate.of_text(text)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """An estimate; see `token_estimate.of_prompt`."""
        return token_estimate.of_prompt(to_prompt(messages), list(map(as_function, tools or ())))

    # What every way in begins with.

    def _begin(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        call: dict[str, Any],
        run: Parent | None,
    ) -> Call:
        """Every check that can be made before sending, the request, and what takes its answer."""
        for name in call:
            if name in type(self).model_fields and name not in Parameters.model_fields:
                raise QwenInputError(
                    f"{name} belongs to the model and cannot be set for one call: make another "
                    f"ChatQwenCodeInterpreter({name}=…)."
                )
        wishes = Wishes.of(self, call, stop)
        options = resolve(wishes, self.api)
        self._warn(options.model, interpreter=options.enable_code_interpreter)
        prompt = to_prompt(messages)
        refuse_media(prompt, options)
        wire = _WIRES[self.api]
        request = wire.request(prompt, options)
        self._refuse_too_much(request)
        watchers = (*wishes.limits, *(execution_runs(run) if self.trace_code_executions else ()))
        return Call(
            self._connected(), wire, request, self._policy(), Answer(options.model), watchers
        )

    def _refuse_too_much(self, request: WireRequest) -> None:
        if len(request.body) > self.max_request_bytes:
            raise QwenInputError(
                f"The request has {len(request.body)} bytes, more than max_request_bytes "
                f"({self.max_request_bytes}): shorten the history, for instance with "
                "langchain_core.messages.trim_messages, and send media by URL."
            )

    def _policy(self) -> CallPolicy:
        return CallPolicy(
            max_retries=self.max_retries,
            retry_cut_answers=False,
            total_timeout=self.total_timeout,
            max_frame_bytes=self.max_frame_bytes,
            max_answer_bytes=self.max_answer_bytes,
        )

    def _warn(self, model: str, *, interpreter: bool) -> None:
        catalogue.warn_about(model, self.api, interpreter=interpreter)
        if interpreter and self.api == "chat_completions":
            catalogue.warn_of_blindness()

    def _connected(self) -> Transport:
        """The transport to where the fields point now: they can be changed, or copied over."""
        destination = self._destination()
        given = (self.http_client, self.http_async_client)
        if self._transport is None or not self._transport.leads_to(destination, given):
            self._transport = Transport(destination, *given)
        return self._transport

    def _destination(self) -> Destination:
        workspace = self.workspace or os.environ.get("DASHSCOPE_WORKSPACE") or None
        headers = dict(self.default_headers)
        if workspace:
            headers["X-DashScope-WorkSpace"] = catalogue.checked_workspace(workspace)
        host = catalogue.host(self.base_url, self.region, workspace)
        if not self.allow_plain_http:
            catalogue.refuse_plain_http(host)
        return Destination(
            host=host,
            api_key=self.api_key,
            headers=headers,
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            chunk_timeout=self.stream_chunk_timeout,
        )

    def close(self) -> None:
        """Close the connections of sync calls. The next call opens new ones."""
        if self._transport:
            self._transport.close()

    async def aclose(self) -> None:
        """Close the connections of sync calls and of async calls in the running event loop."""
        if self._transport:
            await self._transport.aclose()

    def __getstate__(self) -> dict[Any, Any]:
        """Pickles leave the machine: they hold no key, no workspace, no headers, no connections."""
        state = super().__getstate__()
        names = ("api_key", "workspace", "http_client", "http_async_client")
        left_out: dict[str, Any] = dict.fromkeys(names)
        state["__dict__"] = {**state["__dict__"], **left_out, "default_headers": {}}
        state["__pydantic_private__"] = {"_transport": None}
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.api_key = secret_from_env("DASHSCOPE_API_KEY", default=None)()
