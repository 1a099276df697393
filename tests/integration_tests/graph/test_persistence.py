"""The state that a graph with the node stores in a checkpointer and loads from it."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import postgres
import pytest
from checkpointers import async_saver, comparable, plain, saver
from conversation_graphs import PARALLEL_RUNS, QUESTIONS, conversation, parallel_questions
from conversation_responder import CODES, COUNTS, TurnsResponder
from graph_process import start_graph_process
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from langchain_qwen_ci import ChatQwenCodeInterpreter, CodeInterpreterState, QwenCodeInterpreterNode
from langchain_qwen_ci.emulator import EmulatorServer, ErrorFrame, Stall
from langchain_qwen_ci.errors import QwenAPIError
from langchain_qwen_ci.graph import Budget

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

MODES = ["values", "updates", "messages", "custom", "debug", "tasks", "checkpoints"]
DURABILITIES = ["sync", "async", "exit"]
PLACES = ["memory", "sqlite", "postgresql"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    try:
        with postgres.server() as address:
            yield address
    except postgres.UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the place of the checkpoints; parametrized indirectly with `PLACES`."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")
    return "memory" if request.param == "memory" else str(tmp_path / "checkpoints.sqlite")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with EmulatorServer(responder=TurnsResponder()) as server:
        yield server.url


@pytest.fixture(scope="module")
def model(url: str) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=url, api_key="any")


@pytest.fixture(autouse=True)
def loading_errors(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """Fail the test if a checkpoint contains a class that strict mode does not allow.

    LangGraph logs each class once in a process, but calls listeners every time.
    """
    result: list[Any] = []
    unregister = register_serde_event_listener(result.append)
    yield result
    unregister()
    logged = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert [record for record in logged if record.levelno >= logging.WARNING] == []
    assert result == []


def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": str(uuid4())}}


def _streamed(modes: Any) -> Any:
    def run(graph: Any, config: Any, durability: str) -> None:
        options = {"stream_mode": modes, "durability": durability}
        assert list(graph.stream(EMPTY, config, **options))

    return run


def _astreamed(modes: Any) -> Any:
    async def run(graph: Any, config: Any, durability: str) -> None:
        options = {"stream_mode": modes, "durability": durability}
        assert [part async for part in graph.astream(EMPTY, config, **options)]

    return run


def _invoked(graph: Any, config: Any, durability: str) -> Any:
    return graph.invoke(EMPTY, config, durability=durability)


async def _ainvoked(graph: Any, config: Any, durability: str) -> Any:
    return await graph.ainvoke(EMPTY, config, durability=durability)


def _event_stream(graph: Any, config: Any, durability: str) -> Any:
    with graph.stream_events(EMPTY, config, version="v3", durability=durability) as run:
        return run.output


async def _aevent_stream(graph: Any, config: Any, durability: str) -> Any:
    options = {"version": "v3", "durability": durability}
    async with await graph.astream_events(EMPTY, config, **options) as run:
        return await run.output()


EMPTY: dict[str, Any] = {"messages": []}
ENTRY_POINTS = {
    "invoke": _invoked,
    **{f"stream {mode}": _streamed(mode) for mode in MODES},
    "stream all": _streamed(MODES),
    "v3": _event_stream,
}
ASYNC_ENTRY_POINTS = {
    "ainvoke": _ainvoked,
    **{f"astream {mode}": _astreamed(mode) for mode in MODES},
    "astream all": _astreamed(MODES),
    "async v3": _aevent_stream,
}


def with_durabilities(entry_points: dict[str, Any]) -> list[tuple[str, str]]:
    """Combine the first and last entry points with every durability, the others with one each."""
    first, *between, last = entry_points
    ends = [
        (entry_point, durability) for entry_point in (first, last) for durability in DURABILITIES
    ]
    return [*ends, *zip(between, itertools.cycle(DURABILITIES), strict=False)]


@functools.cache
def expected(version: str | None) -> dict[str, Any]:
    """Return the final state of the graph without a checkpointer."""
    with EmulatorServer(responder=TurnsResponder()) as server:
        return comparable(conversation(server.url, version).compile().invoke(EMPTY))


@pytest.mark.parametrize("version", [None, "v1"])
def test_expected_state_matches_the_script(version: str | None):
    state = expected(version)
    assert [execution["code"] for execution in state["code_executions"]] == CODES
    assert state["plugin_counts"] == COUNTS
    content = state["messages"][1]["data"]["content"]
    assert content == "It is 42." if version is None else content[-1]["text"] == "It is 42."
    answers = [state["messages"][number]["data"]["id"] for number in (1, 1, 3)]
    assert [execution["message_id"] for execution in state["code_executions"]] == answers


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize(("entry_point", "durability"), with_durabilities(ENTRY_POINTS))
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_stored_state_does_not_depend_on_the_entry_point(
    place: str, entry_point: str, version: str | None, durability: str, url: str
):
    with saver(place) as checkpointer:
        graph = conversation(url, version).compile(checkpointer)
        config = thread()
        output = ENTRY_POINTS[entry_point](graph, config, durability)
        stored = graph.get_state(config).values
    _check_stored_state(stored, output, version)


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize(("entry_point", "durability"), with_durabilities(ASYNC_ENTRY_POINTS))
@pytest.mark.parametrize("place", PLACES, indirect=True)
async def test_stored_state_does_not_depend_on_the_async_entry_point(
    place: str, entry_point: str, version: str | None, durability: str, url: str
):
    async with async_saver(place) as checkpointer:
        graph = conversation(url, version).compile(checkpointer)
        config = thread()
        output = await ASYNC_ENTRY_POINTS[entry_point](graph, config, durability)
        stored = (await graph.aget_state(config)).values
    _check_stored_state(stored, output, version)


def _check_stored_state(stored: dict[str, Any], output: Any, version: str | None) -> None:
    """Check that a stored state is the expected one and equals the output of the run."""
    assert comparable(stored) == expected(version)
    if output is not None:
        assert plain(stored) == plain(output)
        assert [type(message) for message in stored["messages"]] == [
            type(message) for message in output["messages"]
        ]
    assert {type(execution) for execution in stored["code_executions"]} == {dict}


def one_run_graph(
    model: ChatQwenCodeInterpreter, *, checkpointer: Any = None, pause: bool = False
) -> Any:
    """Return a graph that runs the node once, then interrupts if `pause` is set; for subgraphs."""
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    builder.add_node("after", lambda _: {"messages": [HumanMessage(interrupt("go on?"))]})
    builder.add_edge(START, "code_interpreter")
    if pause:
        builder.add_edge("code_interpreter", "after")
    return builder.compile(checkpointer)


def parent_graph(model: ChatQwenCodeInterpreter, *inner: Any) -> Any:
    """Return a builder: a run of the node, then the inner graphs in parallel, then another run."""
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model, name="first"))
    builder.add_node("ask", lambda _: {"messages": [HumanMessage(QUESTIONS[0])]}, defer=True)
    builder.add_node(QwenCodeInterpreterNode(model, name="last"))
    builder.add_edge(START, "first")
    for number, graph in enumerate(inner):
        builder.add_node(f"inner {number}", graph)
        builder.add_node(f"ask {number}", lambda _: {"messages": [HumanMessage(QUESTIONS[0])]})
        builder.add_edge("first", f"ask {number}")
        builder.add_edge(f"ask {number}", f"inner {number}")
        builder.add_edge(f"inner {number}", "ask")
    builder.add_edge("ask", "last")
    return builder


def _check_counts(state: Mapping[str, Any], answers: int) -> None:
    """Check that each execution is counted once; each answer to `QUESTIONS[0]` has two."""
    assert sum(message.type == "ai" for message in state["messages"]) == answers
    ids = {execution["id"] for execution in state["code_executions"]}
    assert len(ids) == len(state["code_executions"]) == 2 * answers
    assert state["plugin_counts"] == {"code_interpreter": 2 * answers}


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("persistent", [None, True], ids=["stateless", "persistent"])
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_subgraphs_count_once(
    place: str, persistent: bool | None, durability: str, model: ChatQwenCodeInterpreter
):
    """A subgraph also returns the counts that it received; they are not added again."""
    builder = parent_graph(
        model, *(one_run_graph(model, checkpointer=persistent) for _ in range(2))
    )
    with saver(place) as checkpointer:
        graph = builder.compile(checkpointer)
        config = thread()
        for run_number in (1, 2):
            graph.invoke({"messages": [HumanMessage(QUESTIONS[0])]}, config, durability=durability)
            _check_counts(graph.get_state(config).values, 4 * run_number)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_graph_called_by_a_node_counts_once(place: str, model: ChatQwenCodeInterpreter):
    inner = one_run_graph(model)

    def call(state: CodeInterpreterState) -> Any:
        return inner.invoke(state)

    config = thread()
    with saver(place) as checkpointer:
        graph = parent_graph(model, call, call).compile(checkpointer)
        graph.invoke({"messages": [HumanMessage(QUESTIONS[0])]}, config)
        _check_counts(graph.get_state(config).values, 4)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_subgraph_counts_once_if_a_parallel_node_fails(place: str):
    """The writes of the node that succeeded are loaded from the checkpointer."""
    faults = (None, None, ErrorFrame(after=7))
    with (
        EmulatorServer(responder=TurnsResponder(), faults=faults) as server,
        saver(place) as checkpointer,
    ):
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
        graph = parent_graph(model, one_run_graph(model), one_run_graph(model)).compile(
            checkpointer
        )
        config = thread()
        with pytest.raises(QwenAPIError):
            graph.invoke({"messages": [HumanMessage(QUESTIONS[0])]}, config)
        graph.invoke(None, config)
        _check_counts(graph.get_state(config).values, 4)
        assert len(server.requests) == 5


def test_state_can_be_passed_manually(model: ChatQwenCodeInterpreter):
    """The output of a graph can be the input of another run, as it is or converted to JSON."""
    graph = one_run_graph(model)
    state: dict[str, Any] = {"messages": [], "plugin_counts": {}}
    for stored in (state, None, None):
        counts = (
            stored["plugin_counts"] if stored else json.loads(json.dumps(state["plugin_counts"]))
        )
        messages = [*state["messages"], HumanMessage(QUESTIONS[0])]
        state = graph.invoke({**state, "messages": messages, "plugin_counts": counts})
    state = graph.invoke({**state, "messages": [*state["messages"], HumanMessage(QUESTIONS[0])]})
    _check_counts(state, 4)


def test_budget_applies_in_a_subgraph(model: ChatQwenCodeInterpreter):
    inner = StateGraph(CodeInterpreterState)
    inner.add_node(QwenCodeInterpreterNode(model, budget=Budget(executions=2)))
    inner.add_edge(START, "code_interpreter")
    graph = parent_graph(model, inner.compile()).compile()
    state = graph.invoke({"messages": [HumanMessage(QUESTIONS[0])]})
    errors = [message.response_metadata.get("error") for message in state["messages"]]
    assert [error and error["used"] for error in errors] == [None, None, None, 2, None, None]
    assert state["plugin_counts"] == {"code_interpreter": 4}


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_subgraph_resumes_after_an_interrupt(place: str, model: ChatQwenCodeInterpreter):
    builder = parent_graph(model, one_run_graph(model, pause=True))
    config = thread()
    with saver(place) as checkpointer:
        paused = builder.compile(checkpointer).invoke(
            {"messages": [HumanMessage(QUESTIONS[0])]}, config
        )
        assert paused["__interrupt__"]
        checkpoints = checkpointer if place == "memory" else None
    with saver(place) as checkpointer:
        graph = builder.compile(checkpoints or checkpointer)
        graph.invoke(Command(resume=QUESTIONS[0]), config)
        _check_counts(graph.get_state(config).values, 3)


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("place", PLACES, indirect=True)
async def test_parallel_node_runs_are_summed(
    place: str, durability: str, model: ChatQwenCodeInterpreter
):
    builder = parallel_questions(model)
    async with async_saver(place) as checkpointer:
        graph = builder.compile(checkpointer)
        config = thread()
        await graph.ainvoke(EMPTY, config, durability=durability)
        await graph.ainvoke(EMPTY, config, durability=durability)
        state = (await graph.aget_state(config)).values
    _check_counts(state, 2 * PARALLEL_RUNS)


SHARED_PLACES = ["sqlite", "postgresql"]
INTERRUPTED = {
    "before": {"interrupt_before": ["code_interpreter"]},
    "after": {"interrupt_after": ["code_interpreter"]},
    "human": {},
}


@pytest.mark.parametrize("place", SHARED_PLACES, indirect=True)
def test_interrupted_run_resumes_in_start_graph_process(place: str, url: str):
    """The other process loads checkpoints in strict mode and treats warnings as errors."""
    runs = []
    with saver(place) as checkpointer:
        for where, interrupts in INTERRUPTED.items():
            for version in (None, "v1"):
                question_node = "human" if where == "human" else "alone"
                graph = conversation(url, version, question_node).compile(checkpointer)
                config = thread()
                graph.invoke(EMPTY, config, **interrupts)
                assert graph.get_state(config).next
                resume = {"resume": QUESTIONS[1]} if where == "human" else {}
                runs.append(
                    {**_run(config), "version": version, "question_node": question_node, **resume}
                )
    with start_graph_process(place=place, url=url, runs=runs) as process:
        result, errors = process.communicate()
    states = [json.loads(line) for line in result.splitlines() if line.startswith("{")]
    assert errors == ""
    assert states == [expected(run["version"]) for run in runs]


def _run(config: dict[str, Any]) -> dict[str, Any]:
    return {"thread": config["configurable"]["thread_id"]}


# The lines that the process prints before it is killed, and the faults that make its requests
# stall: after the first of two programs with the native API, after the only one with Responses.
MOMENTS = {
    "in the first answer": (["runs code"], [Stall(after=7, seconds=600)]),
    "between the answers": (["runs code", "runs code", "waits"], []),
    "in the second answer": (3 * ["runs code"], [None, Stall(after=15, seconds=600)]),
}


# Every moment with every durability, alternating between the places.
KILLED = [
    (SHARED_PLACES[number % 2], moment, durability)
    for number, (moment, durability) in enumerate(itertools.product(MOMENTS, DURABILITIES))
]


@pytest.mark.parametrize(("place", "moment", "durability"), KILLED, indirect=["place"])
def test_killed_run_resumes_without_loss(place: str, moment: str, durability: str):
    result, faults = MOMENTS[moment]
    question_node = "waiting" if result[-1] == "waits" else "alone"
    config = thread()
    run = {**_run(config), "question_node": question_node, "durability": durability, "input": EMPTY}
    with EmulatorServer(responder=TurnsResponder(), faults=tuple(faults)) as server:
        with start_graph_process(place=place, url=server.url, runs=[run]) as process:
            assert [process.stdout.readline().strip() for _ in result] == result
            process.kill()  # with SIGKILL
        sent = len(server.requests)
        with saver(place) as checkpointer:
            graph = conversation(server.url).compile(checkpointer)
            stored = graph.get_state(config)
            graph.invoke(None if stored.created_at else EMPTY, config)
            state = graph.get_state(config).values
        repeated_requests = len(server.requests) - sent
    assert comparable(state) == expected(None)
    if durability == "exit":
        assert not stored.created_at
    if durability == "sync":  # completed answers are not requested again
        assert repeated_requests == (2 if moment == "in the first answer" else 1)


@pytest.mark.parametrize("place", SHARED_PLACES, indirect=True)
def test_completed_node_runs_are_not_repeated_after_a_kill(place: str):
    config = thread()
    run = {**_run(config), "parallel_questions": True, "input": EMPTY, "durability": "sync"}
    faults = (*[None] * (PARALLEL_RUNS - 1), Stall(after=7, seconds=600))
    with (
        EmulatorServer(responder=TurnsResponder(), faults=faults) as server,
        saver(place) as checkpointer,
    ):
        with start_graph_process(place=place, url=server.url, runs=[run]) as process:
            _wait_for_writes(checkpointer, config, PARALLEL_RUNS - 1)
            process.kill()
        assert len(server.requests) == PARALLEL_RUNS
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
        graph = parallel_questions(model).compile(checkpointer)
        graph.invoke(None, config)
        assert len(server.requests) == PARALLEL_RUNS + 1
        _check_counts(graph.get_state(config).values, PARALLEL_RUNS)


def _wait_for_writes(checkpointer: Any, config: dict[str, Any], tasks: int) -> None:
    """Wait until a number of tasks of a step have stored their writes; pytest's timeout ends it."""
    written: list[Any] = []
    while len(written) < tasks:
        time.sleep(0.01)
        stored = checkpointer.get_tuple(config)
        writes = stored.pending_writes if stored else []
        written = [task for task, channel, _ in writes if channel == "plugin_counts"]


def _second_run_checkpoint(graph: Any, config: dict[str, Any]) -> Any:
    """Return the checkpoint from which the second run of the node started."""
    checkpoints = [
        stored for stored in graph.get_state_history(config) if stored.next == ("code_interpreter",)
    ]
    return checkpoints[0]


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_run_from_an_earlier_checkpoint_counts_from_there(place: str, url: str):
    config = thread()
    with saver(place) as checkpointer:
        graph = conversation(url).compile(checkpointer)
        graph.invoke(EMPTY, config)
        for _ in range(2):
            graph.invoke(None, _second_run_checkpoint(graph, config).config)
            assert comparable(graph.get_state(config).values) == expected(None)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_new_question_from_an_earlier_checkpoint(place: str, url: str):
    """A fork that asks the first question again does not change the original thread."""
    config = thread()
    with saver(place) as checkpointer:
        graph = conversation(url).compile(checkpointer)
        graph.invoke(EMPTY, config)
        whole = graph.get_state(config)
        earlier = _second_run_checkpoint(graph, config)
        sent = earlier.values["messages"][-1]
        changed = HumanMessage(QUESTIONS[0], id=sent.id)
        fork = graph.update_state(earlier.config, {"messages": [changed]}, as_node="ask")
        graph.invoke(None, fork)
        state = graph.get_state(config).values
        assert [message.id for message in state["messages"][:3]] == [
            message.id for message in whole.values["messages"][:3]
        ]
        assert [run["code"] for run in state["code_executions"]] == 2 * CODES[:2]
        assert state["plugin_counts"] == {"code_interpreter": 4}
        assert comparable(graph.get_state(whole.config).values) == expected(None)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_update_state_adds_new_values_once(place: str, url: str):
    config = thread()
    with saver(place) as checkpointer:
        graph = conversation(url).compile(checkpointer)
        values = graph.invoke(EMPTY, config)
        graph.update_state(config, values)
        assert comparable(graph.get_state(config).values) == expected(None)
        own = {"id": "own", "code": "1 + 1", "status": "completed"}
        graph.update_state(config, {"code_executions": [own], "plugin_counts": {"search": 1}})
        graph.update_state(config, {"plugin_counts": {"search": 1}})
        state = graph.get_state(config).values
        assert [run["code"] for run in state["code_executions"]] == [*CODES, "1 + 1"]
        assert state["plugin_counts"] == {**COUNTS, "search": 2}
