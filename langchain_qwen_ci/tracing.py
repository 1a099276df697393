"""One tool run for every execution, under the run of the model.

LangSmith, and whatever else listens to LangChain's callbacks, then shows each program with its
code, its output and how long it took. LangChain tells `invoke` and v3 which run they are; `stream`
and `astream` are not told, so a handler finds it out (`RunFinder`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
)
from langchain_core.language_models import LangSmithParams

from langchain_qwen_ci.blocks import INTERPRETER
from langchain_qwen_ci.call import Watcher
from langchain_qwen_ci.errors import QwenStreamError
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished, Finished, ResponseStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from uuid import UUID

    from langchain_core.runnables.config import RunnableConfig

    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.wire.events import Event

T = TypeVar("T")
M = TypeVar("M", CallbackManager, AsyncCallbackManager)

# LangGraph leaves runs with this tag out of its stream of tools: these are the service's own.
_NO_STREAM = "nostream"
_IN_METADATA = ("plugins", "inference_usage")


class Parent(Protocol):
    """A run of the model: one of LangChain's run managers, or a `RunFinder`."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def inheritable_handlers(self) -> list[BaseCallbackHandler]: ...
    @property
    def inheritable_tags(self) -> list[str]: ...
    @property
    def inheritable_metadata(self) -> dict[str, Any]: ...


class CodeExecutionError(Exception):
    """A program ended with a traceback, which is the message."""

    def __repr__(self) -> str:
        """As a trace shows it: the traceback as it was printed. LangChain sets its own behind."""
        return f"{self}\n\n"


# Ends the runs of an answer in whose place another one begins.
_ASKED_AGAIN = QwenStreamError("The answer broke off, and was asked for again.")


class ExecutionRuns(Watcher):
    """Begins a tool run where an execution begins and ends it where that ends."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._manager: CallbackManager | AsyncCallbackManager | None = None
        self._runs: dict[str, Any] = {}

    def see(self, event: Event, answer: Answer) -> None:
        if isinstance(event, ResponseStarted):
            self.broken(_ASKED_AGAIN)
        self._note(event, answer)
        if execution := self._begins(event, answer):
            run = self._child(CallbackManager).on_tool_start(
                *_start(execution), **_about(execution)
            )
            self._runs[execution["id"]] = run
        elif execution := self._ends(event, answer):
            run = self._runs.pop(execution["id"])
            if execution["status"] == "failed":
                run.on_tool_error(CodeExecutionError(execution.get("output")))
            else:
                run.on_tool_end(_result(execution))

    async def asee(self, event: Event, answer: Answer) -> None:
        if isinstance(event, ResponseStarted):
            await self.abroken(_ASKED_AGAIN)
        self._note(event, answer)
        if execution := self._begins(event, answer):
            child = self._child(AsyncCallbackManager)
            run = await child.on_tool_start(*_start(execution), **_about(execution))
            self._runs[execution["id"]] = run
        elif execution := self._ends(event, answer):
            run = self._runs.pop(execution["id"])
            if execution["status"] == "failed":
                await run.on_tool_error(CodeExecutionError(execution.get("output")))
            else:
                await run.on_tool_end(_result(execution))

    def broken(self, error: BaseException) -> None:
        while self._runs:
            self._runs.popitem()[1].on_tool_error(error)

    async def abroken(self, error: BaseException) -> None:
        while self._runs:
            await self._runs.popitem()[1].on_tool_error(error)

    def _note(self, event: Event, answer: Answer) -> None:
        """Put what an answer has cost into the metadata of the model's run, to search traces by."""
        if not isinstance(event, Finished):
            return
        told = answer.response_metadata
        kept = {name: told[name] for name in _IN_METADATA if name in told}
        for tracer in self._parent.inheritable_handlers:
            # LangChain's tracers keep their runs there until they end.
            if run := getattr(tracer, "run_map", {}).get(str(self._parent.run_id)):
                run.add_metadata(kept)

    def _begins(self, event: Event, answer: Answer) -> CodeExecution | None:
        """An execution that begins with this event: not before there is code to show."""
        if not isinstance(event, CodeDelta) or event.call_id in self._runs:
            return None
        execution = answer.execution(event.call_id)
        return execution if execution["code"] else None

    def _ends(self, event: Event, answer: Answer) -> CodeExecution | None:
        ends = isinstance(event, CodeFinished) and event.call_id in self._runs
        return answer.execution(cast("CodeFinished", event).call_id) if ends else None

    def _child(self, kind: type[M]) -> M:
        """The manager of the runs below; built when something runs."""
        if self._manager is None:
            self._manager = child = kind(handlers=[], parent_run_id=self._parent.run_id)
            child.set_handlers(self._parent.inheritable_handlers)
            child.add_tags(self._parent.inheritable_tags)
            child.add_tags([_NO_STREAM], inherit=False)
            child.add_metadata(_of_any_run(self._parent.inheritable_metadata))
        return cast("M", self._manager)


def _of_any_run(metadata: dict[str, Any]) -> dict[str, Any]:
    """Without what says that a run is a model's: those who count and pay models go by it."""
    return {
        name: value
        for name, value in metadata.items()
        if name not in LangSmithParams.__annotations__
    }


def _start(execution: CodeExecution) -> tuple[dict[str, str], str]:
    return {"name": INTERPRETER}, execution["code"]


def _about(execution: CodeExecution) -> dict[str, Any]:
    inputs = {"code": execution["code"]}
    return {"inputs": inputs, "name": INTERPRETER, "tool_call_id": execution["id"]}


def _result(execution: CodeExecution) -> dict[str, Any]:
    """What an execution came to: its code is the run's input."""
    return {name: value for name, value in execution.items() if name not in ("id", "code")}


def execution_runs(parent: Parent | None) -> tuple[ExecutionRuns, ...]:
    """The watcher that traces executions below a run, where anything listens."""
    parent = parent or _PARENT.get()
    return (ExecutionRuns(parent),) if parent and parent.inheritable_handlers else ()


_PARENT: ContextVar[Parent | None] = ContextVar("parent", default=None)


@contextmanager
def running(parent: Parent | None) -> Iterator[None]:
    """The calls that begin inside belong to this run of the model."""
    token = _PARENT.set(parent)
    try:
        yield
    finally:
        _PARENT.reset(token)


class RunFinder(BaseCallbackHandler):
    """Finds out which run a stream is: LangChain tells its handlers, but not `_stream`."""

    run_inline = True  # it only remembers, and no thread need be asked for that

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
    def inheritable_handlers(self) -> list[BaseCallbackHandler]:
        return self._manager.inheritable_handlers

    @property
    def inheritable_tags(self) -> list[str]:
        return self._manager.inheritable_tags

    @property
    def inheritable_metadata(self) -> dict[str, Any]:
        return self._manager.inheritable_metadata

    def heard(self, config: RunnableConfig) -> RunnableConfig:
        """A configuration with this among its handlers."""
        manager = self._manager.copy()
        manager.add_handler(self, inherit=False)
        return {**config, "callbacks": manager}


def run_finder(
    kind: type[CallbackManager | AsyncCallbackManager], config: RunnableConfig
) -> RunFinder | None:
    """A finder for a stream; None where nothing listens to the runs below it."""
    manager = kind.configure(
        config.get("callbacks"),
        inheritable_tags=config.get("tags"),
        inheritable_metadata=config.get("metadata"),
    )
    return RunFinder(manager) if manager.inheritable_handlers else None


def begun(finder: RunFinder, chunks: Iterator[T]) -> Iterator[T]:
    """The chunks of a stream, whose call belongs to the run that the finder finds.

    The call begins with the first chunk. The context must not be left set while the caller has
    the turn: it is the caller's context.
    """
    with running(finder):
        first = next(chunks, None)
    if first is not None:
        yield first
        yield from chunks


class ABegun(AsyncIterator[T]):
    """`begun`, for asyncio. No async generator: see `AsyncEvents`."""

    def __init__(self, finder: RunFinder, chunks: AsyncIterator[T]) -> None:
        self._finder: RunFinder | None = finder
        self._chunks = chunks

    async def __anext__(self) -> T:
        finder, self._finder = self._finder, None
        if finder is None:
            return await anext(self._chunks)
        with running(finder):
            return await anext(self._chunks)

    async def aclose(self) -> None:
        await cast("AsyncGenerator[T]", self._chunks).aclose()
