"""Data of other shapes under our names: from old checkpoints, or from other packages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from langchain_qwen_ci import code_executions, plugin_counts, with_context_usage

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
def test_dictionary_of_a_message_with_other_values_has_no_executions(data):
    assert code_executions(data) == []
    assert plugin_counts(data) == {}


OTHER_RUN = {"id": "ci_2", "code": "7 * 8", "status": "completed"}
ANSWERS = [
    HumanMessage("?"),
    message(code_executions=[RUN], plugins={"code_interpreter": {"count": 1}}),
    message(code_executions=[OTHER_RUN], plugins={"code_interpreter": {"count": 1}}),
]
CHANNELS = {"code_executions": [RUN, OTHER_RUN], "plugin_counts": {"code_interpreter": 2}}


@pytest.mark.parametrize(
    "state",
    [
        CHANNELS,
        {"messages": [], **CHANNELS},
        {"messages": ANSWERS},
        {"messages": [answer.model_dump() for answer in ANSWERS]},
        {"messages": [("user", "?"), "?", *ANSWERS]},
        SimpleNamespace(messages=[], **CHANNELS),
        SimpleNamespace(messages=ANSWERS),
        ANSWERS,
        tuple(ANSWERS),
    ],
)
def test_states_and_lists_of_messages_have_the_executions_of_all_answers(state):
    assert code_executions(state) == [RUN, OTHER_RUN]
    assert plugin_counts(state) == {"code_interpreter": 2}


@pytest.mark.parametrize("nothing", [{"messages": []}, [], HumanMessage("?"), AIMessage("Hi")])
def test_without_executions_the_result_is_empty(nothing):
    assert code_executions(nothing) == []
    assert plugin_counts(nothing) == {}


@pytest.mark.parametrize(
    "other",
    [
        None,
        "text",
        5,
        {},
        {"a": 1},
        {"code_executions": 5, "plugin_counts": 5},
        {"messages": "text"},
        ["text"],
        object(),
        AIMessage,
    ],
)
def test_what_is_neither_message_nor_state_is_a_type_error(other):
    with pytest.raises(TypeError, match=r"code_executions\(\) takes a message, a list of messages"):
        code_executions(other)
    with pytest.raises(TypeError, match=r"plugin_counts\(\) takes a message, a list of messages"):
        plugin_counts(other)


SUM = {"input_tokens": 60, "output_tokens": 6, "total_tokens": 66}
SIZES = [(10, 1), (30, 3), (20, 2)]
INFERENCES = [{"input_tokens": size, "output_tokens": output} for size, output in SIZES]


def used(**response_metadata: Any) -> AIMessage:
    return message(**response_metadata).model_copy(update={"usage_metadata": SUM})


def context_tokens(answer: AIMessage) -> int | None:
    (read,) = with_context_usage([answer])
    assert answer.usage_metadata == SUM  # the message itself is not changed
    return read.usage_metadata and read.usage_metadata["total_tokens"]


def test_context_usage_is_that_of_the_largest_inference():
    assert context_tokens(used(inference_usage=INFERENCES, code_executions=[RUN])) == 33
    assert context_tokens(used(inference_usage=INFERENCES, schema_request={})) == 33
    chunk = AIMessageChunk("", usage_metadata=SUM, response_metadata=used().response_metadata)
    chunk.response_metadata["inference_usage"] = INFERENCES
    assert context_tokens(chunk) == 33


def test_context_usage_is_unknown_where_only_the_sum_of_several_inferences_is_known():
    assert context_tokens(used(code_executions=[RUN])) is None
    assert context_tokens(used(plugins={"web_search": {"count": 1}})) is None
    assert context_tokens(used(schema_request={"request_id": "1"})) is None


def test_context_usage_of_one_inference_and_of_other_messages_stays():
    others = [
        HumanMessage("?"),
        used(),
        used(inference_usage=INFERENCES[:1]),
        used(inference_usage=INFERENCES, code_executions=[RUN], model_provider="openai"),
        AIMessage("?", usage_metadata=SUM),
    ]
    assert all(a is b for a, b in zip(with_context_usage(others), others, strict=True))


@pytest.mark.parametrize("recorded", [5, "text", [1, 2], [{}, {}], [{"input_tokens": "1"}] * 2])
def test_inferences_of_another_shape_are_left_out(recorded):
    assert context_tokens(used(inference_usage=recorded)) == 66
