"""Signs, sentences and references that the planner has to read rightly."""

from __future__ import annotations

import pytest

from langchain_qwen_ci.emulator import Planner, Question, Result, Run, Said

PLANS = {
    "What is -5 + 3?": ["-5 + 3"],
    "What is minus 5 plus 3?": ["-5 + 3"],
    "-2**2": ["-2**2"],
    "-(2 + 3) * 4": ["-(2 + 3) * 4"],
    "7 minus 5": ["7 - 5"],
    "12 squared - 5": ["12**2 - 5"],
    "Well - 2+2?": ["2 + 2"],
    "- 2+2": ["2 + 2"],
    "(3 - 1) - 1": ["3 - 1 - 1"],
    "2 + 3, then minus 5": ["2 + 3", "2 + 3 - 5"],
    "First compute 5 plus 5. Then square it.": ["5 + 5", "(5 + 5)**2"],
    "subtract 3 from 10 and divide the result by 7": ["10 - 3", "(10 - 3) / 7"],
    "15 percent of 80": ["80 * 15 / 100"],
    "qwen3.5-plus and gpt-4 and 2024-01-15": [],
}


@pytest.mark.parametrize("text", PLANS)
def test_the_planner_reads_signs_and_references(text):
    question = Question("qwen3-max", (Said("user", text),), code_interpreter=True, thinking=True)
    steps = Planner().answer(question)
    codes, step = [], next(steps, None)
    while step is not None:
        ran = isinstance(step, Run)
        if ran:
            codes.append(step.code)
        try:
            step = steps.send(Result("1") if ran else None)
        except StopIteration:
            step = None
    assert codes == PLANS[text]
