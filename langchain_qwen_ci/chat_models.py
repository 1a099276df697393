"""`ChatQwenCodeInterpreter`: its fields, and thin hooks between LangChain and the house.

One call: messages → `messages.to_prompt` → `wire.request` → `transport` → bytes → `wire.decoder`
→ events → `chunks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from langchain_qwen_ci import catalogue, token_estimate
from langchain_qwen_ci._version import __version__
from langchain_qwen_ci.answer import Answer
from langchain_qwen_ci.blocks import PROVIDER
from langchain_qwen_ci.call import Call
from langchain_qwen_ci.connection import Connection
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.messages import refuse_media, to_prompt
from langchain_qwen_ci.parameters import Parameters, Wishes, check_api, resolve, thinking
from langchain_qwen_ci.structured_output import StructuredOutput
from langchain_qwen_ci.tools import Tools, as_function, hidden, without_secrets
from langchain_qwen_ci.tracing import execution_runs
from langchain_qwen_ci.ways_in import WaysIn
from langchain_qwen_ci.wire.chat_completions import ChatCompletionsWire
from langchain_qwen_ci.wire.dashscope import DashScopeWire
from langchain_qwen_ci.wire.responses import ResponsesWire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx
    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from langchain_core.language_models import LangSmithParams, LanguageModelInput
    from langchain_core.language_models.model_profile import ModelProfile
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.rate_limiters import BaseRateLimiter
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from pydantic import BaseModel, SecretStr

    from langchain_qwen_ci.structured_output import Method
    from langchain_qwen_ci.tracing import Parent
    from langchain_qwen_ci.wire import Wire

_WIRES: dict[catalogue.Api, Wire] = {
    "dashscope": DashScopeWire(),
    "responses": ResponsesWire(),
    "chat_completions": ChatCompletionsWire(),
}


class ChatQwenCodeInterpreter(WaysIn, Parameters, Connection):
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

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # all fields are the input of a check, and so the key is
    )

    if TYPE_CHECKING:
        # Without this, type checkers derive the arguments from the fields, and refuse a string as
        # api_key, although it becomes a SecretStr. A test in tests/typing compares this with the
        # fields, since it repeats them.
        def __init__(  # noqa: PLR0913  # one for each field
            self,
            *,
            model: str = "qwen3-max",
            api: catalogue.Api = "dashscope",
            api_key: SecretStr | str | None = ...,
            region: str | None = None,
            workspace: str | None = None,
            base_url: str | None = None,
            allow_plain_http: bool = False,
            enable_code_interpreter: bool = True,
            builtin_tools: list[str] = ...,
            enable_thinking: bool | None = None,
            preserve_thinking: bool | None = None,
            thinking_budget: int | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            top_k: int | None = None,
            presence_penalty: float | None = None,
            repetition_penalty: float | None = None,
            max_tokens: int | None = None,
            max_request_tokens: int | None = None,
            max_code_executions: int | None = None,
            seed: int | None = None,
            stop: str | list[str] | None = None,
            instructions: str | None = None,
            previous_response_id: str | None = None,
            store: bool | None = None,
            session_cache: bool | None = None,
            endpoint: catalogue.Endpoint | None = None,
            model_kwargs: dict[str, Any] = ...,
            connect_timeout: float | None = 10.0,
            timeout: float | None = 300.0,
            stream_chunk_timeout: float | None = 300.0,
            total_timeout: float | None = None,
            max_retries: int = 2,
            retry_cut_answers: bool = False,
            max_request_bytes: int = 67_108_864,
            max_frame_bytes: int = 8_388_608,
            max_answer_bytes: int = 1_073_741_824,
            default_headers: dict[str, str] = ...,
            http_client: httpx.Client | None = None,
            http_async_client: httpx.AsyncClient | None = None,
            trace_code_executions: bool = True,
            name: str | None = None,
            cache: BaseCache | bool | None = None,
            verbose: bool = ...,
            callbacks: list[BaseCallbackHandler] | BaseCallbackManager | None = None,
            tags: list[str] | None = None,
            metadata: dict[str, Any] | None = None,
            custom_get_token_ids: Callable[[str], list[int]] | None = None,
            rate_limiter: BaseRateLimiter | None = None,
            disable_streaming: bool | Literal["tool_calling"] = False,
            output_version: str | None = ...,
            profile: ModelProfile | None = None,
        ) -> None: ...

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

    def _warn(self, model: str, *, interpreter: bool) -> None:
        catalogue.warn_about(model, self.api, interpreter=interpreter)
        if interpreter and self.api == "chat_completions":
            catalogue.warn_of_blindness()
