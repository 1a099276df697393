"""What a check is: one fact of the service, and a function that looks whether an endpoint keeps it.

```
ConformanceError
├── ViolationError         the endpoint has answered, and otherwise than the fact says
├── NoAnswerError         there is nothing to judge; always a failure
└── NotApplicableError    the fact is none of this model's
```
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint
    from langchain_qwen_ci.models import Api

    CheckFunction = Callable[[Endpoint], Awaitable[None]]

# In the service's documentation; seen in a recording of it; measured or quoted by somebody else.
Source = Literal["documented", "recorded", "reported"]
Severity = Literal["failure", "remark"]
Outcome = Literal["passed", "failed", "remark", "skipped"]


class ConformanceError(Exception):
    """Why a check did not pass. What it says may hold anything that the endpoint has sent."""


class ViolationError(ConformanceError):
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
    requirement: str
    source: Source
    severity: Severity
    function: CheckFunction = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckResult:
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

    def must(self, source: Source, requirement: str) -> Callable[[CheckFunction], CheckFunction]:
        """A fact whose breach is a failure; the decorated function's name is the check's."""
        return self._adding(source, requirement, "failure")

    def should(self, source: Source, requirement: str) -> Callable[[CheckFunction], CheckFunction]:
        """A fact whose breach is worth a remark."""
        return self._adding(source, requirement, "remark")

    def _adding(
        self, source: Source, requirement: str, severity: Severity
    ) -> Callable[[CheckFunction], CheckFunction]:
        def add(function: CheckFunction) -> CheckFunction:
            name = f"{self._api}/{function.__name__.replace('_', '-')}"
            self.all.append(Check(name, self._api, requirement, source, severity, function))
            return function

        return add


async def run_check(check: Check, endpoint: Endpoint) -> CheckResult:
    """Make one check."""
    try:
        await check.function(endpoint)
    except NotApplicableError as reason:
        return CheckResult(check, "skipped", endpoint.printable(str(reason)))
    except NoAnswerError as error:
        return CheckResult(check, "failed", endpoint.printable(str(error)))
    except ViolationError as error:
        broken: Outcome = "failed" if check.severity == "failure" else "remark"
        return CheckResult(check, broken, endpoint.printable(str(error)))
    return CheckResult(check, "passed")
