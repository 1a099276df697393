"""`retry_cut_answers` repeats the request of an interrupted answer, except in streams."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from dashscope_streams import ONE_RUN, STREAMS, error_frame, stream
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from mock_service import StreamedBody
from stream_corpus import CORPUS

from langchain_qwen_ci import CodeInterpreterState, QwenCodeInterpreterNode, code_executions
from langchain_qwen_ci.errors import (
    QwenConnectionError,
    QwenError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
)

COMPLETE = STREAMS["one run"].body
INTERRUPTED = stream(*ONE_RUN[:6])
pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


def graph_with_node(model: Any) -> Any:
    graph = StateGraph(CodeInterpreterState)
    graph.add_node("model", QwenCodeInterpreterNode(model))
    graph.add_edge(START, "model")
    return graph.compile()


GRAPH_INPUT = {"messages": [HumanMessage("?")]}
ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "batch": lambda model: model.batch(["?"])[0],
    "node": lambda model: graph_with_node(model).invoke(GRAPH_INPUT)["messages"][-1],
    "async node": lambda model: asyncio.run(graph_with_node(model).ainvoke(GRAPH_INPUT))[
        "messages"
    ][-1],
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
INTERRUPTIONS = {
    "end within the answer": (INTERRUPTED, QwenStreamError),
    "end within a frame": (INTERRUPTED + b'data:{"out', QwenStreamError),
    "broken frame": (INTERRUPTED + b"data:[1]\n\n", QwenStreamError),
    "error frame": (INTERRUPTED + error_frame(500, "InternalError", "Broken."), QwenServerError),
    "empty body": (b"", QwenStreamError),
    "connection reset": (
        StreamedBody(INTERRUPTED, error=httpx.ReadError("reset")),
        QwenStreamError,
    ),
    "read timeout": (StreamedBody(INTERRUPTED, error=httpx.ReadTimeout("slow")), QwenTimeoutError),
    "read timeout before the response": (httpx.ReadTimeout("slow"), QwenTimeoutError),
}


@pytest.mark.parametrize(("answer", "error"), INTERRUPTIONS.values(), ids=INTERRUPTIONS)
@every_entry_point
def test_interrupted_answer_is_requested_again(mock_service, entry_point, answer, error):
    backend = mock_service(answer, COMPLETE)
    message = entry_point(backend.model(retry_cut_answers=True))
    assert len(backend.requests) == 2
    assert message.content == STREAMS["one run"].content
    assert message.usage_metadata["output_tokens"] == STREAMS["one run"].usage[1]
    assert [execution["code"] for execution in code_executions(message)] == STREAMS["one run"].codes

    backend = mock_service(answer, COMPLETE)
    with pytest.raises(error):
        entry_point(backend.model())
    assert len(backend.requests) == 1


@pytest.mark.parametrize("name", ["dashscope: one run", "responses: one run"])
def test_output_of_the_first_attempt_is_discarded(mock_service, name):
    expected = CORPUS[name]
    for length in range(20, len(expected.body) - 20, 101):
        backend = mock_service(expected.body[:length], expected.body)
        message = backend.model(api=expected.api, retry_cut_answers=True).invoke("?")
        assert message.content == expected.content
        assert message.usage_metadata["total_tokens"] == expected.usage[2]
        assert message.additional_kwargs["reasoning_content"] == expected.reasoning
        assert len(code_executions(message)) == len(expected.executions)


@pytest.mark.parametrize("entry_point", ["stream", "astream", "v3"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_stream_is_never_repeated(mock_service, entry_point):
    backend = mock_service(INTERRUPTED, COMPLETE)
    model = backend.model(retry_cut_answers=True)

    async def read() -> None:
        async for _ in model.astream("?"):
            pass

    entry_points = {
        "stream": lambda: list(model.stream("?")),
        "astream": lambda: asyncio.run(read()),
        "v3": lambda: model.stream_events("?", version="v3").output,
    }
    with pytest.raises(QwenStreamError):
        entry_points[entry_point]()
    assert len(backend.requests) == 1


@every_entry_point
def test_retries_stop_at_max_retries(mock_service, entry_point):
    backend = mock_service(INTERRUPTED)
    with pytest.raises(QwenStreamError) as caught:
        entry_point(backend.model(retry_cut_answers=True))
    assert len(backend.requests) == 3
    assert [execution["code"] for execution in code_executions(caught.value.partial)] == ["7**5"]


@pytest.mark.parametrize(
    ("second_answer", "error"),
    [
        (httpx.ConnectError("refused"), QwenConnectionError),
        (error_frame(429, "Throttling", "Slow down."), QwenRateLimitError),
    ],
)
def test_partial_of_an_earlier_attempt_is_kept(mock_service, second_answer, error):
    backend = mock_service(INTERRUPTED, second_answer)
    with pytest.raises(error) as caught:
        backend.model(retry_cut_answers=True).invoke("?")
    assert [execution["code"] for execution in code_executions(caught.value.partial)] == ["7**5"]
    assert caught.value.partial.usage_metadata["output_tokens"] == 36


def test_permanent_error_is_not_retried(mock_service):
    rejection = error_frame(400, "DataInspectionFailed", "No.")
    cases = [
        (INTERRUPTED + rejection, {}),
        (StreamedBody(INTERRUPTED, COMPLETE), {"max_answer_bytes": 100}),
    ]
    for answer, fields in cases:
        backend = mock_service(answer)
        with pytest.raises(QwenError) as caught:
            backend.model(retry_cut_answers=True, **fields).invoke("?")
        assert not caught.value.is_retryable
        assert isinstance(caught.value, ValueError)
        assert len(backend.requests) == 1


class CallbackRecorder(BaseCallbackHandler):
    """Records the tokens and the events of tool runs."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.tool_events: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)

    def on_tool_start(self, *_: Any, **__: Any) -> None:
        self.tool_events.append("started")

    def on_tool_end(self, *_: Any, **__: Any) -> None:
        self.tool_events.append("ended")

    def on_tool_error(self, *_: Any, **__: Any) -> None:
        self.tool_events.append("error")


def test_handlers_receive_no_tokens_but_both_tool_runs(mock_service):
    # The first program may have run, so its tool run stays in the trace.
    recorder = CallbackRecorder()
    interrupted_after_code = stream(*ONE_RUN[:4])
    backend = mock_service(interrupted_after_code, COMPLETE)
    backend.model(retry_cut_answers=True).invoke("?", {"callbacks": [recorder]})
    assert recorder.tokens == []
    assert recorder.tool_events == ["started", "error", "started", "ended"]
    mock_service(COMPLETE).model().invoke("?", {"callbacks": [recorder]})
    assert recorder.tokens
