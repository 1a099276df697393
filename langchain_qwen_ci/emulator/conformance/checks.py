"""A check: one requirement that the service meets, and the function that tests an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint
from langchain_qwen_ci.emulator.conformance.errors import (
    NoAnswerError,
    NotApplicableError,
    ViolationError,
)
from langchain_qwen_ci.models import Api

CheckFunction = Callable[[Endpoint], Awaitable[None]]

# "documented": in the service's documentation. "recorded": seen in a recording of the service.
# "reported": measured or quoted by somebody else.
Source = Literal["documented", "recorded", "reported"]
Severity = Literal["failure", "warning"]
Outcome = Literal["passed", "failed", "warning", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement, and the function that tests it.

    Attributes:
        name: the API and the check, like "dashscope/frames-use-sse-fields".
        api: the API that the requirement belongs to.
        requirement: one sentence about the service.
        source: where the requirement comes from.
        severity: what a violation is. It is a warning if the evidence for the requirement is weak,
            or if no client depends on it.
        function: raises a `ConformanceError` if the endpoint does not meet the requirement.
    """

    name: str
    api: Api
    requirement: str
    source: Source
    severity: Severity
    function: CheckFunction = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Attributes:
        check: the check that was run.
        outcome: "skipped" if the requirement does not apply to the model under test.
        detail: the unexpected value, or the reason for skipping, on one line without control
            characters; "" if the check passed.
    """

    check: Check
    outcome: Outcome
    detail: str = ""


class Checks:
    """The checks of one API, in the order in which they run."""

    def __init__(self, api: Api) -> None:
        self._api: Api = api
        self.all: list[Check] = []

    def must(self, source: Source, requirement: str) -> Callable[[CheckFunction], CheckFunction]:
        """Register a check whose violation is a failure; it is named after its function."""
        return self._register(source, requirement, "failure")

    def should(self, source: Source, requirement: str) -> Callable[[CheckFunction], CheckFunction]:
        """Register a check whose violation is a warning; it is named after its function."""
        return self._register(source, requirement, "warning")

    def _register(
        self, source: Source, requirement: str, severity: Severity
    ) -> Callable[[CheckFunction], CheckFunction]:
        def add(function: CheckFunction) -> CheckFunction:
            name = f"{self._api}/{function.__name__.replace('_', '-')}"
            self.all.append(Check(name, self._api, requirement, source, severity, function))
            return function

        return add


async def run_check(check: Check, endpoint: Endpoint) -> CheckResult:
    """Run one check."""
    try:
        await check.function(endpoint)
    except NotApplicableError as error:
        return CheckResult(check, "skipped", endpoint.printable(str(error)))
    except NoAnswerError as error:
        return CheckResult(check, "failed", endpoint.printable(str(error)))
    except ViolationError as error:
        outcome: Outcome = "failed" if check.severity == "failure" else "warning"
        return CheckResult(check, outcome, endpoint.printable(str(error)))
    return CheckResult(check, "passed")
