"""A graph that routes each question to an agent with tools or to the interpreter.

Uses the service if DASHSCOPE_API_KEY is set, otherwise the emulator.
"""

import os
import re
from contextlib import ExitStack
from typing import Literal

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.emulator import EmulatorServer


@tool
def weather(city: str) -> str:
    """Return the weather in a city."""
    return f"It is sunny in {city}."


def route(state: CodeInterpreterState) -> Literal["code_interpreter", "agent"]:
    """Send questions with numbers to the interpreter. A small model could decide as well."""
    return "code_interpreter" if re.search(r"\d", state["messages"][-1].text) else "agent"


with ExitStack() as stack:
    connection = {}
    if not os.environ.get("DASHSCOPE_API_KEY"):
        server = stack.enter_context(EmulatorServer())
        connection = {"base_url": server.url, "api_key": "any"}
    model = ChatQwenCodeInterpreter(**connection)
    tool_model = ChatQwenCodeInterpreter(**connection, enable_code_interpreter=False)

    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    builder.add_node("agent", create_agent(tool_model, [weather]))
    builder.add_conditional_edges(START, route)
    graph = builder.compile()

    for question in ("What is 7 to the power of 5?", "What is the weather in Paris?"):
        state = graph.invoke({"messages": [HumanMessage(question)]})
        print(state["messages"][-1].text)
        print("  ran:", [run["code"] for run in state["code_executions"]])
