"""Builds the chains of `with_structured_output`.

While a model thinks, which it does with the interpreter, the service accepts neither a
`response_format` nor functions. The schema is then added to the prompt and a parser reads the
answer. An answer that does not fit can be converted to JSON by a second request, with interpreter
and thinking off.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.tools import to_openai_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable
    from pydantic import BaseModel

    from langchain_qwen_ci.request.parameters import Parameters

Method = Literal["prompt", "function_calling", "json_schema", "json_mode"]
_METHODS = ("prompt", "function_calling", "json_schema", "json_mode")

_SCHEMA_PROMPT = (
    "Answer with one JSON object and nothing else: no other text, no Markdown. It must fit this "
    "JSON schema:\n"
)
REFORMAT_PROMPT = "Put what the user sends into one JSON object that fits this JSON schema:\n"
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


class StructuredOutput:
    """Builds a chain for one model and schema; see `with_structured_output` of the model."""

    def __init__(
        self,
        model: BaseChatModel,
        settings: Parameters,
        schema: dict[str, Any] | type,
        *,
        strict: bool | None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._schema = _with_title(schema)
        self._strict = strict
        self._function: dict[str, Any] = to_openai_tool(self._schema, strict=strict)["function"]

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
        effective = method or ("prompt" if thinking else "function_calling")
        if interpreter or (thinking and effective != "function_calling"):
            effective = "prompt"  # the service supports no other method then
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

    def _configured_model(
        self, method: Method, arguments: Mapping[str, Any]
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if method == "prompt":
            prompt = RunnableLambda(self._add_schema_prompt).with_config(
                run_name="schema_in_prompt"
            )
            return prompt | self._model.bind(**arguments)
        if method == "function_calling":
            name = self._function["name"]
            return self._model.bind_tools(
                [self._schema], tool_choice=name, strict=self._strict, **arguments
            )
        return self._model.bind(response_format=self._response_format(method), **arguments)

    def _parser(self, method: Method, *, reformat: bool) -> Runnable[AIMessage, Any]:
        if method == "function_calling":
            return self._tool_parser()
        if reformat:
            return self._json_parser().with_fallbacks(
                [self._reformat()], exceptions_to_handle=(OutputParserException,)
            )
        return self._json_parser()

    def _add_schema_prompt(self, model_input: LanguageModelInput) -> list[BaseMessage]:
        # LangChain has no public name for this conversion (langchain-core 1.6 to 1.8).
        messages = self._model._convert_input(model_input).to_messages()  # noqa: SLF001
        prompt = f"{_SCHEMA_PROMPT}{self._json_schema}"
        # The service accepts one system message only.
        if messages and isinstance(messages[0], SystemMessage):
            return [_with_text(messages[0], f"\n\n{prompt}"), *messages[1:]]
        return [SystemMessage(prompt), *messages]

    def _reformat(self) -> Runnable[Any, Any]:
        """Return the chain of the second request, which converts an answer to JSON."""

        def to_messages(answer: AIMessage) -> list[BaseMessage]:
            system = SystemMessage(f"{REFORMAT_PROMPT}{self._json_schema}")
            return [system, HumanMessage(str(answer.text))]

        json_model = self._model.bind(response_format={"type": "json_object"}, **TURNED_OFF)
        return RunnableLambda(to_messages) | json_model | self._json_parser()

    @property
    def _json_schema(self) -> str:
        return json.dumps(self._function.get("parameters", {}), ensure_ascii=False)

    def _response_format(self, method: str) -> dict[str, Any]:
        if method == "json_mode":
            return {"type": "json_object"}
        schema = {"name": self._function["name"], "schema": self._function.get("parameters", {})}
        strict = {} if self._strict is None else {"strict": self._strict}
        return {"type": "json_schema", "json_schema": {**schema, **strict}}

    def _json_parser(self) -> BaseOutputParser[Any]:
        if _is_pydantic(self._schema):
            return PydanticOutputParser(pydantic_object=self._schema)
        return JsonOutputParser()

    def _tool_parser(self) -> Runnable[AIMessage, Any]:
        if _is_pydantic(self._schema):
            return PydanticToolsParser(tools=[self._schema], first_tool_only=True)
        return JsonOutputKeyToolsParser(key_name=self._function["name"], first_tool_only=True)


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
    return RunnableMap(raw=model) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")


def _is_pydantic(schema: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _with_title(schema: dict[str, Any] | type) -> dict[str, Any] | type:
    # LangChain uses the title of a JSON schema as the function's name, and requires one.
    if isinstance(schema, dict) and "properties" in schema:
        return {"title": "answer", **schema}
    return schema
