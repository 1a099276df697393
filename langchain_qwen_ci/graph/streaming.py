"""Custom stream events when a program starts and ends, and `run.code_executions`.

Private name of LangGraph that this module sets: `_native` of a stream transformer (langgraph 1.2.0
to 1.2.24). With it the stream is an attribute of the run; otherwise it would be in
`run.extensions`. `langgraph.stream` itself is public but was added in langgraph 1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langgraph.config import get_config, get_stream_writer
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer
from typing_extensions import TypedDict

from langchain_qwen_ci.metadata import CodeExecution
from langchain_qwen_ci.response.observers import EventObserver, observe
from langchain_qwen_ci.wire.events import CodeComplete, CodeDelta, CodeFinished

if TYPE_CHECKING:
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.wire.events import Event

T = TypeVar("T")

EVENT_TYPE: Literal["code_execution"] = "code_execution"
# The stream writers of the enclosing `stream_code_executions` blocks; each graph run has one.
_ACTIVE_WRITERS: ContextVar[tuple[Callable[[Any], None], ...]] = ContextVar(
    "active_writers", default=()
)
ExecutionEventName = Literal["started", "code", "ended"]


@dataclass(slots=True)
class _OpenExecution:
    """An execution that has not ended: its builder, and the code of the latest event."""

    builder: MessageBuilder
    code: str


class CodeExecutionEvent(TypedDict):
    """The event that a node writes to the custom stream when a program starts and when it ends.

    Every program that starts also ends. The status of its last record is "incomplete" if the answer
    failed, was cancelled, or was requested again before the program had ended.
    """

    type: Literal["code_execution"]

    event: ExecutionEventName
    """"started" comes at once, when the code may be empty or a part. In this case "code" follows
    with the complete code as soon as it is known, at the latest right before "ended"; on the native
    API it may come again with more code."""

    node: str
    """The name of the node in the graph. Agents have the name of the tool or middleware here."""

    execution: CodeExecution
    """The record of the execution: at the start with the code received so far, then with the
    complete code, at the end complete."""


class ExecutionEventEmitter(EventObserver):
    """Writes custom stream events when a program of a call starts, has its code, and ends."""

    def __init__(self, node: str, write: Callable[[CodeExecutionEvent], None]) -> None:
        self._node = node
        self._write = write
        self._open: dict[str, _OpenExecution] = {}  # by call id, in the order of their start
        self._closed = False

    def on_event(self, event: Event, builder: MessageBuilder) -> None:
        match event:
            case CodeDelta(call_id) if call_id not in self._open and not self._closed:
                execution = builder.execution(call_id)
                self._open[call_id] = _OpenExecution(builder, execution["code"])
                self._emit("started", execution)
            case CodeComplete(call_id) if call_id in self._open:
                self._emit_new_code(call_id)
            case CodeFinished(call_id) if call_id in self._open:
                self._emit_new_code(call_id)
                del self._open[call_id]
                self._emit("ended", builder.execution(call_id))

    def on_error(self, error: BaseException) -> None:
        del error
        self._end_open()

    def close(self) -> None:
        """End the programs of a call that was abandoned, and emit nothing more."""
        self._closed = True
        self._end_open()

    def _end_open(self) -> None:
        while self._open:
            call_id = next(iter(self._open))
            execution = self._open.pop(call_id).builder.execution(call_id)
            execution["status"] = "incomplete"
            self._emit("ended", execution)

    def _emit_new_code(self, call_id: str) -> None:
        open_execution = self._open[call_id]
        code = open_execution.builder.execution(call_id)["code"]
        if code != open_execution.code:
            open_execution.code = code
            self._emit("code", CodeExecution(id=call_id, code=code, status="in_progress"))

    def _emit(self, event: ExecutionEventName, execution: CodeExecution) -> None:
        self._write(
            CodeExecutionEvent(type=EVENT_TYPE, event=event, node=self._node, execution=execution)
        )


def in_graph_run(getter: Callable[..., T]) -> T | None:
    """Call a function that needs a running graph; return None outside of a graph."""
    try:
        return getter()
    except (RuntimeError, KeyError):
        return None


def node_in_graph(default: str) -> str:
    """Return the name of the running node in its graph; `default` outside of a graph."""
    config = in_graph_run(get_config) or {}
    return str(config.get("metadata", {}).get("langgraph_node", default))


@contextmanager
def stream_code_executions(node: str, *, enabled: bool = True) -> Iterator[None]:
    """Write custom stream events for the calls made inside the block, if a graph is running.

    Of two nested blocks of one graph run, as of two middlewares, only the outer one writes.
    """
    write = in_graph_run(get_stream_writer) if enabled else None
    if write is None or write in _ACTIVE_WRITERS.get():
        yield
        return
    token = _ACTIVE_WRITERS.set((*_ACTIVE_WRITERS.get(), write))
    emitters: list[ExecutionEventEmitter] = []

    def new_emitter() -> ExecutionEventEmitter:
        emitters.append(ExecutionEventEmitter(node, write))
        return emitters[-1]

    try:
        with observe(new_emitter):
            yield
    finally:
        # A cancelled reader leaves its async generator to the event loop, which closes it later:
        # after the error has reached the caller of the graph.
        for emitter in emitters:
            emitter.close()
        _ACTIVE_WRITERS.reset(token)


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
