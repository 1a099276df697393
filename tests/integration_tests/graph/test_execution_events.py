"""The events of executions in a graph: every program that starts ends, however the answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import responses_streams
from dashscope_streams import ONE_RUN, STREAMS, error_frame, frame, stream, tool_info
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import RunnableConfig
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.graph import START, StateGraph

from langchain_qwen_ci import CodeInterpreterState, QwenCodeInterpreterNode
from langchain_qwen_ci.errors import QwenError, QwenInvalidRequestError, QwenStreamError
from langchain_qwen_ci.graph import CodeExecutionsTransformer

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

QUESTION = {"messages": [("user", "What is 7 to the power of 5?")]}
COMPLETE = STREAMS["one run"].body
CUT = stream(*ONE_RUN[:4])  # the program was sent, and the model has not continued
RESPONSES = responses_streams.STREAMS["one run"].body
RESPONSES_CUT = RESPONSES[: RESPONSES.index(b"code_interpreter_call.interpreting")]
TWO_PROGRAMS = STREAMS["two runs in a row"].body


def compiled(model: Any, **options: Any) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model, **options))
    builder.add_edge(START, "code_interpreter")
    return builder.compile(transformers=[CodeExecutionsTransformer])


# Each reads the events of a graph into a list, up to the end or to an error. A comprehension would
# lose the events before the error.


def _stream(graph: Any, received: list[Any], config: Any) -> None:
    for event in graph.stream(QUESTION, config, stream_mode="custom"):
        received.append(event)  # noqa: PERF402


def _stream_with_messages(graph: Any, received: list[Any], config: Any) -> None:
    for mode, event in graph.stream(QUESTION, config, stream_mode=["custom", "messages"]):
        if mode == "custom":
            received.append(event)


def _v3(graph: Any, received: list[Any], config: Any) -> None:
    for event in graph.stream_events(QUESTION, config, version="v3").code_executions:
        received.append(event)  # noqa: PERF402


async def _astream(graph: Any, received: list[Any], config: Any) -> None:
    async for event in graph.astream(QUESTION, config, stream_mode="custom"):
        received.append(event)  # noqa: PERF401


async def _astream_with_messages(graph: Any, received: list[Any], config: Any) -> None:
    async for mode, event in graph.astream(QUESTION, config, stream_mode=["custom", "messages"]):
        if mode == "custom":
            received.append(event)


async def _av3(graph: Any, received: list[Any], config: Any) -> None:
    run = await graph.astream_events(QUESTION, config, version="v3")
    async for event in run.code_executions:
        received.append(event)  # noqa: PERF401


READERS: dict[str, Callable[..., Any]] = {
    "stream": _stream,
    "stream with messages": _stream_with_messages,
    "v3": _v3,
    "astream": _astream,
    "astream with messages": _astream_with_messages,
    "async v3": _av3,
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


def read(reader: Callable[..., Any], graph: Any, received: list[Any]) -> Any:
    """Read events with a reader; return the run of the model."""
    collector = RunCollectorCallbackHandler()
    try:
        pending = reader(graph, received, {"callbacks": [collector]})
        if pending is not None:
            asyncio.run(pending)
    finally:
        (run,) = collector.traced_runs
    return run


def outline(events: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (event["event"], event["execution"]["code"], event["execution"]["status"])
        for event in events
    ]


STARTED, ENDED = ("started", "7**5", "in_progress"), ("ended", "7**5", "incomplete")
REJECTION = error_frame(400, "DataInspectionFailed", "No.")
FAILURES = {
    "cut": ({}, CUT, QwenStreamError),
    "refused": ({}, CUT + REJECTION, QwenInvalidRequestError),
    "cut on Responses": ({"api": "responses"}, RESPONSES_CUT, QwenStreamError),
}


@every_reader
@pytest.mark.parametrize(("fields", "body", "error"), FAILURES.values(), ids=FAILURES)
def test_failed_answer_ends_its_execution(mock_service, reader, fields, body, error):
    graph, received = compiled(mock_service(body).model(**fields)), []
    with pytest.raises(error):
        read(reader, graph, received)
    assert outline(received) == [STARTED, ENDED]
    started, ended = (event["execution"]["id"] for event in received)
    assert started == ended


@every_reader
def test_error_converted_to_a_message_ends_the_execution(mock_service, reader):
    graph, received = compiled(mock_service(CUT).model(), on_error="message"), []
    read(reader, graph, received)
    assert outline(received) == [STARTED, ENDED]


@every_reader
@pytest.mark.parametrize("limit", [{"max_request_tokens": 700}, {"max_code_executions": 1}])
def test_request_limit_ends_all_executions(mock_service, reader, limit):
    received: list[Any] = []
    run = read(reader, compiled(mock_service(TWO_PROGRAMS).model(**limit)), received)
    expected = [STARTED, ENDED]
    if "max_code_executions" in limit:  # the service may have run the second program
        expected[1:] = [
            ("started", "7**5 % 11", "in_progress"),
            ENDED,
            ("ended", "7**5 % 11", "incomplete"),
        ]
    assert outline(received) == expected
    tool_runs = runs_below(run, "tool")
    assert [tool_run.inputs["code"] for tool_run in tool_runs] == codes_of(received, "started")
    for tool_run in tool_runs:
        assert tool_run.end_time is not None
        assert "QwenBudgetError" in tool_run.error


def codes_of(events: list[Any], name: str) -> list[str]:
    return [event["execution"]["code"] for event in events if event["event"] == name]


def runs_below(run: Any, run_type: str) -> list[Any]:
    below = [found for child in run.child_runs for found in runs_below(child, run_type)]
    return [child for child in run.child_runs if child.run_type == run_type] + below


@pytest.mark.usefixtures("recorded_waits")
@pytest.mark.parametrize("name", ["stream", "astream"])
def test_repeated_request_ends_the_execution_of_the_first_answer(mock_service, name):
    # Both answers have the same id, as from a gateway that sends none of its own.
    received: list[Any] = []
    model = mock_service(CUT, COMPLETE).model(retry_cut_answers=True)
    read(READERS[name], compiled(model), received)
    assert outline(received) == [STARTED, ENDED, STARTED, ("ended", "7**5", "completed")]


@pytest.mark.usefixtures("recorded_waits")
@pytest.mark.parametrize("name", ["stream", "astream"])
def test_repeated_request_that_fails_ends_the_execution_once(mock_service, name):
    received: list[Any] = []
    model = mock_service(CUT, httpx.ConnectError("refused")).model(retry_cut_answers=True)
    with pytest.raises(QwenError):
        read(READERS[name], compiled(model), received)
    assert outline(received) == [STARTED, ENDED]


RESPONSES_PIECES = responses_streams.STREAMS["code in pieces"].body
CODE_DONE = b"response.code_interpreter_call_code.done"
PROGRAM = 'import math\nprint("π")'
GROWING_CODE = {
    "native": (
        {},
        STREAMS["code that is empty at first, then grows"].body,
        [("started", ""), ("code", "import math\n"), ("code", PROGRAM), ("ended", PROGRAM)],
    ),
    "Responses": (
        {"api": "responses"},
        RESPONSES_PIECES,
        [("started", ""), ("code", "7**5"), ("ended", "7**5")],
    ),
    "Responses, no event with the whole code": (
        {"api": "responses"},
        RESPONSES_PIECES.replace(CODE_DONE, b"response.unknown"),
        [("started", ""), ("code", "7**5"), ("ended", "7**5")],
    ),
}


@every_reader
@pytest.mark.parametrize(("fields", "body", "expected"), GROWING_CODE.values(), ids=GROWING_CODE)
def test_code_that_grows_has_an_event_of_its_own(mock_service, reader, fields, body, expected):
    received: list[Any] = []
    read(reader, compiled(mock_service(body).model(**fields)), received)
    assert [event[:2] for event in outline(received)] == expected
    statuses = [event["execution"]["status"] for event in received]
    assert statuses == ["in_progress"] * (len(expected) - 1) + ["completed"]
    assert len({event["execution"]["id"] for event in received}) == 1


async def test_complete_code_has_an_event_before_the_program_has_run(mock_service):
    code_sent = RESPONSES_PIECES.index(CODE_DONE)
    end = RESPONSES_PIECES.index(b"\n\n", code_sent) + 2
    service = mock_service(lambda: httpx.Response(200, stream=Hanging(RESPONSES_PIECES[:end])))
    events = compiled(service.model(api="responses")).astream(QUESTION, stream_mode="custom")
    received = [await anext(events), await anext(events)]
    assert [event[:2] for event in outline(received)] == [("started", ""), ("code", "7**5")]
    await events.aclose()


@pytest.mark.usefixtures("recorded_waits")
@every_reader
def test_retries_and_fallbacks_end_the_executions_of_each_call(mock_service, reader):
    received: list[Any] = []
    model = mock_service(CUT).model().with_retry(stop_after_attempt=2)
    fallback = mock_service(COMPLETE).model()
    read(reader, compiled(model.with_fallbacks([fallback])), received)
    assert outline(received) == [STARTED, ENDED] * 2 + [
        STARTED,
        ("ended", "7**5", "completed"),
    ]


class Hanging(httpx.AsyncByteStream):
    """A response body that sends `data` and then nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data
        await asyncio.Event().wait()


class HangingHandler(AsyncCallbackHandler):
    """A callback handler that does not return from the second piece of code."""

    def __init__(self) -> None:
        self._pieces = 0

    async def on_llm_new_token(self, token: str, *, chunk: Any, **_: Any) -> None:
        self._pieces += "block_positions" in chunk.message.additional_kwargs
        if self._pieces > 1:
            await asyncio.Event().wait()


@pytest.mark.parametrize("name", ["astream", "astream with messages", "async v3"])
@pytest.mark.parametrize("handlers", [[], [HangingHandler]], ids=["reading", "in a handler"])
def test_cancelled_node_ends_its_execution(mock_service, name, handlers):
    # LangGraph's own timeout of a node is no case here: it discards what the node writes after it.
    pieces = stream(frame(tool_info=tool_info("7*")), frame(tool_info=tool_info("7**5")))
    service = mock_service(lambda: httpx.Response(200, stream=Hanging(pieces)))
    callbacks = [handler() for handler in handlers]
    node = QwenCodeInterpreterNode(service.model(callbacks=callbacks))

    async def with_timeout(state: CodeInterpreterState, config: RunnableConfig) -> Any:
        async with asyncio.timeout(0.5):
            return await node.ainvoke(state, config)

    builder = StateGraph(CodeInterpreterState)
    builder.add_node("with_timeout", with_timeout)
    builder.add_edge(START, "with_timeout")
    received: list[Any] = []
    with pytest.raises(TimeoutError):
        read(READERS[name], builder.compile(transformers=[CodeExecutionsTransformer]), received)
    # The second piece reaches the node only if the handler returns. LangChain does not call this
    # method of handlers in v3 runs.
    started, *code, ended = outline(received)
    assert (started, ended) == (("started", "7*", "in_progress"), ENDED)
    reads_on = not handlers or name == "async v3"
    assert code == [("code", "7**5", "in_progress")] * reads_on


async def test_cancelled_call_ends_its_tool_run(mock_service):
    collector = RunCollectorCallbackHandler()
    service = mock_service(lambda: httpx.Response(200, stream=Hanging(CUT)))
    received: list[Any] = []
    reading = _astream(compiled(service.model()), received, {"callbacks": [collector]})
    task = asyncio.ensure_future(reading)
    while not received:
        await asyncio.sleep(0.01)
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (run,) = collector.traced_runs
    (tool_run,) = runs_below(run, "tool")
    assert tool_run.end_time is not None
    assert "CancelledError" in tool_run.error


async def test_error_of_one_call_does_not_end_the_programs_of_another(mock_service):
    both_started, failed = asyncio.Event(), asyncio.Event()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield CUT
            both_started.set()
            await failed.wait()
            yield COMPLETE[len(CUT) :]

    class Failing(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            await both_started.wait()
            yield CUT

    slow = mock_service(lambda: httpx.Response(200, stream=Slow())).model()
    failing = mock_service(lambda: httpx.Response(200, stream=Failing())).model()

    async def call_both(messages: Any, config: Any) -> Any:
        async def fail() -> None:
            with pytest.raises(QwenStreamError):
                await failing.ainvoke(messages, config)
            failed.set()

        message, _ = await asyncio.gather(slow.ainvoke(messages, config), fail())
        return message

    received: list[Any] = []
    await _astream(compiled(RunnableLambda(call_both)), received, {})
    assert outline(received) == [STARTED, STARTED, ENDED, ("ended", "7**5", "completed")]


def test_abandoned_stream_ends_its_execution(mock_service):
    pieces = stream(frame(tool_info=tool_info("7*")), frame(tool_info=tool_info("7**5")))
    model = mock_service(pieces).model()
    abandoned = []

    def abandon(messages: Any, config: Any) -> Any:
        chunks = model.stream(messages, config)
        abandoned.append(chunks)  # so that it is not closed
        next(chunks)
        next(chunks)
        raise RuntimeError

    received: list[Any] = []
    with pytest.raises(RuntimeError):
        _stream(compiled(RunnableLambda(abandon)), received, {})
    assert outline(received) == [("started", "7*", "in_progress"), ENDED]
