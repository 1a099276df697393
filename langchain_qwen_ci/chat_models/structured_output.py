"""Builds the chains of `with_structured_output`.

While a model thinks, which it does with the interpreter, the service accepts neither a
`response_format` nor functions. The schema is then added to the prompt and a parser reads the
answer. An answer that does not fit can be converted to JSON by a second request, with interpreter
and thinking off.

The Responses API of Alibaba's hosts accepts a response format and ignores it (measured), so this
module never relies on one there.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import PydanticToolsParser
from langchain_core.runnables import RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from langchain_qwen_ci.chat_models.answer_parsers import (
    DictArgumentsParser,
    TextAnswerParser,
)
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.json_schema import (
    inline_root,
    is_recursive,
    schema_of,
    without_required,
)
from langchain_qwen_ci.request.tools import to_openai_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.output_parsers import BaseOutputParser
    from langchain_core.runnables import Runnable
    from pydantic import BaseModel

    from langchain_qwen_ci.models import Target
    from langchain_qwen_ci.request.parameters import Parameters

Method = Literal["prompt", "function_calling", "json_schema", "json_mode"]
_METHODS = ("prompt", "function_calling", "json_schema", "json_mode")

_SCHEMA_PROMPT = (
    "Answer with one JSON object and nothing else: no other text, no Markdown. It must fit this "
    "JSON schema:\n"
)
REFORMAT_PROMPT = (
    "Put what the user sends into one JSON object, with no other text and no Markdown. It must fit "
    "this JSON schema:\n"
)
"""System prompt of a second request that converts an answer to JSON; the schema follows."""

TURNED_OFF: dict[str, Any] = {
    "enable_code_interpreter": False,
    "enable_thinking": False,
    "builtin_tools": [],
    "thinking_budget": None,
    "reasoning_effort": None,
    # These concern the answer, which the second request only converts.
    "instructions": None,
    "previous_response_id": None,
    "stop": None,
}
"""Arguments of a second request, which converts an answer: they override those of the first."""


def input_messages(model: BaseChatModel, model_input: LanguageModelInput) -> list[BaseMessage]:
    """Return the messages of any input that a model accepts."""
    # LangChain has no public name for this conversion (langchain-core 1.6 to 1.8).
    return model._convert_input(model_input).to_messages()  # noqa: SLF001


class StructuredOutput:
    """Builds a chain for one model and schema; see `with_structured_output` of the model."""

    def __init__(
        self,
        model: BaseChatModel,
        settings: Parameters,
        target: Target,
        schema: dict[str, Any] | type,
        *,
        strict: bool | None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._schema = _with_title(schema)
        self._strict = strict
        self._function = _to_function(self._schema, strict=strict)
        # Measured: Alibaba's Responses API accepts `text.format` and ignores it. Another host may
        # be a gateway to it, so the schema is in the prompt there as well.
        self._response_format_ignored = target.alibaba and target.api == "responses"
        self._response_format_may_be_ignored = target.api == "responses"

    def chain(
        self,
        method: Method | None,
        arguments: Mapping[str, Any],
        *,
        include_raw: bool,
        reformat: bool,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return the chain from input to object.

        Args:
            method: the requested method; None: the default.
            arguments: bound to every call of the model.
            include_raw: whether the output also has the message and the parsing error.
            reformat: whether an answer that does not fit is converted by a second request.

        Raises:
            QwenInputError: the method is unknown, or `reformat` does not support it.
        """
        if method not in (None, *_METHODS):
            raise QwenInputError(f"method {method!r} is none of {', '.join(_METHODS)}.")
        interpreter = self._settings.enable_code_interpreter
        effort = self._settings.reasoning_effort
        thinking = (
            interpreter or bool(self._settings.enable_thinking) or effort not in (None, "none")
        )
        effective = self._supported_method(method, interpreter=interpreter, thinking=thinking)
        if reformat and effective != "prompt":
            raise QwenInputError(f'reformat=True needs method="prompt", not {effective!r}.')
        # Newer models think by default; methods other than the prompt need thinking turned off.
        defaults = {} if thinking or effective == "prompt" else {"enable_thinking": False}
        # LangChain moves this argument to the metadata of the run; it is not sent.
        trace_format = {"kwargs": {"method": effective}, "schema": self._function}
        arguments = {**defaults, **arguments, "ls_structured_output_format": trace_format}
        model = self._configured_model(effective, arguments)
        parser = self._parser(effective, reformat=reformat)
        return _with_raw(model, parser) if include_raw else model | parser

    def _supported_method(
        self, method: Method | None, *, interpreter: bool, thinking: bool
    ) -> Method:
        if interpreter or (thinking and method != "function_calling"):
            return "prompt"  # the service supports no other method then
        if method in ("json_schema", "json_mode") and self._response_format_ignored:
            return "function_calling"
        return method or "function_calling"

    def _configured_model(
        self, method: Method, arguments: Mapping[str, Any]
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if method == "prompt":
            return self._schema_prompt(self._add_schema_prompt) | self._model.bind(**arguments)
        if method == "function_calling":
            return self._model.bind_tools(
                [self._tool()], tool_choice=self._function["name"], strict=self._strict, **arguments
            )
        model = self._model.bind(response_format=self._response_format(method), **arguments)
        if self._response_format_may_be_ignored:
            return self._schema_prompt(self._add_schema_prompt) | model
        if method == "json_mode":
            return self._schema_prompt(self._ensure_json_is_named) | model
        return model

    def _parser(self, method: Method, *, reformat: bool) -> Runnable[AIMessage, Any]:
        if method == "function_calling":
            return self._tool_parser()
        if reformat:
            return self._json_parser().with_fallbacks(
                [self._reformat()], exceptions_to_handle=(OutputParserException,)
            )
        return self._json_parser()

    def _schema_prompt(
        self, convert: Callable[[LanguageModelInput], list[BaseMessage]]
    ) -> Runnable[LanguageModelInput, list[BaseMessage]]:
        return RunnableLambda(convert).with_config(run_name="schema_in_prompt")

    def _add_schema_prompt(self, model_input: LanguageModelInput) -> list[BaseMessage]:
        messages = input_messages(self._model, model_input)
        prompt = f"{_SCHEMA_PROMPT}{self._json_schema}"
        # The service accepts one system message only.
        if messages and isinstance(messages[0], SystemMessage):
            return [_with_text(messages[0], f"\n\n{prompt}"), *messages[1:]]
        return [SystemMessage(prompt), *messages]

    def _ensure_json_is_named(self, model_input: LanguageModelInput) -> list[BaseMessage]:
        """Add the schema, and with it the word JSON, to messages that do not have the word.

        The service demands it for `json_object`: 400 "'messages' must contain the word 'json' in
        some form".
        """
        messages = input_messages(self._model, model_input)
        if any("json" in message.text.lower() for message in messages):
            return messages
        return self._add_schema_prompt(messages)

    def _reformat(self) -> Runnable[Any, Any]:
        """Return the chain of the second request, which converts an answer to JSON."""

        def to_messages(answer: AIMessage) -> list[BaseMessage]:
            system = SystemMessage(f"{REFORMAT_PROMPT}{self._json_schema}")
            return [system, HumanMessage(str(answer.text))]

        arguments = TURNED_OFF
        if not self._response_format_ignored:
            arguments = {**TURNED_OFF, "response_format": {"type": "json_object"}}
        return RunnableLambda(to_messages) | self._model.bind(**arguments) | self._json_parser()

    @property
    def _json_schema(self) -> str:
        description = self._function.get("description")
        described = {"description": description} if description else {}
        return json.dumps({**described, **self._parameters}, ensure_ascii=False)

    @property
    def _parameters(self) -> dict[str, Any]:
        """The JSON schema of the answer, without name and description."""
        parameters: dict[str, Any] = self._function.get("parameters", {})
        return parameters

    @property
    def _answer_schema(self) -> dict[str, Any]:
        """The JSON schema that a dictionary must fit."""
        if not is_typeddict(self._schema):
            return self._parameters
        # LangChain lists the keys of a TypedDict as required even where they are not.
        typed_dict: Any = self._schema
        keys = typed_dict.__required_keys__
        required = [name for name in self._parameters.get("required", []) if name in keys]
        return {**without_required(self._parameters), "required": required}

    def _tool(self) -> dict[str, Any] | type:
        """Return the schema as a function tool."""
        # LangChain replaces references by what they refer to, which loses recursive ones.
        if isinstance(self._schema, type) and is_recursive(self._parameters):
            return {"type": "function", "function": self._function}
        return self._schema

    def _response_format(self, method: str) -> dict[str, Any]:
        if method == "json_mode":
            return {"type": "json_object"}
        function = self._function
        described = {key: function[key] for key in ("name", "description") if function.get(key)}
        strict = {} if self._strict is None else {"strict": self._strict}
        schema = {**described, "schema": self._parameters, **strict}
        return {"type": "json_schema", "json_schema": schema}

    def _json_parser(self) -> BaseOutputParser[Any]:
        if _is_pydantic(self._schema):
            return TextAnswerParser(parser=PydanticOutputParser(pydantic_object=self._schema))
        return TextAnswerParser(parser=JsonOutputParser(), answer_schema=self._answer_schema)

    def _tool_parser(self) -> Runnable[AIMessage, Any]:
        if _is_pydantic(self._schema):
            return PydanticToolsParser(tools=[self._schema], first_tool_only=True)
        return DictArgumentsParser(
            key_name=self._function["name"],
            first_tool_only=True,
            answer_schema=self._answer_schema,
        )


def _with_text(message: SystemMessage, text: str) -> SystemMessage:
    if isinstance(message.content, str):
        return SystemMessage(f"{message.content}{text}")
    return SystemMessage([*message.content, {"type": "text", "text": text}])  # keeps cache_control


def _with_raw(
    model: Runnable[LanguageModelInput, AIMessage], parser: Runnable[AIMessage, Any]
) -> Runnable[LanguageModelInput, Any]:
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    # While streaming, fallbacks handle an error before the first output only. `RunnableLambda`
    # waits for the whole input, so there is no output before the answer was checked.
    checked = (parsed | RunnableLambda(dict)).with_fallbacks(
        [unparsed], exception_key="parsing_error"
    )
    return RunnableMap(raw=model) | checked


def _to_function(schema: dict[str, Any] | type, *, strict: bool | None) -> dict[str, Any]:
    """Return name, description and parameters; references in the schema of a class are kept."""
    if _is_pydantic(schema):
        parameters = schema_of(schema)
    else:
        try:
            function: dict[str, Any] = to_openai_tool(schema, strict=strict)["function"]
        except QwenInputError:
            # LangChain converts no TypedDict that is recursive or has NotRequired keys.
            if not is_typeddict(schema):
                raise
            adapter: TypeAdapter[Any] = TypeAdapter(schema)  # type: ignore[arg-type]
            parameters = schema_of(adapter)
        else:
            return function
    name = parameters.pop("title", getattr(schema, "__name__", "answer"))
    described = {"description": parameters.pop("description", "")}
    named = {"name": name, **described, "parameters": parameters}
    converted: dict[str, Any] = to_openai_tool(named, strict=strict)["function"]
    return converted


def _is_pydantic(schema: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _with_title(schema: dict[str, Any] | type) -> dict[str, Any] | type:
    # LangChain uses the title of a JSON schema as the function's name, and requires one.
    if isinstance(schema, dict) and ("properties" in schema or "$ref" in schema):
        return {"title": "answer", **inline_root(schema)}
    return schema
