"""Limits on one request: it ends where they are reached, with what there is."""

from __future__ import annotations

import asyncio
from typing import Any

import dashscope_streams
import pytest
import responses_streams
from mock_service import Pieces

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenBudgetError

TWO_RUNS = dashscope_streams.STREAMS["two runs in a row"].body  # 303, then 770, then 1254 tokens
ENTRY_POINTS = {
    "invoke": lambda model, **call: model.invoke("?", **call),
    "ainvoke": lambda model, **call: asyncio.run(model.ainvoke("?", **call)),
    "stream": lambda model, **call: list(model.stream("?", **call)),
    "v3": lambda model, **call: model.stream_events("?", version="v3", **call).output,
}
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)


@every_entry_point
def test_token_limit_ends_an_answer_at_the_next_inference(service, entry_point):
    body = Pieces(*(frame + b"\n\n" for frame in TWO_RUNS.split(b"\n\n")))
    served = service(body)
    with pytest.raises(QwenBudgetError, match="700 tokens") as caught:
        entry_point(served.model(max_request_tokens=700))
    error = caught.value
    assert (error.limit, error.allowed, error.used) == ("tokens", 700, 770)
    assert not error.is_retryable
    assert error.partial.usage_metadata["total_tokens"] == 770
    assert plugin_counts(error.partial) == {"code_interpreter": 2}
    assert body.closed
    assert len(served.requests) == 1


@every_entry_point
def test_execution_limit_ends_an_answer(service, entry_point):
    with pytest.raises(QwenBudgetError) as caught:
        entry_point(service(TWO_RUNS).model(), max_code_executions=1)
    error = caught.value
    assert (error.limit, error.allowed, error.used) == ("executions", 1, 2)
    assert [run["code"] for run in code_executions(error.partial)] == ["7**5", "7**5 % 11"]


@every_entry_point
def test_answer_within_the_limits_is_returned(service, entry_point):
    limits: dict[str, Any] = {"max_request_tokens": 1256, "max_code_executions": 2}
    served = service(TWO_RUNS)
    entry_point(served.model(**limits))
    sent = served.bodies[0]["parameters"]
    assert not limits.keys() & sent.keys()


def test_zero_executions_are_allowed_as_a_limit(service):
    with pytest.raises(QwenBudgetError):
        service(TWO_RUNS).model(max_code_executions=0).invoke("?")


def test_other_apis_check_tokens_at_the_end(service):
    body = responses_streams.STREAMS["one run"].body
    with pytest.raises(QwenBudgetError) as caught:
        service(body).model(api="responses", max_request_tokens=1000).invoke("?")
    assert caught.value.partial.content == "7 to the power of 5 is 16807."
    assert caught.value.partial.usage_metadata["total_tokens"] == 1355
