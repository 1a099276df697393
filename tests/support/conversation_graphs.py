"""Graphs to keep: a plain node asks two questions, one after the other or at once."""

from __future__ import annotations

import functools
import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from langchain_qwen_ci import ChatQwenCodeInterpreter, CodeInterpreterState, QwenCodeInterpreterNode

QUESTIONS = ["What is 6 * 7?", "And divided by nothing?"]
AT_ONCE = 3


def ask(state: CodeInterpreterState) -> dict[str, Any]:
    return {"messages": [HumanMessage(QUESTIONS[_asked(state)])]}


def ask_a_human(state: CodeInterpreterState) -> dict[str, Any]:
    """The second question comes from outside."""
    if _asked(state) == 0:
        return ask(state)
    return {"messages": [HumanMessage(interrupt("And now?"))]}


def ask_and_wait(state: CodeInterpreterState) -> dict[str, Any]:
    """The second question says that it is about to be asked, and waits until the process ends."""
    if _asked(state) == 1:
        print("waits", flush=True)
        sys.stdin.read()
    return ask(state)


def ask_again(state: CodeInterpreterState) -> str:
    responded = sum(message.type == "ai" for message in state["messages"])
    return "ask" if responded < len(QUESTIONS) else END


def _asked(state: CodeInterpreterState) -> int:
    return sum(message.type == "human" for message in state["messages"])


ASKING = {"alone": ask, "human": ask_a_human, "waiting": ask_and_wait}


def conversation(url: str, version: str | None = None, asking: str = "alone") -> Any:
    """The graph, to be compiled. Its first answer comes by the native API, its second by Responses.

    Args:
        url: of an emulator.
        version: the model's `output_version`.
        asking: which plain node asks.
    """
    models = _models(url, version)
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("ask", ASKING[asking])
    builder.add_node(QwenCodeInterpreterNode(lambda state, _: models[len(state["messages"]) > 1]))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "code_interpreter")
    builder.add_conditional_edges("code_interpreter", ask_again, ["ask", END])
    return builder


@functools.cache  # a model holds its connections, so that they are closed when a loop ends
def _models(url: str, version: str | None) -> list[ChatQwenCodeInterpreter]:
    return [
        ChatQwenCodeInterpreter(api=api, base_url=url, api_key="any", output_version=version)
        for api in ("dashscope", "responses")
    ]


def as_single_chunk(model: ChatQwenCodeInterpreter) -> Any:
    """A graph that asks the first question several times, in one step."""
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    question = {"messages": [HumanMessage(QUESTIONS[0])]}
    sends = [Send("code_interpreter", question) for _ in range(AT_ONCE)]
    builder.add_conditional_edges(START, lambda _: sends, ["code_interpreter"])
    return builder
