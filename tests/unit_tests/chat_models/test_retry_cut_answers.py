"""`retry_cut_answers`: an answer that broke off is asked for again, where nobody has seen it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from dashscope_streams import ONE_RUN, STREAMS, error_frame, stream
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from mock_service import Pieces
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

WHOLE = STREAMS["one run"].body
HALF = stream(*ONE_RUN[:6])
pytestmark = [
    pytest.mark.usefixtures("waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]


def node(model: Any) -> Any:
    graph = StateGraph(CodeInterpreterState)
    graph.add_node("model", QwenCodeInterpreterNode(model))
    graph.add_edge(START, "model")
    return graph.compile()


ASKED = {"messages": [HumanMessage("?")]}
ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "batch": lambda model: model.batch(["?"])[0],
    "node": lambda model: node(model).invoke(ASKED)["messages"][-1],
    "async node": lambda model: asyncio.run(node(model).ainvoke(ASKED))["messages"][-1],
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
BREAKS = {
    "a cut": (HALF, QwenStreamError),
    "a cut within a frame": (HALF + b'data:{"out', QwenStreamError),
    "a frame that cannot be read": (HALF + b"data:[1]\n\n", QwenStreamError),
    "an error frame": (HALF + error_frame(500, "InternalError", "Broken."), QwenServerError),
    "nothing at all": (b"", QwenStreamError),
    "a reset": (Pieces(HALF, breaks=httpx.ReadError("reset")), QwenStreamError),
    "silence": (Pieces(HALF, breaks=httpx.ReadTimeout("slow")), QwenTimeoutError),
    "silence from the beginning": (httpx.ReadTimeout("slow"), QwenTimeoutError),
}


@pytest.mark.parametrize(("broken", "kind"), BREAKS.values(), ids=BREAKS)
@every_entry_point
def test_interrupted_answer_is_requested_again(service, entry_point, broken, kind):
    served = service(broken, WHOLE)
    message = entry_point(served.model(retry_cut_answers=True))
    assert len(served.requests) == 2
    assert message.content == STREAMS["one run"].content
    assert message.usage_metadata["output_tokens"] == STREAMS["one run"].usage[1]
    assert [run["code"] for run in code_executions(message)] == STREAMS["one run"].codes

    served = service(broken, WHOLE)
    with pytest.raises(kind):
        entry_point(served.model())
    assert len(served.requests) == 1


@pytest.mark.parametrize("name", ["dashscope: one run", "responses: one run"])
def test_output_of_the_first_attempt_is_discarded(service, name):
    whole = CORPUS[name]
    for at in range(20, len(whole.body) - 20, 101):
        served = service(whole.body[:at], whole.body)
        message = served.model(api=whole.api, retry_cut_answers=True).invoke("?")
        assert (message.content, message.usage_metadata["total_tokens"]) == (
            whole.content,
            whole.usage[2],
        )
        assert message.additional_kwargs["reasoning_content"] == whole.reasoning
        assert len(code_executions(message)) == len(whole.executions)


@pytest.mark.parametrize("entry_point", ["stream", "astream", "v3"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_stream_is_never_repeated(service, entry_point):
    served = service(HALF, WHOLE)
    model = served.model(retry_cut_answers=True)

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
    assert len(served.requests) == 1


@every_entry_point
def test_retries_stop_at_max_retries(service, entry_point):
    served = service(HALF)
    with pytest.raises(QwenStreamError) as caught:
        entry_point(served.model(retry_cut_answers=True))
    assert len(served.requests) == 3
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        (httpx.ConnectError("refused"), QwenConnectionError),
        (error_frame(429, "Throttling", "Slow down."), QwenRateLimitError),
    ],
)
def test_partial_of_an_earlier_attempt_is_kept(service, then, kind):
    served = service(HALF, then)
    with pytest.raises(kind) as caught:
        served.model(retry_cut_answers=True).invoke("?")
    assert [run["code"] for run in code_executions(caught.value.partial)] == ["7**5"]
    assert caught.value.partial.usage_metadata["output_tokens"] == 36


def test_permanent_error_is_not_retried(service):
    refusal = error_frame(400, "DataInspectionFailed", "No.")
    for broken, more in [(HALF + refusal, {}), (Pieces(HALF, WHOLE), {"max_answer_bytes": 100})]:
        served = service(broken)
        with pytest.raises(QwenError) as caught:
            served.model(retry_cut_answers=True, **more).invoke("?")
        assert not caught.value.is_retryable
        assert isinstance(caught.value, ValueError)
        assert len(served.requests) == 1


class Heard(BaseCallbackHandler):
    """What a handler is told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.runs: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)

    def on_tool_start(self, *_: Any, **__: Any) -> None:
        self.runs.append("started")

    def on_tool_end(self, *_: Any, **__: Any) -> None:
        self.runs.append("ended")

    def on_tool_error(self, *_: Any, **__: Any) -> None:
        self.runs.append("broken")


def test_handlers_receive_no_tokens_but_both_tool_runs(service):
    """The first program ran, so a trace shows it."""
    received, running = Heard(), stream(*ONE_RUN[:4])
    served = service(running, WHOLE)
    served.model(retry_cut_answers=True).invoke("?", {"callbacks": [received]})
    assert received.tokens == []
    assert received.runs == ["started", "broken", "started", "ended"]
    service(WHOLE).model().invoke("?", {"callbacks": [received]})
    assert received.tokens
