"""A router between an agent with tools and the interpreter, in one graph.

Run it with DASHSCOPE_API_KEY set, or without: then it asks the emulator.
"""

import os
import re
from contextlib import ExitStack
from typing import Literal

from langchain.agents import create_agent
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
    """The weather in a city."""
    return f"It is sunny in {city}."


def route(state: CodeInterpreterState) -> Literal["code_interpreter", "agent"]:
    """Numbers go to the interpreter. A small model could decide as well."""
    return "code_interpreter" if re.search(r"\d", state["messages"][-1].text) else "agent"


with ExitStack() as stack:
    place = {}
    if not os.environ.get("DASHSCOPE_API_KEY"):
        server = stack.enter_context(EmulatorServer())
        place = {"base_url": server.url, "api_key": "any"}
    model = ChatQwenCodeInterpreter(**place)
    caller = ChatQwenCodeInterpreter(**place, enable_code_interpreter=False)

    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    builder.add_node("agent", create_agent(caller, [weather]))
    builder.add_conditional_edges(START, route)
    graph = builder.compile()

    for question in ("What is 7 to the power of 5?", "What is the weather in Paris?"):
        state = graph.invoke({"messages": [("user", question)]})
        print(state["messages"][-1].text)
        print("  ran:", [run["code"] for run in state["code_executions"]])
