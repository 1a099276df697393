"""The planner: arithmetic with signs and references, JSON schemas, and functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.output_parsers import PydanticOutputParser
from pydantic import BaseModel

from langchain_qwen_ci.emulator import Call, ChatMessage, ModelRequest, Planner, Result, Run, Say

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
    "call 555-1234": [],
    "Please phone me at 555-867-5309, will you?": [],
    "555 - 1234": ["555 - 1234"],
    "three plus four": ["3 + 4"],
    "twenty-one times two": ["21 * 2"],
    "divide ninety by six": ["90 / 6"],
    "first seven squared, then plus one": ["7**2", "7**2 + 1"],
    "7!": ["import math\nmath.factorial(7)"],
    "5! / 3!": ["import math\nmath.factorial(5) / math.factorial(3)"],
    "2 != 3": [],
}


def steps_for(request: ModelRequest, output: str = "1") -> list[Any]:
    """Return the steps of the planner if every program has this output."""
    steps = Planner().respond(request)
    found, step = [], next(steps, None)
    while step is not None:
        found.append(step)
        try:
            step = steps.send(Result(output) if isinstance(step, Run) else None)
        except StopIteration:
            step = None
    return found


def request_with(*texts: str, **fields: Any) -> ModelRequest:
    content = tuple(ChatMessage("user", text) for text in texts)
    return ModelRequest(
        "qwen3-max", content, **{"code_interpreter": True, "thinking": True, **fields}
    )


@pytest.mark.parametrize("text", PLANS)
def test_planner_parses_signs_and_references(text):
    steps = steps_for(request_with(text))
    assert [step.code for step in steps if isinstance(step, Run)] == PLANS[text]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["What is 12 squared?", "Divide that by 4."], "12**2 / 4"),
        (["2 plus 3", "times 4", "minus 1"], "(2 + 3) * 4 - 1"),
        (["What is 12 squared?", "Thank you.", "What is 7 + 1?"], "7 + 1"),
    ],
)
def test_planner_refers_to_earlier_questions(texts, code):
    assert [step.code for step in steps_for(request_with(*texts)) if isinstance(step, Run)] == [
        code
    ]


TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 3, "maxLength": 5},
                "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Node"}]},
            },
            "required": ["name"],
        }
    },
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 5},
        "ratio": {"type": "number", "exclusiveMaximum": 3},
        "color": {"enum": ["red", "green"]},
        "fixed": {"const": 4},
        "sure": {"type": "boolean"},
        "day": {"type": "string", "format": "date"},
        "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
        "maybe": {"type": ["null", "string"]},
        "root": {"$ref": "#/$defs/Node"},
    },
}


def test_planner_fills_a_schema():
    request = request_with('"green tea" 2 and 7.5, 8 and 9', schema=TREE, code_interpreter=False)
    value = json.loads(steps_for(request)[-1].text)
    root = value.pop("root")
    assert value == {
        "count": 5,
        "ratio": 2.0,
        "color": "green",
        "fixed": 4,
        "sure": True,
        "day": "2026-01-31",
        "pair": [8, 9],
        "maybe": "green tea",
    }
    assert root["name"] == "green"
    assert root["next"]["name"] == "green"


def test_planner_fills_a_schema_in_the_text_with_code_output():
    class Answer(BaseModel):
        result: int
        about: str

    instructions = PydanticOutputParser(pydantic_object=Answer).get_format_instructions()
    for texts in ([f"What is 2**5?\n\n{instructions}"], [instructions, "What is 2**5?"]):
        steps = steps_for(request_with(*texts), output="32")
        assert [step.code for step in steps if isinstance(step, Run)] == ["2**5"]
        assert Answer.model_validate_json(steps[-1].text).result == 32


WEATHER = {
    "name": "get_weather",
    "description": "The weather at a place",
    "parameters": {"properties": {"place": {"type": "string"}}},
}
TIME = {"name": "get_time", "description": "The time at a place", "parameters": {}}
ADD = {
    "name": "add",
    "description": "Add two numbers",
    "parameters": {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
}
CALLS = {
    "What is the weather in San Francisco, CA?": [
        Call("get_weather", {"place": "San Francisco, CA"})
    ],
    "What are time and weather in Paris?": [
        Call("get_weather", {"place": "Paris"}),
        Call("get_time", {}),
    ],
    "add 3 to 4": [Call("add", {"a": 3, "b": 4})],
    "Is this the best you have?": [],
}


@pytest.mark.parametrize("text", CALLS)
def test_planner_calls_matching_functions(text):
    request = request_with(text, tools=(WEATHER, TIME, ADD), code_interpreter=False)
    calls = [step for step in steps_for(request) if isinstance(step, Call)]
    assert calls == CALLS[text]


def test_planner_repeats_tool_results():
    content = (
        ChatMessage("user", "?"),
        ChatMessage("assistant", ""),
        ChatMessage("tool", "1"),
        ChatMessage("tool", "2"),
    )
    request = ModelRequest(
        "qwen3-max", content, code_interpreter=False, thinking=False, tools=(ADD,)
    )
    assert steps_for(request) == [Say("The tool answered: 1; 2")]
