"""The runs, errors and costs that LangSmith's client posts, with every entry point."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import langsmith
import pytest
from dashscope_streams import frame, stream, usage
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langsmith_server import LangSmithServer, Run, langsmith_server, reset_langsmith
from secret_values import MCP_SERVER, SECRETS
from traced_entry_points import (
    ENTRY_POINTS,
    GRAPH_INPUT,
    MODEL_TREE,
    RUN_TREES,
    ModelFactory,
    emulator,
    every_entry_point,
    indent,
    make_model,
    make_model_with_secrets,
)

from langchain_qwen_ci.emulator import Cut, ErrorFrame, Status
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenError, QwenServerError
from langchain_qwen_ci.tracing.prices import Price, with_costs

__all__ = ["emulator", "langsmith_server", "make_model", "make_model_with_secrets"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


def outline(runs: list[Run]) -> list[str]:
    return [
        line
        for run in runs
        for line in (f"{run.run_type} {run.name}", *indent(outline(run.children)))
    ]


def check_order(run: Run) -> None:
    """Check that runs end, lie within their parents, and are in LangSmith's order."""
    started, ended = run.interval
    assert started <= ended
    for child in run.children:
        assert child.trace_id == run.trace_id
        assert child.dotted_order.startswith(f"{run.dotted_order}.")
        child_started, child_ended = child.interval
        assert started <= child_started
        assert child_ended <= ended
        check_order(child)
    for earlier, later in zip(run.children, run.children[1:], strict=False):
        assert earlier.interval[1] <= later.interval[0]


def model_runs(roots: list[Run]) -> list[Run]:
    return [run for root in roots for run in root.runs_of_type("llm")]


@every_entry_point
@pytest.mark.parametrize("api", ["dashscope", "responses"])
def test_run_tree(
    langsmith_server: LangSmithServer, make_model: ModelFactory, entry_point: str, api: str
):
    ENTRY_POINTS[entry_point](lambda **fields: make_model(**{"api": api, **fields}))
    roots = langsmith_server.roots()
    assert outline(roots) == RUN_TREES[entry_point]
    for root in roots:
        check_order(root)
        assert root.session_name == "tests"
    for model_run in model_runs(roots):
        if model_run.children:  # a turn with the interpreter
            check_model_run(model_run, api)
            check_tool_runs(model_run, api)


def check_model_run(model_run: Run, api: str) -> None:
    """Check the inputs, outputs, usage and metadata of a model's run."""
    ((input_message, *_),) = model_run.inputs["messages"]
    assert input_message["kwargs"]["content"] in ("?", "Six times seven.")
    message = model_run.message
    content = message["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    assert text == "It is 42."
    assert message["additional_kwargs"]["reasoning_content"] == "I compute.Again."
    metadata = message["response_metadata"]
    assert [execution["code"] for execution in metadata["code_executions"]] == ["6 * 7", "1 / 0"]
    assert metadata["plugins"] == {"code_interpreter": {"count": 2}}
    assert (metadata["model_name"], metadata["finish_reason"]) == ("qwen3-max", "stop")
    assert model_run.usage == message["usage_metadata"]
    assert model_run.usage["output_token_details"]["reasoning"] == 3
    if api == "dashscope":
        inferences = metadata["inference_usage"]
        assert len(inferences) == 3
        for name in ("input_tokens", "output_tokens"):
            assert sum(inference[name] for inference in inferences) == model_run.usage[name]
    assert model_run.error is None
    assert model_run.metadata["ls_provider"] == "qwen"
    assert model_run.metadata["ls_model_type"] == "chat"
    assert model_run.metadata["ls_model_name"] == "qwen3-max"
    assert {"langchain-core", "langchain-qwen-ci"} <= model_run.metadata["lc_versions"].keys()


def check_tool_runs(model_run: Run, api: str) -> None:
    executions = model_run.message["response_metadata"]["code_executions"]
    succeeded, failed = model_run.children
    assert [succeeded.inputs, failed.inputs] == [{"code": "6 * 7"}, {"code": "1 / 0"}]
    call_ids = [tool_run.extra["tool_call_id"] for tool_run in (succeeded, failed)]
    assert call_ids == [execution["id"] for execution in executions]
    assert succeeded.error is None
    for tool_run in (succeeded, failed):  # programs that sum up costs look for these keys
        assert not {"ls_provider", "ls_model_name", "usage_metadata"} & tool_run.metadata.keys()
    if api == "dashscope":  # it returns no output, and therefore no failures
        assert succeeded.outputs == failed.outputs == {"output": {"status": "completed"}}
    else:
        assert succeeded.outputs == {"output": {"status": "completed", "output": "42"}}
        assert failed.error.startswith("Traceback (most recent call last):\n")
        assert "    1 / 0\n" in failed.error
        assert "\nZeroDivisionError: division by zero" in failed.error


@every_entry_point
def test_tokens_are_counted_once_for_each_model_run(
    langsmith_server: LangSmithServer, make_model: ModelFactory, entry_point: str
):
    ENTRY_POINTS[entry_point](make_model)
    runs = [run for root in langsmith_server.roots() for run in root.all_runs()]
    with_usage = [run for run in runs if run.usage]
    assert with_usage == [run for run in runs if run.run_type == "llm"]
    for run in with_usage:
        assert run.usage == run.message["usage_metadata"]
        assert run.usage["total_tokens"] == run.usage["input_tokens"] + run.usage["output_tokens"]


@pytest.mark.parametrize(
    "entry_point", ["invoke", "ainvoke", "stream", "astream", "v3", "async v3"]
)
def test_call_arguments_are_in_the_metadata(
    langsmith_server: LangSmithServer, make_model: ModelFactory, entry_point: str
):
    arguments = {"model": "qwen3.5-plus", "temperature": 0.5, "max_tokens": 640, "stop": ["stop!"]}
    ENTRY_POINTS[entry_point](
        lambda **fields: make_model(temperature=0.1, **fields).bind(**arguments)
    )
    root = langsmith_server.root()
    assert root.metadata["ls_model_name"] == "qwen3.5-plus"
    assert root.message["response_metadata"]["model_name"] == "qwen3.5-plus"
    assert root.metadata["ls_temperature"] == 0.5
    assert root.metadata["ls_max_tokens"] == 640
    assert root.metadata["ls_stop"] == ["stop!"]


def test_cached_answer_has_no_tool_runs(
    langsmith_server: LangSmithServer, make_model: ModelFactory
):
    model = make_model(cache=InMemoryCache())
    model.invoke("?")
    model.invoke("?")
    assert outline(langsmith_server.roots()) == [*MODEL_TREE, MODEL_TREE[0]]


@every_entry_point
def test_executions_can_be_excluded(
    langsmith_server: LangSmithServer, make_model: ModelFactory, entry_point: str
):
    ENTRY_POINTS[entry_point](lambda **fields: make_model(trace_code_executions=False, **fields))
    roots = langsmith_server.roots()
    assert outline(roots)
    for model_run in model_runs(roots):
        assert model_run.children == []


@every_entry_point
def test_nothing_is_posted_without_tracing(
    langsmith_server: LangSmithServer, make_model: ModelFactory, entry_point: str, monkeypatch
):
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    reset_langsmith()
    ENTRY_POINTS[entry_point](make_model)
    assert langsmith_server.posted_bytes() == b""


@pytest.mark.parametrize("hidden", ["INPUTS", "OUTPUTS"])
def test_langsmith_hide_settings_apply_to_tool_runs(
    langsmith_server: LangSmithServer, make_model: ModelFactory, monkeypatch, hidden: str
):
    monkeypatch.setenv(f"LANGSMITH_HIDE_{hidden}", "true")
    reset_langsmith()
    make_model(trace_code_executions=True).invoke("?")
    for tool_run in langsmith_server.root().children:
        assert (tool_run.inputs == {}) == (hidden == "INPUTS")
        assert (tool_run.outputs == {}) == (hidden == "OUTPUTS" or bool(tool_run.error))


FAULTS_AFTER_START = {"cut": Cut, "error frame": ErrorFrame}
# Number of frames until the first words of the answer are sent.
FRAMES_UNTIL_TEXT = {"dashscope": 11, "responses": 25}
# An injected fault applies to the next request. "batch" sends two at a time, and the first request
# of "agent" is sent without the interpreter.
INTERPRETER_FIRST_ENTRY_POINTS = [
    entry_point for entry_point in ENTRY_POINTS if entry_point not in ("batch", "agent")
]


@pytest.mark.parametrize("entry_point", INTERPRETER_FIRST_ENTRY_POINTS)
@pytest.mark.parametrize("fault", FAULTS_AFTER_START)
@pytest.mark.parametrize("api", FRAMES_UNTIL_TEXT)
def test_partial_output_is_in_the_trace_and_the_error(
    langsmith_server: LangSmithServer,
    make_model: ModelFactory,
    emulator,
    entry_point: str,
    fault: str,
    api: str,
):
    emulator.inject_fault(FAULTS_AFTER_START[fault](after=FRAMES_UNTIL_TEXT[api]))
    with pytest.raises(QwenError) as caught:
        ENTRY_POINTS[entry_point](lambda **fields: make_model(api=api, **fields))
    partial = caught.value.partial
    (model_run,) = model_runs(langsmith_server.roots())
    assert type(caught.value).__name__ in model_run.error
    message = model_run.outputs["generations"][-1][0]["message"]["kwargs"]
    body = message["response_metadata"]["body"]
    assert body["text"] == partial.text == "It is"
    assert body["reasoning"] == "I compute.Again."
    assert body["reasoning"] == partial.additional_kwargs["reasoning_content"]
    assert body["code_executions"] == partial.response_metadata["code_executions"]
    assert [execution["code"] for execution in body["code_executions"]] == ["6 * 7", "1 / 0"]
    assert body.get("usage") == partial.usage_metadata
    if api == "dashscope":  # Responses reports usage only at the end
        assert body["usage"]["total_tokens"] > 0
        assert body["plugin_counts"] == {"code_interpreter": 2}
    assert body["request_id"] == partial.response_metadata["request_id"]
    assert message["response_metadata"]["headers"] == {}


@pytest.mark.parametrize("entry_point", INTERPRETER_FIRST_ENTRY_POINTS)
def test_open_program_is_an_error_in_the_trace(
    langsmith_server: LangSmithServer, make_model: ModelFactory, emulator, entry_point: str
):
    emulator.inject_fault(Cut(after=9))
    with pytest.raises(QwenError):
        ENTRY_POINTS[entry_point](make_model)
    (tool_run,) = [run for root in langsmith_server.roots() for run in root.runs_of_type("tool")]
    assert tool_run.inputs == {"code": "6 * 7"}
    assert "The answer broke off" in tool_run.error


def test_error_without_partial_has_no_response(make_model: ModelFactory, emulator):
    emulator.inject_fault(Status(401, code="InvalidApiKey"))
    with pytest.raises(QwenAuthenticationError) as caught:
        make_model().invoke("?")
    assert caught.value.partial is None
    assert not hasattr(caught.value, "response")


def test_response_of_an_error_is_not_pickled(make_model: ModelFactory, emulator):
    emulator.inject_fault(ErrorFrame(after=11))
    with pytest.raises(QwenServerError) as caught:
        make_model(api="dashscope").invoke("?")
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.partial.text == "It is"
    assert error.response.status_code == 500
    assert error.response.json() == caught.value.response.json()
    assert "response" not in vars(error)
    assert repr(error) == repr(caught.value)


# The function call of the agent has 8 frames.
FAULTS = (None, Cut(after=7), ErrorFrame(after=7), Status(401, code="InvalidApiKey"))


def _agent_with_mcp(make_model: ModelFactory) -> None:
    create_agent(make_model(enable_code_interpreter=False), [MCP_SERVER]).invoke(GRAPH_INPUT)


ENTRY_POINTS_WITH_SECRETS: dict[str, Callable[[ModelFactory], Any]] = {
    **ENTRY_POINTS,
    **{
        f"{name}, mcp": lambda make_model, entry_point=entry_point: entry_point(
            lambda **more: make_model(**more).bind_tools([MCP_SERVER])
        )
        for name, entry_point in ENTRY_POINTS.items()
    },
    "agent, mcp": _agent_with_mcp,
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS_WITH_SECRETS)
def test_secrets_are_not_posted_or_logged(
    langsmith_server: LangSmithServer,
    make_model_with_secrets: ModelFactory,
    emulator,
    entry_point: str,
    caplog,
    capfd,
):
    caplog.set_level(logging.DEBUG)
    emulator.requests.clear()
    outputs = []
    for fault in FAULTS:
        if fault:
            emulator.inject_fault(fault)
        try:
            ENTRY_POINTS_WITH_SECRETS[entry_point](make_model_with_secrets)
        except QwenError as error:
            outputs += [repr(error), *traceback.format_exception(error), repr(error.partial)]
            outputs += [repr(pickle.dumps(error)), dumps(error.partial)]
    assert len(outputs) >= 3 * 4
    posted = langsmith_server.posted_bytes().decode()
    assert "6 * 7" in posted or "agent, mcp" in entry_point
    outputs += [posted, caplog.text, *capfd.readouterr()]
    for secret in SECRETS.values():
        assert not [text for text in outputs if secret in text]
    # The secrets were in the requests.
    (request, *_) = emulator.requests
    assert request.headers["x-token"] == SECRETS["header"]
    assert request.headers["x-dashscope-workspace"] == SECRETS["workspace"]
    assert (MCP_SERVER in request.body.get("tools", [])) == entry_point.endswith(", mcp")


def test_secrets_are_not_in_the_serialized_model(make_model_with_secrets: ModelFactory):
    model = make_model_with_secrets()
    bound = model.bind_tools([MCP_SERVER])
    runnables = [model, bound, RunnableLambda(str) | bound]
    texts = [
        text for runnable in runnables for text in (repr(runnable), str(runnable), dumps(runnable))
    ]
    texts += [repr(pickle.dumps(runnable)) for runnable in (model, bound)]
    for secret in SECRETS.values():
        assert not [text for text in texts if secret in text]


PRICES = {"qwen3-max": Price(input=1.0, output=10.0, cached_input=0.25)}


def _price_by_tier(model: str, usage: Any) -> Price | None:
    return PRICES["qwen3-max"] if usage["input_tokens"] < 32_000 else None


def _configure_prices(prices: Any) -> None:
    langsmith.configure(client=langsmith.Client(hide_metadata=with_costs(prices)))


@pytest.fixture(params=[PRICES, _price_by_tier], ids=["table", "function"])
def server_with_prices(request, langsmith_server: LangSmithServer) -> Iterator[LangSmithServer]:
    """A LangSmith server; the client adds costs to the runs that it sends."""
    _configure_prices(request.param)
    yield langsmith_server
    langsmith.configure(client=None)


@every_entry_point
def test_costs_are_posted_but_not_in_messages(
    server_with_prices: LangSmithServer, make_model: ModelFactory, entry_point: str
):
    ENTRY_POINTS[entry_point](make_model)
    runs = [run for root in server_with_prices.roots() for run in root.all_runs()]
    assert [run for run in runs if run.usage] == [run for run in runs if run.run_type == "llm"]
    for run in (run for run in runs if run.usage):
        input_cost, output_cost = run.usage["input_tokens"] / 1e6, run.usage["output_tokens"] / 1e5
        assert run.usage["input_cost"] == pytest.approx(input_cost)
        assert run.usage["output_cost"] == pytest.approx(output_cost)
        assert run.usage["total_cost"] == pytest.approx(input_cost + output_cost)
        assert run.usage == {**run.usage, **run.message["usage_metadata"]}
        assert not [name for name in run.message["usage_metadata"] if "cost" in name]
    for run in runs:
        assert "cost" not in json.dumps([run.inputs, run.outputs])


def test_returned_message_has_no_costs(
    server_with_prices: LangSmithServer, make_model: ModelFactory
):
    message = make_model().invoke("?")
    assert server_with_prices.root().usage["total_cost"] > 0
    assert not [name for name in message.usage_metadata if "cost" in name]


def test_runs_of_other_models_have_no_costs(server_with_prices: LangSmithServer):
    usage_metadata = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    answers = iter([AIMessage("Hi", usage_metadata=usage_metadata)])
    GenericFakeChatModel(messages=answers, name="qwen3-max").invoke("?")
    assert server_with_prices.root().usage == usage_metadata


@pytest.mark.parametrize("prices", [{"another": PRICES["qwen3-max"]}, lambda model, usage: None])
def test_model_without_a_price_has_no_costs(
    server_with_prices: LangSmithServer, make_model: ModelFactory, prices: Any
):
    _configure_prices(prices)
    message = make_model().invoke("?")
    assert server_with_prices.root().usage == message.usage_metadata


def test_cached_tokens_have_their_own_price(server_with_prices: LangSmithServer, mock_service):
    body = stream(
        frame(
            content="Hi",
            finish_reason="stop",
            usage=usage(1000, 100, prompt_tokens_details={"cached_tokens": 400}),
        )
    )
    mock_service(body).model().invoke("?")
    posted = server_with_prices.root().usage
    assert posted["input_token_details"] == {"cache_read": 400}
    assert posted["input_cost"] == pytest.approx((600 * 1.0 + 400 * 0.25) / 1e6)
    assert posted["output_cost"] == pytest.approx(100 * 10.0 / 1e6)


@pytest.mark.parametrize(("price", "rate"), [(None, 1.25), (2.0, 2.0)])
def test_tokens_written_to_the_cache_have_their_own_price(
    langsmith_server: LangSmithServer, mock_service, price: float | None, rate: float
):
    details = {"cached_tokens": 300, "cache_creation_input_tokens": 500}
    _configure_prices({"qwen3-max": Price(1.0, 10.0, cached_input=0.1, cache_creation=price)})
    try:
        body = stream(
            frame(
                content="Hi",
                finish_reason="stop",
                usage=usage(1000, 100, prompt_tokens_details=details),
            )
        )
        mock_service(body).model().invoke("?")
        posted = langsmith_server.root().usage
    finally:
        langsmith.configure(client=None)
    assert posted["input_token_details"] == {"cache_read": 300, "cache_creation": 500}
    assert posted["input_cost"] == pytest.approx((200 * 1.0 + 300 * 0.1 + 500 * rate) / 1e6)
    assert posted["total_cost"] == pytest.approx(posted["input_cost"] + 100 * 10.0 / 1e6)
