"""Messages, lists and states; data of other shapes under our names, as from old checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict
from pydantic import BaseModel

from langchain_qwen_ci import code_executions, plugin_counts

RUN = {"id": "ci_1", "code": "6 * 7", "status": "completed"}


def message(**response_metadata: Any) -> AIMessage:
    return AIMessage("42", response_metadata={"model_provider": "qwen", **response_metadata})


@pytest.mark.parametrize(
    "recorded",
    [5, "text", {"a": 1}, [1], ["text"], [None], [{}], [{"id": 1}], [{"code": "x"}], [[RUN]]],
)
def test_executions_of_another_shape_are_left_out(recorded):
    assert code_executions(message(code_executions=recorded)) == []
    assert code_executions({"response_metadata": {"code_executions": recorded}}) == []
    assert message(code_executions=recorded).content_blocks == [{"type": "text", "text": "42"}]


def test_executions_beside_those_of_another_shape_are_returned():
    assert code_executions(message(code_executions=[None, RUN, {"id": 1}])) == [RUN]


@pytest.mark.parametrize(
    "plugins",
    [5, "text", [1], {"code_interpreter": 2}, {"code_interpreter": {"count": "2"}}, {"a": None}],
)
def test_plugins_of_another_shape_are_not_counted(plugins):
    assert plugin_counts(message(plugins=plugins)) == {}
    assert plugin_counts(message(plugins=plugins, code_executions=[RUN])) == {"code_interpreter": 1}


@pytest.mark.parametrize(
    "positions",
    [
        5,
        ["text"],
        [{"id": []}],
        [{"result_of": {}}],
        [{"result_of": "ci_1"}],
        [{"id": "ci_1", "code": 5}],
        [{"id": "ci_1", "code": "x", "text_offset": "1"}],
    ],
)
def test_positions_of_another_shape_are_left_out(positions):
    answer = message()
    answer.additional_kwargs["block_positions"] = positions
    assert code_executions(answer) == []
    assert answer.content_blocks == [{"type": "text", "text": "42"}]


@pytest.mark.parametrize("data", [{"data": 5}, {"response_metadata": 5}, {"kwargs": ["?"]}])
def test_message_of_another_shape_has_no_executions(data):
    assert code_executions(data) == []
    assert plugin_counts(data) == {}


SECOND_RUN = {"id": "ci_2", "code": "7 * 7", "status": "completed"}
MESSAGES = [
    HumanMessage("?"),
    message(code_executions=[RUN], plugins={"code_interpreter": {"count": 1}}),
    message(code_executions=[SECOND_RUN]),
]


@dataclass
class ObjectState:
    messages: list[Any]


class PydanticState(BaseModel):
    messages: list[Any]


@pytest.mark.parametrize(
    "source",
    [
        MESSAGES,
        tuple(MESSAGES),
        [entry.model_dump() for entry in MESSAGES],
        json.loads(json.dumps([message_to_dict(entry) for entry in MESSAGES])),
        json.loads(json.dumps([dumpd(entry) for entry in MESSAGES])),
        ["?", ("human", "?"), {"role": "user", "content": "?"}, *MESSAGES],
        {"messages": MESSAGES},
        ObjectState(MESSAGES),
        PydanticState(messages=MESSAGES),
    ],
    ids=lambda source: type(source).__name__,
)
def test_messages_of_a_list_or_state_are_joined(source):
    assert code_executions(source) == [RUN, SECOND_RUN]
    assert plugin_counts(source) == {"code_interpreter": 2}


def test_channels_of_a_state_take_precedence_over_its_messages():
    state = {"messages": MESSAGES, "code_executions": [RUN], "plugin_counts": {"search": 3}}
    assert code_executions(state) == [RUN]
    assert plugin_counts(state) == {"search": 3}
    assert code_executions({**state, "code_executions": []}) == []
    assert code_executions({"plugin_counts": {"search": 3}}) == []
    assert plugin_counts({"code_executions": [RUN]}) == {}


@pytest.mark.parametrize(
    "state", [{}, {"messages": []}, {"messages": "Hi"}, {"messages": None}, []]
)
def test_state_without_answers_has_no_executions(state):
    assert code_executions(state) == []
    assert plugin_counts(state) == {}


@pytest.mark.parametrize(
    ("source", "described"),
    [
        (None, "An object of type NoneType"),
        ("text", "An object of type str"),
        (5, "An object of type int"),
        ({"raw": MESSAGES[1], "parsed": None}, "An object of type dict with the keys raw, parsed"),
        (
            {"code_interpreter": {"messages": MESSAGES}},
            "An object of type dict with the keys code_interpreter",
        ),
        ([RUN], "An object of type dict in the list with the keys id, code, status"),
        ({"messages": [None]}, "An object of type NoneType in the list"),
        ({"messages": 5}, "An object of type int"),
    ],
)
@pytest.mark.parametrize("function", [code_executions, plugin_counts])
def test_neither_message_nor_state_raises(function, source, described):
    with pytest.raises(TypeError, match=f"{described} is neither a message .*: pass a message"):
        function(source)
