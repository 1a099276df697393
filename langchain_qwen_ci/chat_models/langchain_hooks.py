"""Implements LangChain's hooks (`_generate`, `_stream`, …); each runs one `Call`.

`invoke`, `batch` and `generate` call `_generate`; `stream` calls `_stream`; `stream_events` with
version "v3", and graphs that stream with it, call `_stream_chat_model_events`. Each hook has an
asynchronous form. The hooks differ only in how they encode the events of the answer.

Private names of langchain-core that this module overrides: `_generate_with_cache`,
`_agenerate_with_cache` and `_stream_chat_model_events`; see each of them for the reason.
`tests/unit_tests/test_private_names.py` fails with an explanation when one of them changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import RunnableConfig, ensure_config
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import ConfigDict

from langchain_qwen_ci.request.accepted_names import check_call_arguments
from langchain_qwen_ci.response.chunk_construction import generation_chunk
from langchain_qwen_ci.response.chunks import chunk_encoder
from langchain_qwen_ci.response.protocol_events import ProtocolEvents
from langchain_qwen_ci.tracing.parent_run import (
    AsyncWithinRun,
    parent_run,
    run_id_handler,
    within_run,
)

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_protocol.protocol import MessagesData

    from langchain_qwen_ci.chat_models.call import Call
    from langchain_qwen_ci.tracing.parent_run import ParentRun, RunIdHandler


class LangChainHooks(BaseChatModel):
    """A chat model whose hooks run a `Call`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    trace_code_executions: bool = True
    """Whether each code execution becomes a tool run under the model's run, for LangSmith and other
    callback handlers."""

    retry_cut_answers: bool = False
    """Whether `invoke`, `batch` and the node repeat a request whose answer was interrupted or did
    not start in time. Its code may then run twice and is billed twice. A stream is never repeated.
    Callback handlers receive no tokens of such calls, because a token may belong to an interrupted
    answer."""

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

    def _prepare_call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        arguments: dict[str, Any],
        run: ParentRun | None,
    ) -> Call:
        """Check the input and build the request; nothing is sent yet."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # its return type is a private class since langchain-core 1.8

        def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
            # A call rejects these arguments as well, but a binding shows them in its repr.
            check_call_arguments(kwargs, type(self).model_fields)
            return super().bind(**kwargs)

    # LangChain does not pass the run to `_stream` and `_astream`, so these methods add a callback
    # handler that records its id.

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's parameter name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        config = ensure_config(config)
        handler = self._run_id_handler(CallbackManager, config)
        if handler is None:
            return super().stream(input, config, stop=stop, **kwargs)
        chunks = super().stream(input, handler.with_handler(config), stop=stop, **kwargs)
        return within_run(handler, chunks)

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's parameter name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        config = ensure_config(config)
        handler = self._run_id_handler(AsyncCallbackManager, config)
        if handler is None:
            return super().astream(input, config, stop=stop, **kwargs)
        chunks = super().astream(input, handler.with_handler(config), stop=stop, **kwargs)
        return AsyncWithinRun(handler, chunks)

    def _run_id_handler(
        self, manager_class: type[CallbackManager | AsyncCallbackManager], config: RunnableConfig
    ) -> RunIdHandler | None:
        return run_id_handler(manager_class, config) if self.trace_code_executions else None

    # `_generate` receives the run, but LangChain may call `_stream` in its place (when a handler
    # streams), and that hook does not receive it. Both are called from `_generate_with_cache`
    # (langchain-core 1.6 to 1.8), so the run is set around it. It also returns the answers of
    # LangChain's cache.

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with parent_run(run_manager):
            result = super()._generate_with_cache(messages, stop, run_manager, **kwargs)
        return _with_own_id(result, run_manager)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with parent_run(run_manager):
            result = await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)
        return _with_own_id(result, run_manager)

    def _prepare_unstreamed_call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        arguments: dict[str, Any],
        run: ParentRun | None,
    ) -> Call:
        """Prepare a call whose caller receives nothing but the finished message."""
        call = self._prepare_call(messages, stop, arguments, run)
        return call.with_retries_after_start() if self.retry_cut_answers else call

    def _has_token_listeners(
        self, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun
    ) -> bool:
        return bool(run.handlers) and not self.retry_cut_answers

    # The hooks.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._prepare_unstreamed_call(messages, stop, kwargs, run_manager)
        with call.events() as answer:
            if run_manager and self._has_token_listeners(run_manager):
                encoder = chunk_encoder(call.builder, self.output_version, _message_id(run_manager))
                for events in answer:
                    for event in events:
                        if chunk := encoder.feed(event):
                            generation = generation_chunk(chunk)
                            run_manager.on_llm_new_token(str(chunk.text), chunk=generation)
            else:
                for events in answer:
                    for event in events:
                        call.builder.add(event)
        return _to_chat_result(call.builder.message(self.output_version))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._prepare_unstreamed_call(messages, stop, kwargs, run_manager)
        async with call.aevents() as answer:
            if run_manager and self._has_token_listeners(run_manager):
                encoder = chunk_encoder(call.builder, self.output_version, _message_id(run_manager))
                async for events in answer:
                    for event in events:
                        if chunk := encoder.feed(event):
                            generation = generation_chunk(chunk)
                            await run_manager.on_llm_new_token(str(chunk.text), chunk=generation)
            else:
                async for events in answer:
                    for event in events:
                        call.builder.add(event)
        return _to_chat_result(call.builder.message(self.output_version))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        # LangChain's `stream` calls `on_llm_new_token` for every chunk by itself.
        call = self._prepare_call(messages, stop, kwargs, run_manager)
        encoder = chunk_encoder(call.builder, self.output_version, _message_id(run_manager))
        with call.events() as answer:
            for events in answer:
                for event in events:
                    if chunk := encoder.feed(event):
                        yield generation_chunk(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # LangChain's `astream` calls `on_llm_new_token` for every chunk by itself.
        call = self._prepare_call(messages, stop, kwargs, run_manager)
        encoder = chunk_encoder(call.builder, self.output_version, _message_id(run_manager))
        async with call.aevents() as answer:
            async for events in answer:
                for event in events:
                    if chunk := encoder.feed(event):
                        yield generation_chunk(chunk)

    # The hook behind `stream_events(version="v3")` (langchain-core 1.6 to 1.8). Without it
    # LangChain converts chunks, and closes every block only at the end of the message: code would
    # arrive only after it has run.

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        call = self._prepare_call(messages, stop, kwargs, run_manager)
        encoder = ProtocolEvents(call.builder, _message_id(run_manager))
        with call.events() as answer:
            for events in answer:
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
        call = self._prepare_call(messages, stop, kwargs, run_manager)
        encoder = ProtocolEvents(call.builder, _message_id(run_manager))
        async with call.aevents() as answer:
            async for events in answer:
                for event in events:
                    for protocol_event in encoder.feed(event):
                        yield protocol_event
        for protocol_event in encoder.end():
            yield protocol_event


def _message_id(
    run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
) -> str | None:
    """Return the id that LangChain gives to the message of a run."""
    return f"{LC_ID_PREFIX}-{run.run_id}" if run else None


def _with_own_id(
    result: ChatResult, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None
) -> ChatResult:
    """Give an answer of LangChain's cache the id of this run instead of that of the first run.

    With the same id, `add_messages` would put the answer into the place of the first one.
    """
    message = result.generations[0].message
    message_id = _message_id(run)
    if message_id is None or (message.id or "").startswith(message_id):
        return result
    return _to_chat_result(cast("AIMessage", message.model_copy(update={"id": message_id})))


def _to_chat_result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
