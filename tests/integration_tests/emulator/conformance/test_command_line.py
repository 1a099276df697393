"""The command line of the conformance checks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from emulator_recordings import CHECK_BY_NAME, KEY, URL

from langchain_qwen_ci.emulator import EmulatorServer, Status
from langchain_qwen_ci.emulator.conformance import CHECKS
from langchain_qwen_ci.emulator.conformance.__main__ import main

# Starting a process takes over a second, so only one test for each exit code starts one.


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "langchain_qwen_ci.emulator.conformance", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_command_without_url_checks_the_emulator():
    # The proxy does not exist: requests to this machine must not be sent to it.
    process = run_command(
        "--api", "dashscope", HTTP_PROXY="http://127.0.0.1:9", PYTHONIOENCODING="ascii"
    )
    assert (process.returncode, process.stderr) == (0, "")
    *table, empty, counts = process.stdout.splitlines()
    assert len(table) == len([check for check in CHECKS if check.api == "dashscope"])
    assert table[0].startswith("passed  dashscope/frames-use-sse-fields ")
    assert (empty, counts) == ("", f"{len(table)} passed, 0 failed, 0 warning, 0 skipped")


def test_command_prints_failure_and_exits_with_1():
    name = "dashscope/tool-info-has-code"
    with EmulatorServer(faults=(Status(500, message="\x1b[31mOut of order"),)) as server:
        process = run_command(
            "--base-url", server.url, "--only", name, DASHSCOPE_API_KEY="sk-right"
        )
    assert process.returncode == 1
    assert process.stderr == ""
    first, second, _, counts = process.stdout.splitlines()
    assert first.split() == ["failed", name, *CHECK_BY_NAME[name].requirement.split()]
    assert "recorded; seen: HTTP 500 in place of a stream" in second
    assert "[31mOut of order" in second
    assert "\x1b" not in process.stdout
    assert counts == "0 passed, 1 failed, 0 warning, 0 skipped"


def test_warning_is_no_failure(monkeypatch, capsys):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-right")
    with EmulatorServer() as server:  # without api_key it accepts a wrong key
        exit_code = main(
            [
                *("--base-url", server.url, "--json"),
                *("--only", "dashscope/wrong-path-is-rejected"),
                *("--only", "dashscope/wrong-key-is-rejected"),
                *("--model", "qwen3.5-plus", "--endpoint", "text-generation"),
            ]
        )
    stdout, stderr = capsys.readouterr()
    report = json.loads(stdout)
    assert report["counts"] == {"passed": 0, "failed": 1, "warning": 1, "skipped": 0}
    assert exit_code == 1
    warning, failure = report["results"]
    assert warning["name"] == "dashscope/wrong-path-is-rejected"
    assert (warning["severity"], warning["source"]) == ("warning", "reported")
    assert "the request was accepted" in warning["detail"]
    assert (failure["outcome"], failure["api"]) == ("failed", "dashscope")
    assert "sk-right" not in stdout + stderr


def test_warnings_alone_exit_with_0(monkeypatch, capsys):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-right")
    with EmulatorServer() as server:
        exit_code = main(
            [
                *("--base-url", server.url, "--only", "dashscope/wrong-path-is-rejected"),
                *("--model", "qwen3.5-plus", "--endpoint", "text-generation"),
            ]
        )
    assert exit_code == 0
    assert capsys.readouterr().out.endswith("\n0 passed, 0 failed, 1 warning, 0 skipped\n")


def test_unreachable_endpoint_is_reported_without_traceback(monkeypatch, capsys):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-right")
    assert main(["--base-url", "http://127.0.0.1:9"]) == 1
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    assert stdout.count("The endpoint cannot be reached") == len(CHECKS)
    assert stdout.endswith(f"\n0 passed, {len(CHECKS)} failed, 0 warning, 0 skipped\n")


def test_wrong_usage_exits_with_2():
    process = run_command("--base-url", URL, DASHSCOPE_API_KEY="")
    assert process.returncode == 2
    assert "set DASHSCOPE_API_KEY" in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        (["--base-url", URL], "sk-\x1b", "The key cannot be sent as a header"),
        (["--base-url", "ftp://127.0.0.1"], "sk-right", "must be like https://host"),
        (["--base-url", "http://far.example"], "sk-right", "allow_plain_http"),
        (["--only", "dashscope/nothing"], "", "invalid choice"),
        (
            ["--only", "dashscope/frames-use-sse-fields", "--api", "responses"],
            "",
            "no check of that --api",
        ),
        (["--timeout", "0"], "", "invalid"),
        (["--timeout", "nan"], "", "invalid"),
        (["--api-key", "sk-secret"], "", "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_explained(arguments, key, message, monkeypatch, capsys):
    monkeypatch.setenv("DASHSCOPE_API_KEY", key)
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    stdout, stderr = capsys.readouterr()
    assert raised.value.code == 2
    assert message in stderr
    assert "Traceback" not in stderr
    assert stdout == ""


def test_ctrl_c_ends_command_without_traceback():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "langchain_qwen_ci.emulator.conformance", "--base-url", url],
            env={**os.environ, "DASHSCOPE_API_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # the request has been sent; the process waits for the answer
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == ("", "\nInterrupted.\n")
    assert process.returncode == 130
