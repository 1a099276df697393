"""Graphs for tests of persistence: a plain node asks two questions, in turn or in parallel."""

from __future__ import annotations

import functools
import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from langchain_qwen_ci import ChatQwenCodeInterpreter, CodeInterpreterState, QwenCodeInterpreterNode

QUESTIONS = ["What is 6 * 7?", "And divided by nothing?"]
PARALLEL_RUNS = 3


def ask(state: CodeInterpreterState) -> dict[str, Any]:
    return {"messages": [HumanMessage(QUESTIONS[_question_count(state)])]}


def ask_by_interrupt(state: CodeInterpreterState) -> dict[str, Any]:
    """Ask the first question; take the second one from an interrupt."""
    if _question_count(state) == 0:
        return ask(state)
    return {"messages": [HumanMessage(interrupt("And now?"))]}


def ask_and_wait(state: CodeInterpreterState) -> dict[str, Any]:
    """Before the second question, print "waits" and block until standard input closes."""
    if _question_count(state) == 1:
        print("waits", flush=True)
        sys.stdin.read()
    return ask(state)


def ask_again(state: CodeInterpreterState) -> str:
    answers = sum(message.type == "ai" for message in state["messages"])
    return "ask" if answers < len(QUESTIONS) else END


def _question_count(state: CodeInterpreterState) -> int:
    return sum(message.type == "human" for message in state["messages"])


QUESTION_NODES = {"alone": ask, "human": ask_by_interrupt, "waiting": ask_and_wait}


def conversation(url: str, version: str | None = None, question_node: str = "alone") -> Any:
    """Return a graph builder; the first answer uses the native API, the second one Responses.

    Args:
        url: the URL of an emulator.
        version: the model's `output_version`.
        question_node: the node that asks, one of `QUESTION_NODES`.
    """
    models = _models(url, version)
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("ask", QUESTION_NODES[question_node])
    builder.add_node(QwenCodeInterpreterNode(lambda state, _: models[len(state["messages"]) > 1]))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "code_interpreter")
    builder.add_conditional_edges("code_interpreter", ask_again, ["ask", END])
    return builder


@functools.cache  # one model per URL, so that connections are reused
def _models(url: str, version: str | None) -> list[ChatQwenCodeInterpreter]:
    return [
        ChatQwenCodeInterpreter(api=api, base_url=url, api_key="any", output_version=version)
        for api in ("dashscope", "responses")
    ]


def parallel_questions(model: ChatQwenCodeInterpreter) -> Any:
    """Return a graph builder that answers the first question several times in parallel."""
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    question = {"messages": [HumanMessage(QUESTIONS[0])]}
    sends = [Send("code_interpreter", question) for _ in range(PARALLEL_RUNS)]
    builder.add_conditional_edges(START, lambda _: sends, ["code_interpreter"])
    return builder
