"""Data of other shapes under our names: from old checkpoints, or from other packages."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

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


@pytest.mark.parametrize("data", [{}, {"data": 5}, {"response_metadata": 5}, {"kwargs": ["?"]}])
def test_dictionary_that_is_no_message_has_no_executions(data):
    assert code_executions(data) == []
    assert plugin_counts(data) == {}
