"""Private or unstable names of the dependencies that the package overrides or reads.

Each test fails with a message that says where the name is used and what to check when a new version
of the dependency changes it.
"""

from __future__ import annotations

import inspect

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models import chat_models as langchain_chat_models
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.utils import LC_ID_PREFIX
from langgraph.channels import BinaryOperatorAggregate
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.stream import _mux as langgraph_mux

from langchain_qwen_ci import ChatQwenCodeInterpreter


def assert_parameters(function: object, expected: list[str], used_in: str) -> None:
    found = list(inspect.signature(function).parameters)  # type: ignore[arg-type]
    assert found == expected, (
        f"The parameters of {function!r} changed from {expected} to {found}; "
        f"{used_in} overrides or calls it."
    )


@pytest.mark.parametrize("name", ["_generate_with_cache", "_agenerate_with_cache"])
def test_langchain_generates_through_the_overridden_method(name):
    assert_parameters(
        getattr(BaseChatModel, name),
        ["self", "messages", "stop", "run_manager", "kwargs"],
        "chat_models/langchain_hooks.py",
    )


@pytest.mark.parametrize("name", ["_stream_chat_model_events", "_astream_chat_model_events"])
def test_langchain_looks_for_the_native_event_hook(name):
    source = inspect.getsource(langchain_chat_models)
    assert name in source, (
        f"langchain-core no longer looks for {name}, which chat_models/langchain_hooks.py defines: "
        'stream_events(version="v3") would convert chunks, and code would not be live.'
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_convert_input", ["self", "model_input"]),
        ("_add_version", ["self", "pkg", "version"]),
        ("_resolve_model_profile", ["self"]),
        ("_get_ls_params", ["self", "stop", "kwargs"]),
        ("_get_invocation_params", ["self", "stop", "kwargs"]),
    ],
)
def test_langchain_has_the_methods_that_the_model_overrides_or_calls(name, expected):
    used_in = "chat_models/chat_model.py or chat_models/structured_output.py"
    assert hasattr(BaseChatModel, name), f"BaseChatModel has no {name} any more; {used_in} uses it."
    assert_parameters(getattr(BaseChatModel, name), expected, used_in)


def test_langchain_tracers_keep_open_runs_by_id():
    assert "run_map" in inspect.getsource(BaseTracer), (
        "BaseTracer has no run_map any more: tracing/execution_runs.py adds the metadata of the "
        "model's run through it."
    )


def test_langchain_message_ids_start_with_the_run_prefix():
    assert LC_ID_PREFIX == "lc_run-", "chat_models/langchain_hooks.py builds message ids with it."


def test_langgraph_stream_transformers_can_be_native():
    assert "_native" in inspect.getsource(langgraph_mux), (
        "LangGraph no longer reads `_native`, which graph/streaming.py sets so that the stream is "
        "`run.code_executions` and not `run.extensions[...]`."
    )
    assert_parameters(StreamTransformer.__init__, ["self", "scope"], "graph/streaming.py")
    for name in ("init", "process"):
        assert hasattr(StreamTransformer, name), f"graph/streaming.py overrides {name}."
    assert hasattr(StreamChannel, "push"), "graph/streaming.py calls StreamChannel.push."


def test_langgraph_channels_reduce_through_the_overridden_methods():
    for name in ("get", "update", "checkpoint", "from_checkpoint"):
        assert hasattr(BinaryOperatorAggregate, name), f"graph/state.py overrides {name}."
    channel = BinaryOperatorAggregate(dict, lambda old, new: {**old, **new})
    channel.update([{"a": 1}])
    assert channel.value == {"a": 1}, "graph/state.py reads and sets `value` of the channel."


def test_httpx_reads_the_timeout_of_a_body_from_the_request():
    with httpx.Client() as client:
        request = client.build_request("GET", "http://localhost", timeout=httpx.Timeout(3))
    assert request.extensions["timeout"]["read"] == 3, (
        "http/service_address.py changes the read timeout here, after the head of a response."
    )


def test_pydantic_keeps_private_attributes_where_pickles_remove_them():
    state = ChatQwenCodeInterpreter(api_key="sk-test").__getstate__()
    assert {"__dict__", "__pydantic_private__"} <= state.keys(), (
        "http/settings.py removes secrets and connections from these parts of a pickle."
    )
