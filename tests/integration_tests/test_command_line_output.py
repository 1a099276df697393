"""The command line shows a paid answer wherever its output goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from langchain_qwen_ci.emulator import EmulatorServer, Run, Say, Script, Stall, Status, Think

ANSWER = "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f600, 42."
TURN = [Think("Hm \u2013 let me compute."), Run("6 * 7"), Say(ANSWER)]
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="uses a POSIX shell or signals")
forms = pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])


@pytest.fixture
def server():
    with EmulatorServer(responder=Script(TURN)) as running:
        yield running


def start(server: EmulatorServer, *arguments: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    environment = kwargs.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "langchain_qwen_ci", *arguments, "?"],
        env={
            **os.environ,
            "DASHSCOPE_BASE_URL": server.url,
            "DASHSCOPE_API_KEY": "k",
            **environment,
        },
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs},
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    stdout, stderr = process.communicate(timeout=60)
    assert b"Traceback" not in stderr
    assert b"Exception ignored" not in stderr
    return stdout, stderr


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r"Gr\u00fc\u00dfe, \u4f60\u597d \ud83d\ude00, 42."),
        ("latin-1", r"Grüße, \u4f60\u597d \ud83d\ude00, 42."),
        ("cp437", r"Grüße, \u4f60\u597d \ud83d\ude00, 42."),
        ("cp932", r"Gr\u00fc\u00dfe, \u4f60好 \ud83d\ude00, 42."),
        ("utf-8", ANSWER),
    ],
)
def test_characters_that_the_output_cannot_encode_are_escaped(server, encoding, expected):
    process = start(server, env={"PYTHONIOENCODING": encoding})
    stdout, stderr = finish(process)
    assert process.returncode == 0
    assert stderr == b""
    assert expected in stdout.decode(encoding)


def test_characters_are_escaped_without_rich_too(server, tmp_path):
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    process = start(server, env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": path})
    stdout, _ = finish(process)
    assert process.returncode == 0
    assert rb"\u4f60\u597d \ud83d\ude00, 42." in stdout
    assert b">>> 6 * 7\n" in stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_document_stays_json_in_every_encoding(server, encoding):
    process = start(server, "--json", env={"PYTHONIOENCODING": encoding})
    stdout, _ = finish(process)
    assert process.returncode == 0
    assert json.loads(stdout.decode(encoding))["answer"] == ANSWER


def test_errors_are_shown_in_ascii_too():
    refusal = Status(400, "InvalidParameter", "\u53c2\u6570\u9519\u8bef")
    with EmulatorServer(faults=(refusal,)) as server:
        process = start(server, env={"PYTHONIOENCODING": "ascii"})
        _, stderr = finish(process)
    assert process.returncode == 1
    assert rb"\u53c2\u6570\u9519\u8bef" in stderr


@needs_dev_full
@forms
def test_answer_goes_to_standard_error_where_standard_output_is_full(server, form):
    with Path("/dev/full").open("wb") as full:
        process = start(server, *form, stdout=full, env={"PYTHONIOENCODING": "utf-8"})
        _, stderr = finish(process)
    assert process.returncode == 1
    reason, _, answer = stderr.decode().partition("\n")
    assert reason.startswith("Standard output cannot be written (No space left on device).")
    assert answer.count("6 * 7") == 1
    assert answer.count(ANSWER) == 1
    assert len(server.requests) == 1


@needs_dev_full
@forms
def test_answer_is_shown_where_standard_error_is_full(form):
    with (
        EmulatorServer(responder=Script(TURN)) as server,
        Path("/dev/full").open("wb") as full,
    ):
        # Chat Completions also prints a warning.
        process = start(
            server,
            *(*form, "--api", "chat_completions"),
            stderr=full,
            env={"PYTHONIOENCODING": "utf-8"},
        )
        stdout, _ = process.communicate(timeout=60)
    assert ANSWER in stdout.decode()


@posix_only
@forms
def test_closed_pipe_ends_without_an_error(server, form):
    process = start(server, *form)
    process.stdout.close()
    process.stdout = None
    _, stderr = finish(process)
    assert process.returncode == 0
    assert stderr == b""


@posix_only
def test_closed_standard_output_is_reported_before_anything_is_paid(server):
    command = f'"{sys.executable}" -m langchain_qwen_ci "?" >&-'
    environment = {"DASHSCOPE_BASE_URL": server.url, "DASHSCOPE_API_KEY": "k"}
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr
    assert server.requests == []


@posix_only
def test_standard_input_in_another_encoding_is_reported(server):
    done = subprocess.run(
        [sys.executable, "-m", "langchain_qwen_ci"],
        input=b"\xff",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"standard input is not text in the encoding utf-8" in done.stderr


@pytest.fixture
def stalling_server():
    with EmulatorServer(responder=Script(TURN), faults=(Stall(after=5, seconds=60),)) as running:
        yield running


@posix_only
def test_interrupted_answer_is_shown_as_json_too(stalling_server):
    process = start(stalling_server, "--json")
    while not stalling_server.requests:
        time.sleep(0.05)
    time.sleep(2)  # nothing shows from outside when the process has received the frames
    process.send_signal(signal.SIGINT)
    stdout, stderr = finish(process)
    assert process.returncode == 130
    assert "Hm" in json.loads(stdout)["reasoning"]
    assert stderr == b"\nInterrupted.\n"


@posix_only
@pytest.mark.parametrize("seconds", [0, 0.01, 0.1])
def test_second_control_c_shows_no_traceback(stalling_server, seconds):
    process = start(stalling_server)
    assert process.stdout.read(2)
    process.send_signal(signal.SIGINT)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    finish(process)
    assert process.returncode in (130, -signal.SIGINT)
