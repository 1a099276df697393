"""The table of docs/fault-handling.md.

`make faults` runs every fault on every API with every entry point, over both transports, prints the
table and reports wrong outcomes; with `UPDATE_DOCS=1` it also writes the table.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from expected_answers import SAMPLE_ANSWERS, AnswerParts
from fault_cases import FAULTS, WIRES, Fault, Outcome
from fault_matrix import ALL_CELLS, CHAT_MODEL, Row, fault_environment, observe, unexpected


def cell(fault: Fault, wire: str, row: Row) -> str:
    """The outcomes on one API: one text if all entry points agree, else one for each group."""
    text: dict[str, list[str]] = {}
    for entry_point in CHAT_MODEL:
        text.setdefault(_summary(fault, wire, row[wire, entry_point]), []).append(entry_point)
    if len(text) == 1:
        return next(iter(text))
    return "<br>".join(f"{', '.join(entry_points)}: {one}" for one, entry_points in text.items())


def _summary(fault: Fault, wire: str, outcomes: list[Outcome]) -> str:
    """Describe the outcomes of a cell; equal outcomes are described once, with their count."""
    alike: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault(_describe_outcome(fault, wire, outcome), []).append(outcome)
    complete = SAMPLE_ANSWERS[wire].result
    result = {
        _with_statuses(ended, these) + _describe_partials(complete, these): len(these)
        for ended, these in alike.items()
    }
    if len(result) == 1:
        return next(iter(result))
    return "; ".join(f"{count} of {len(outcomes)}: {one}" for one, count in result.items())


def _describe_outcome(fault: Fault, wire: str, outcome: Outcome) -> str:
    ended = f"`{outcome.error}`" if outcome.error else _describe_answer(wire, outcome.result)
    unit = "connection" if fault.secure or fault.greeting else "request"
    count = {0: f"no {unit}", 1: f"1 {unit}"}.get(outcome.requests, f"{outcome.requests} {unit}s")
    return f"{ended} · {count}"


def _with_statuses(ended: str, outcomes: list[Outcome]) -> str:
    statuses = ", ".join(dict.fromkeys(str(one.status) for one in outcomes if one.status))
    return ended.replace(" · ", f" {statuses} · ") if statuses else ended


def _describe_answer(wire: str, result: AnswerParts | None) -> str:
    complete = SAMPLE_ANSWERS[wire].result
    if result == complete:
        return "the answer"
    if result == replace(complete, usage=None):
        return "the answer, without usage"
    return "a different answer"


def _describe_partials(whole: AnswerParts, outcomes: list[Outcome]) -> str:
    """Describe `partial` of the interrupted answers: of the first and the last if they differ."""
    first, last = (_partial(whole, one.result) for one in (outcomes[0], outcomes[-1]))
    if not outcomes[0].error:
        return ""
    if first == last:
        return f" · partial: {first}" if outcomes[0].result else " · no partial"
    return f" · partial: from {first} to {last}"


def _partial(whole: AnswerParts, result: AnswerParts | None) -> str:
    if result is None:
        return "none"
    parts = [
        name if value == getattr(whole, name) else f"part of the {name}"
        for name in ("reasoning", "code", "output", "text")
        if (value := getattr(result, name))
    ]
    parts += ["usage"] if result.usage else []
    return ", ".join(parts) or "an empty one"


def table(rows: dict[str, Row]) -> str:
    """The Markdown tables of all sections."""
    return "\n".join(_lines(rows))


def _lines(rows: dict[str, Row]) -> Iterator[str]:
    section = ""
    for name, row in rows.items():
        fault = FAULTS[name]
        if fault.section != section:
            section = fault.section
            yield from ("", f"## {section}", "", "| fault | outcome |", "|---|---|")
        yield line(fault, row)


def line(fault: Fault, row: Row) -> str:
    """A row of the table; APIs with equal outcomes share one description."""
    text: dict[str, list[str]] = {}
    for wire in WIRES:
        text.setdefault(cell(fault, wire, row), []).append(wire)
    if len(text) == 1:
        return f"| {row_title(fault)} | {next(iter(text))} |"
    result = "<br>".join(f"*{', '.join(wires)}:* {one}" for one, wires in text.items())
    return f"| {row_title(fault)} | {result} |"


def row_title(fault: Fault) -> str:
    return f"{fault.name} ({fault.note})" if fault.note else fault.name


PAGE = Path(__file__).parents[2] / "docs" / "fault-handling.md"
_OBSERVED = re.compile(r"(?<=<!-- observed -->\n).*", re.DOTALL)


def documented_table() -> str:
    """The table in the documentation."""
    found = _OBSERVED.search(PAGE.read_text())
    assert found
    return found[0]


def main() -> int:
    rows: dict[str, Row] = {}
    wrong: list[str] = []
    with fault_environment():
        for name, fault in FAULTS.items():
            try:
                rows[name] = observe(fault, ALL_CELLS)
            except Exception as error:  # noqa: BLE001 - reported with the others
                wrong.append("".join(traceback.format_exception(error)))
            else:
                wrong += unexpected(fault, rows[name])
                for transport in ("fast", "httpx2"):
                    others = unexpected(fault, observe(fault, ALL_CELLS, transport))
                    wrong += (f"{transport}: {one}" for one in others)
    print(table(rows))
    if os.environ.get("UPDATE_DOCS") and len(rows) == len(FAULTS):
        PAGE.write_text(_OBSERVED.sub(lambda _: table(rows) + "\n", PAGE.read_text()))
    calls = sum(len(outcomes) for row in rows.values() for outcomes in row.values())
    print(
        f"\n{len(rows)} faults, {calls} calls. Wrong: {len(wrong) or 'nothing'}.", *wrong, sep="\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
