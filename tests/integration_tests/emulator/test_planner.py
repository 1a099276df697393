"""The planner, read through the chat model."""

from __future__ import annotations

import pytest
from emulator_requests import QUESTION, model_of
from langchain_core.tools import tool

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import EmulatorServer

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

PLANS = {
    QUESTION: ["123**21"],
    "run the interpreter twice: first 123 to the power of 23, then divide that by 5": [
        "123**23",
        "123**23 / 5",
    ],
    "What is 12 squared plus 5?": ["12**2 + 5"],
    "the square root of 2": ["import math\nmath.sqrt(2)"],
    "17 plus 4 times 3": ["17 + 4 * 3"],
    "divide 10 by 4": ["10 / 4"],
    "multiply 6 by 7": ["6 * 7"],
    "add 3 to 4": ["4 + 3"],
    "subtract 3 from 10": ["10 - 3"],
    "15 percent of 80": ["80 * 15 / 100"],
    "factorial of 20": ["import math\nmath.factorial(20)"],
    "sum of the numbers from 1 to 100": ["sum(range(1, 100 + 1))"],
    "What is 1,234 times 2?": ["1234 * 2"],
    "5^3": ["5**3"],
    "3 x 4": ["3 * 4"],
    "(3+4)*5/7 =": ["(3 + 4) * 5 / 7"],
    "Please run this:\n```python\nx = 6\nprint(x * 7)\n```": ["x = 6\nprint(x * 7)"],
    "first 12 squared, then minus 5": ["12**2", "12**2 - 5"],
    "2 plus 3, then square it, then divide the result by 5": [
        "2 + 3",
        "(2 + 3)**2",
        "(2 + 3)**2 / 5",
    ],
    "(" * 5000 + "1 + 1": [],
    "Who are you?": [],
    "Call me on 555 or 666.": [],
}


@pytest.mark.parametrize("question", PLANS)
def test_planner_converts_questions_to_code(question):
    with EmulatorServer() as server:
        message = model_of(server).invoke(question)
    assert [run["code"] for run in code_executions(message)] == PLANS[question]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 12 cubed?", "1728"),
        ("first 123 to the power of 23, then divide that by 5", "2.338016430028866e+47"),
        ("```python\nprint('a' * 3)\n```", "aaa"),
        ("```python\n1/0\n```", "ZeroDivisionError"),
        ("```python\ndef f(:\n```", "SyntaxError"),
        ("Who are you?", "planner"),
    ],
)
def test_code_is_executed(qwen_emulator, question, answer):
    assert answer in model_of(qwen_emulator).invoke(question).content


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def test_planner_calls_functions_without_the_interpreter(qwen_emulator):
    model = model_of(qwen_emulator, enable_code_interpreter=False).bind_tools([multiply])
    sent = model.invoke("multiply 6 by 7")
    (call,) = sent.tool_calls
    assert (call["name"], call["args"]) == ("multiply", {"a": 6, "b": 7})
    assert sent.response_metadata["finish_reason"] == "tool_calls"
    assert code_executions(sent) == []
    answer = model.invoke(["multiply 6 by 7", sent, multiply.invoke(call)])
    assert "42" in answer.content
