"""Every fault on every API: the right error and `partial`, or the answer.

Each API runs a fault with one synchronous and one asynchronous entry point; `make faults` runs all
of them. The faults are defined in `tests/support/fault_cases`.
"""

from __future__ import annotations

from collections import Counter

import pytest
from fault_cases import FAULTS, WIRES
from fault_matrix import (
    ALL_CELLS,
    CHAT_MODEL,
    ENTRY_POINTS,
    Row,
    expected_outcomes,
    fault_environment,
    observe,
    selected_cells,
)
from fault_table import documented_table, table


@pytest.fixture(autouse=True)
def _fault_environment():
    with fault_environment():
        yield


# What clients of httpx2 may do in another way; `make faults` runs all with them.
HTTPX2_SECTIONS = {"Connection", "Timeouts", "Interrupted answers"}
TRANSPORTS = [
    (name, transport)
    for name, fault in FAULTS.items()
    for transport in ("httpx", "fast", "httpx2")
    if transport != "httpx2" or fault.section in HTTPX2_SECTIONS
]


@pytest.mark.parametrize(("name", "transport"), TRANSPORTS)
def test_fault_has_the_expected_outcome(name: str, transport: str, subtests: pytest.Subtests):
    fault = FAULTS[name]
    for cell, outcomes in observe(fault, selected_cells(fault), transport).items():
        with subtests.test(api=cell[0], entry_point=cell[1]):
            wanted = expected_outcomes(fault, cell)
            assert outcomes == [
                want or outcome for want, outcome in zip(wanted, outcomes, strict=True)
            ]
            assert all(outcome.result for outcome in outcomes if not outcome.error)


def test_every_entry_point_is_selected_equally_often():
    selected = Counter(cell for fault in FAULTS.values() for cell in selected_cells(fault))
    assert set(selected) == set(ALL_CELLS)
    assert max(selected.values()) - min(selected.values()) <= 1


def test_each_fault_runs_with_every_entry_point_and_all_its_cases_on_every_api():
    for fault in FAULTS.values():
        selected = selected_cells(fault)
        assert sorted(entry_point for _, entry_point in selected) == sorted(ENTRY_POINTS)
        assert {wire for wire, entry_point in selected if entry_point in CHAT_MODEL} == set(WIRES)


def _expected_row(name: str) -> Row:
    """The expected outcomes; observed ones where any outcome is accepted."""
    fault = FAULTS[name]
    cells = [cell for cell in ALL_CELLS if cell[1] in CHAT_MODEL]
    row = {}
    for cell in cells:
        outcomes = [outcome for outcome in expected_outcomes(fault, cell) if outcome]
        if len(outcomes) < len(expected_outcomes(fault, cell)):
            return observe(fault, cells)
        row[cell] = outcomes
    return row


def test_page_has_the_expected_outcomes():
    assert documented_table() == table({name: _expected_row(name) for name in FAULTS}) + "\n"
