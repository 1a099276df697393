"""Answers in the form of a schema, for a model that thinks and for one that does not.

While a model thinks, and with the interpreter it does, the service takes no `response_format` and
no functions. Then the schema goes into the prompt and a parser reads the answer; an answer that
does not fit can be put into JSON by a second request, with interpreter and thinking off.
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
_REFORMAT_PROMPT = "Put what the user sends into one JSON object that fits this JSON schema:\n"


class StructuredOutput:
    """A model, what is set on it, and a schema that its answers are to fit; see
    `ChatQwenCodeInterpreter.with_structured_output`."""

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
        self._schema = _titled(schema)
        self._strict = strict
        self._function: dict[str, Any] = to_openai_tool(self._schema, strict=strict)["function"]

    def chain(
        self,
        method: Method | None,
        call: Mapping[str, Any],
        *,
        include_raw: bool,
        reformat: bool,
    ) -> Runnable[LanguageModelInput, Any]:
        """From input to object; `call` holds what is bound to every call of the model."""
        if method not in (None, *_METHODS):
            raise QwenInputError(f"method {method!r} is none of {', '.join(_METHODS)}.")
        interpreter = self._settings.enable_code_interpreter
        thinks = interpreter or bool(self._settings.enable_thinking)
        method_used = method or ("prompt" if thinks else "function_calling")
        if interpreter or (thinks and method_used != "function_calling"):
            method_used = "prompt"  # all that the service takes then
        if reformat and method_used != "prompt":
            raise QwenInputError(
                f'reformat goes with method="prompt", and not with {method_used!r}.'
            )
        # Thinking, where it is on by default, excludes every way but the prompt.
        off = {} if thinks or method_used == "prompt" else {"enable_thinking": False}
        traced = {"kwargs": {"method": method_used}, "schema": self._function}
        call = {**off, **call, "ls_structured_output_format": traced}
        prompted, parser = (
            self._prompted_model(method_used, call),
            self._parser(method_used, reformat=reformat),
        )
        return _with_raw(prompted, parser) if include_raw else prompted | parser

    def _prompted_model(
        self, method_used: Method, call: Mapping[str, Any]
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if method_used == "prompt":
            ask = RunnableLambda(self._add_schema_prompt).with_config(run_name="schema_in_prompt")
            return ask | self._model.bind(**call)
        if method_used == "function_calling":
            name = self._function["name"]
            return self._model.bind_tools(
                [self._schema], tool_choice=name, strict=self._strict, **call
            )
        return self._model.bind(response_format=self._response_format(method_used), **call)

    def _parser(self, method_used: Method, *, reformat: bool) -> Runnable[AIMessage, Any]:
        if method_used == "function_calling":
            return self._tool_parser()
        if reformat:
            return self._json_parser().with_fallbacks(
                [self._reformat()], exceptions_to_handle=(OutputParserException,)
            )
        return self._json_parser()

    def _add_schema_prompt(self, given: LanguageModelInput) -> list[BaseMessage]:
        """The messages, with the schema in the system message: the service wants only one."""
        messages = self._model._convert_input(given).to_messages()  # noqa: SLF001  # LangChain's own
        prompted = f"{_SCHEMA_PROMPT}{self._json_schema}"
        if messages and isinstance(messages[0], SystemMessage):
            return [SystemMessage(f"{messages[0].text}\n\n{prompted}"), *messages[1:]]
        return [SystemMessage(prompted), *messages]

    def _reformat(self) -> Runnable[Any, Any]:
        """The second request: an answer, to be put into JSON."""

        def ask(answer: AIMessage) -> list[BaseMessage]:
            system = SystemMessage(f"{_REFORMAT_PROMPT}{self._json_schema}")
            return [system, HumanMessage(str(answer.text))]

        off = {"enable_code_interpreter": False, "enable_thinking": False, "builtin_tools": []}
        in_json = self._model.bind(response_format={"type": "json_object"}, **off)
        return RunnableLambda(ask) | in_json | self._json_parser()

    @property
    def _json_schema(self) -> str:
        return json.dumps(self._function.get("parameters", {}), ensure_ascii=False)

    def _response_format(self, method_used: str) -> dict[str, Any]:
        if method_used == "json_mode":
            return {"type": "json_object"}
        form = {"name": self._function["name"], "schema": self._function.get("parameters", {})}
        strict = {} if self._strict is None else {"strict": self._strict}
        return {"type": "json_schema", "json_schema": {**form, **strict}}

    def _json_parser(self) -> BaseOutputParser[Any]:
        if _is_pydantic(self._schema):
            return PydanticOutputParser(pydantic_object=self._schema)
        return JsonOutputParser()

    def _tool_parser(self) -> Runnable[AIMessage, Any]:
        if _is_pydantic(self._schema):
            return PydanticToolsParser(tools=[self._schema], first_tool_only=True)
        return JsonOutputKeyToolsParser(key_name=self._function["name"], first_tool_only=True)


def _with_raw(
    prompted: Runnable[LanguageModelInput, AIMessage], parser: Runnable[AIMessage, Any]
) -> Runnable[LanguageModelInput, Any]:
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=prompted) | parsed.with_fallbacks(
        [unparsed], exception_key="parsing_error"
    )


def _is_pydantic(schema: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _titled(schema: dict[str, Any] | type) -> dict[str, Any] | type:
    """A JSON schema needs a title, which becomes the function's name."""
    if isinstance(schema, dict) and "properties" in schema:
        return {"title": "answer", **schema}
    return schema
