"""The node in graphs: its input, its requests, its output, errors and budgets."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache as LanguageModelCache
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeError
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.types import CachePolicy, Command, Send, TimeoutPolicy, interrupt
from pydantic import BaseModel

from langchain_qwen_ci import (
    QWEN_RETRY_POLICY,
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
    code_executions,
)
from langchain_qwen_ci.emulator import (
    EmulatorServer,
    ErrorFrame,
    Run,
    Say,
    Script,
    Status,
    Think,
)
from langchain_qwen_ci.errors import (
    QwenAuthenticationError,
    QwenInputError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    ToolsNotAllowedError,
)
from langchain_qwen_ci.graph import (
    Budget,
    CodeExecutionsTransformer,
    add_counts,
    merge_executions,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

TURN = [Think("I compute."), Run("6 * 7"), Say("It is 42.")]
QUESTION = {"messages": [("user", "What is 6 times 7?")]}


@pytest.fixture
def server():
    with EmulatorServer(responder=Script(*[TURN] * 20)) as running:
        yield running


def qwen(server: EmulatorServer, **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=server.url, api_key="any", **fields)


def compiled(
    node: Any,
    state: type = CodeInterpreterState,
    added: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Compile a graph that has only this node; `added` are arguments of `add_node`."""
    builder = StateGraph(state)
    builder.add_node(node, **(added or {}))
    builder.add_edge(START, "code_interpreter")
    return builder.compile(**options)


def codes(state: Any) -> list[str]:
    return [run["code"] for run in state["code_executions"]]


# States.


def test_node_writes_messages_executions_and_counts(server):
    state = compiled(QwenCodeInterpreterNode(qwen(server, api="responses"))).invoke(QUESTION)
    answer = state["messages"][-1]
    assert answer.content == "It is 42."
    (run,) = state["code_executions"]
    assert run == {**code_executions(answer)[0], "message_id": answer.id}
    assert run["output"] == "42"
    assert state["plugin_counts"] == {"code_interpreter": 1}
    assert type(run) is dict
    assert json.loads(json.dumps(state["plugin_counts"])) == state["plugin_counts"]


def test_node_adds_its_channels_to_any_graph(server):
    graph = compiled(
        QwenCodeInterpreterNode(qwen(server)), MessagesState, checkpointer=InMemorySaver()
    )
    thread = {"configurable": {"thread_id": "1"}}
    for _ in range(2):
        assert set(graph.invoke(QUESTION, thread)) == {"messages"}
    values = graph.get_state(thread).values
    assert len(values["messages"]) == 4
    (written,) = graph.stream(QUESTION, {"configurable": {"thread_id": "2"}}, stream_mode="updates")
    assert written["code_interpreter"]["plugin_counts"] == {"code_interpreter": 1}


class Typed(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    observed: int


@dataclass
class Classy:
    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)


class Pydantic(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]


@pytest.mark.parametrize("schema", [MessagesState, Typed, Classy, Pydantic, CodeInterpreterState])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_state_types(server, schema, asynchronous):
    graph = compiled(QwenCodeInterpreterNode(qwen(server)), schema)
    state = asyncio.run(graph.ainvoke(QUESTION)) if asynchronous else graph.invoke(QUESTION)
    assert [type(message) for message in state["messages"]] == [HumanMessage, AIMessage]
    assert code_executions(state["messages"][-1])[0]["code"] == "6 * 7"


def test_messages_key(server):
    class Talk(TypedDict):
        talk: Annotated[list[AnyMessage], add_messages]

    node = QwenCodeInterpreterNode(qwen(server), messages_key="talk")
    state = compiled(node, Talk).invoke({"talk": [("user", "?")]})
    assert [type(message) for message in state["talk"]] == [HumanMessage, AIMessage]
    assert node({"talk": [HumanMessage("?")]})["talk"][0].content == "It is 42."
    with pytest.raises(ValueError, match="no 'talk'"):
        node.invoke({"messages": []})


def test_list_of_messages_returns_a_list(server):
    node = QwenCodeInterpreterNode(qwen(server))
    (answer,) = node.invoke([HumanMessage("?")])
    assert answer.content == "It is 42."
    builder = StateGraph(Annotated[list, add_messages])
    builder.add_node("ask", RunnableLambda(node.invoke))
    builder.add_edge(START, "ask")
    assert [m.type for m in builder.compile().invoke([HumanMessage("?")])] == ["human", "ai"]


def test_functional_api(server):
    node = QwenCodeInterpreterNode(qwen(server))

    @task
    def ask(text: str) -> dict[str, Any]:
        return node.invoke({"messages": [HumanMessage(text)]})

    @entrypoint()
    def program(texts: list[str]) -> list[str]:
        return [run["code"] for text in texts for run in ask(text).result()["code_executions"]]

    assert program.invoke(["?", "!"]) == ["6 * 7", "6 * 7"]
    events = list(program.stream(["?"], stream_mode="custom"))
    assert [event["event"] for event in events] == ["started", "ended"]


def test_subgraph(server):
    inner = compiled(QwenCodeInterpreterNode(qwen(server)))
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("inner", inner)
    builder.add_node("outer", QwenCodeInterpreterNode(qwen(server), name="outer"))
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "outer")
    state = builder.compile().invoke(QUESTION)
    assert codes(state) == ["6 * 7", "6 * 7"]
    assert state["plugin_counts"] == {"code_interpreter": 2}
    assert len(state["messages"]) == 3


def test_send_runs_nodes_in_parallel(server):
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(qwen(server)))
    builder.add_conditional_edges(
        START, lambda state: [Send("code_interpreter", QUESTION) for _ in range(5)]
    )
    state = builder.compile().invoke({"messages": []})
    assert codes(state) == ["6 * 7"] * 5
    assert len({run["message_id"] for run in state["code_executions"]}) == 5
    assert state["plugin_counts"] == {"code_interpreter": 5}
    assert len(state["messages"]) == 5


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_interrupts_before_and_after_the_node(server, durability):
    def approve(state: Any) -> Any:
        return {"messages": [("user", interrupt("go on?"))]}

    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(qwen(server)))
    builder.add_node(approve)
    builder.add_node("again", QwenCodeInterpreterNode(qwen(server), name="again"))
    builder.add_edge(START, "code_interpreter")
    builder.add_edge("code_interpreter", "approve")
    builder.add_edge("approve", "again")
    graph = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["code_interpreter"])
    thread = {"configurable": {"thread_id": "1"}}
    graph.invoke(QUESTION, thread, durability=durability)
    assert server.requests == []
    graph.invoke(None, thread, durability=durability)
    assert len(server.requests) == 1
    state = graph.invoke(Command(resume="yes"), thread, durability=durability)
    assert len(server.requests) == 2
    assert [message.type for message in state["messages"]] == ["human", "ai", "human", "ai"]
    assert codes(state) == ["6 * 7", "6 * 7"]
    assert state["plugin_counts"] == {"code_interpreter": 2}


def test_reducers():
    first = {"id": "a", "message_id": "1", "code": "1", "status": "completed"}
    other = {"id": "a", "message_id": "2", "code": "2", "status": "completed"}
    again = {**first, "output": "1"}
    assert merge_executions([], [first, other]) == [first, other]
    assert merge_executions([first, other], [again]) == [again, other]
    assert add_counts({"a": 1, "b": 2}, {"a": 3, "c": 1}) == {"a": 4, "b": 2, "c": 1}


# Requests.


def sent(server: EmulatorServer) -> list[tuple[str, str]]:
    messages = server.requests[-1].body["input"]["messages"]
    return [(message["role"], message["content"]) for message in messages]


def test_system_prompt_is_sent_but_not_in_the_state(server):
    node = QwenCodeInterpreterNode(qwen(server), system_prompt="Be brief.")
    state = compiled(node).invoke(QUESTION)
    assert sent(server) == [("system", "Be brief."), ("user", "What is 6 times 7?")]
    assert [message.type for message in state["messages"]] == ["human", "ai"]
    compiled(node).invoke({"messages": [SystemMessage("Be kind."), HumanMessage("?")]})
    assert sent(server) == [("system", "Be brief.\n\nBe kind."), ("user", "?")]


OF_ANOTHER_AGENT = [
    HumanMessage("What did we sell?"),
    AIMessage(
        "I look it up.", tool_calls=[{"id": "1", "name": "orders", "args": {"year": 2025}}], id="a"
    ),
    ToolMessage("12, 30", tool_call_id="1", id="b"),
    AIMessage("", tool_calls=[{"id": "2", "name": "orders", "args": {"year": 2024}}]),
    ToolMessage("11", tool_call_id="2", name="orders"),
    HumanMessage("The mean?"),
]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (
            "text",
            [
                ("user", "What did we sell?"),
                ("assistant", 'I look it up.\n[I call orders({"year": 2025})]'),
                ("user", "[orders returned] 12, 30"),
                ("assistant", '[I call orders({"year": 2024})]'),
                ("user", "[orders returned] 11"),
                ("user", "The mean?"),
            ],
        ),
        (
            "drop",
            [
                ("user", "What did we sell?"),
                ("assistant", "I look it up."),
                ("user", "The mean?"),
            ],
        ),
        (
            "pass",
            [
                ("user", "What did we sell?"),
                ("assistant", "I look it up."),
                ("tool", "12, 30"),
                ("assistant", ""),
                ("tool", "11"),
                ("user", "The mean?"),
            ],
        ),
        (lambda messages: messages[-1:], [("user", "The mean?")]),
    ],
)
def test_history_modes(server, history, expected):
    node = QwenCodeInterpreterNode(qwen(server), history=history)
    state = compiled(node).invoke({"messages": OF_ANOTHER_AGENT})
    assert sent(server) == expected
    assert len(state["messages"]) == 7


PLOT = [
    HumanMessage("Plot it."),
    AIMessage("", tool_calls=[{"id": "1", "name": "plot", "args": {}}]),
    ToolMessage(
        [
            {"type": "text", "text": "Done:"},
            {"type": "image", "url": "https://example.com/a.png"},
        ],
        tool_call_id="1",
    ),
]


def test_history_as_text_keeps_images_of_tool_messages(server):
    node = QwenCodeInterpreterNode(qwen(server, model="qwen3.5-plus"))
    compiled(node).invoke({"messages": PLOT})
    assert server.requests[0].body["input"]["messages"][2] == {
        "role": "user",
        "content": [
            {"text": "[plot returned] "},
            {"text": "Done:"},
            {"image": "https://example.com/a.png"},
        ],
    }
    with pytest.raises(QwenInputError, match="qwen3-max takes text only"):
        compiled(QwenCodeInterpreterNode(qwen(server))).invoke({"messages": PLOT})


def invalid_call(arguments: str) -> AIMessage:
    call = {"id": "1", "name": "orders", "args": arguments, "error": "?"}
    return AIMessage("Hm.", invalid_tool_calls=[{"type": "invalid_tool_call", **call}])


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (
            "text",
            [
                ("user", "?"),
                ("assistant", 'Hm.\n[I call orders({"year": )]'),
                ("user", "[orders returned] No JSON."),
            ],
        ),
        ("drop", [("user", "?"), ("assistant", "Hm.")]),
    ],
)
def test_history_modes_convert_invalid_calls(server, history, expected):
    messages = [
        HumanMessage("?"),
        invalid_call('{"year": '),
        ToolMessage("No JSON.", tool_call_id="1"),
    ]
    node = QwenCodeInterpreterNode(qwen(server), history=history)
    compiled(node).invoke({"messages": messages})
    assert sent(server) == expected
    with pytest.raises(ValueError, match="holds tool calls"):
        compiled(QwenCodeInterpreterNode(qwen(server), history="error")).invoke(
            {"messages": messages[:2]}
        )


def test_system_prompt_keeps_cache_control(server):
    marked = {"type": "text", "text": "A book.", "cache_control": {"type": "ephemeral"}}
    node = QwenCodeInterpreterNode(qwen(server), system_prompt="Be brief.")
    compiled(node).invoke({"messages": [SystemMessage([marked]), HumanMessage("?")]})
    assert server.requests[0].body["input"]["messages"][0]["content"] == [
        {"type": "text", "text": "Be brief.\n\n"},
        marked,
    ]


def test_history_error_mode(server):
    node = QwenCodeInterpreterNode(qwen(server), history="error")
    with pytest.raises(ValueError, match='history="text"'):
        compiled(node).invoke({"messages": OF_ANOTHER_AGENT})
    assert server.requests == []
    with pytest.raises(ValueError, match="'forget'"):
        QwenCodeInterpreterNode(qwen(server), history="forget")
    with pytest.raises(ValueError, match="'ignore'"):
        QwenCodeInterpreterNode(qwen(server), on_error="ignore")


@tool
def orders(year: int) -> str:
    """Return the orders of a year."""
    return ""


def test_model_with_bound_tools_raises_an_error(server):
    off = qwen(server, enable_code_interpreter=False)
    for bound in (
        off.bind_tools([orders]),
        off.bind(tools=[orders]),
        off.bind_tools([orders]).with_retry(),
        qwen(server).with_fallbacks([off.bind_tools([orders])]),
    ):
        with pytest.raises(ToolsNotAllowedError, match="orders"):
            QwenCodeInterpreterNode(bound)
    node = QwenCodeInterpreterNode(lambda state, runtime: off.bind_tools([orders]))
    with pytest.raises(ToolsNotAllowedError, match="orders"):
        compiled(node).invoke(QUESTION)
    assert server.requests == []


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda model: model.bind(temperature=0.5),
        lambda model: model.with_config(tags=["x"]),
        lambda model: model.with_retry(),
        lambda model: model.with_fallbacks([model]),
        lambda model: model.bind_tools([]),
    ],
)
def test_wrapped_model_with_bound_tools_raises_an_error(server, wrapped):
    graph = compiled(QwenCodeInterpreterNode(wrapped(qwen(server))))
    assert codes(graph.invoke(QUESTION)) == ["6 * 7"]
    assert len(list(graph.stream(QUESTION, stream_mode="custom"))) == 2
    assert graph.stream_events(QUESTION, version="v3").output["messages"][-1].content == "It is 42."


class Router:
    """A function of state and runtime, as an object."""

    def __init__(self, model: ChatQwenCodeInterpreter) -> None:
        self._model = model

    def __call__(self, state: Any, runtime: Any) -> ChatQwenCodeInterpreter:
        return self._model


TEMPERATURE = ConfigurableField(id="temperature")
MODELS = {
    "model": lambda model: model,
    "binding": lambda model: model.bind(temperature=0.5),
    "retry": lambda model: model.with_retry(),
    "fallbacks": lambda model: model.with_fallbacks([model.bind(seed=1)]),
    "configurable fields": lambda model: model.configurable_fields(temperature=TEMPERATURE),
    "configurable alternatives": lambda model: model.configurable_alternatives(
        ConfigurableField(id="which"), other=lambda: model, third=model
    ),
    "sequence": lambda model: RunnableLambda(lambda messages: messages) | model.bind(seed=1),
    "lambda that calls a model": lambda model: RunnableLambda(model.invoke),
    "function": lambda model: lambda state, runtime: model,
    "listeners": lambda model: model.with_listeners(on_start=lambda run: None),
    "retries of a sequence": lambda model: (
        RunnableLambda(lambda messages: messages) | model.with_retry()
    ).with_retry(),
    "function of anything": lambda model: lambda *arguments: model,
    "partial": lambda model: functools.partial(lambda model, state, runtime: model, model),
    "callable object": Router,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_that_are_accepted(server, model):
    graph = compiled(QwenCodeInterpreterNode(model(qwen(server))))
    assert codes(graph.invoke(QUESTION)) == ["6 * 7"]


async def choose_asynchronously(state: Any, runtime: Any) -> None:
    """No function for a node: `invoke` could not call it."""


NO_MODELS = {
    "str": lambda model: "qwen3-max",
    "None": lambda model: None,
    "class": lambda model: ChatQwenCodeInterpreter,
    "tool": lambda model: orders,
    "dict": lambda model: {"model": "qwen3-max"},
    "prompt": lambda model: ChatPromptTemplate.from_messages(["Hi"]),
    "parser": lambda model: model | StrOutputParser(),
    "structured output": lambda model: model.with_structured_output({"title": "x"}),
    "parallel": lambda model: RunnableParallel(answer=model),
    "fallback": lambda model: model.with_fallbacks([orders]),
    "configurable": lambda model: model.configurable_alternatives(
        ConfigurableField(id="which"), other=orders
    ),
    "node": QwenCodeInterpreterNode,
    "graph": lambda model: compiled(QwenCodeInterpreterNode(model)),
    "async function": lambda model: choose_asynchronously,
    "map": lambda model: model.map(),
    "raw structured output": lambda model: model.with_structured_output(
        {"title": "x"}, include_raw=True
    ),
    "retried prompt": lambda model: ChatPromptTemplate.from_messages(["Hi"]).with_retry(),
    "arguments of init_chat_model": lambda model: ("qwen3-max", "qwen"),
    "list": lambda model: [model],
    "message": lambda model: AIMessage("Hi"),
    "method": lambda model: model.invoke,
    "function without parameters": lambda model: lambda: model,
    "function of the state": lambda model: lambda state: model,
}


@pytest.mark.parametrize("model", NO_MODELS.values(), ids=NO_MODELS)
def test_objects_that_are_no_model_raise_when_the_node_is_made(server, model):
    given = model(qwen(server))
    with pytest.raises(TypeError, match=r"ChatQwenCodeInterpreter|not be async|two arguments"):
        QwenCodeInterpreterNode(given)


@pytest.mark.parametrize("model", ["qwen3-max", None, orders])
def test_function_that_returns_no_model_raises(server, model):
    with pytest.raises(TypeError, match="pass a ChatQwenCodeInterpreter"):
        compiled(QwenCodeInterpreterNode(lambda state, runtime: model)).invoke(QUESTION)


@pytest.mark.parametrize("name", [None, "analyst", "code_interpreter"])
@pytest.mark.parametrize("entry_point", ["invoke", "ainvoke", "v3"])
def test_message_has_the_name_of_a_named_node(server, entry_point: str, name: str | None):
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(qwen(server), name=name))
    builder.add_edge(START, name or "code_interpreter")
    graph = builder.compile()
    state = {
        "invoke": lambda: graph.invoke(QUESTION),
        "ainvoke": lambda: asyncio.run(graph.ainvoke(QUESTION)),
        "v3": lambda: graph.stream_events(QUESTION, version="v3").output,
    }[entry_point]()
    assert state["messages"][-1].name == name
    agent = create_agent(qwen(server), [], name=name)
    assert agent.invoke(QUESTION)["messages"][-1].name == name


def test_message_of_an_error_has_the_name_of_the_node(server):
    node = QwenCodeInterpreterNode(
        qwen(server), name="analyst", budget=Budget(executions=0), on_error="message"
    )
    (message,) = node.invoke([HumanMessage("What is 6 times 7?")])
    assert message.response_metadata["error"]["limit"] == "executions"
    assert message.name == "analyst"


def test_model_can_be_a_function_of_state_and_runtime(server):
    class Context(TypedDict):
        model: str

    def choose(state: Any, runtime: Any) -> ChatQwenCodeInterpreter:
        assert state["messages"][0].text == "What is 6 times 7?"
        return qwen(server, model=runtime.context["model"])

    builder = StateGraph(CodeInterpreterState, context_schema=Context)
    builder.add_node(QwenCodeInterpreterNode(choose))
    builder.add_edge(START, "code_interpreter")
    builder.compile().invoke(QUESTION, context={"model": "qwen3.5-plus"})
    assert server.requests[0].body["model"] == "qwen3.5-plus"
    alone = QwenCodeInterpreterNode(lambda state, runtime: qwen(server))
    assert alone.invoke({"messages": "Hi"})["messages"][0].content == "It is 42."


def test_goto(server):
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(qwen(server), goto="after"))
    builder.add_node("after", lambda state: {"messages": [("user", "Thanks.")]})
    builder.add_edge(START, "code_interpreter")
    state = builder.compile().invoke(QUESTION)
    assert [message.text for message in state["messages"]][1:] == ["It is 42.", "Thanks."]
    assert codes(state) == ["6 * 7"]


@pytest.mark.parametrize(
    ("goto", "destinations"),
    [("after", {"after"}), (["after", "end"], {"after", "end"}), (END, {END})],
)
@pytest.mark.parametrize("key", ["messages", "chat"])
def test_drawings_have_the_destinations(server, goto, destinations, key: str):
    class Chat(CodeInterpreterState):
        chat: Annotated[list[AnyMessage], add_messages]

    builder = StateGraph(Chat)
    builder.add_node(QwenCodeInterpreterNode(qwen(server), goto=goto, messages_key=key))
    for name in ("after", "end"):
        builder.add_node(name, lambda state: {})
    builder.add_edge(START, "code_interpreter")
    graph = builder.compile()
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert {target for source, target in edges if source == "code_interpreter"} == destinations
    drawing = graph.get_graph().draw_mermaid()
    assert all(f"code_interpreter -.-> {name};" in drawing for name in destinations)
    assert graph.invoke({key: QUESTION["messages"]})[key][-1].text == "It is 42."


def test_unknown_destination_fails_when_the_graph_is_compiled(server):
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(qwen(server), goto="nowhere"))
    builder.add_edge(START, "code_interpreter")
    with pytest.raises(ValueError, match="nowhere"):
        builder.compile()


# Streaming.


def test_custom_events_have_the_name_of_the_node_in_the_graph(server):
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("compute", QwenCodeInterpreterNode(qwen(server)))
    builder.add_edge(START, "compute")
    graph = builder.compile()
    events = [part for _, part in graph.stream(QUESTION, stream_mode=["custom"])]
    assert [event["node"] for event in events] == ["compute", "compute"]


def test_custom_events_at_start_and_end_of_programs(server):
    graph = compiled(QwenCodeInterpreterNode(qwen(server, api="responses")))
    parts = list(graph.stream(QUESTION, stream_mode=["custom", "messages"]))
    modes = [mode for mode, _ in parts]
    started, ended = [part for mode, part in parts if mode == "custom"]
    assert (started["type"], started["event"], started["node"]) == (
        "code_execution",
        "started",
        "code_interpreter",
    )
    assert (started["execution"]["code"], started["execution"]["status"]) == (
        "6 * 7",
        "in_progress",
    )
    assert ended["event"] == "ended"
    assert (ended["execution"]["output"], ended["execution"]["status"]) == ("42", "completed")
    text = next(
        at for at, (mode, part) in enumerate(parts) if mode == "messages" and part[0].content
    )
    assert modes.index("custom") < modes.index("custom", modes.index("custom") + 1) < text


def test_custom_events_can_be_turned_off(server):
    graph = compiled(QwenCodeInterpreterNode(qwen(server), emit_events=False))
    assert list(graph.stream(QUESTION, stream_mode="custom")) == []


@pytest.mark.parametrize("version", [None, "v1"])
def test_messages_are_streamed_with_code(server, version):
    graph = compiled(QwenCodeInterpreterNode(qwen(server, output_version=version)))
    chunks = [chunk for chunk, _ in graph.stream(QUESTION, stream_mode="messages")]
    blocks = [block for chunk in chunks for block in chunk.content_blocks]
    assert "".join(block.get("text", "") for block in blocks) == "It is 42."
    assert len([block for block in blocks if block["type"] == "text"]) > 1
    assert "6 * 7" in str([block for block in blocks if "server_tool_call" in block["type"]])


def test_transformer_adds_executions_to_v3_runs(server):
    graph = compiled(
        QwenCodeInterpreterNode(qwen(server)), transformers=[CodeExecutionsTransformer]
    )
    run = graph.stream_events(QUESTION, version="v3")
    assert [event["event"] for event in run.code_executions] == ["started", "ended"]
    assert codes(run.output) == ["6 * 7"]

    async def collected() -> list[str]:
        run = await graph.astream_events(QUESTION, version="v3")
        return [event["event"] async for event in run.code_executions]

    assert asyncio.run(collected()) == ["started", "ended"]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_state_does_not_depend_on_the_stream_mode(server, api, version):
    graph = compiled(QwenCodeInterpreterNode(qwen(server, api=api, output_version=version)))

    async def v3() -> Any:
        return await (await graph.astream_events(QUESTION, version="v3")).output()

    states = [
        graph.invoke(QUESTION),
        asyncio.run(graph.ainvoke(QUESTION)),
        list(graph.stream(QUESTION, stream_mode="values"))[-1],
        [part for mode, part in graph.stream(QUESTION, stream_mode=BOTH) if mode == "values"][-1],
        graph.stream_events(QUESTION, version="v3").output,
        asyncio.run(v3()),
    ]
    first, *others = map(_without_ids, states)
    for other in others:
        assert other == first


BOTH = ["values", "messages"]


def _without_ids(state: Any) -> Any:
    """Return a state as JSON, with the ids of messages, requests and executions numbered."""
    answer = state["messages"][-1]
    result = [answer.model_dump(), state["code_executions"], state["plugin_counts"]]
    text = json.dumps(result, sort_keys=True)
    names = [answer.id, answer.response_metadata["request_id"]]
    names += [run["id"] for run in state["code_executions"]]
    for number, name in enumerate(names):
        text = text.replace(name, f"<{number}>")
    return text


# Errors, retries, caches.


def test_errors_are_raised_by_default(server):
    server.inject_fault(Status(401, "InvalidApiKey", "No."))
    with pytest.raises(QwenAuthenticationError):
        compiled(QwenCodeInterpreterNode(qwen(server))).invoke(QUESTION)

    server.inject_fault(Status(401, "InvalidApiKey", "No."))

    def handle(state: Any, error: NodeError) -> Any:
        return {"messages": [("ai", f"handled: {type(error.error).__name__}")]}

    graph = compiled(QwenCodeInterpreterNode(qwen(server)), added={"error_handler": handle})
    assert "QwenAuthenticationError" in graph.invoke(QUESTION)["messages"][-1].text


@pytest.mark.parametrize("asynchronous", [False, True])
def test_on_error_message_returns_a_message(server, asynchronous):
    server.inject_fault(ErrorFrame(after=6, message="Gone."))
    graph = compiled(QwenCodeInterpreterNode(qwen(server), on_error="message"))
    state = asyncio.run(graph.ainvoke(QUESTION)) if asynchronous else graph.invoke(QUESTION)
    answer = state["messages"][-1]
    assert answer.response_metadata["error"]["type"] == "QwenServerError"
    assert "Gone." in answer.response_metadata["error"]["message"]
    assert codes(state) == ["6 * 7"]
    assert state["code_executions"][0]["message_id"] == answer.id


def test_retry_policy_uses_is_retryable(server):
    policy = QWEN_RETRY_POLICY._replace(initial_interval=0.001, jitter=False)
    node = QwenCodeInterpreterNode(qwen(server, max_retries=0))
    graph = compiled(node, added={"retry_policy": policy})
    server.inject_fault(Status(429, "Throttling"), Status(503, "ModelUnavailable"))
    assert codes(graph.invoke(QUESTION)) == ["6 * 7"]
    assert len(server.requests) == 3
    server.inject_fault(Status(401, "InvalidApiKey"))
    with pytest.raises(QwenAuthenticationError):
        graph.invoke(QUESTION)
    assert len(server.requests) == 4
    retry = policy.retry_on
    assert retry(QwenRateLimitError(""))
    assert retry(QwenServerError(""))
    assert retry(QwenStreamError(""))
    assert not retry(QwenInputError(""))
    assert retry(ConnectionError())
    assert not retry(ValueError())


def test_cache_key_does_not_depend_on_ids(server):
    node = QwenCodeInterpreterNode(qwen(server))
    cached = {"cache_policy": CachePolicy(key_func=node.cache_key)}
    graph = compiled(node, added=cached, cache=InMemoryCache())
    first, second = graph.invoke(QUESTION), graph.invoke(QUESTION)
    assert len(server.requests) == 1
    assert second["messages"][-1] == first["messages"][-1]
    assert second["plugin_counts"] == {"code_interpreter": 1}
    graph.invoke({"messages": [("user", "Another question")]})
    assert len(server.requests) == 2


HISTORIES = {"all": "text", "last": lambda messages: messages[-1:]}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_cached_node_that_is_asked_twice_in_a_thread(server, history, asynchronous):
    node = QwenCodeInterpreterNode(qwen(server), history=history)
    cached = {"cache_policy": CachePolicy(key_func=node.cache_key)}
    graph = compiled(node, added=cached, cache=InMemoryCache(), checkpointer=InMemorySaver())

    def converse(thread_id: str) -> Any:
        thread: Any = {"configurable": {"thread_id": thread_id}}
        for _ in range(3):
            if asynchronous:
                state = asyncio.run(graph.ainvoke(QUESTION, thread))
            else:
                state = graph.invoke(QUESTION, thread)
        return state

    state = converse("1")
    assert [message.type for message in state["messages"]] == ["human", "ai"] * 3
    assert len({message.id for message in state["messages"]}) == 6
    assert len({run["id"] for run in state["code_executions"]}) == len(server.requests) == 3
    assert state["plugin_counts"] == {"code_interpreter": 3}
    again = converse("2")  # another thread with the same questions: from the cache
    assert len(server.requests) == 3
    assert again["messages"][1::2] == state["messages"][1::2]
    assert again["code_executions"] == state["code_executions"]
    assert again["plugin_counts"] == state["plugin_counts"]


def test_cache_key_depends_on_content_and_model(server):
    model = qwen(server)
    message = {"messages": [HumanMessage("?", id="1")]}
    key = QwenCodeInterpreterNode(model).cache_key(message)
    assert key == QwenCodeInterpreterNode(model).cache_key(
        {"messages": [HumanMessage("?", id="2")]}
    )
    others = [
        QwenCodeInterpreterNode(model).cache_key({"messages": [AIMessage("?")]}),
        QwenCodeInterpreterNode(model, system_prompt="Be brief.").cache_key(message),
        QwenCodeInterpreterNode(qwen(server, temperature=1)).cache_key(message),
        QwenCodeInterpreterNode(model.bind(temperature=1)).cache_key(message),
        QwenCodeInterpreterNode(lambda state, runtime: model).cache_key(message),
    ]
    assert len({key, *others}) == 6
    assert "any" not in key


def test_progress_refreshes_the_idle_timeout():
    """The run takes longer than the timeout, but no gap between two events does."""
    turn = [Think("First I think."), Run("6 * 7"), Think("Then again."), Say("It is 42, I say.")]
    with EmulatorServer(responder=Script(turn), pace=0.2) as server:
        node = QwenCodeInterpreterNode(qwen(server))
        graph = compiled(node, added={"timeout": TimeoutPolicy(idle_timeout=1.5)})
        assert codes(asyncio.run(graph.ainvoke(QUESTION))) == ["6 * 7"]


# Budgets.


def test_execution_budget_ends_a_thread(server):
    node = QwenCodeInterpreterNode(qwen(server), budget=Budget(executions=2))
    graph = compiled(node, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    for _ in range(3):
        state = graph.invoke(QUESTION, thread)
    assert len(server.requests) == 2
    assert state["plugin_counts"] == {"code_interpreter": 2}
    outcome = state["messages"][-1]
    assert outcome.response_metadata["error"] == {
        "type": "QwenBudgetError",
        "message": "The limit of 2 executions was reached: 2 were used.",
        "limit": "executions",
        "allowed": 2,
        "used": 2,
    }
    assert outcome.content == "The limit of 2 executions was reached: 2 were used."
    graph.invoke(QUESTION, {"configurable": {"thread_id": "2"}})
    assert len(server.requests) == 3


def test_token_budget(server):
    tokens = compiled(QwenCodeInterpreterNode(qwen(server))).invoke(QUESTION)["messages"][-1]
    used = tokens.usage_metadata["total_tokens"]
    node = QwenCodeInterpreterNode(qwen(server), budget=Budget(tokens=used + 1))
    graph = compiled(node, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    graph.invoke(QUESTION, thread)
    graph.invoke(QUESTION, thread)
    outcome = graph.invoke(QUESTION, thread)["messages"][-1]
    assert outcome.response_metadata["error"]["limit"] == "tokens"
    assert len(server.requests) == 3


def test_request_limit_returns_a_message(server):
    node = QwenCodeInterpreterNode(qwen(server, max_code_executions=0))
    state = compiled(node).invoke(QUESTION)
    outcome = state["messages"][-1]
    assert outcome.response_metadata["error"]["limit"] == "executions"
    assert outcome.additional_kwargs["reasoning_content"] == "I compute."
    assert codes(state) == ["6 * 7"]


def test_package_import_does_not_import_langgraph():
    program = (
        "import sys, langchain_qwen_ci as q; assert 'langgraph' not in sys.modules; "
        "assert q.QwenCodeInterpreterNode; assert 'langgraph' in sys.modules; "
        "assert {'QWEN_RETRY_POLICY', 'CodeInterpreterState'} <= set(dir(q))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_cached_answer_of_a_model_in_a_graph_is_a_message_of_its_own(server):
    """A node of the user's own, as most graphs have one."""
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", cache=LanguageModelCache())
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"][-1:])]})
    builder.add_edge(START, "model")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    for _ in range(2):
        state = graph.invoke({"messages": [HumanMessage("What is 6 times 7?")]}, thread)
    assert len(server.requests) == 1
    assert [message.type for message in state["messages"]] == ["human", "ai"] * 2


def test_cached_answer_is_a_message_of_its_own(server):
    cached = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", cache=LanguageModelCache())
    node = QwenCodeInterpreterNode(
        cached, history=lambda messages: messages[-1:], budget=Budget(tokens=10**6)
    )
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("interpreter", node)
    builder.add_edge(START, "interpreter")
    graph = builder.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    for _ in range(3):
        state = graph.invoke({"messages": [HumanMessage("What is 6 times 7?")]}, thread)
    assert len(server.requests) == 1
    assert [message.type for message in state["messages"]] == ["human", "ai"] * 3
    assert len({message.id for message in state["messages"]}) == 6
