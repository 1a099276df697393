"""`python -m langchain_qwen_ci` and `python -m langchain_qwen_ci.emulator`, as a user runs them."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from dashscope_streams import frame, stream, tool_info
from fault_server import FaultServer, head
from stream_corpus import CORPUS

from langchain_qwen_ci.emulator import Cut, EmulatorServer, Run, Say, Script, Stall, Think

RESULT = "77269364466549865653073473388030061522211723"
QUESTION = "What is 123 to the power of 21?"
TWO_GROWING_PROGRAMS = stream(
    *(
        frame(tool_info=tool_info(*codes))
        for codes in (("",), ("1 +",), ("1 + 1",), ("1 + 1", ""), ("1 + 1", "2 + 2"))
    ),
    frame(content="4", tool_info=tool_info("1 + 1", "2 + 2"), finish_reason="stop"),
)
GROWING_CODE = {
    "dashscope: two programs that grow": (TWO_GROWING_PROGRAMS, ["1 + 1", "2 + 2"]),
} | {
    name: (CORPUS[name].body, CORPUS[name].codes)
    for name in (
        "dashscope: code that is empty at first, then grows",
        "responses: code in pieces",
    )
}


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "langchain_qwen_ci", *arguments],
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_command_line_uses_the_emulator_without_a_key():
    done = run(QUESTION)
    assert done.returncode == 0
    assert done.stderr == "DASHSCOPE_API_KEY is not set: asking the emulator.\n"
    displayed = done.stdout
    thinking, code = displayed.index("should compute"), displayed.index("123**21")
    again, answer = displayed.index("The code has run"), displayed.index(RESULT)
    assert thinking < code < again < answer
    assert re.search(
        r"code_interpreter \u00d7 1 · \d+ tokens in, \d+ out, \d+ of them reasoning", displayed
    )


def test_responses_api_shows_output():
    done = run("--api", "responses", QUESTION)
    assert done.returncode == 0
    code, output = done.stdout.index("123**21"), done.stdout.index(RESULT)
    assert code < output < done.stdout.index("The code has run") < done.stdout.rindex(RESULT)
    document = json.loads(run("--json", "--api", "responses", QUESTION).stdout)
    assert document["code_executions"][0]["output"] == RESULT


@pytest.mark.parametrize("name", GROWING_CODE)
def test_code_in_pieces_is_shown_as_one_program(name: str):
    body, codes = GROWING_CODE[name]
    with FaultServer((head(Content_Type="text/event-stream"), body)) as server:
        done = run(
            *("--api", name.partition(":")[0], "?"),
            DASHSCOPE_BASE_URL=server.url,
            DASHSCOPE_API_KEY="any",
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(">>> ") == len(codes)
    for code in codes:
        assert f"\n\n>>> {code}\n\n" in f"\n\n{done.stdout}"


def test_chat_completions_warns_that_code_is_not_returned():
    done = run("--api", "chat_completions", QUESTION)
    assert RESULT in done.stdout
    assert "no code was shown" in done.stdout
    warning = (
        "Warning: Chat Completions runs code but returns neither the code nor the number of runs"
    )
    assert done.stderr.count(warning) == 1
    assert ".py" not in done.stderr


def test_json_output_and_standard_input():
    done = run("--json", stdin=QUESTION)
    document = json.loads(done.stdout)
    assert RESULT in document["answer"]
    assert document["code_executions"][0]["code"] == "123**21"
    assert document["plugin_counts"] == {"code_interpreter": 1}
    assert document["usage"]["total_tokens"] > 0
    assert document["finish_reason"] == "stop"


def against(server: EmulatorServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, DASHSCOPE_BASE_URL=server.url, DASHSCOPE_API_KEY="sk-wrong")


def test_wrong_key_is_reported_without_the_key():
    with EmulatorServer(api_key="right") as server:
        done = against(server, "?")
    assert done.returncode == 1
    assert "Invalid API-key provided." in done.stderr
    assert "DASHSCOPE_API_KEY" in done.stderr
    assert "sk-wrong" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_unknown_model_is_reported():
    with EmulatorServer() as server:
        done = against(server, "--model", "gpt-9", "?")
    assert done.returncode == 1
    assert "Model not exist" in done.stderr
    assert "Check the model's name" in done.stderr


def test_connection_error_is_reported():
    with EmulatorServer() as server:
        pass
    done = against(server, "?")
    assert done.returncode == 1
    assert "could not be reached" in done.stderr


def test_missing_question_is_wrong_usage():
    done = run()
    assert done.returncode == 2
    assert "no question" in done.stderr


def test_version_option_prints_versions_for_a_bug_report():
    done = run("--version")
    assert done.returncode == 0
    packages = (
        "langchain-core",
        "langgraph",
        "langchain",
        "httpx",
        "pydantic",
        "langsmith",
        "openai",
    )
    assert done.stdout.splitlines() == [
        f"langchain-qwen-ci {version('langchain-qwen-ci')}",
        f"Python {platform.python_version()} ({platform.python_implementation()})",
        platform.platform(),
        *(f"{name} {version(name)}" for name in packages),
    ]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_partial_answer_is_shown_before_an_error(form: list[str]):
    turn = [Think("Hm."), Run("6 * 7"), Say("It is 42, and that is certain.")]
    with EmulatorServer(responder=Script(turn), faults=(Cut(after=7),)) as server:
        done = against(server, *form, "?")
    assert done.returncode == 1
    assert "6 * 7" in done.stdout
    assert "broke off" in done.stderr


@pytest.mark.parametrize("api", ["dashscope", "responses"])
def test_control_characters_are_escaped(api: str):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    turn = [Think(evil), Run(f"print('{evil}')"), Say(f"{evil}done")]
    with EmulatorServer(responder=Script(turn, turn)) as server:
        done = against(server, "--api", api, "?")
        document = against(server, "--api", api, "--json", "?").stdout
    assert "done" in done.stdout
    assert "\\u001b]0;owned\\u0007" in done.stdout
    for displayed in (done.stdout, document):
        assert not {"\x07", "\x9b", "\u202e"} & set(displayed)
        assert "\x1b]" not in displayed
        assert "\x1b[2J" not in displayed
    assert json.loads(document)["answer"] == f"{evil}done"  # JSON parsers undo the escapes


def start(*arguments: str, **environment: str) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_control_c_exits_cleanly():
    turn = [Think("Let me think about it.")]
    with EmulatorServer(responder=Script(turn), faults=(Stall(after=3, seconds=60),)) as server:
        asking = start(
            "langchain_qwen_ci", "?", DASHSCOPE_BASE_URL=server.url, DASHSCOPE_API_KEY="k"
        )
        assert asking.stdout.read(3)
        asking.send_signal(signal.SIGINT)
        _, stderr = asking.communicate(timeout=20)
    assert asking.returncode == 130
    assert "Interrupted." in stderr
    assert "Traceback" not in stderr


def test_emulator_command_runs_until_control_c():
    emulator = start("langchain_qwen_ci.emulator", "--port", "0", "--pace", "0")
    first = emulator.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+", first)[0]
    done = run("--json", QUESTION, DASHSCOPE_BASE_URL=url, DASHSCOPE_API_KEY="any")
    assert RESULT in json.loads(done.stdout)["answer"]
    port = url.rpartition(":")[2]
    second = start("langchain_qwen_ci.emulator", "--port", port)
    _, stderr = second.communicate(timeout=20)
    assert second.returncode == 1
    assert f"Port {port} cannot be used" in stderr
    emulator.send_signal(signal.SIGINT)
    _, stderr = emulator.communicate(timeout=20)
    assert emulator.returncode == 0
    assert stderr == ""
