"""Finds the LangChain run that a call belongs to.

LangChain passes the run to `_generate` and to the v3 hook, but not to `_stream`. There a callback
handler records the run's id, and a context variable carries it to the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from langchain_core.callbacks import BaseCallbackHandler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
    from langchain_core.runnables.config import RunnableConfig

T = TypeVar("T")


class ParentRun(Protocol):
    """A run of the model: one of LangChain's run managers, or a `RunIdHandler`."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def handlers(self) -> list[BaseCallbackHandler]: ...
    @property
    def inheritable_handlers(self) -> list[BaseCallbackHandler]: ...
    @property
    def inheritable_tags(self) -> list[str]: ...
    @property
    def inheritable_metadata(self) -> dict[str, Any]: ...


_PARENT_RUN: ContextVar[ParentRun | None] = ContextVar("parent_run", default=None)


def current_parent_run() -> ParentRun | None:
    """Return the run that `parent_run` has set in this context."""
    return _PARENT_RUN.get()


@contextmanager
def parent_run(run: ParentRun | None) -> Iterator[None]:
    """Let the calls that start inside the block belong to a run of the model."""
    token = _PARENT_RUN.set(run)
    try:
        yield
    finally:
        _PARENT_RUN.reset(token)


class RunIdHandler(BaseCallbackHandler):
    """A callback handler that records the id of the run that it is called for."""

    run_inline = True  # it only stores a value, so LangChain need not call it in another thread

    def __init__(self, manager: CallbackManager | AsyncCallbackManager) -> None:
        self._manager = manager
        self._run_id: UUID | None = None

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[Any],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        del serialized, messages, kwargs
        self._run_id = run_id

    @property
    def run_id(self) -> UUID:
        return cast("UUID", self._run_id)

    @property
    def handlers(self) -> list[BaseCallbackHandler]:
        return self._manager.handlers

    @property
    def inheritable_handlers(self) -> list[BaseCallbackHandler]:
        return self._manager.inheritable_handlers

    @property
    def inheritable_tags(self) -> list[str]:
        return self._manager.inheritable_tags

    @property
    def inheritable_metadata(self) -> dict[str, Any]:
        return self._manager.inheritable_metadata

    def with_handler(self, config: RunnableConfig) -> RunnableConfig:
        """Return a configuration whose handlers include this one."""
        manager = self._manager.copy()
        manager.add_handler(self, inherit=False)
        return {**config, "callbacks": manager}


def run_id_handler(
    manager_class: type[CallbackManager | AsyncCallbackManager], config: RunnableConfig
) -> RunIdHandler | None:
    """Return a handler for a stream; None if no handler would receive child runs."""
    manager = manager_class.configure(
        config.get("callbacks"),
        inheritable_tags=config.get("tags"),
        inheritable_metadata=config.get("metadata"),
    )
    return RunIdHandler(manager) if manager.handlers else None


def within_run(handler: RunIdHandler, chunks: Iterator[T]) -> Iterator[T]:
    """Yield the chunks of a stream whose call belongs to the run that the handler records.

    The call starts with the first chunk, so the context variable is set for that step only: a
    generator shares the context of its caller, which must not find the variable set.
    """
    with parent_run(handler):
        first = next(chunks, None)
    if first is not None:
        yield first
        yield from chunks


class AsyncWithinRun(AsyncIterator[T]):
    """Asynchronous form of `within_run`.

    It is a class and not an async generator; see `http.transport.AsyncEvents` for the reason.
    """

    def __init__(self, handler: RunIdHandler, chunks: AsyncIterator[T]) -> None:
        self._handler: RunIdHandler | None = handler
        self._chunks = chunks

    async def __anext__(self) -> T:
        handler, self._handler = self._handler, None
        if handler is None:
            return await anext(self._chunks)
        with parent_run(handler):
            return await anext(self._chunks)

    async def aclose(self) -> None:
        await cast("AsyncGenerator[T]", self._chunks).aclose()
