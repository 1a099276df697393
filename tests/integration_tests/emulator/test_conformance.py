"""The conformance checks: the emulator passes all of them, and each check detects a violation."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from violations import (
    VIOLATION_CASES,
    VIOLATIONS,
    Change,
    RecordedReply,
    accept_request,
    change_code_calls,
    change_each_payload,
    change_frames,
    change_payloads,
    objects_in,
    only_if,
    remove_field,
    replace_text,
    set_field,
)

from langchain_qwen_ci.emulator import EmulatorServer, Status
from langchain_qwen_ci.emulator.conformance import CHECKS, Check, CheckResult, run_checks
from langchain_qwen_ci.emulator.conformance.__main__ import main

KEY = "sk-of-the-endpoint-under-test"
URL = "http://127.0.0.1:9"
# Read before a fixture removes them from the environment.
LIVE_KEY = os.environ.get("DASHSCOPE_API_KEY", "")
LIVE_URL = os.environ.get("DASHSCOPE_BASE_URL", "https://dashscope.aliyuncs.com")
LIVE_MODEL = os.environ.get("QWEN_LIVE_MODEL", "qwen3-max")
CHECK_BY_NAME = {check.name: check for check in CHECKS}
Recordings = dict[Any, RecordedReply]


# Replies of the emulator, recorded once, and a transport that replays them with a change.


class RecordingTransport(httpx.AsyncBaseTransport):
    """Sends requests over the network and records the replies."""

    def __init__(self) -> None:
        self.recordings: Recordings = {}
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        body = (await response.aread()).decode()
        await response.aclose()
        headers = {"x-request-id": response.headers["x-request-id"]}
        reply = RecordedReply(request, response.status_code, headers, body)
        self.recordings[recording_key(request)] = reply
        return httpx.Response(reply.status, headers=headers, content=body)

    async def aclose(self) -> None:
        await self._network.aclose()


def recording_key(request: httpx.Request) -> Any:
    names = ("authorization", "accept", "x-dashscope-sse")
    return request.url.path, *map(request.headers.get, names), request.content


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    transport = RecordingTransport()
    with EmulatorServer(api_key=KEY) as server:
        list(run_checks(server.url, KEY, transport=transport))
    return transport.recordings


def unchanged(reply: RecordedReply) -> RecordedReply:
    return reply


def replay(recordings: Recordings, change: Change = unchanged) -> httpx.MockTransport:
    async def handle(request: httpx.Request) -> httpx.Response:
        recording = recordings.get(recording_key(request))
        if recording is None:  # the change altered the id that a later request refers to
            return httpx.Response(404)
        reply = change(replace(recording, request=request))
        return httpx.Response(reply.status, headers=reply.headers, content=reply.body)

    return httpx.MockTransport(handle)


def run_one(name: str, transport: httpx.AsyncBaseTransport) -> CheckResult:
    checks = [CHECK_BY_NAME[name]]
    (result,) = run_checks(URL, KEY, checks=checks, transport=transport, timeout=30.0)
    return result


def test_emulator_passes_every_check():
    with EmulatorServer(api_key=KEY) as server:
        results = list(run_checks(server.url, KEY))
    assert [(result.check.name, result.outcome, result.detail) for result in results] == [
        (check.name, "passed", "") for check in CHECKS
    ]


@pytest.mark.parametrize(
    ("model", "skipped"),
    [
        (
            "qwen3.5-plus",
            [
                "dashscope/last-frame-has-no-text",
                "dashscope/text-fields-are-strings",
                "dashscope/text-path-rejects-list-content",
            ],
        ),
        ("qwen3.7-max", []),
    ],
)
def test_checks_that_do_not_apply_to_a_model_are_skipped(model, skipped):
    thinking_checks = [f"{api}/interpreter-requires-thinking" for api in VIOLATIONS]
    with EmulatorServer(api_key=KEY) as server:
        results = list(run_checks(server.url, KEY, model=model))
    outcomes = {result.check.name: result.outcome for result in results}
    skipped_names = [name for name in outcomes if outcomes[name] == "skipped"]
    assert sorted(skipped_names) == sorted(skipped + thinking_checks)
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_older_names_of_reasoning_events_pass():
    checks = [check for check in CHECKS if check.api == "responses"]
    with EmulatorServer(api_key=KEY, reasoning_events="reasoning_summary_text") as server:
        results = list(run_checks(server.url, KEY, checks=checks))
    assert {result.outcome for result in results} == {"passed"}


# Violations.


def test_every_check_has_a_violation():
    assert sorted(name for name, _, _ in VIOLATION_CASES) == sorted(CHECK_BY_NAME)


@pytest.mark.parametrize(
    ("name", "change", "detail"), VIOLATION_CASES, ids=[name for name, _, _ in VIOLATION_CASES]
)
def test_check_detects_its_violation(recordings, name, change, detail):
    assert run_one(name, replay(recordings)).outcome == "passed"
    result = run_one(name, replay(recordings, change))
    expected = {"failure": "failed", "warning": "warning"}[result.check.severity]
    assert result.outcome == expected
    assert detail in result.detail


@pytest.mark.parametrize(
    ("name", "change", "detail"),
    [
        (
            "dashscope/frames-use-sse-fields",
            replace_text("event:result", "event:message"),
            'is "message"',
        ),
        (
            "dashscope/frames-use-sse-fields",
            replace_text("(?m)^data:(.*)$", r"data:\1\ndata:"),
            "2 lines of 'data'",
        ),
        (
            "dashscope/frames-use-sse-fields",
            replace_text('"request_id"', "request_id"),
            "this is not a JSON object",
        ),
        (
            "dashscope/frames-use-sse-fields",
            replace_text("(?m)^data:.*$", "data:[]"),
            "this is not a JSON object: []",
        ),
        (
            "dashscope/finish-reason-comes-last",
            change_frames(lambda frames: frames[:-1]),
            'at the end is "null"',
        ),
        (
            "dashscope/deltas-are-increments",
            change_frames(lambda frames: frames[-2:]),
            "comes in one piece",
        ),
        (
            "dashscope/code-never-changes",
            change_each_payload(lambda payload: payload["output"].setdefault("tool_info", [])),
            "empty",
        ),
        (
            "dashscope/count-comes-with-code",
            remove_field("tool_info"),
            "the count is 1 and the code is []",
        ),
        (
            "dashscope/errors-have-code-and-request-id",
            accept_request,
            "the request was accepted",
        ),
        (
            "dashscope/wrong-key-is-rejected",
            replace_text("InvalidApiKey", "Other"),
            "Other and not 401",
        ),
        (
            "responses/stream-ends-with-terminal-event",
            change_frames(lambda frames: frames[:-1]),
            "the list of terminal events is []",
        ),
        (
            "responses/stream-ends-with-terminal-event",
            change_frames(lambda frames: [*frames, frames[-2]]),
            "the last event is",
        ),
        (
            "responses/frames-use-sse-fields",
            replace_text("event:response", "event:other"),
            "the event of a frame",
        ),
        (
            "responses/sequence-number-increases",
            remove_field("sequence_number"),
            "there is no sequence_number",
        ),
        ("responses/deltas-are-increments", set_field("text", "other"), "the sum of the deltas"),
        (
            "responses/done-call-has-code-and-output",
            change_code_calls(lambda call: call.update(status="failed")),
            "the status of a call",
        ),
        (
            "responses/code-call-has-all-events",
            change_code_calls(lambda call: call.update(type="other")),
            "no item is a code",
        ),
        (
            "responses/count-is-number-of-programs",
            set_field("count", True),
            "is true and not a count",
        ),
        (
            "chat_completions/stream-ends-with-done",
            change_frames(lambda frames: [*frames[:-2], frames[-1], frames[-2]]),
            "last",
        ),
        (
            "chat_completions/deltas-have-one-kind-of-text",
            replace_text('"delta":{', '"other":{'),
            "there is no delta",
        ),
        (
            "chat_completions/errors-have-message-type-and-code",
            replace_text('"error":', '"fault":'),
            "there is no error",
        ),
    ],
)
def test_check_detects_other_violations(recordings, name, change, detail):
    result = run_one(name, replay(recordings, change))
    assert result.outcome == "failed"
    assert detail in result.detail


# Variants of the service that are not violations.


def empty_first_code(payloads: list[Any]) -> None:
    first = next(payload for payload in payloads if "tool_info" in payload["output"])
    first["output"]["tool_info"][0]["code_interpreter"]["code"] = ""
    del first["usage"]["plugins"]


@pytest.mark.parametrize(
    "name", ["dashscope/code-never-changes", "dashscope/count-comes-with-code"]
)
def test_code_that_is_empty_in_its_first_frame_passes(recordings, name):
    assert run_one(name, replay(recordings, change_payloads(empty_first_code))).outcome == "passed"


def in_stream(reply: RecordedReply) -> RecordedReply:
    """Move an error into a stream, as in a recording: HTTP 200, and the status in a comment."""
    body = f"id:1\nevent:error\n:HTTP_STATUS/{reply.status}\ndata:{reply.body}\n\n"
    return replace(reply, status=200, body=body)


@pytest.mark.parametrize(
    "name",
    [
        "errors-have-code-and-request-id",
        "interpreter-requires-thinking",
        "wrong-key-is-rejected",
    ],
)
def test_native_error_in_stream_passes(recordings, name):
    assert run_one(f"dashscope/{name}", replay(recordings, in_stream)).outcome == "passed"


# Malformed replies.


def api_of(reply: RecordedReply) -> str:
    path = reply.request.url.path
    if path.endswith("/chat/completions"):
        return "chat_completions"
    return "responses" if path.endswith("/responses") else "dashscope"


def checks_by_field(recordings: Recordings) -> dict[tuple[str, str], list[Check]]:
    """Return for each API and field name the checks that receive this field in a reply."""
    checks: dict[tuple[str, str], list[Check]] = {}
    for check in CHECKS:
        names: set[str] = set()

        def collect(payloads: list[Any], names: set[str] = names) -> None:
            names.update(name for found in objects_in(payloads) for name in found)

        transport = replay(recordings, change_payloads(collect))
        list(run_checks(URL, KEY, checks=[check], transport=transport))
        for name in names:
            checks.setdefault((check.api, name), []).append(check)
    return checks


def has_text(text: str) -> Callable[[RecordedReply], bool]:
    return lambda reply: text in reply.body


# Each run alternates between two values of different kinds, from one field to the next.
@pytest.mark.parametrize(
    "values", [(None, "nonsense"), (-1, [[]]), (True, {"a": []})], ids=["1", "2", "3"]
)
def test_field_with_unexpected_value_raises_nothing(recordings, values):
    for number, ((api, name), checks) in enumerate(sorted(checks_by_field(recordings).items())):
        change = only_if(has_text(f'"{name}"'), set_field(name, values[number % 2]))
        transport = replay(recordings, change)
        outcomes = {r.outcome for r in run_checks(URL, KEY, checks=checks, transport=transport)}
        assert outcomes <= {"passed", "failed", "warning"}, (api, name)


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "data:", "data: [DONE]\n\n", ": hello\n\n", "[" * 9**5]
)
@pytest.mark.parametrize("status", [200, 302, 500])
def test_reply_without_answer_passes_no_check(recordings, body, status):
    def change(reply: RecordedReply) -> RecordedReply:
        headers = {"location": "http://127.0.0.1:1/"}
        return replace(reply, status=status, body=body, headers=headers)

    results = list(run_checks(URL, KEY, transport=replay(recordings, change)))
    assert len(results) == len(CHECKS)
    assert "passed" not in {result.outcome for result in results}


# Endpoints that do not complete an answer.


class Body(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes | Exception, endless: bool = False) -> None:
        self._pieces = pieces
        self._endless = endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if not self._endless:
                return


async def never_answer(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def send_body(body: Body, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=body))


@pytest.mark.parametrize(
    ("transport", "detail"),
    [
        (httpx.AsyncHTTPTransport(), "The endpoint cannot be reached (ConnectError: "),
        (httpx.MockTransport(never_answer), "No complete answer came within 0.05 s."),
        (
            send_body(Body(b"x" * 2**20, endless=True)),
            "The answer is longer than 16777216 bytes.",
        ),
        (send_body(Body(b"\xff\xfe")), "The answer is not UTF-8."),
        (send_body(Body(b"x"), **{"content-encoding": "gzip"}), "The answer is compressed"),
        (
            send_body(Body(b"x", httpx.ReadError("gone"))),
            "The answer was interrupted (ReadError: gone).",
        ),
    ],
    ids=["unreachable", "silent", "too long", "not UTF-8", "compressed", "interrupted"],
)
def test_endpoint_without_complete_answer_fails_every_check(transport, detail):
    timeout = 0.05 if "0.05" in detail else 30.0
    results = list(run_checks(URL, KEY, transport=transport, timeout=timeout))
    assert {result.outcome for result in results} == {"failed"}
    assert all(result.detail.startswith(detail) for result in results)


def test_silent_endpoint_gets_one_request():
    requests = []

    async def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return await never_answer(request)

    list(run_checks(URL, KEY, transport=httpx.MockTransport(handle), timeout=0.05))
    assert len(requests) == 1


def test_equal_requests_are_sent_once(recordings):
    requests = []

    def count(reply: RecordedReply) -> RecordedReply:
        requests.append(recording_key(reply.request))
        return reply

    list(run_checks(URL, KEY, transport=replay(recordings, count)))
    assert len(requests) == len(set(requests)) == len(recordings)


def test_details_have_no_control_characters_and_no_key(recordings):
    message = f"\x1b[2J\u202e {KEY} " + "x" * 240 + KEY[:20] + KEY
    body = json.dumps({"code": "Odd", "message": message, "request_id": "1"}, ensure_ascii=False)

    def change(reply: RecordedReply) -> RecordedReply:
        return replace(reply, status=400, body=body)

    for result in run_checks(URL, KEY, transport=replay(recordings, change)):
        assert result.detail.isprintable()
        assert KEY not in result.detail
        assert len(result.detail) <= 301
    detail = run_one("dashscope/unknown-model-is-rejected", replay(recordings, change)).detail
    assert "\\u001b[2J\\u202e *** xxx" in detail


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "schlüssel", "sk-1 "])
def test_key_that_is_no_header_value_raises_without_showing_it(key):
    with pytest.raises(ValueError, match="The key cannot be sent as a header") as raised:
        run_checks(URL, key)
    assert key.strip() == "" or key.strip() not in str(raised.value)


# The command line. A process takes over a second to start, so there is one for each exit code.


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


# The real service; runs only with an API key.


@pytest.mark.enable_socket
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    os.environ.get("QWEN_LIVE_TESTS") != "1" or not LIVE_KEY,
    reason="calls the real service: set QWEN_LIVE_TESTS=1 and DASHSCOPE_API_KEY",
)
@pytest.mark.parametrize("api", VIOLATIONS)
def test_real_service_passes_every_check(api):
    checks = [check for check in CHECKS if check.api == api]
    results = run_checks(LIVE_URL, LIVE_KEY, model=LIVE_MODEL, checks=checks)
    failures = [f"{r.check.name}: {r.detail}" for r in results if r.outcome == "failed"]
    assert failures == []
