"""Executions while they happen: custom events of a graph, and `run.code_executions`."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langgraph.config import get_stream_writer
from langgraph.stream import StreamChannel, StreamTransformer
from typing_extensions import TypedDict

from langchain_qwen_ci.call import Watcher, watched
from langchain_qwen_ci.wire.events import CodeDelta, CodeFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langgraph.stream import ProtocolEvent

    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.metadata import CodeExecution
    from langchain_qwen_ci.wire.events import Event

T = TypeVar("T")

TYPE: Literal["code_execution"] = "code_execution"


class CodeExecutionEvent(TypedDict):
    """What a node writes to the custom stream when a program starts, and when it has ended."""

    type: Literal["code_execution"]

    event: Literal["started", "ended"]

    node: str
    """Name of the node."""

    execution: CodeExecution
    """What is known of it then: at its start its code, as far as it is written; at its end all."""


class LiveExecutions(Watcher):
    """Writes an event where a program starts and where it ends; see `call.Watcher`."""

    def __init__(self, node: str, write: Callable[[CodeExecutionEvent], None]) -> None:
        self._node = node
        self._write = write
        self._started: set[str] = set()

    def see(self, event: Event, answer: Answer) -> None:
        match event:
            case CodeDelta(call_id) if call_id not in self._started:
                self._started.add(call_id)
                self._tell("started", answer.execution(call_id))
            case CodeFinished(call_id):
                self._tell("ended", answer.execution(call_id))

    def _tell(self, what: Literal["started", "ended"], execution: CodeExecution) -> None:
        self._write(CodeExecutionEvent(type=TYPE, event=what, node=self._node, execution=execution))


def within_a_graph(get: Callable[..., T]) -> T | None:
    """What a running graph knows; None where there is none."""
    try:
        return get()
    except (RuntimeError, KeyError):
        return None


@contextmanager
def live_executions(node: str, *, on: bool = True) -> Iterator[None]:
    """Tell the running graph of every execution of the calls made inside, if there is a graph."""
    write = within_a_graph(get_stream_writer) if on else None
    with watched(LiveExecutions(node, write)) if write else nullcontext():
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
        ours = event["method"] == "custom" and isinstance(data, dict) and data.get("type") == TYPE
        if ours and event["params"]["namespace"] == list(self.scope):
            self._events.push(data)
        return True
