"""Limits on one request end its answer; the error has the partial message."""

from __future__ import annotations

import asyncio
from typing import Any

import dashscope_streams
import pytest
import responses_streams
from mock_service import StreamedBody

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenBudgetError

# Two executions; total tokens at the start of its three inferences: 303, 770 and 1254.
TWO_RUNS = dashscope_streams.STREAMS["two runs in a row"].body
ENTRY_POINTS = {
    "invoke": lambda model, **arguments: model.invoke("?", **arguments),
    "ainvoke": lambda model, **arguments: asyncio.run(model.ainvoke("?", **arguments)),
    "stream": lambda model, **arguments: list(model.stream("?", **arguments)),
    "v3": lambda model, **arguments: model.stream_events("?", version="v3", **arguments).output,
}
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)


@every_entry_point
def test_token_limit_ends_an_answer_at_the_next_inference(mock_service, entry_point):
    body = StreamedBody(*(frame + b"\n\n" for frame in TWO_RUNS.split(b"\n\n")))
    backend = mock_service(body)
    with pytest.raises(QwenBudgetError, match="700 tokens") as caught:
        entry_point(backend.model(max_request_tokens=700))
    error = caught.value
    assert (error.limit, error.allowed, error.used) == ("tokens", 700, 770)
    assert not error.is_retryable
    assert error.partial.usage_metadata["total_tokens"] == 770
    assert plugin_counts(error.partial) == {"code_interpreter": 2}
    assert body.closed
    assert len(backend.requests) == 1


@every_entry_point
def test_execution_limit_ends_an_answer(mock_service, entry_point):
    with pytest.raises(QwenBudgetError) as caught:
        entry_point(mock_service(TWO_RUNS).model(), max_code_executions=1)
    error = caught.value
    assert (error.limit, error.allowed, error.used) == ("executions", 1, 2)
    assert [execution["code"] for execution in code_executions(error.partial)] == [
        "7**5",
        "7**5 % 11",
    ]


@every_entry_point
def test_answer_within_the_limits_is_returned(mock_service, entry_point):
    limits: dict[str, Any] = {"max_request_tokens": 1256, "max_code_executions": 2}
    backend = mock_service(TWO_RUNS)
    entry_point(backend.model(**limits))
    assert not limits.keys() & backend.bodies[0]["parameters"].keys()


def test_limit_of_zero_executions_allows_none(mock_service):
    with pytest.raises(QwenBudgetError):
        mock_service(TWO_RUNS).model(max_code_executions=0).invoke("?")


def test_other_apis_check_tokens_at_the_end(mock_service):
    body = responses_streams.STREAMS["one run"].body
    with pytest.raises(QwenBudgetError) as caught:
        mock_service(body).model(api="responses", max_request_tokens=1000).invoke("?")
    assert caught.value.partial.content == "7 to the power of 5 is 16807."
    assert caught.value.partial.usage_metadata["total_tokens"] == 1355
