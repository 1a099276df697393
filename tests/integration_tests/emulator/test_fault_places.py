"""Faults by place, faults before the head of the response, and faults that never took effect."""

from __future__ import annotations

import contextlib
import time

import httpx
import pytest
from emulator_requests import PATHS, model_of, payloads, post, responses_body, send

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import (
    Cut,
    EmulatorServer,
    ErrorBody,
    ErrorFrame,
    FailedResponse,
    Garbage,
    Reset,
    Run,
    Say,
    Script,
    Stall,
    Status,
    Think,
    UnusedFaultWarning,
)
from langchain_qwen_ci.errors import QwenError, QwenStreamError, QwenTimeoutError

ANSWER = [Think("Let me see."), Run("6 * 7"), Think("So."), Say("It is 42."), Say(" Really.")]
PARTIALS = {
    "reasoning": ("Let me see.", [], ""),
    "code": ("Let me see.", ["6 * 7"], ""),
    "text": ("Let me see.So.", ["6 * 7"], "It is 42."),
}


@pytest.mark.parametrize("api", ["dashscope", "responses"])
@pytest.mark.parametrize("fault", [Cut, Reset, ErrorFrame, Garbage])
@pytest.mark.parametrize("place", PARTIALS)
def test_fault_after_a_place(api, fault, place):
    with (
        EmulatorServer(responder=Script(ANSWER), faults=[fault(after=place)]) as server,
        pytest.raises(QwenError) as caught,
    ):
        model_of(server, api=api, max_retries=0).invoke("?")
    reasoning, codes, text = PARTIALS[place]
    partial = caught.value.partial
    assert partial.additional_kwargs["reasoning_content"] == reasoning
    assert [run["code"] for run in code_executions(partial)] == codes
    assert partial.text == text


def test_cut_after_the_code_on_chat_completions():
    with EmulatorServer(responder=Script(ANSWER), faults=[Cut(after="code")]) as server:
        response = send(server, "chat_completions")
    deltas = [payload["choices"][0]["delta"] for payload in payloads(response)]
    assert "".join(delta["reasoning_content"] or "" for delta in deltas) == "Let me see."
    assert not any(delta["content"] for delta in deltas)


def test_answer_continues_after_a_stall_at_a_place():
    with EmulatorServer(responder=Script(ANSWER), faults=[Stall("code", 0.3)]) as server:
        started = time.monotonic()
        assert model_of(server).invoke("?").content == "It is 42. Really."
    assert 0.3 < time.monotonic() - started < 5


def test_stall_before_the_head():
    with EmulatorServer(faults=[Stall("request", 30)]) as server:
        started = time.monotonic()
        with pytest.raises(QwenTimeoutError, match="timeout"):
            model_of(server, timeout=0.3, max_retries=0).invoke("?")
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("stream", [True, False])
def test_answer_follows_a_stall_before_the_head(stream):
    with EmulatorServer(responder=Script([Say("yes")]), faults=[Stall("request", 0.3)]) as server:
        url = server.url + PATHS["responses"]
        headers = {"Authorization": "Bearer any"}
        started = time.monotonic()
        with httpx.stream("POST", url, json=responses_body(stream=stream), headers=headers) as sent:
            assert time.monotonic() - started > 0.3
            assert "yes" in "".join(sent.iter_text())


@pytest.mark.parametrize("after", [-1, "the end", None, True, "request"])
def test_unknown_place_is_an_error(after):
    with pytest.raises(ValueError, match="'reasoning', 'code', 'text'"):
        Cut(after=after)


UNUSED = {
    "no request": (Status(503), []),
    "after the last frame": (Cut(after=10_000), ["responses"]),
    "no such place": (Cut(after="code"), ["responses"]),
    "other request failed": (ErrorBody(), ["rejected"]),
}


@pytest.mark.parametrize("name", UNUSED)
def test_fault_without_effect_is_a_warning(name):
    fault, requests = UNUSED[name]
    with pytest.warns(UnusedFaultWarning, match=type(fault).__name__):  # noqa: PT031, SIM117
        with EmulatorServer(responder=Script([Say("a")]), faults=[None, fault]) as server:
            post(server, PATHS["responses"], {})
            for kind in requests:
                body = {} if kind == "rejected" else responses_body()
                post(server, PATHS["responses"], body)
            assert server.unused_faults == (fault,)


USED = (
    Status(429),
    ErrorBody(),
    FailedResponse(),
    ErrorFrame(1),
    Cut("text"),
    Reset(1),
    Stall(1, 0),
    Garbage(0),
    Stall("request", 0),
)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", USED)
def test_fault_with_effect_is_used(fault, stream):
    with EmulatorServer(responder=Script([Say("a")]), faults=[fault]) as server:
        with contextlib.suppress(httpx.HTTPError):
            send(server, "responses", stream=stream)
        assert server.unused_faults == ()


def test_error_in_the_block_is_not_hidden_by_a_warning():
    with (
        pytest.raises(QwenStreamError),
        EmulatorServer(faults=[Cut(after=1), Status(503)]) as server,
    ):
        model_of(server, max_retries=0).invoke("?")


pytest_plugins = ["pytester"]
PLUGIN = 'pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]'


def test_fixtures_of_the_plugin(pytester, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_REGION", "nowhere")
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("""
        import os
        from langchain_qwen_ci import ChatQwenCodeInterpreter
        from langchain_qwen_ci.emulator import Cut, Say, Status

        def test_environment(qwen_emulator_env):
            assert os.environ["DASHSCOPE_BASE_URL"] == qwen_emulator_env.url
            qwen_emulator_env.set_script([Say("one")], [Say("two")])
            model = ChatQwenCodeInterpreter()
            assert [model.invoke("?").content for _ in range(2)] == ["one", "two"]
            qwen_emulator_env.set_script([Say("three")])
            assert model.invoke("?").content == "three"

        def test_environment_is_restored():
            assert "DASHSCOPE_BASE_URL" not in os.environ
            assert os.environ["DASHSCOPE_REGION"] == "nowhere"

        def test_unused_fault(qwen_emulator):
            qwen_emulator.inject_fault(Status(503))
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*These injected faults never took effect: Status(status=503*"])
