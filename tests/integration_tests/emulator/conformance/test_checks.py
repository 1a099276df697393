"""The conformance checks: the emulator passes all of them, and each check detects a violation."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from emulator_recordings import CHECK_BY_NAME, KEY, replay, run_one
from violations import VIOLATION_CASES, VIOLATIONS
from violations.changes import (
    RecordedReply,
    accept_request,
    change_code_calls,
    change_each_payload,
    change_frames,
    change_payloads,
    remove_field,
    replace_text,
    set_field,
)

from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.emulator.conformance import CHECKS, run_checks

# Read before a fixture removes them from the environment.
LIVE_KEY = os.environ.get("DASHSCOPE_API_KEY", "")
LIVE_URL = os.environ.get("DASHSCOPE_BASE_URL", "https://dashscope.aliyuncs.com")
LIVE_MODEL = os.environ.get("QWEN_LIVE_MODEL", "qwen3-max")


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
                "dashscope/interpreter-requires-thinking",
            ],
        ),
        ("qwen3.7-max", []),
    ],
)
def test_checks_that_do_not_apply_to_a_model_are_skipped(model, skipped):
    with EmulatorServer(api_key=KEY) as server:
        results = list(run_checks(server.url, KEY, model=model))
    outcomes = {result.check.name: result.outcome for result in results}
    skipped_names = [name for name in outcomes if outcomes[name] == "skipped"]
    assert sorted(skipped_names) == sorted(skipped)
    assert set(outcomes.values()) <= {"passed", "skipped"}


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
