"""Every execution is a tool run under the run of the model, with every entry point."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import responses_streams
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs, register_configure_hook
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.graph import START, StateGraph

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.emulator import Cut, EmulatorServer, Run, Say, Script, Think
from langchain_qwen_ci.errors import QwenStreamError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

TURN = [Think("I compute."), Run("6 * 7"), Think("Again."), Run("1 / 0"), Say("It is 42.")]


@pytest.fixture(scope="module")
def url():
    with EmulatorServer(responder=Script(*[TURN] * 200)) as server:
        yield server.url


def make_model(url: str, **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=url, api_key="any", **{"api": "responses", **fields})


async def _astream(model: Any, config: Any) -> None:
    async for _ in model.astream("?", config):
        pass


async def _astream_events(model: Any, config: Any) -> None:
    async for _ in model.astream_events("?", config, version="v2"):
        pass


async def _av3(model: Any, config: Any) -> None:
    await (await model.astream_events("?", config, version="v3"))


ENTRY_POINTS = {
    "invoke": lambda model, config: model.invoke("?", config),
    "ainvoke": lambda model, config: asyncio.run(model.ainvoke("?", config)),
    "stream": lambda model, config: list(model.stream("?", config)),
    "astream": lambda model, config: asyncio.run(_astream(model, config)),
    "batch": lambda model, config: model.batch(["?"], config),
    "abatch": lambda model, config: asyncio.run(model.abatch(["?"], config)),
    "v3": lambda model, config: model.stream_events("?", config, version="v3").output,
    "async v3": lambda model, config: asyncio.run(_av3(model, config)),
    "astream_events": lambda model, config: asyncio.run(_astream_events(model, config)),
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)


def trace(call: Any) -> Any:
    """Return the root run of a call, which is a function of a configuration."""
    collector = RunCollectorCallbackHandler()
    call({"callbacks": [collector], "tags": ["mine"], "metadata": {"thread": "1"}})
    (run,) = collector.traced_runs
    return run


def runs_below(run: Any, run_type: str) -> list[Any]:
    """Return the runs of a type below a run, at any depth."""
    children = [child for child in run.child_runs if child.run_type == run_type]
    descendants = [found for child in run.child_runs for found in runs_below(child, run_type)]
    return children + descendants


@every_entry_point
@pytest.mark.parametrize("version", [None, "v1"])
def test_executions_are_tool_runs_under_the_model_run(url, entry_point, version):
    run = trace(lambda config: entry_point(make_model(url, output_version=version), config))
    assert run.run_type == "llm"
    succeeded, failed = run.child_runs
    for tool_run in (succeeded, failed):
        assert (tool_run.run_type, tool_run.name) == ("tool", "code_interpreter")
        assert tool_run.parent_run_id == run.id
        assert run.start_time <= tool_run.start_time <= tool_run.end_time <= run.end_time
        assert {"mine", "nostream"} <= set(tool_run.tags)
        assert tool_run.extra["metadata"]["thread"] == "1"
    assert succeeded.end_time <= failed.start_time
    assert succeeded.inputs == {"code": "6 * 7"}
    assert succeeded.outputs == {"output": {"status": "completed", "output": "42"}}
    assert succeeded.error is None
    assert failed.inputs == {"code": "1 / 0"}
    assert "\nZeroDivisionError: division by zero" in failed.error


_HANDLERS: ContextVar[RunCollectorCallbackHandler | None] = ContextVar("handlers", default=None)
register_configure_hook(_HANDLERS, inheritable=False)


@contextmanager
def _collect_by_hook() -> Iterator[RunCollectorCallbackHandler]:
    handler = RunCollectorCallbackHandler()
    token = _HANDLERS.set(handler)
    yield handler
    _HANDLERS.reset(token)


@every_entry_point
@pytest.mark.parametrize("collect", [collect_runs, _collect_by_hook])
def test_handlers_of_the_context_receive_executions(url, entry_point, collect):
    with collect() as collector:
        entry_point(make_model(url), None)
    (run,) = collector.traced_runs
    assert [child.inputs["code"] for child in run.child_runs] == ["6 * 7", "1 / 0"]
    assert run.extra["metadata"]["plugins"] == {"code_interpreter": {"count": 2}}
    assert {child.trace_id for child in run.child_runs} == {run.id}


def test_handlers_of_the_context_and_of_the_call_receive_executions_once(url):
    with collect_runs() as collector:
        run = trace(lambda config: (RunnableLambda(str) | make_model(url)).invoke("?", config))
        run_async = trace(lambda config: asyncio.run(make_model(url).ainvoke("?", config)))
    assert len(runs_below(run, "tool")) == len(run_async.child_runs) == 2
    assert [len(runs_below(found, "tool")) for found in collector.traced_runs] == [2, 2]


def test_execution_without_output_ends_when_the_model_continues(url):
    run = trace(lambda config: make_model(url, api="dashscope").invoke("?", config))
    assert [child.inputs["code"] for child in run.child_runs] == ["6 * 7", "1 / 0"]
    assert [child.outputs for child in run.child_runs] == [{"output": {"status": "completed"}}] * 2


@every_entry_point
def test_usage_is_in_the_metadata_of_the_run(url, entry_point):
    # LangSmith can filter runs by their metadata.
    run = trace(lambda config: entry_point(make_model(url, api="dashscope"), config))
    metadata = run.extra["metadata"]
    assert metadata["plugins"] == {"code_interpreter": {"count": 2}}
    assert len(metadata["inference_usage"]) == 3
    assert not {"plugins", "inference_usage"} & run.child_runs[0].extra["metadata"].keys()
    run = trace(lambda config: entry_point(make_model(url, api="responses"), config))
    metadata = run.extra["metadata"]
    assert metadata["plugins"] == {"code_interpreter": {"count": 2}}
    assert "inference_usage" not in metadata


@every_entry_point
def test_chat_completions_has_no_tool_runs(url, entry_point):
    run = trace(lambda config: entry_point(make_model(url, api="chat_completions"), config))
    assert run.child_runs == []


@every_entry_point
def test_tracing_of_executions_can_be_turned_off(url, entry_point):
    run = trace(lambda config: entry_point(make_model(url, trace_code_executions=False), config))
    assert run.child_runs == []


@pytest.mark.parametrize("name", ["invoke", "ainvoke", "batch"])
def test_cached_answer_has_no_tool_runs(url, name):
    model = make_model(url, cache=InMemoryCache())
    assert len(trace(lambda config: ENTRY_POINTS[name](model, config)).child_runs) == 2
    assert trace(lambda config: ENTRY_POINTS[name](model, config)).child_runs == []


def test_tool_runs_in_chains_bindings_and_graphs(url):
    model = make_model(url)
    chains = [
        RunnableLambda(str) | model | RunnableLambda(lambda message: message.text),
        model.bind(temperature=0.5).with_config(run_name="bound"),
        model.with_retry(),
    ]
    for chain in chains:
        run = trace(lambda config, chain=chain: chain.invoke("?", config))
        model_runs = [run] if run.run_type == "llm" else runs_below(run, "llm")
        assert [len(model_run.child_runs) for model_run in model_runs] == [2]

    builder = StateGraph(CodeInterpreterState)
    builder.add_node("one", QwenCodeInterpreterNode(model, name="one"))
    builder.add_node("two", QwenCodeInterpreterNode(model, name="two"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph = builder.compile()
    graph_input = {"messages": [("user", "?")]}
    calls = (
        lambda config: graph.invoke(graph_input, config),
        lambda config: asyncio.run(graph.ainvoke(graph_input, config)),
        lambda config: list(graph.stream(graph_input, config, stream_mode="messages")),
        lambda config: graph.stream_events(graph_input, config, version="v3").output,
    )
    for call in calls:
        run = trace(call)
        assert [len(model_run.child_runs) for model_run in runs_below(run, "llm")] == [2, 2]


def test_call_inside_a_stream_has_its_own_run(url):
    # A generator shares the context of its caller, so the parent run must not stay set there.
    model = make_model(url)
    collector = RunCollectorCallbackHandler()
    stream = model.stream("?", {"callbacks": [collector]})
    next(stream)
    inner = trace(lambda config: model.invoke("?", config))
    model.invoke("?")
    list(stream)
    (outer,) = collector.traced_runs
    assert (len(inner.child_runs), len(outer.child_runs)) == (2, 2)


@pytest.mark.parametrize("name", ["invoke", "ainvoke", "stream", "astream"])
def test_interrupted_answer_ends_open_tool_runs(name):
    collector = RunCollectorCallbackHandler()
    with EmulatorServer(responder=Script(TURN), faults=(Cut(after=9),)) as server:
        model = make_model(server.url)
        with pytest.raises(QwenStreamError):
            ENTRY_POINTS[name](model, {"callbacks": [collector]})
    (run,) = collector.traced_runs
    (tool_run,) = run.child_runs
    assert tool_run.end_time is not None
    assert "broke off" in tool_run.error


def test_abandoned_stream_ends_open_tool_runs(mock_service):
    collector = RunCollectorCallbackHandler()
    model = mock_service(responses_streams.STREAMS["code in pieces"].body).model(api="responses")
    # The tool run starts after the first piece ("7*") was yielded, and is open at the second.
    for chunk in model.stream("?", {"callbacks": [collector]}):
        if any(block.get("args") == "*5" for block in chunk.content_blocks):
            break
    (run,) = collector.traced_runs
    (tool_run,) = run.child_runs
    assert tool_run.end_time is not None
    assert "GeneratorExit" in tool_run.error


def test_async_handlers_run_in_their_own_loop(url):
    loops: list[Any] = []

    class LoopRecorder(AsyncCallbackHandler):
        async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            loops.append(asyncio.get_running_loop())

        async def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
            loops.append(asyncio.get_running_loop())

    async def call_model() -> Any:
        await make_model(url).ainvoke("?", {"callbacks": [LoopRecorder()]})
        await _astream(make_model(url), {"callbacks": [LoopRecorder()]})
        return asyncio.get_running_loop()

    loop = asyncio.run(call_model())
    assert len(loops) == 6
    assert set(loops) == {loop}


def test_stream_events_have_tools_and_parents(url):
    async def collect() -> list[Any]:
        return [event async for event in make_model(url).astream_events("?", version="v2")]

    events = asyncio.run(collect())
    tool_events = [event for event in events if event["event"].startswith("on_tool")]
    assert [event["event"] for event in tool_events] == [
        "on_tool_start",
        "on_tool_end",
        "on_tool_start",
        "on_tool_error",
    ]
    assert all(event["parent_ids"] == [events[0]["run_id"]] for event in tool_events)


def test_handlers_of_the_model_only_receive_no_tool_runs(url):
    # `callbacks` of the constructor are not inherited by child runs.
    received: list[str] = []

    class RunRecorder(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            received.append("model")

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            received.append("tool")

    model = make_model(url, callbacks=[RunRecorder()])
    model.invoke("?")
    list(model.stream("?"))
    assert received == ["model", "model"]
