"""Executions while they happen: custom events of a graph, and `run.code_executions`."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langgraph.config import get_stream_writer
from langgraph.stream import StreamChannel, StreamTransformer
from typing_extensions import TypedDict

from langchain_qwen_ci.response.observers import EventObserver, observe
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langgraph.stream import ProtocolEvent

    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.wire.events import Event

T = TypeVar("T")

EVENT_TYPE: Literal["code_execution"] = "code_execution"


class CodeExecutionEvent(TypedDict):
    """What a node writes to the custom stream when a program starts, and when it has ended."""

    type: Literal["code_execution"]

    event: Literal["started", "ended"]

    node: str
    """Name of the node."""

    execution: CodeExecution
    """What is known of it then: at its start its code, as far as it is written; at its end all."""


class ExecutionEventEmitter(EventObserver):
    """Writes an event where a program starts and where it ends; see `call.Watcher`."""

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


def in_graph_run(get: Callable[..., T]) -> T | None:
    """What a running graph knows; None where there is none."""
    try:
        return get()
    except (RuntimeError, KeyError):
        return None


@contextmanager
def stream_code_executions(node: str, *, enabled: bool = True) -> Iterator[None]:
    """Tell the running graph of every execution of the calls made inside, if there is a graph."""
    write = in_graph_run(get_stream_writer) if enabled else None
    with observe(ExecutionEventEmitter(node, write)) if write else nullcontext():
        yield


class CodeExecutionsTransformer(StreamTransformer):
    """Gives v3 runs of a graph `run.code_executions`: a stream of `CodeExecutionEvent`.

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
