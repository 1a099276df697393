"""A graph of two questions: a plain node asks, Qwen answers, and so on; and what thinks for it."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph

from langchain_qwen_ci import ChatQwenCodeInterpreter, CodeInterpreterState, QwenCodeInterpreterNode
from langchain_qwen_ci.emulator import Run, Say, Think

QUESTIONS = ["What is 6 * 7?", "And divided by nothing?"]
TURNS = {
    QUESTIONS[0]: [
        Think("I should compute it."),
        Run("x = 6 * 7\nprint(x)"),
        Think("And once more, to be sure."),
        Run("7 * 6"),
        Say("It is 42."),
    ],
    QUESTIONS[1]: [Say("I try. "), Run("42 / 0"), Say("It cannot be done.")],
}
CODES = ["x = 6 * 7\nprint(x)", "7 * 6", "42 / 0"]
COUNTS = {"code_interpreter": 3}


class Answers:
    """A mind that answers a question always in the same way, however often it is asked."""

    def answer(self, question: Any) -> Any:
        # A list cannot be sent a result, which `yield from` would try to do.
        for step in TURNS[question.text]:  # noqa: UP028
            yield step


def ask(state: CodeInterpreterState) -> dict[str, Any]:
    asked = sum(message.type == "human" for message in state["messages"])
    return {"messages": [HumanMessage(QUESTIONS[asked])]}


def ask_again(state: CodeInterpreterState) -> str:
    answered = sum(message.type == "ai" for message in state["messages"])
    return "ask" if answered < len(QUESTIONS) else END


def conversation(url: str, version: str | None = None, asking: Any = ask) -> Any:
    """The graph, to be compiled. Its first answer comes by the native API, its second by Responses.

    Args:
        url: of an emulator.
        version: the model's `output_version`.
        asking: the plain node.
    """
    models = [
        ChatQwenCodeInterpreter(api=api, base_url=url, api_key="any", output_version=version)
        for api in ("dashscope", "responses")
    ]
    builder = StateGraph(CodeInterpreterState)
    builder.add_node("ask", asking)
    builder.add_node(QwenCodeInterpreterNode(lambda state, _: models[len(state["messages"]) > 1]))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "code_interpreter")
    builder.add_conditional_edges("code_interpreter", ask_again, ["ask", END])
    return builder
