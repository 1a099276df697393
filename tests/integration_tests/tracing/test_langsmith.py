"""What LangSmith receives, by its own client and over HTTP, by every way in."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import dashscope_streams
import langsmith
import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langsmith_server import LangSmith, Run, forget, langsmith_server
from traced_entry_points import (
    ENTRY_POINTS,
    GIVEN,
    MCP,
    MODEL,
    SECRETS,
    TREES,
    Make,
    deeper,
    emulator,
    every_entry_point,
    make,
    with_secrets,
)

from langchain_qwen_ci.emulator import Cut, ErrorFrame, Status
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenError, QwenServerError
from langchain_qwen_ci.tracing.prices import Price, with_costs

__all__ = ["emulator", "langsmith_server", "make", "with_secrets"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


def outline(runs: list[Run]) -> list[str]:
    return [
        line
        for run in runs
        for line in (f"{run.run_type} {run.name}", *deeper(outline(run.children)))
    ]


def check_order(run: Run) -> None:
    """Runs end, lie within those above them, and are sorted by what LangSmith sorts by."""
    started, ended = run.span
    assert started <= ended
    for child in run.children:
        assert child.trace_id == run.trace_id
        assert child.dotted_order.startswith(f"{run.dotted_order}.")
        child_begun, child_ended = child.span
        assert started <= child_begun
        assert child_ended <= ended
        check_order(child)
    for earlier, later in zip(run.children, run.children[1:], strict=False):
        assert earlier.span[1] <= later.span[0]


def models(runs: list[Run]) -> list[Run]:
    """The runs of models that had the interpreter."""
    found = [model for run in runs for model in run.below("llm")]
    return [model for model in found if model.children]


@every_entry_point
@pytest.mark.parametrize("api", ["dashscope", "responses"])
def test_run_tree(langsmith_server: LangSmith, make: Make, entry_point: str, api: str):
    ENTRY_POINTS[entry_point](lambda **fields: make(**{"api": api, **fields}))
    roots = langsmith_server.roots()
    assert outline(roots) == TREES[entry_point]
    for root in roots:
        check_order(root)
        assert root.session_name == "tests"
    for model in models(roots):
        check_model(model, api)
        check_programs(model, api)


def check_model(model: Run, api: str) -> None:
    """One model's run: what it was asked, what it answered, and what that took."""
    ((sent, *_),) = model.inputs["messages"]
    assert sent["kwargs"]["content"] in ("?", "Six times seven.")
    message = model.message
    content = message["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    assert text == "It is 42."
    assert message["additional_kwargs"]["reasoning_content"] == "I compute.Again."
    result = message["response_metadata"]
    assert [run["code"] for run in result["code_executions"]] == ["6 * 7", "1 / 0"]
    assert result["plugins"] == {"code_interpreter": {"count": 2}}
    assert (result["model_name"], result["finish_reason"]) == ("qwen3-max", "stop")
    assert model.usage == message["usage_metadata"]
    assert model.usage["output_token_details"]["reasoning"] == 3
    if api == "dashscope":
        spent = result["inference_usage"]
        assert len(spent) == 3
        for kind in ("input_tokens", "output_tokens"):
            assert sum(one[kind] for one in spent) == model.usage[kind]
    assert model.error is None
    assert model.metadata["ls_provider"] == "qwen"
    assert model.metadata["ls_model_type"] == "chat"
    assert model.metadata["ls_model_name"] == "qwen3-max"
    assert {"langchain-core", "langchain-qwen-ci"} <= model.metadata["lc_versions"].keys()


def check_programs(model: Run, api: str) -> None:
    executions = model.message["response_metadata"]["code_executions"]
    good, bad = model.children
    assert [good.inputs, bad.inputs] == [{"code": "6 * 7"}, {"code": "1 / 0"}]
    assert [run.extra["tool_call_id"] for run in (good, bad)] == [run["id"] for run in executions]
    assert good.error is None
    for run in (good, bad):  # which is no model's
        assert not {"ls_provider", "ls_model_name", "usage_metadata"} & run.metadata.keys()
    if api == "dashscope":  # which tells no output, and so no failure
        assert good.outputs == bad.outputs == {"output": {"status": "completed"}}
    else:
        assert good.outputs == {"output": {"status": "completed", "output": "42"}}
        assert bad.error.startswith("Traceback (most recent call last):\n")
        assert "    1 / 0\n" in bad.error
        assert "\nZeroDivisionError: division by zero" in bad.error


@every_entry_point
def test_tokens_are_counted_once_for_each_model_run(
    langsmith_server: LangSmith, make: Make, entry_point: str
):
    ENTRY_POINTS[entry_point](make)
    runs = [run for root in langsmith_server.roots() for run in root.everything()]
    counted = [run for run in runs if run.usage]
    assert counted == [run for run in runs if run.run_type == "llm"]
    for run in counted:
        assert run.usage == run.message["usage_metadata"]
        assert run.usage["total_tokens"] == run.usage["input_tokens"] + run.usage["output_tokens"]


@pytest.mark.parametrize(
    "entry_point", ["invoke", "ainvoke", "stream", "astream", "v3", "async v3"]
)
def test_call_arguments_are_in_the_metadata(
    langsmith_server: LangSmith, make: Make, entry_point: str
):
    asks = {"model": "qwen3.5-plus", "temperature": 0.5, "max_tokens": 640, "stop": ["stop!"]}
    ENTRY_POINTS[entry_point](lambda **fields: make(temperature=0.1, **fields).bind(**asks))
    root = langsmith_server.root()
    assert root.metadata["ls_model_name"] == "qwen3.5-plus"
    assert root.message["response_metadata"]["model_name"] == "qwen3.5-plus"
    assert root.metadata["ls_temperature"] == 0.5
    assert root.metadata["ls_max_tokens"] == 640
    assert root.metadata["ls_stop"] == ["stop!"]


def test_cached_answer_has_no_tool_runs(langsmith_server: LangSmith, make: Make):
    model = make(cache=InMemoryCache())
    model.invoke("?")
    model.invoke("?")
    assert outline(langsmith_server.roots()) == [*MODEL, MODEL[0]]


@every_entry_point
def test_executions_can_be_excluded(langsmith_server: LangSmith, make: Make, entry_point: str):
    ENTRY_POINTS[entry_point](lambda **fields: make(trace_code_executions=False, **fields))
    roots = langsmith_server.roots()
    assert outline(roots)
    for model in [model for root in roots for model in root.below("llm")]:
        assert model.children == []


@every_entry_point
def test_nothing_is_posted_without_tracing(
    langsmith_server: LangSmith, make: Make, entry_point: str, monkeypatch
):
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    forget()
    ENTRY_POINTS[entry_point](make)
    assert langsmith_server.posted == b""


@pytest.mark.parametrize("hidden", ["INPUTS", "OUTPUTS"])
def test_langsmith_hide_settings_apply_to_tool_runs(
    langsmith_server: LangSmith, make: Make, monkeypatch, hidden: str
):
    monkeypatch.setenv(f"LANGSMITH_HIDE_{hidden}", "true")
    forget()
    make(trace_code_executions=True).invoke("?")
    for program in langsmith_server.root().children:
        assert (program.inputs == {}) == (hidden == "INPUTS")
        assert (program.outputs == {}) == (hidden == "OUTPUTS" or bool(program.error))


BREAKS = {"cut": Cut, "error frame": ErrorFrame}
# Frames after which the first words of the answer have come.
WORDS = {"dashscope": 11, "responses": 25}
BREAKING_WAYS = [
    entry_point for entry_point in ENTRY_POINTS if entry_point not in ("batch", "agent")
]


@pytest.mark.parametrize("entry_point", BREAKING_WAYS)
@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("api", WORDS)
def test_partial_output_is_in_the_trace_and_the_error(
    langsmith_server: LangSmith, make: Make, emulator, entry_point: str, fault: str, api: str
):
    emulator.inject_fault(BREAKS[fault](after=WORDS[api]))
    with pytest.raises(QwenError) as caught:
        ENTRY_POINTS[entry_point](lambda **fields: make(api=api, **fields))
    partial = caught.value.partial
    (model,) = [model for root in langsmith_server.roots() for model in root.below("llm")]
    assert type(caught.value).__name__ in model.error
    result = model.outputs["generations"][-1][0]["message"]["kwargs"]["response_metadata"]
    arrived = result["body"]
    assert arrived["text"] == partial.text == "It is"
    assert arrived["reasoning"] == "I compute.Again."
    assert arrived["reasoning"] == partial.additional_kwargs["reasoning_content"]
    assert arrived["code_executions"] == partial.response_metadata["code_executions"]
    assert [run["code"] for run in arrived["code_executions"]] == ["6 * 7", "1 / 0"]
    assert arrived.get("usage") == partial.usage_metadata
    if api == "dashscope":  # Responses tells usage at the end only
        assert arrived["usage"]["total_tokens"] > 0
        assert arrived["plugin_counts"] == {"code_interpreter": 2}
    assert arrived["request_id"] == partial.response_metadata["request_id"]
    assert result["headers"] == {}


@pytest.mark.parametrize("entry_point", BREAKING_WAYS)
def test_open_program_is_an_error_in_the_trace(
    langsmith_server: LangSmith, make: Make, emulator, entry_point: str
):
    emulator.inject_fault(Cut(after=9))
    with pytest.raises(QwenError):
        ENTRY_POINTS[entry_point](make)
    (tool,) = [tool for root in langsmith_server.roots() for tool in root.below("tool")]
    assert tool.inputs == {"code": "6 * 7"}
    assert "The answer broke off" in tool.error


def test_error_without_partial_has_no_response(make: Make, emulator):
    emulator.inject_fault(Status(401, code="InvalidApiKey"))
    with pytest.raises(QwenAuthenticationError) as caught:
        make().invoke("?")
    assert caught.value.partial is None
    assert not hasattr(caught.value, "response")


def test_response_of_an_error_is_not_pickled(make: Make, emulator):
    emulator.inject_fault(ErrorFrame(after=11))
    with pytest.raises(QwenServerError) as caught:
        make(api="dashscope").invoke("?")
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.partial.text == "It is"
    assert error.response.status_code == 500
    assert error.response.json() == caught.value.response.json()
    assert "response" not in vars(error)
    assert repr(error) == repr(caught.value)


FAULTS = (None, Cut(after=9), ErrorFrame(after=9), Status(401, code="InvalidApiKey"))


def _agent_with_mcp(make: Make) -> None:
    create_agent(make(enable_code_interpreter=False), [MCP]).invoke(GIVEN)


HOLDERS: dict[str, Callable[[Make], Any]] = {
    **ENTRY_POINTS,
    **{
        f"{name}, mcp": lambda make, entry_point=entry_point: entry_point(
            lambda **more: make(**more).bind_tools([MCP])
        )
        for name, entry_point in ENTRY_POINTS.items()
    },
    "agent, mcp": _agent_with_mcp,
}


@pytest.mark.parametrize("entry_point", HOLDERS)
def test_secrets_are_not_posted_or_shown(
    langsmith_server: LangSmith, with_secrets: Make, emulator, entry_point: str, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    emulator.requests.clear()
    displayed = []
    for fault in FAULTS:
        if fault:
            emulator.inject_fault(fault)
        try:
            HOLDERS[entry_point](with_secrets)
        except QwenError as error:
            displayed += [repr(error), *traceback.format_exception(error), repr(error.partial)]
            displayed += [repr(pickle.dumps(error)), dumps(error.partial)]
    assert len(displayed) >= 3 * 4
    posted = langsmith_server.posted.decode()
    assert "6 * 7" in posted or "agent, mcp" in entry_point
    displayed += [posted, caplog.text, *capfd.readouterr()]
    for secret in SECRETS.values():
        assert not [text for text in displayed if secret in text]
    # They were there to be shown.
    (sent, *_) = emulator.requests
    assert sent.headers["x-token"] == SECRETS["header"]
    assert sent.headers["x-dashscope-workspace"] == SECRETS["workspace"]
    assert (MCP in sent.body.get("tools", [])) == entry_point.endswith(", mcp")


def test_secrets_are_not_in_the_serialized_model(with_secrets: Make):
    model = with_secrets()
    made = [model, model.bind_tools([MCP]), RunnableLambda(str) | model.bind_tools([MCP])]
    written = [text for one in made for text in (repr(one), str(one), dumps(one))]
    written += [repr(pickle.dumps(one)) for one in made[:2]]
    for secret in SECRETS.values():
        assert not [text for text in written if secret in text]


PRICES = {"qwen3-max": Price(input=1.0, output=10.0, cached_input=0.25)}


def _by_tier(model: str, usage: Any) -> Price | None:
    return PRICES["qwen3-max"] if usage["input_tokens"] < 32_000 else None


def _pay(prices: Any) -> None:
    langsmith.configure(client=langsmith.Client(hide_metadata=with_costs(prices)))


@pytest.fixture(params=[PRICES, _by_tier], ids=["table", "function"])
def priced(request, langsmith_server: LangSmith) -> Iterator[LangSmith]:
    """A LangSmith whose client fills in costs."""
    _pay(request.param)
    yield langsmith_server
    langsmith.configure(client=None)


@every_entry_point
def test_costs_are_posted_but_not_in_messages(priced: LangSmith, make: Make, entry_point: str):
    ENTRY_POINTS[entry_point](make)
    runs = [run for root in priced.roots() for run in root.everything()]
    assert [run for run in runs if run.usage] == [run for run in runs if run.run_type == "llm"]
    for run in (run for run in runs if run.usage):
        read, wrote = run.usage["input_tokens"], run.usage["output_tokens"]
        assert run.usage["input_cost"] == pytest.approx(read / 1e6)
        assert run.usage["output_cost"] == pytest.approx(wrote / 1e5)
        assert run.usage["total_cost"] == pytest.approx(read / 1e6 + wrote / 1e5)
        assert run.usage == {**run.usage, **run.message["usage_metadata"]}
        assert not [name for name in run.message["usage_metadata"] if "cost" in name]
    for run in runs:
        assert "cost" not in json.dumps([run.inputs, run.outputs])


def test_returned_message_has_no_costs(priced: LangSmith, make: Make):
    message = make().invoke("?")
    assert priced.root().usage["total_cost"] > 0
    assert not [name for name in message.usage_metadata if "cost" in name]


def test_runs_of_other_models_have_no_costs(priced: LangSmith):
    usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    answers = iter([AIMessage("Hi", usage_metadata=usage)])
    GenericFakeChatModel(messages=answers, name="qwen3-max").invoke("?")
    assert priced.root().usage == usage


@pytest.mark.parametrize("prices", [{"another": PRICES["qwen3-max"]}, lambda model, usage: None])
def test_model_without_a_price_has_no_costs(priced: LangSmith, make: Make, prices: Any):
    _pay(prices)
    message = make().invoke("?")
    assert priced.root().usage == message.usage_metadata


def test_cached_tokens_have_their_own_price(priced: LangSmith, service):
    used = dashscope_streams.usage(1000, 100, prompt_tokens_details={"cached_tokens": 400})
    body = dashscope_streams.stream(
        dashscope_streams.frame(content="Hi", finish_reason="stop", usage=used)
    )
    service(body).model().invoke("?")
    usage = priced.root().usage
    assert usage["input_token_details"] == {"cache_read": 400}
    assert usage["input_cost"] == pytest.approx((600 * 1.0 + 400 * 0.25) / 1e6)
    assert usage["output_cost"] == pytest.approx(100 * 10.0 / 1e6)
