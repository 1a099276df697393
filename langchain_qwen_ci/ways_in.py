"""The ways into a chat model that LangChain knows, each a thin hook around one `Call`.

`invoke` and its like come by `_generate`, `stream` by `_stream`, v3 and graphs that stream by it by
`_stream_chat_model_events`; each again for asyncio. They differ in what they make of events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables.config import RunnableConfig, ensure_config
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_qwen_ci.chunks import chunk_encoder
from langchain_qwen_ci.protocol import ProtocolEvents
from langchain_qwen_ci.tracing import ABegun, begun, run_finder, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_protocol.protocol import MessagesData

    from langchain_qwen_ci.call import Call
    from langchain_qwen_ci.tracing import Parent, RunFinder


class WaysIn(BaseChatModel):
    """A chat model that answers by calls."""

    trace_code_executions: bool = True
    """Whether every execution is a tool run of its own, under the model's run, for LangSmith and
    other listeners."""

    retry_cut_answers: bool = False
    """Whether `invoke` and its like, and a node, also send a request again whose answer broke off
    or did not come in time. Its code may then run twice, and is paid for twice. A stream is never
    repeated. Handlers are told no tokens of such a call: they might be of an answer that breaks
    off."""

    def _begin(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        call: dict[str, Any],
        run: Parent | None,
    ) -> Call:
        """Every check that can be made before sending, the request, and what takes its answer."""
        raise NotImplementedError

    # Where LangChain does not tell `_stream` which run it is, it is found out here.

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  # as LangChain calls it
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        config = ensure_config(config)
        finder = self._finder(CallbackManager, config)
        if finder is None:
            return super().stream(input, config, stop=stop, **kwargs)
        return begun(finder, super().stream(input, finder.heard(config), stop=stop, **kwargs))

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  # as LangChain calls it
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        config = ensure_config(config)
        finder = self._finder(AsyncCallbackManager, config)
        if finder is None:
            return super().astream(input, config, stop=stop, **kwargs)
        return ABegun(finder, super().astream(input, finder.heard(config), stop=stop, **kwargs))

    def _finder(
        self, kind: type[CallbackManager | AsyncCallbackManager], config: RunnableConfig
    ) -> RunFinder | None:
        return run_finder(kind, config) if self.trace_code_executions else None

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with running(run_manager):
            return super()._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with running(run_manager):
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    def _begin_whole(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        call: dict[str, Any],
        run: Parent | None,
    ) -> Call:
        """A call of which nothing but the whole message is handed on."""
        begun = self._begin(messages, stop, call, run)
        return begun.repeatable() if self.retry_cut_answers else begun

    def _tells(self, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun) -> bool:
        """Whether anybody is told of tokens as they come, beside the message at the end."""
        return bool(run.handlers) and not self.retry_cut_answers

    # The ways in.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._begin_whole(messages, stop, kwargs, run_manager)
        with call.events() as events:
            if run_manager and self._tells(run_manager):
                encoder = chunk_encoder(call.answer, self.output_version)
                for event in events:
                    if chunk := encoder.feed(event):
                        heard = _identified(chunk, run_manager)
                        run_manager.on_llm_new_token(str(chunk.text), chunk=heard)
            else:
                for event in events:
                    call.answer.add(event)
        return _result(call.answer.message(self.output_version))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._begin_whole(messages, stop, kwargs, run_manager)
        async with call.aevents() as events:
            if run_manager and self._tells(run_manager):
                encoder = chunk_encoder(call.answer, self.output_version)
                async for event in events:
                    if chunk := encoder.feed(event):
                        heard = _identified(chunk, run_manager)
                        await run_manager.on_llm_new_token(str(chunk.text), chunk=heard)
            else:
                async for event in events:
                    call.answer.add(event)
        return _result(call.answer.message(self.output_version))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        # LangChain's own `stream` tells the run about every chunk.
        call = self._begin(messages, stop, kwargs, run_manager)
        encoder = chunk_encoder(call.answer, self.output_version)
        with call.events() as events:
            for event in events:
                if chunk := encoder.feed(event):
                    yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # LangChain's own `astream` tells the run about every chunk.
        call = self._begin(messages, stop, kwargs, run_manager)
        encoder = chunk_encoder(call.answer, self.output_version)
        async with call.aevents() as events:
            async for event in events:
                if chunk := encoder.feed(event):
                    yield ChatGenerationChunk(message=chunk)

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        """LangChain's hook behind `stream_events(version="v3")` and graphs that stream by it."""
        call = self._begin(messages, stop, kwargs, run_manager)
        encoder = ProtocolEvents(call.answer, _message_id(run_manager))
        with call.events() as events:
            for event in events:
                yield from encoder.feed(event)
        yield from encoder.end()

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[MessagesData]:
        call = self._begin(messages, stop, kwargs, run_manager)
        encoder = ProtocolEvents(call.answer, _message_id(run_manager))
        async with call.aevents() as events:
            async for event in events:
                for told in encoder.feed(event):
                    yield told
        for told in encoder.end():
            yield told


def _message_id(
    run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
) -> str | None:
    """The id by which LangChain knows the message of a run."""
    return f"{LC_ID_PREFIX}-{run.run_id}" if run else None


def _identified(
    chunk: AIMessageChunk, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun
) -> ChatGenerationChunk:
    chunk.id = _message_id(run)
    return ChatGenerationChunk(message=chunk)


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
