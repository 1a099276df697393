"""Scripts as a test double: steps are checked when they are made, results can be stated."""

from __future__ import annotations

import itertools

import pytest
from emulator_requests import model_of, send

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Search, Think
from langchain_qwen_ci.errors import QwenServerError


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("hello", r"must be a list of steps, such as \[Say\('hello'\)\]"),
        (Say("x"), r"must be a list of steps: \[Say\(text='x'\)\]"),
        (["hello"], "'hello', which is no step"),
        ([Say("a"), None], "None, which is no step"),
        ([Say], "which is no step"),
        (Say, "must be a list of steps, or a function"),
        (None, "must be a list of steps, or a function"),
        ({"text": "x"}, "must be a list of steps, or a function"),
    ],
)
def test_script_checks_its_answers_when_it_is_made(turn, message):
    with pytest.raises(TypeError, match=f"Answer 2 of the script.*{message}"):
        Script([Say("fine")], turn)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Say(42), "Say: text must be str, not 42"),
        (lambda: Think(None), "Think: text must be str, not None"),
        (lambda: Run(b"1"), "Run: code must be str"),
        (lambda: Run("1", images="https://a.b/c.png"), "Run: images must be tuple or list"),
        (lambda: Run("1", output=1728), "Run: output must be str or NoneType, not 1728"),
        (lambda: Search("q", sources="https://a.b"), "Search: sources must be tuple or list"),
        (lambda: Call("f", "{}"), "Call: arguments must be Mapping"),
    ],
)
def test_step_checks_its_values_when_it_is_made(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_list_is_no_responder():
    with pytest.raises(TypeError, match=r"Script\(\[\.\.\.\]\)"):
        EmulatorServer(responder=[Say("x")])


def test_steps_of_a_responder_are_checked_when_they_are_sent():
    def respond(self, request):
        yield Say("a ")
        yield "no step"

    with (
        EmulatorServer(responder=type("Wrong", (), {"respond": respond})()) as server,
        pytest.raises(QwenServerError, match="yielded 'no step'"),
    ):
        model_of(server, max_retries=0).invoke("?")


def test_function_must_return_a_list():
    with (
        EmulatorServer(responder=Script(lambda request: Say("x"))) as server,
        pytest.raises(QwenServerError, match=r"must be a list of steps: \[Say"),
    ):
        model_of(server, max_retries=0).invoke("?")


def test_steps_of_functions_and_iterators_are_checked_when_they_are_sent():
    endless = itertools.chain([Say("a ")], itertools.repeat("no step"))
    with EmulatorServer(responder=Script(lambda request: ["no step"], endless)) as server:
        model = model_of(server, max_retries=0)
        for number in (1, 2):
            with pytest.raises(QwenServerError, match=f"Answer {number} of the script"):
                model.invoke("?")


PROGRAM = "import pandas as pd\npd.read_csv('prices.csv').price.mean()"


def run_on_responses(*steps):
    with EmulatorServer(responder=Script([*steps, Say("Done.")])) as server:
        message = model_of(server, api="responses").invoke("?")
    (execution,) = code_executions(message)
    return execution


def test_stated_output_is_the_result_of_a_run():
    execution = run_on_responses(Run(PROGRAM, output="12.5", images=["https://a.b/c.png"]))
    assert (execution["code"], execution["status"]) == (PROGRAM, "completed")
    assert execution["output"].startswith("12.5")
    assert "https://a.b/c.png" in str(execution)


def test_empty_stated_output_runs_nothing():
    assert run_on_responses(Run("1/0", output="")).get("output", "") == ""


def test_stated_error_is_a_failed_run():
    execution = run_on_responses(Run(PROGRAM, output="loading", error="KeyError: 'price'"))
    assert execution["status"] == "failed"
    assert execution["output"] == ("loading\nTraceback (most recent call last):\nKeyError: 'price'")


def test_responder_is_sent_the_stated_result():
    def respond(self, request):
        result = yield Run("no python", error="SyntaxError: invalid syntax")
        yield Say(f"{result.failed} {result.output.splitlines()[-1]}")

    responder = type("Stating", (), {"respond": respond})()
    with EmulatorServer(responder=responder) as server:
        assert "True SyntaxError: invalid syntax" in send(server, "responses", stream=False).text
