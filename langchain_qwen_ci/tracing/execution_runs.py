"""Traces every code execution as a tool run under the run of the model.

LangSmith, and every other handler of LangChain's callbacks, then shows each program with its code,
its output and its duration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import LangSmithParams

from langchain_qwen_ci.metadata import CODE_INTERPRETER
from langchain_qwen_ci.response.observers import EventObserver
from langchain_qwen_ci.tracing.parent_run import current_parent_run
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished, Finished

if TYPE_CHECKING:
    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.tracing.parent_run import ParentRun
    from langchain_qwen_ci.wire.events import Event

M = TypeVar("M", CallbackManager, AsyncCallbackManager)

# LangGraph leaves runs with this tag out of its `tools` stream. These tools are the service's own.
_NO_STREAM = "nostream"
# Parts of the response metadata that are copied to the metadata of the model's run.
_RUN_METADATA = ("plugins", "inference_usage")


class CodeExecutionError(Exception):
    """The error of a tool run whose program failed; the message is the program's traceback."""

    def __repr__(self) -> str:
        """The traceback as printed; LangChain appends its own traceback after it."""
        return f"{self}\n\n"


class ExecutionRunTracer(EventObserver):
    """Starts a tool run when an execution starts, and ends it when the execution ends."""

    def __init__(self, parent: ParentRun) -> None:
        self._parent = parent
        self._manager: CallbackManager | AsyncCallbackManager | None = None
        self._runs: dict[str, Any] = {}

    def on_event(self, event: Event, builder: MessageBuilder) -> None:
        self._add_run_metadata(event, builder)
        if execution := self._started_execution(event, builder):
            self._runs[execution["id"]] = self._child_manager(CallbackManager).on_tool_start(
                {"name": CODE_INTERPRETER}, execution["code"], **_run_arguments(execution)
            )
        elif execution := self._ended_execution(event, builder):
            run = self._runs.pop(execution["id"])
            if execution["status"] == "failed":
                run.on_tool_error(CodeExecutionError(execution.get("output")))
            else:
                run.on_tool_end(_run_output(execution))

    async def aon_event(self, event: Event, builder: MessageBuilder) -> None:
        self._add_run_metadata(event, builder)
        if execution := self._started_execution(event, builder):
            manager = self._child_manager(AsyncCallbackManager)
            self._runs[execution["id"]] = await manager.on_tool_start(
                {"name": CODE_INTERPRETER}, execution["code"], **_run_arguments(execution)
            )
        elif execution := self._ended_execution(event, builder):
            run = self._runs.pop(execution["id"])
            if execution["status"] == "failed":
                await run.on_tool_error(CodeExecutionError(execution.get("output")))
            else:
                await run.on_tool_end(_run_output(execution))

    def on_error(self, error: BaseException) -> None:
        while self._runs:
            self._runs.popitem()[1].on_tool_error(error)

    async def aon_error(self, error: BaseException) -> None:
        while self._runs:
            await self._runs.popitem()[1].on_tool_error(error)

    def _add_run_metadata(self, event: Event, builder: MessageBuilder) -> None:
        """Copy counts and usage to the metadata of the model's run, so that traces can be filtered
        by them."""
        if not isinstance(event, Finished):
            return
        metadata = builder.response_metadata
        run_metadata = {name: metadata[name] for name in _RUN_METADATA if name in metadata}
        for tracer in self._parent.handlers:
            # langchain-core's tracers (1.6 to 1.8) keep their open runs in `run_map`; there is no
            # public way to add metadata to a run that has started.
            if run := getattr(tracer, "run_map", {}).get(str(self._parent.run_id)):
                run.add_metadata(run_metadata)

    def _started_execution(self, event: Event, builder: MessageBuilder) -> CodeExecution | None:
        # Some services first announce a program with empty code. The run starts once there is code.
        if not isinstance(event, CodeDelta) or event.call_id in self._runs:
            return None
        execution = builder.execution(event.call_id)
        return execution if execution["code"] else None

    def _ended_execution(self, event: Event, builder: MessageBuilder) -> CodeExecution | None:
        if isinstance(event, CodeFinished) and event.call_id in self._runs:
            return builder.execution(event.call_id)
        return None

    def _child_manager(self, manager_class: type[M]) -> M:
        """Return the callback manager of the child runs; it is built at the first execution."""
        if self._manager is None:
            inherited = manager_class(handlers=[], parent_run_id=self._parent.run_id)
            inherited.set_handlers(self._parent.inheritable_handlers)
            inherited.add_tags(self._parent.inheritable_tags)
            inherited.add_metadata(_without_model_metadata(self._parent.inheritable_metadata))
            # Adds the handlers of the context, such as the one of `collect_runs`. They are not
            # inheritable: LangChain adds them to each run.
            self._manager = child = manager_class.configure(inherited)
            child.add_tags([_NO_STREAM], inherit=False)
        return cast("M", self._manager)


def _without_model_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Remove the keys that mark a run as a model's run, which tools that sum up costs look for."""
    return {
        name: value
        for name, value in metadata.items()
        if name not in LangSmithParams.__annotations__
    }


def _run_arguments(execution: CodeExecution) -> dict[str, Any]:
    inputs = {"code": execution["code"]}
    return {"inputs": inputs, "name": CODE_INTERPRETER, "tool_call_id": execution["id"]}


def _run_output(execution: CodeExecution) -> dict[str, Any]:
    return {name: value for name, value in execution.items() if name not in ("id", "code")}


def trace_executions(parent: ParentRun | None) -> ExecutionRunTracer | None:
    """Return the observer that traces executions under a run; None if no handler listens."""
    parent = parent or current_parent_run()
    return ExecutionRunTracer(parent) if parent and parent.handlers else None
