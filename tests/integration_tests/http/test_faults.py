"""Every fault on every API with every entry point: the right error and `partial`, or the answer.

The faults are defined in `fault_cases.py`. `make faults` prints the outcomes.
"""

from __future__ import annotations

import functools
import re

import pytest
from fault_cases import FAULTS, WIRES
from fault_matrix import (
    ENTRY_POINTS,
    Row,
    cases,
    documented_table,
    expected,
    fault_environment,
    line,
    observe,
    row_title,
)


@pytest.fixture(autouse=True)
def _fault_environment():
    with fault_environment():
        yield


@functools.cache
def observed(name: str) -> Row:
    """Runs all cells of a row once, concurrently."""
    return observe(FAULTS[name])


def of_row(name: str):
    return pytest.param(name, marks=pytest.mark.xdist_group(name), id=name)


every_fault = pytest.mark.parametrize("name", [of_row(name) for name in FAULTS])


@every_fault
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_fault_has_the_expected_outcome(name: str, wire: str, entry_point: str):
    outcomes = observed(name)[wire, entry_point]
    wanted = [expected(case, entry_point) for case in cases(FAULTS[name], wire, entry_point)]
    assert outcomes == [want or outcome for want, outcome in zip(wanted, outcomes, strict=True)]
    assert all(outcome.result for outcome in outcomes if not outcome.error)


@every_fault
def test_page_matches_the_observed_outcomes(name: str):
    assert line(FAULTS[name], observed(name)) in documented_table().splitlines()


def test_page_has_no_other_rows():
    rows = re.findall(r"^\| (?!fault \|)(.*?) \| ", documented_table(), re.MULTILINE)
    assert rows == [row_title(fault) for fault in FAULTS.values()]
