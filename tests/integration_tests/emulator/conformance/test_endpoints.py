"""Endpoints whose replies are malformed, incomplete or missing: checks fail and raise nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from emulator_recordings import KEY, URL, Recordings, recording_key, replay, run_one
from violations.changes import RecordedReply, change_payloads, objects_in, only_if, set_field

from langchain_qwen_ci.emulator.conformance import CHECKS, Check, run_checks


def api_of(reply: RecordedReply) -> str:
    path = reply.request.url.path
    if path.endswith("/chat/completions"):
        return "chat_completions"
    return "responses" if "/responses" in path else "dashscope"


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
