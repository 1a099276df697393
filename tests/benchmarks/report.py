"""The tables and the plot of docs/performance.md."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from clients import APIS, CLIENTS
from targets import Values, outcomes

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
PLOT = PAGE.with_suffix(".svg")
_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end of measured -->)", re.DOTALL)
_PACKAGES = ("langchain-core", "langchain-openai", "langchain-qwq", "langchain-community",
             "langchain-anthropic", "openai", "dashscope", "httpx")  # fmt: skip
# Measure, title, decimals.
_READ_TABLES = (
    ("cpu", "CPU, µs a chunk", 1),
    ("rate", "chunks a second", 0),
    ("memory", "peak memory, MB", 2),
)


def tables(values: Values, ours: tuple[str, ...], failures: list[str]) -> str:
    return "\n".join([*_lines(values, ours, failures), ""])


def _lines(values: Values, ours: tuple[str, ...], failures: list[str]) -> Iterator[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield f"Python {platform.python_version()}; {packages}."
    if "ours fast" not in ours:
        yield '\n`transport="fast"` was not measured: the model does not accept it.'
    yield from ("", "### Targets", "", "| what | transport | target | measured | |",
                "|---|---|---|---|---|")  # fmt: skip
    for outcome in outcomes(values, ours):
        sign = "≤" if outcome.target.at_most else "≥"
        measured = "<br>".join(f"{name}: {value:.2f}" for name, value in outcome.values.items())
        transport = "httpx" if outcome.client == "ours" else "fast"
        yield (
            f"| {outcome.target.what} | {transport} | {sign} {outcome.limit} | {measured} "
            f"| {outcome.verdict} |"
        )
    for measure, title, decimals in _READ_TABLES:
        keys = dict.fromkeys(key[1:3] for key in values if key[0] == measure)
        for api, stream in keys:
            yield from _matrix(
                values, (measure, api, stream), f"{api}, {stream}: {title}", decimals
            )
    yield from _list(values, "first", "First item of `stream`, ms, median")
    yield from _list(values, "import", "Import and construct, ms of CPU")
    yield from _list(values, "cold", "New process to the first token, ms")
    if failures:
        yield from ("", "### Not measured", "", *(f"- {failure}" for failure in failures))


def _matrix(
    values: Values, table: tuple[str, str, str], title: str, decimals: int
) -> Iterator[str]:
    """Entry points by client."""
    cells = {key[3:]: value for key, value in values.items() if key[:3] == table}
    clients = [name for name in CLIENTS if any(client == name for client, _ in cells)]
    yield from (
        "",
        f"### {title}",
        "",
        f"| | {' | '.join(clients)} |",
        "|---" * len(clients) + "|---|",
    )
    for entry_point in dict.fromkeys(entry_point for _, entry_point in cells):
        row = [
            f"{value:,.{decimals}f}"
            if (value := cells.get((name, entry_point))) is not None
            else ""
            for name in clients
        ]
        yield f"| {entry_point} | {' | '.join(row)} |"


def _list(values: Values, measure: str, title: str) -> Iterator[str]:
    yield from ("", f"### {title}", "", "| | |", "|---|---|")
    for (name, api, _, client, _), value in values.items():
        if name == measure:
            yield f"| {client}{', ' + api if api else ''} | {value:.2f} |"


def plot(values: Values) -> None:
    """Write the CPU time a chunk of `stream` and `invoke`, medium, on each API."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "performance"  # the same ids in every run
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(APIS), figsize=(11, 3), layout="constrained")
    for api, panel in zip(APIS, panels, strict=True):
        bars = {
            f"{client} {entry_point}": values[key]
            for entry_point in ("stream", "invoke")
            for client in CLIENTS
            if (key := ("cpu", api, "medium", client, entry_point)) in values
        }
        bars = dict(sorted(bars.items(), key=lambda bar: -bar[1]))
        colors = ["tab:orange" if name.startswith("ours") else "tab:gray" for name in bars]
        drawn = panel.barh(list(bars), list(bars.values()), color=colors)
        panel.bar_label(drawn, fmt="%.0f", padding=2)
        panel.margins(x=0.15)
        panel.set(title=api, xlabel="CPU, µs a chunk")
    figure.savefig(PLOT, metadata={"Date": None})


def write(values: Values, ours: tuple[str, ...], failures: list[str]) -> None:
    """Write the page and its plot."""
    text = f"![CPU time a chunk]({PLOT.name})\n\n{tables(values, ours, failures)}"
    PAGE.write_text(_MEASURED.sub(lambda _: text, PAGE.read_text()))
    plot(values)
