"""Custom stream events when a program starts and ends, and `run.code_executions`.

Private name of LangGraph that this module sets: `_native` of a stream transformer (langgraph 1.2.0
to 1.2.24). With it the stream is an attribute of the run; otherwise it would be in
`run.extensions`. `langgraph.stream` itself is public but was added in langgraph 1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langgraph.config import get_stream_writer
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer
from typing_extensions import TypedDict

from langchain_qwen_ci.metadata import CodeExecution
from langchain_qwen_ci.response.observers import EventObserver, observe
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished

if TYPE_CHECKING:
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.wire.events import Event

T = TypeVar("T")

EVENT_TYPE: Literal["code_execution"] = "code_execution"


class CodeExecutionEvent(TypedDict):
    """The event that a node writes to the custom stream when a program starts and when it ends."""

    type: Literal["code_execution"]

    event: Literal["started", "ended"]

    node: str
    """The name of the node."""

    execution: CodeExecution
    """The record of the execution: at the start with the code received so far, at the end
    complete."""


class ExecutionEventEmitter(EventObserver):
    """Writes a custom stream event when a program starts and when it ends."""

    def __init__(self, node: str, write: Callable[[CodeExecutionEvent], None]) -> None:
        self._node = node
        self._write = write
        self._started: set[str] = set()

    def on_event(self, event: Event, builder: MessageBuilder) -> None:
        match event:
            case CodeDelta(call_id) if call_id not in self._started:
                self._started.add(call_id)
                self._emit("started", builder.execution(call_id))
            case CodeFinished(call_id):
                self._emit("ended", builder.execution(call_id))

    def _emit(self, event: Literal["started", "ended"], execution: CodeExecution) -> None:
        self._write(
            CodeExecutionEvent(type=EVENT_TYPE, event=event, node=self._node, execution=execution)
        )


def in_graph_run(getter: Callable[..., T]) -> T | None:
    """Call a function that needs a running graph; return None outside of a graph."""
    try:
        return getter()
    except (RuntimeError, KeyError):
        return None


@contextmanager
def stream_code_executions(node: str, *, enabled: bool = True) -> Iterator[None]:
    """Write custom stream events for the calls made inside the block, if a graph is running."""
    write = in_graph_run(get_stream_writer) if enabled else None
    with observe(ExecutionEventEmitter(node, write)) if write else nullcontext():
        yield


class CodeExecutionsTransformer(StreamTransformer):
    """Adds `run.code_executions`, a stream of `CodeExecutionEvent`, to v3 runs of a graph.

    Example:
        ```python
        graph = builder.compile(transformers=[CodeExecutionsTransformer])
        for event in graph.stream_events(state, version="v3").code_executions:
            print(event["event"], event["execution"]["code"])
        ```
    """

    _native = True
    required_stream_modes = ("custom",)

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._events: StreamChannel[CodeExecutionEvent] = StreamChannel()

    def init(self) -> dict[str, Any]:
        return {"code_executions": self._events}

    def process(self, event: ProtocolEvent) -> bool:
        data = event["params"]["data"]
        ours = (
            event["method"] == "custom"
            and isinstance(data, dict)
            and data.get("type") == EVENT_TYPE
        )
        if ours and event["params"]["namespace"] == list(self.scope):
            self._events.push(data)
        return True
