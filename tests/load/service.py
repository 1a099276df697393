"""The emulator in a separate process; it answers according to the plan and counts requests."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import plan

from langchain_qwen_ci.emulator import (
    EmulatorServer,
    Fault,
    RecordedRequest,
    Run,
    Say,
    Stall,
    Think,
)

_APIS = {"services": "dashscope", "responses": "responses", "completions": "chat_completions"}
_QUESTION = re.compile(r"(Answer|Go on|Wait) (\d+)")
_STOP_SECONDS = 20.0
_FOR_EVER = 3600.0


@dataclass(frozen=True)
class RequestCounts:
    """The requests of the service since the last query.

    Attributes:
        requests: how many there were for each question.
        answering: how many answers it is at: as many as are read.
        most_answering: how many it was at at once.
    """

    requests: Counter[int]
    answering: int
    most_answering: int


class Service:
    """A handle on the process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def observed(self) -> RequestCounts:
        self._pipe.send("seen")
        return self._pipe.recv()

    def answering(self) -> int:
        self._pipe.send("answering")
        return self._pipe.recv()


@contextmanager
def service(pace: float) -> Iterator[Service]:
    """Start the process; it ends when its parent does."""
    # Not by fork: what this process has open, the other would have, too.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, pace), daemon=True)
    process.start()
    there.close()
    try:
        yield Service(here)
    finally:
        here.close()
        process.join(_STOP_SECONDS)
        process.kill()
        process.join()


def _serve(pipe: Connection, pace: float) -> None:
    responder = Responder()
    with EmulatorServer(responder=responder, faults=FaultInjector(responder), pace=pace) as server:
        pipe.send(server.url)
        while True:
            try:
                sent = pipe.recv()
            except EOFError:
                return
            pipe.send(responder.observed() if sent == "seen" else responder.answering)
            server.requests.clear()


class Responder:
    """Answers according to the plan and counts requests."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.answering = 0
        self._most_answering = 0

    def observed(self) -> RequestCounts:
        observed = RequestCounts(self.requests, self.answering, self._most_answering)
        self.requests, self._most_answering = Counter(), self.answering
        return observed

    def respond(self, request: Any) -> Any:
        self.answering += 1
        self._most_answering = max(self._most_answering, self.answering)
        word, number = _read(request.text)
        try:
            yield from _endless_text() if word == "Go on" else _steps(number)
        finally:
            self.answering -= 1


def _endless_text() -> Any:
    while True:
        yield Say("and on ")


def _steps(number: int) -> Any:
    yield Think(plan.first_reasoning(number))
    outputs = []
    for program in plan.programs(number):
        result = yield Run(program.code)
        outputs.append(result.output)
        yield Think(plan.reasoning_after(number, program))
    yield Say(plan.text(number, tuple(outputs)))


class FaultInjector:
    """Chooses the fault of each request."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def __call__(self, received: RecordedRequest) -> Fault | None:
        word, number = _read(str(received.body))
        self._responder.requests[number] += 1
        if word == "Wait":
            return Stall(0, _FOR_EVER)
        fault_plan = plan.fault_plan(number) if word == "Answer" else None
        if fault_plan is None:
            return None
        api = next(api for part, api in _APIS.items() if part in received.path)
        return fault_plan.fault(api, number, self._responder.requests[number])


def _read(text: str) -> tuple[str, int]:
    found = _QUESTION.search(text)
    assert found, text
    return found[1], int(found[2])
