"""What a fault is, and the registry of all faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expected_answers import SAMPLE_ANSWERS, AnswerParts
from fault_server import FaultServer, Play

from fault_cases.outcomes import Outcome

WIRES = tuple(SAMPLE_ANSWERS)
KEY = "sk-never-to-be-seen"
SHORT = 0.3  # seconds of a timeout that is meant to be exceeded
LONGER = 1.0  # where something has to come in time before, on a machine that has much to do


@dataclass(frozen=True)
class Case:
    """What the server sends, and the expected outcome.

    Attributes:
        outcome: the expected outcome; None accepts an answer and any `QwenError`.
        streamed: the outcome of `stream` and `astream`, if it differs.
        in_threads: the outcome of the synchronous methods, if it differs.
        observed: removes what depends on timing, such as the length of an endless text.
    """

    plays: tuple[Play, ...]
    outcome: Outcome | None
    streamed: Outcome | None = None
    in_threads: Outcome | None = None
    observed: Callable[[AnswerParts], AnswerParts] = lambda result: result


@dataclass(frozen=True)
class Fault:
    """One fault: a row of the table.

    Attributes:
        cases: makes the cases of an API; one cell of the table describes them all.
        fields: arguments of the model.
        address: makes the model's `base_url`.
        greeting: bytes that the server sends as soon as a client connects.
        secure: the server uses TLS.
        warm: a successful call precedes, whose connection stays open.
        note: a remark for the readers of the table.
    """

    name: str
    section: str
    cases: Callable[[str], Iterable[Case]]
    fields: Mapping[str, Any] = field(default_factory=dict)
    address: Callable[[FaultServer], str] = lambda server: server.url
    greeting: Play = ()
    secure: bool = False
    warm: bool = False
    note: str = ""


REGISTERED_FAULTS: dict[str, Fault] = {}
Cases = Callable[[str], Iterable[Case]]


def fault(name: str, section: str, note: str = "", **more: Any) -> Callable[[Cases], Cases]:
    def register(cases: Cases) -> Cases:
        assert name not in REGISTERED_FAULTS
        REGISTERED_FAULTS[name] = Fault(name, section, cases, note=note, **more)
        return cases

    return register
