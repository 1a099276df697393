"""Agents with a schema while the interpreter is on: a second request fits the answer to the schema.

`create_agent(response_format=…)` binds the schema either as a function tool that has no function
(`ToolStrategy`) or as a `response_format` (`ProviderStrategy`), and reads the result from one
message: from its tool calls or from its text. The service accepts neither with the interpreter. So
the first request runs the interpreter and answers; the second one, with interpreter and thinking
off, receives the answer and the schema. One message has the results of both.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import add_usage
from langchain_core.runnables import RunnableConfig, RunnableLambda

from langchain_qwen_ci.chat_models.structured_output import (
    REFORMAT_PROMPT,
    TURNED_OFF,
    input_messages,
)
from langchain_qwen_ci.errors import QwenError, QwenStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import StructuredTool

_CALL_PROMPT = (
    "Put what the user sends into one call of the function whose parameters fit it best. "
    "Do not answer in any other way."
)
# LangGraph does not stream model runs with this tag (`langgraph.constants.TAG_NOSTREAM`; this
# module must not import langgraph). The message of the second request is not part of the state, so
# a reader of `stream_mode="messages"` could not match it with one.
_NOT_STREAMED: RunnableConfig = {"tags": ["nostream"]}


def call_schema_tool(
    model: BaseChatModel,
    answering: Runnable[LanguageModelInput, AIMessage],
    tools: Sequence[StructuredTool],
    *,
    strict: bool | None,
    arguments: Mapping[str, Any],
) -> Runnable[LanguageModelInput, AIMessage]:
    """Return a model whose answers also have a call of one of the schema tools.

    Args:
        model: the model that makes the call.
        answering: the model with the interpreter on.
        tools: the schemas.
        strict: whether the service should enforce the schema.
        arguments: bound to the second request.
    """
    calling = model.bind_tools(
        tools,
        # The service can be forced to call one function, but not any one of several.
        tool_choice=tools[0].name if len(tools) == 1 else "auto",
        strict=strict,
        **{**arguments, **TURNED_OFF},
    )
    names = frozenset(tool.name for tool in tools)
    return _SchemaTurn(model, answering, calling, _CALL_PROMPT, names).runnable()


def answer_in_json(
    model: BaseChatModel,
    answering: Runnable[LanguageModelInput, AIMessage],
    response_format: Mapping[str, Any],
    *,
    arguments: Mapping[str, Any],
) -> Runnable[LanguageModelInput, AIMessage]:
    """Return a model whose answers are JSON that fits the schema of a `response_format`.

    Args:
        model: the model that writes the JSON.
        answering: the model with the interpreter on.
        response_format: the schema.
        arguments: bound to the second request.
    """
    schema = (response_format.get("json_schema") or {}).get("schema") or {}
    prompt = f"{REFORMAT_PROMPT}{json.dumps(schema, ensure_ascii=False)}"
    writing = model.bind(**{**arguments, **TURNED_OFF, "response_format": response_format})
    return _SchemaTurn(model, answering, writing, prompt, frozenset()).runnable()


@dataclass(frozen=True, slots=True)
class _SchemaTurn:
    """The two requests.

    Attributes:
        model: converts the input to messages.
        answering: the model of the first request.
        formatting: the model of the second request.
        prompt: the system prompt of the second request.
        tool_names: the names of the schema tools; empty if the answer becomes JSON.
    """

    model: BaseChatModel
    answering: Runnable[LanguageModelInput, AIMessage]
    formatting: Runnable[LanguageModelInput, AIMessage]
    prompt: str
    tool_names: frozenset[str]

    def runnable(self) -> Runnable[LanguageModelInput, AIMessage]:
        return RunnableLambda(self._invoke, self._ainvoke, name="answer_in_schema")

    def _invoke(
        self, model_input: LanguageModelInput, config: RunnableConfig, **arguments: Any
    ) -> AIMessage:
        messages = input_messages(self.model, model_input)
        if rejected := self._rejected_calls(messages):
            return self.formatting.invoke([SystemMessage(self.prompt), *rejected], config)
        answer = self.answering.invoke(self._without_calls(messages), config, **arguments)
        with _attach_to_errors(answer):
            formatting = self.formatting.with_config(_NOT_STREAMED)
            return self._merge(answer, formatting.invoke(self._to_format(answer), config))

    async def _ainvoke(
        self, model_input: LanguageModelInput, config: RunnableConfig, **arguments: Any
    ) -> AIMessage:
        messages = input_messages(self.model, model_input)
        if rejected := self._rejected_calls(messages):
            return await self.formatting.ainvoke([SystemMessage(self.prompt), *rejected], config)
        answer = await self.answering.ainvoke(self._without_calls(messages), config, **arguments)
        with _attach_to_errors(answer):
            formatting = self.formatting.with_config(_NOT_STREAMED)
            return self._merge(answer, await formatting.ainvoke(self._to_format(answer), config))

    def _to_format(self, answer: AIMessage) -> list[BaseMessage]:
        """Return the messages of the second request.

        Raises:
            QwenStreamError: the answer has no text.
        """
        text = str(answer.text)
        if not text:
            raise QwenStreamError("The answer has no text that could be put into the schema.")
        return [SystemMessage(self.prompt), HumanMessage(text)]

    def _merge(self, answer: AIMessage, formatted: AIMessage) -> AIMessage:
        """Return the answer with the result of the second request, and the usage of both.

        Raises:
            QwenStreamError: the model has called no schema tool.
        """
        if self.tool_names:
            self._check_calls(formatted)
            update, details = _with_calls(answer, formatted), {}
        else:
            update, details = _with_json(answer, formatted), {"answer": str(answer.text)}
        update["response_metadata"] = _merge_metadata(answer, formatted, details)
        if answer.usage_metadata or formatted.usage_metadata:
            update["usage_metadata"] = add_usage(answer.usage_metadata, formatted.usage_metadata)
        return answer.model_copy(update=update)

    def _check_calls(self, formatted: AIMessage) -> None:
        if not (formatted.tool_calls or formatted.invalid_tool_calls):
            names = ", ".join(sorted(self.tool_names))
            raise QwenStreamError(f"The model did not put its answer into a schema ({names}).")

    def _rejected_calls(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return the answer and the rejected calls if the conversation ends with such calls.

        An agent adds the error of a call that does not fit the schema as a tool message, and calls
        the model again. The answer exists then, so only the second request is repeated.
        """
        start = len(messages)
        for position in reversed(range(len(messages))):
            if self._calls_schema(messages[position]):
                start = position
            elif not isinstance(messages[position], ToolMessage):
                break
        if start == len(messages) or not (text := str(messages[start].text)):
            return []
        return [
            HumanMessage(text),
            *(
                message.model_copy(update={"content": ""})
                if isinstance(message, AIMessage)
                else message
                for message in messages[start:]
            ),
        ]

    def _without_calls(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Remove the schema calls of earlier answers and their results; the text remains.

        A request with the interpreter declares no functions, so it should not have their calls.
        """
        call_ids = {
            call["id"]
            for message in messages
            if isinstance(message, AIMessage)
            for call in (*message.tool_calls, *message.invalid_tool_calls)
            if call["name"] in self.tool_names
        }
        kept: list[BaseMessage] = []
        for message in messages:
            if self._calls_schema(message):
                answer = cast("AIMessage", message)
                calls = [call for call in answer.tool_calls if call["id"] not in call_ids]
                update = {"tool_calls": calls, "invalid_tool_calls": []}
                if calls or answer.text:
                    kept.append(answer.model_copy(update=update))
            elif not (isinstance(message, ToolMessage) and message.tool_call_id in call_ids):
                kept.append(message)
        return kept

    def _calls_schema(self, message: BaseMessage) -> bool:
        return isinstance(message, AIMessage) and any(
            call["name"] in self.tool_names
            for call in (*message.tool_calls, *message.invalid_tool_calls)
        )


@contextmanager
def _attach_to_errors(answer: AIMessage) -> Iterator[None]:
    """Attach the complete answer to an error of the second request: its code has run."""
    try:
        yield
    except QwenError as error:
        error.partial = answer
        raise


def _merge_metadata(
    answer: AIMessage, formatted: AIMessage, details: Mapping[str, str]
) -> dict[str, Any]:
    """Return the metadata of the answer with the inferences of both requests.

    `schema_request` has the ids of the second request, and the details.
    """
    inferences = [
        usage
        for message in (answer, formatted)
        for usage in message.response_metadata.get("inference_usage", ())
    ]
    request = {
        name: formatted.response_metadata[name]
        for name in ("request_id", "finish_reason")
        if name in formatted.response_metadata
    }
    return {
        **answer.response_metadata,
        **({"inference_usage": inferences} if inferences else {}),
        "schema_request": {**request, **details},
    }


def _with_calls(answer: AIMessage, formatted: AIMessage) -> dict[str, Any]:
    """Return the fields of an answer with function calls."""
    calls = {
        "tool_calls": formatted.tool_calls,
        "invalid_tool_calls": formatted.invalid_tool_calls,
    }
    if isinstance(answer.content, str):
        return calls
    call_blocks = [
        block
        for block in formatted.content_blocks
        if block["type"] in ("tool_call", "invalid_tool_call")
    ]
    return {**calls, "content": [*answer.content, *call_blocks]}


def _with_json(answer: AIMessage, formatted: AIMessage) -> dict[str, Any]:
    """Return the fields of an answer whose text is replaced by JSON; its code remains."""
    if isinstance(answer.content, str):
        # The offsets refer to the replaced text. All code ran before the JSON was written.
        positions = [
            {**position, "text_offset": 0}
            for position in answer.additional_kwargs.get("block_positions", ())
        ]
        kwargs = {"block_positions": positions} if positions else {}
        return {
            "content": str(formatted.text),
            "additional_kwargs": {**answer.additional_kwargs, **kwargs},
        }
    blocks = cast("list[dict[str, Any]]", answer.content)
    kept = [block for block in blocks if block["type"] != "text"]
    text = {"type": "text", "text": str(formatted.text), "index": len(kept)}
    return {
        "content": [*({**block, "index": index} for index, block in enumerate(kept)), text],
    }
