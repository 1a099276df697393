"""Every fault, on every wire, by every way: the right error with all that had come, or the answer.

The rows stand in `faults.py`. `make faults` prints what comes of them.
"""

from __future__ import annotations

import functools
import re

import pytest
from fault_cases import FAULTS, WIRES
from fault_matrix import ENTRY_POINTS, Row, expected, line, observe, stage, titled, written


@pytest.fixture(autouse=True)
def _stage():
    with stage():
        yield


@functools.cache
def observed(name: str) -> Row:
    """All cells of a row at once: most of those that take long wait."""
    return observe(FAULTS[name])


def of_a_row(name: str):
    return pytest.param(name, marks=pytest.mark.xdist_group(name), id=name)


every_fault = pytest.mark.parametrize("name", [of_a_row(name) for name in FAULTS])


@every_fault
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_fault_has_the_expected_outcome(name: str, wire: str, entry_point: str):
    outcomes = observed(name)[wire, entry_point]
    cases = list(FAULTS[name].cases(wire))
    wanted = [expected(case, entry_point) for case in cases]
    assert outcomes == [want or outcome for want, outcome in zip(wanted, outcomes, strict=True)]
    assert all(outcome.result for outcome in outcomes if not outcome.error)


@every_fault
def test_page_matches_the_observed_outcomes(name: str):
    assert line(FAULTS[name], observed(name)) in written().splitlines()


def test_page_has_no_other_rows():
    rows = re.findall(r"^\| (?!\|)(.*?) \| ", written(), re.MULTILINE)
    assert rows == [titled(fault) for fault in FAULTS.values()]
