"""The judge: the emulator keeps every fact, and each check finds an endpoint that does not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from violations import (
    BREACHES,
    CASES,
    Answer,
    Spoil,
    accepts,
    dropping,
    each,
    frames,
    objects,
    payloads,
    runs,
    setting,
    swap,
)

from langchain_qwen_ci.emulator import EmulatorServer, Status
from langchain_qwen_ci.emulator.conformance import CHECKS, CheckResult, run_checks

KEY = "sk-of-the-endpoint-under-judgement"
URL = "http://127.0.0.1:9"
# Kept from before a fixture takes them out of the environment.
LIVE_KEY = os.environ.get("DASHSCOPE_API_KEY", "")
LIVE_URL = os.environ.get("DASHSCOPE_BASE_URL", "https://dashscope.aliyuncs.com")
LIVE_MODEL = os.environ.get("QWEN_LIVE_MODEL", "qwen3-max")
NAMES = {check.name: check for check in CHECKS}


# The emulator's answers, recorded once; and transports that replay them, spoilt.


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on, and keeps what came."""

    def __init__(self) -> None:
        self.kept: dict[Any, Answer] = {}
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        body = (await response.aread()).decode()
        await response.aclose()
        headers = {"x-request-id": response.headers["x-request-id"]}
        answer = Answer(request, response.status_code, headers, body)
        self.kept[name_of(request)] = answer
        return httpx.Response(answer.status, headers=headers, content=body)

    async def aclose(self) -> None:
        await self._network.aclose()


def name_of(request: httpx.Request) -> Any:
    told = [request.headers.get(name) for name in ("authorization", "accept", "x-dashscope-sse")]
    return request.url.path, *told, request.content


@pytest.fixture(scope="module")
def recorded() -> dict[Any, Answer]:
    recorder = Recorder()
    with EmulatorServer(api_key=KEY) as server:
        list(run_checks(server.url, KEY, transport=recorder))
    return recorder.kept


def with_fault(recorded: dict[Any, Answer], spoil: Spoil) -> httpx.MockTransport:
    async def answer(request: httpx.Request) -> httpx.Response:
        if name_of(request) not in recorded:  # made of a spoilt answer
            return httpx.Response(404)
        told = spoil(replace(recorded[name_of(request)], request=request))
        return httpx.Response(told.status, headers=told.headers, content=told.body)

    return httpx.MockTransport(answer)


def judged(name: str, transport: httpx.AsyncBaseTransport) -> CheckResult:
    (verdict,) = run_checks(URL, KEY, checks=[NAMES[name]], transport=transport, timeout=30.0)
    return verdict


def test_the_emulator_keeps_every_fact():
    with EmulatorServer(api_key=KEY) as server:
        told = [(v.check.name, v.outcome, v.detail) for v in run_checks(server.url, KEY)]
    assert told == [(check.name, "passed", "") for check in CHECKS]


@pytest.mark.parametrize(
    ("model", "skipped"),
    [
        (
            "qwen3.5-plus",
            ["dashscope/empty-end", "dashscope/list-content", "dashscope/strings"],
        ),
        ("qwen3.7-max", []),
    ],
)
def test_the_emulator_keeps_the_facts_of_models_that_think_by_themselves(model, skipped):
    of_thinking = [f"{api}/interpreter-thinks" for api in BREACHES]
    with EmulatorServer(api_key=KEY) as server:
        outcomes = {v.check.name: v.outcome for v in run_checks(server.url, KEY, model=model)}
    assert sorted(n for n in outcomes if outcomes[n] == "skipped") == sorted(skipped + of_thinking)
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_there_is_a_breach_of_every_fact():
    assert sorted(name for name, _, _ in CASES) == sorted(NAMES)


@pytest.mark.parametrize(("name", "spoil", "said"), CASES, ids=[name for name, _, _ in CASES])
def test_a_check_finds_a_breach_of_its_fact(recorded, name, spoil, said):
    assert judged(name, with_fault(recorded, lambda answer: answer)).outcome == "passed"
    verdict = judged(name, with_fault(recorded, spoil))
    assert verdict.outcome == {"failure": "failed", "remark": "remark"}[verdict.check.severity]
    assert said in verdict.detail


# More ways to break a fact than the one in the table.


def entry_comes_empty(found: list[Any]) -> None:
    first = next(payload for payload in found if "tool_info" in payload["output"])
    first["output"]["tool_info"][0]["code_interpreter"]["code"] = ""
    del first["usage"]["plugins"]


@pytest.mark.parametrize("name", ["dashscope/code-stays", "dashscope/count"])
def test_an_entry_of_tool_info_may_come_empty_and_be_filled_later(recorded, name):
    assert judged(name, with_fault(recorded, payloads(entry_comes_empty))).outcome == "passed"


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("dashscope/frames", swap("event:result", "event:message"), 'is "message"'),
        ("dashscope/frames", swap("(?m)^data:(.*)$", r"data:\1\ndata:"), "2 lines of 'data'"),
        ("dashscope/frames", swap('"request_id"', "request_id"), "this is no JSON object"),
        ("dashscope/frames", swap("(?m)^data:.*$", "data:[]"), "this is no JSON object: []"),
        ("dashscope/finish-reason", frames(lambda found: found[:-1]), 'at the end is "null"'),
        ("dashscope/increments", frames(lambda found: found[-2:]), "comes at once"),
        ("dashscope/code-stays", each(lambda p: p["output"].setdefault("tool_info", [])), "empty"),
        ("dashscope/count", dropping("tool_info"), "1 runs are counted where []"),
        ("dashscope/error-body", accepts, "this is answered"),
        ("dashscope/wrong-key", swap("InvalidApiKey", "Other"), "Other and not 401"),
        ("responses/end", frames(lambda found: found[:-1]), "the end is []"),
        ("responses/end", frames(lambda found: [*found, found[-2]]), "the last event is"),
        ("responses/frames", swap("event:response", "event:other"), "the event of a frame"),
        ("responses/sequence", dropping("sequence_number"), "there is no sequence_number"),
        ("responses/increments", setting("text", "other"), "the sum of the deltas"),
        ("responses/code", runs(lambda run: run.update(status="failed")), "the status of a run"),
        ("responses/code-events", runs(lambda run: run.update(type="other")), "no item is a code"),
        ("responses/count", setting("count", True), "is true and no count"),
        ("chat_completions/end", frames(lambda found: [*found[:-2], found[-1], found[-2]]), "last"),
        ("chat_completions/deltas", swap('"delta":{', '"other":{'), "there is no delta"),
        ("chat_completions/error-body", swap('"error":', '"fault":'), "there is no error"),
    ],
)
def test_other_breaches_are_found_too(recorded, name, spoil, said):
    verdict = judged(name, with_fault(recorded, spoil))
    assert verdict.outcome == "failed"
    assert said in verdict.detail


def in_a_frame(answer: Answer) -> Answer:
    """A refusal as it was recorded within a stream: HTTP 200, and the status in a comment."""
    body = f"id:1\nevent:error\n:HTTP_STATUS/{answer.status}\ndata:{answer.body}\n\n"
    return replace(answer, status=200, body=body)


@pytest.mark.parametrize("name", ["error-body", "interpreter-thinks", "wrong-key"])
def test_a_native_error_may_come_within_a_stream(recorded, name):
    assert judged(f"dashscope/{name}", with_fault(recorded, in_a_frame)).outcome == "passed"


def test_the_older_names_of_reasoning_are_right_as_well():
    with EmulatorServer(api_key=KEY, reasoning_events="reasoning_summary_text") as server:
        told = list(run_checks(server.url, KEY, checks=[c for c in CHECKS if c.api == "responses"]))
    assert {verdict.outcome for verdict in told} == {"passed"}


NONSENSE = [None, -1, True, "nonsense", [[]], {"a": []}]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_is_judged_and_raises_nothing(recorded, value):
    keys: set[str] = set()
    for answer in recorded.values():
        payloads(lambda found: keys.update(key for place in objects(found) for key in place))(
            answer
        )
    for key in sorted(keys):
        outcomes = {
            v.outcome
            for v in run_checks(URL, KEY, transport=with_fault(recorded, setting(key, value)))
        }
        assert outcomes <= {"passed", "failed", "remark"}


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "data:", "data: [DONE]\n\n", ": hello\n\n", "[" * 9**5]
)
@pytest.mark.parametrize("code", [200, 302, 500])
def test_an_answer_that_is_none_is_judged_and_raises_nothing(recorded, body, code):
    def spoil(answer: Answer) -> Answer:
        return replace(answer, status=code, body=body, headers={"location": "http://127.0.0.1:1/"})

    told = list(run_checks(URL, KEY, transport=with_fault(recorded, spoil)))
    assert len(told) == len(CHECKS)
    assert "passed" not in {v.outcome for v in told}


# Endpoints that are not there, or go on for ever.


class Body(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes | Exception, again: bool = False) -> None:
        self._pieces = pieces
        self._again = again

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if not self._again:
                return


async def for_ever(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def answering(body: Body, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=body))


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        (httpx.AsyncHTTPTransport(), "The endpoint cannot be reached (ConnectError: "),
        (httpx.MockTransport(for_ever), "No whole answer came within 0.05 s."),
        (answering(Body(b"x" * 2**20, again=True)), "The answer is longer than 16777216 bytes."),
        (answering(Body(b"\xff\xfe")), "The answer is not UTF-8."),
        (answering(Body(b"x"), **{"content-encoding": "gzip"}), "The answer is compressed"),
        (answering(Body(b"x", httpx.ReadError("gone"))), "The answer broke off (ReadError: gone)."),
    ],
    ids=["nobody", "silence", "too much", "no text", "compressed", "broken"],
)
def test_an_endpoint_without_an_answer_fails_every_check(transport, said):
    timeout = 0.05 if "0.05" in said else 30.0
    told = list(run_checks(URL, KEY, transport=transport, timeout=timeout))
    assert {verdict.outcome for verdict in told} == {"failed"}
    assert all(verdict.detail.startswith(said) for verdict in told)


def test_an_endpoint_that_is_silent_is_not_asked_again():
    asked = []

    async def silent(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return await for_ever(request)

    list(run_checks(URL, KEY, transport=httpx.MockTransport(silent), timeout=0.05))
    assert len(asked) == 1


def test_every_request_is_sent_once(recorded):
    sent = []

    def count(answer: Answer) -> Answer:
        sent.append(name_of(answer.request))
        return answer

    list(run_checks(URL, KEY, transport=with_fault(recorded, count)))
    assert len(sent) == len(set(sent)) == len(recorded)


def test_what_the_endpoint_says_steers_no_terminal_and_shows_no_key(recorded):
    said = f"\x1b[2J\u202e {KEY} " + "x" * 240 + KEY[:20] + KEY
    body = json.dumps({"code": "Odd", "message": said, "request_id": "1"}, ensure_ascii=False)

    def spoil(answer: Answer) -> Answer:
        return replace(answer, status=400, body=body)

    for verdict in run_checks(URL, KEY, transport=with_fault(recorded, spoil)):
        assert verdict.detail.isprintable()
        assert KEY not in verdict.detail
        assert len(verdict.detail) <= 301
    shown = judged("dashscope/unknown-model", with_fault(recorded, spoil)).detail
    assert "\\u001b[2J\\u202e *** xxx" in shown


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "schlüssel", "sk-1 "])
def test_a_key_that_cannot_be_sent_is_said_and_not_shown(key):
    with pytest.raises(ValueError, match="The key cannot be sent as a header") as raised:
        run_checks(URL, key)
    assert key.strip() == "" or key.strip() not in str(raised.value)


# The command line.


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "langchain_qwen_ci.emulator.conformance", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_an_url_it_judges_the_emulator():
    # No proxy may stand before this machine.
    done = run("--api", "dashscope", HTTP_PROXY="http://127.0.0.1:9", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    *table, empty, counts = done.stdout.splitlines()
    assert len(table) == len([check for check in CHECKS if check.api == "dashscope"])
    assert table[0].startswith("passed  dashscope/frames ")
    assert (empty, counts) == ("", f"{len(table)} passed, 0 failed, 0 remark, 0 skipped")


def test_a_failure_is_shown_and_is_the_exit_code():
    with EmulatorServer(faults=(Status(500, message="\x1b[31mOut of order"),)) as server:
        done = run(
            "--base-url", server.url, "--only", "dashscope/code", DASHSCOPE_API_KEY="sk-right"
        )
    assert done.returncode == 1
    assert done.stderr == ""
    first, second, _, counts = done.stdout.splitlines()
    assert first.split() == [
        "failed",
        "dashscope/code",
        *NAMES["dashscope/code"].requirement.split(),
    ]
    assert "recorded; seen: HTTP 500 in place of a stream" in second
    assert "[31mOut of order" in second
    assert "\x1b" not in done.stdout
    assert counts == "0 passed, 1 failed, 0 remark, 0 skipped"


def test_a_remark_is_no_failure():
    with EmulatorServer() as server:  # which takes any key
        done = run(
            *("--base-url", server.url, "--json"),
            *("--only", "dashscope/wrong-path", "--only", "dashscope/wrong-key"),
            *("--model", "qwen3.5-plus", "--endpoint", "text-generation"),
            DASHSCOPE_API_KEY="sk-right",
        )
    document = json.loads(done.stdout)
    assert document["counts"] == {"passed": 0, "failed": 1, "remark": 1, "skipped": 0}
    assert done.returncode == 1
    remark, failure = document["results"]
    assert remark["name"] == "dashscope/wrong-path"
    assert (remark["severity"], remark["source"]) == ("remark", "reported")
    assert "this is answered" in remark["detail"]
    assert (failure["outcome"], failure["api"]) == ("failed", "dashscope")
    assert "sk-right" not in done.stdout + done.stderr


def test_an_endpoint_that_is_not_there_is_said_without_a_traceback():
    done = run("--base-url", "http://127.0.0.1:9", DASHSCOPE_API_KEY="sk-right")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.count("The endpoint cannot be reached") == len(CHECKS)
    assert done.stdout.endswith(f"\n0 passed, {len(CHECKS)} failed, 0 remark, 0 skipped\n")


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        (["--base-url", URL], "", "set DASHSCOPE_API_KEY"),
        (["--base-url", URL], "sk-\x1b", "The key cannot be sent as a header"),
        (["--base-url", "ftp://127.0.0.1"], "sk-right", "must be like https://host"),
        (["--base-url", "http://far.example"], "sk-right", "allow_plain_http"),
        (["--only", "dashscope/nothing"], "", "invalid choice"),
        (["--only", "dashscope/frames", "--api", "responses"], "", "no check of that --api"),
        (["--timeout", "0"], "", "invalid"),
        (["--timeout", "nan"], "", "invalid"),
        (["--api-key", "sk-secret"], "", "unrecognized arguments"),
    ],
)
def test_wrong_usage(arguments, key, said):
    done = run(*arguments, DASHSCOPE_API_KEY=key)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ctrl_c_ends_it_without_a_traceback():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        program = subprocess.Popen(
            [sys.executable, "-m", "langchain_qwen_ci.emulator.conformance", "--base-url", url],
            env={**os.environ, "DASHSCOPE_API_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # it waits for an answer now
            program.send_signal(signal.SIGINT)
            assert program.communicate(timeout=30) == ("", "\nInterrupted.\n")
    assert program.returncode == 130


# The real service, where there is a key for it.


@pytest.mark.enable_socket
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    os.environ.get("QWEN_LIVE_TESTS") != "1" or not LIVE_KEY,
    reason="asks the real service: set QWEN_LIVE_TESTS=1 and DASHSCOPE_API_KEY",
)
@pytest.mark.parametrize("api", BREACHES)
def test_the_service_keeps_every_fact(api):
    checks = [check for check in CHECKS if check.api == api]
    told = run_checks(LIVE_URL, LIVE_KEY, model=LIVE_MODEL, checks=checks)
    assert [f"{v.check.name}: {v.detail}" for v in told if v.outcome == "failed"] == []
