"""Replies of the emulator to the conformance checks, recorded once and replayed with a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
from violations.changes import Change, RecordedReply

from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.emulator.conformance import CHECKS, CheckResult, run_checks

KEY = "sk-of-the-endpoint-under-test"
URL = "http://127.0.0.1:9"
CHECK_BY_NAME = {check.name: check for check in CHECKS}
Recordings = dict[Any, RecordedReply]


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
    return request.method, request.url.path, *map(request.headers.get, names), request.content


def record_all_checks() -> Recordings:
    """Run all checks on the emulator, and return its replies."""
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
