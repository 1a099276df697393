"""Every execution is a tool run under the model's run, by every way in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
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


def qwen(url: str, **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=url, api_key="any", **{"api": "responses", **fields})


async def _astream(model: Any, config: Any) -> None:
    async for _ in model.astream("?", config):
        pass


async def _aevents(model: Any, config: Any) -> None:
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
    "astream_events": lambda model, config: asyncio.run(_aevents(model, config)),
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)


def traced(call: Any) -> Any:
    """The run that a call makes, given a configuration."""
    collector = RunCollectorCallbackHandler()
    call({"callbacks": [collector], "tags": ["mine"], "metadata": {"thread": "1"}})
    (run,) = collector.traced_runs
    return run


def below(run: Any, kind: str) -> list[Any]:
    """Runs of a kind anywhere below a run, in order."""
    children = [child for child in run.child_runs if child.run_type == kind]
    return children + [one for child in run.child_runs for one in below(child, kind)]


@every_entry_point
@pytest.mark.parametrize("version", [None, "v1"])
def test_executions_are_tool_runs_under_the_model_run(url, entry_point, version):
    run = traced(lambda config: entry_point(qwen(url, output_version=version), config))
    assert run.run_type == "llm"
    good, bad = run.child_runs
    for tool in (good, bad):
        assert (tool.run_type, tool.name) == ("tool", "code_interpreter")
        assert tool.parent_run_id == run.id
        assert run.start_time <= tool.start_time <= tool.end_time <= run.end_time
        assert {"mine", "nostream"} <= set(tool.tags)
        assert tool.extra["metadata"]["thread"] == "1"
    assert good.end_time <= bad.start_time
    assert good.inputs == {"code": "6 * 7"}
    assert good.outputs == {"output": {"status": "completed", "output": "42"}}
    assert good.error is None
    assert bad.inputs == {"code": "1 / 0"}
    assert "\nZeroDivisionError: division by zero" in bad.error


def test_execution_without_output_ends_when_the_model_continues(url):
    run = traced(lambda config: qwen(url, api="dashscope").invoke("?", config))
    assert [child.inputs["code"] for child in run.child_runs] == ["6 * 7", "1 / 0"]
    assert [child.outputs for child in run.child_runs] == [{"output": {"status": "completed"}}] * 2


@every_entry_point
def test_usage_is_in_the_metadata_of_the_run(url, entry_point):
    """There traces can be searched by it."""
    run = traced(lambda config: entry_point(qwen(url, api="dashscope"), config))
    metadata = run.extra["metadata"]
    assert metadata["plugins"] == {"code_interpreter": {"count": 2}}
    assert len(metadata["inference_usage"]) == 3
    assert not {"plugins", "inference_usage"} & run.child_runs[0].extra["metadata"].keys()
    result = traced(lambda config: entry_point(qwen(url, api="responses"), config)).extra[
        "metadata"
    ]
    assert result["plugins"] == {"code_interpreter": {"count": 2}}
    assert "inference_usage" not in result


@every_entry_point
def test_chat_completions_has_no_tool_runs(url, entry_point):
    run = traced(lambda config: entry_point(qwen(url, api="chat_completions"), config))
    assert run.child_runs == []


@every_entry_point
def test_tracing_of_executions_can_be_turned_off(url, entry_point):
    run = traced(lambda config: entry_point(qwen(url, trace_code_executions=False), config))
    assert run.child_runs == []


@pytest.mark.parametrize(
    "entry_point", [ENTRY_POINTS["invoke"], ENTRY_POINTS["ainvoke"], ENTRY_POINTS["batch"]]
)
def test_cached_answer_has_no_tool_runs(url, entry_point):
    model = qwen(url, cache=InMemoryCache())
    assert len(traced(lambda config: entry_point(model, config)).child_runs) == 2
    assert traced(lambda config: entry_point(model, config)).child_runs == []


def test_tool_runs_in_chains_bindings_and_graphs(url):
    model = qwen(url)
    chains = [
        RunnableLambda(str) | model | RunnableLambda(lambda message: message.text),
        model.bind(temperature=0.5).with_config(run_name="asks"),
        model.with_retry(),
    ]
    for chain in chains:
        run = traced(lambda config, chain=chain: chain.invoke("?", config))
        models = [run] if run.run_type == "llm" else below(run, "llm")
        assert [len(one.child_runs) for one in models] == [2]

    builder = StateGraph(CodeInterpreterState)
    builder.add_node("one", QwenCodeInterpreterNode(model, name="one"))
    builder.add_node("two", QwenCodeInterpreterNode(model, name="two"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph = builder.compile()
    given = {"messages": [("user", "?")]}
    calls = (
        lambda config: graph.invoke(given, config),
        lambda config: asyncio.run(graph.ainvoke(given, config)),
        lambda config: list(graph.stream(given, config, stream_mode="messages")),
        lambda config: graph.stream_events(given, config, version="v3").output,
    )
    for call in calls:
        run = traced(call)
        assert [len(one.child_runs) for one in below(run, "llm")] == [2, 2]
        assert all(tool.parent_run_id for tool in below(run, "tool"))


def test_call_inside_a_stream_has_its_own_run(url):
    """The context of a stream is its caller's: nothing of it may be left there."""
    model = qwen(url)
    collector = RunCollectorCallbackHandler()
    stream = model.stream("?", {"callbacks": [collector]})
    next(stream)
    inner = traced(lambda config: model.invoke("?", config))
    model.invoke("?")
    list(stream)
    (outer,) = collector.traced_runs
    assert (len(inner.child_runs), len(outer.child_runs)) == (2, 2)


@pytest.mark.parametrize(
    "entry_point",
    [
        ENTRY_POINTS["invoke"],
        ENTRY_POINTS["ainvoke"],
        ENTRY_POINTS["stream"],
        ENTRY_POINTS["astream"],
    ],
)
def test_interrupted_answer_ends_open_tool_runs(entry_point):
    collector = RunCollectorCallbackHandler()
    with EmulatorServer(responder=Script(TURN), faults=(Cut(after=9),)) as server:
        model = qwen(server.url)
        with pytest.raises(QwenStreamError):
            entry_point(model, {"callbacks": [collector]})
    (run,) = collector.traced_runs
    (tool,) = run.child_runs
    assert tool.end_time is not None
    assert "broke off" in tool.error


def test_abandoned_stream_ends_open_tool_runs(url):
    collector = RunCollectorCallbackHandler()
    for chunk in qwen(url).stream("?", {"callbacks": [collector]}):
        if any(block["type"] == "server_tool_call" for block in chunk.content_blocks):
            break
    (run,) = collector.traced_runs
    assert all(tool.end_time is not None for tool in run.child_runs)


def test_async_handlers_run_in_their_own_loop(url):
    loops: list[Any] = []

    class Ear(AsyncCallbackHandler):
        async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            loops.append(asyncio.get_running_loop())

        async def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
            loops.append(asyncio.get_running_loop())

    async def ask() -> Any:
        await qwen(url).ainvoke("?", {"callbacks": [Ear()]})
        await _astream(qwen(url), {"callbacks": [Ear()]})
        return asyncio.get_running_loop()

    loop = asyncio.run(ask())
    assert len(loops) == 6
    assert set(loops) == {loop}


def test_stream_events_have_tools_and_parents(url):
    async def events() -> list[Any]:
        return [event async for event in qwen(url).astream_events("?", version="v2")]

    result = asyncio.run(events())
    tools = [event for event in result if event["event"].startswith("on_tool")]
    assert [event["event"] for event in tools] == [
        "on_tool_start",
        "on_tool_end",
        "on_tool_start",
        "on_tool_error",
    ]
    assert all(event["parent_ids"] == [result[0]["run_id"]] for event in tools)


def test_handlers_of_the_model_only_receive_no_tool_runs(url):
    """Callbacks that are not inherited listen to the model, and to nothing below it."""
    received: list[str] = []

    class Ear(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            received.append("model")

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            received.append("tool")

    model = qwen(url, callbacks=[Ear()])
    model.invoke("?")
    list(model.stream("?"))
    assert received == ["model", "model"]
