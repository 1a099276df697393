"""A graph that answers calculations with the code interpreter and small talk without it.

Uses the service if DASHSCOPE_API_KEY is set; otherwise it starts an emulator.
"""

import atexit
import os
import re
from typing import Literal

from langchain_core.messages import AnyMessage
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from langchain_qwen_ci import (
    QWEN_RETRY_POLICY,
    ChatQwenCodeInterpreter,
    CodeExecution,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.graph import Budget, CodeExecutionsTransformer


class InputState(TypedDict):
    """The input: messages only, so that a client cannot change the counts of the budget."""

    messages: list[AnyMessage]


class OutputState(TypedDict):
    """The output."""

    messages: list[AnyMessage]
    code_executions: list[CodeExecution]
    plugin_counts: dict[str, int]


def qwen() -> ChatQwenCodeInterpreter:
    if os.environ.get("DASHSCOPE_API_KEY"):
        return ChatQwenCodeInterpreter(model="qwen3-max")
    from langchain_qwen_ci.emulator import EmulatorServer  # noqa: PLC0415  # an extra

    server = EmulatorServer(pace=0.02).start()
    atexit.register(server.stop)
    return ChatQwenCodeInterpreter(base_url=server.url, api_key="any")


COMPUTABLE = re.compile(r"\d|```|comput|calculat|divide|multipl|percent", re.IGNORECASE)


def route(state: CodeInterpreterState) -> Literal["compute", "talk"]:
    """Choose the node by keywords, without a request. A model could decide as well."""
    return "compute" if COMPUTABLE.search(state["messages"][-1].text) else "talk"


model = qwen()
compute = QwenCodeInterpreterNode(
    model,
    name="compute",
    system_prompt="Compute, do not guess.",
    budget=Budget(executions=20),  # for each thread
)
talk = QwenCodeInterpreterNode(model.bind(enable_code_interpreter=False), name="talk")

builder = StateGraph(CodeInterpreterState, input_schema=InputState, output_schema=OutputState)
builder.add_node(compute, retry_policy=QWEN_RETRY_POLICY)
builder.add_node(talk, retry_policy=QWEN_RETRY_POLICY)
builder.add_conditional_edges(START, route)
# The server adds the checkpointer. The transformer adds execution events to v3 streams.
graph = builder.compile(transformers=[CodeExecutionsTransformer])
