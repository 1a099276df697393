"""What a check is: one fact of the service, and a function that looks whether an endpoint keeps it.

```
ConformanceError
├── BrokenFactError       the endpoint has answered, and otherwise than the fact says
├── NoAnswerError         there is nothing to judge; always a failure
└── NotApplicableError    the fact is none of this model's
```
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_qwen_ci.catalogue import Api
    from langchain_qwen_ci.emulator.conformance.exchange import Subject

    Look = Callable[[Subject], Awaitable[None]]

# In the service's documentation; seen in a recording of it; measured or quoted by somebody else.
Source = Literal["documented", "recorded", "reported"]
Weight = Literal["failure", "remark"]
Outcome = Literal["passed", "failed", "remark", "skipped"]


class ConformanceError(Exception):
    """Why a check did not pass. What it says may hold anything that the endpoint has sent."""


class BrokenFactError(ConformanceError):
    """The endpoint has answered, and otherwise than the fact says."""


class NoAnswerError(ConformanceError):
    """There is no answer, or no whole one, that a check could look at."""


class NotApplicableError(ConformanceError):
    """The fact is none of this model's."""


@dataclass(frozen=True, slots=True)
class Check:
    """One fact, and how to look for it.

    Attributes:
        name: the wire and the check, like "dashscope/frames".
        fact: one sentence about the service.
        source: where the fact is from.
        weight: what it is to break it. Facts of weak evidence, and manners that harm no client,
            are remarks.
    """

    name: str
    api: Api
    fact: str
    source: Source
    weight: Weight
    look: Look = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check has found.

    Attributes:
        detail: what was seen instead of the fact, without control characters; empty if it passed.
    """

    check: Check
    outcome: Outcome
    detail: str = ""


class Checks:
    """The checks of one wire, in the order in which they are made."""

    def __init__(self, api: Api) -> None:
        self._api: Api = api
        self.all: list[Check] = []

    def must(self, source: Source, fact: str) -> Callable[[Look], Look]:
        """A fact whose breach is a failure; the decorated function's name is the check's."""
        return self._adding(source, fact, "failure")

    def should(self, source: Source, fact: str) -> Callable[[Look], Look]:
        """A fact whose breach is worth a remark."""
        return self._adding(source, fact, "remark")

    def _adding(self, source: Source, fact: str, weight: Weight) -> Callable[[Look], Look]:
        def add(look: Look) -> Look:
            name = f"{self._api}/{look.__name__.replace('_', '-')}"
            self.all.append(Check(name, self._api, fact, source, weight, look))
            return look

        return add


async def verdict(check: Check, subject: Subject) -> Verdict:
    """Make one check."""
    try:
        await check.look(subject)
    except NotApplicableError as reason:
        return Verdict(check, "skipped", subject.printable(str(reason)))
    except NoAnswerError as error:
        return Verdict(check, "failed", subject.printable(str(error)))
    except BrokenFactError as error:
        broken: Outcome = "failed" if check.weight == "failure" else "remark"
        return Verdict(check, broken, subject.printable(str(error)))
    return Verdict(check, "passed")
