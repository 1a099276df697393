"""Runs every fault on every API with every entry point, and describes the outcomes.

`make faults` prints the table of docs/fault-handling.md; with `UPDATE_DOCS=1` it also writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import re
import socket
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any
from unittest import mock

from expected_answers import SAMPLE_ANSWERS, AnswerParts
from fault_cases import FAULTS, KEY, WIRES, Case, Fault, Outcome
from fault_server import FaultServer, head
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.graph import START, StateGraph

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.errors import QwenAPIError, QwenError

QUESTION = "What is π?"
Chunks = list[AIMessageChunk]


def _graph(model: ChatQwenCodeInterpreter) -> Any:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(model))
    builder.add_edge(START, "code_interpreter")
    return builder.compile()


def _stream(model: ChatQwenCodeInterpreter, received: Chunks) -> AIMessage:
    for chunk in model.stream(QUESTION):
        received.append(chunk)  # compared with `partial` after an error
    return reduce(add, received)


async def _astream(model: ChatQwenCodeInterpreter, received: Chunks) -> AIMessage:
    async for chunk in model.astream(QUESTION):
        received.append(chunk)
    return reduce(add, received)


def _node(model: ChatQwenCodeInterpreter, received: Chunks) -> AIMessage:
    return _graph(model).invoke({"messages": [("user", QUESTION)]})["messages"][-1]


async def _anode(model: ChatQwenCodeInterpreter, received: Chunks) -> AIMessage:
    state = await _graph(model).ainvoke({"messages": [("user", QUESTION)]})
    return state["messages"][-1]


def _in_thread(entry_point: Callable[..., AIMessage]) -> Callable[..., Any]:
    """A synchronous entry point, called from the event loop that also runs the server."""
    return lambda model, received: asyncio.to_thread(entry_point, model, received)


ENTRY_POINTS: dict[str, Callable[[ChatQwenCodeInterpreter, Chunks], Any]] = {
    "invoke": _in_thread(lambda model, received: model.invoke(QUESTION)),
    "ainvoke": lambda model, received: model.ainvoke(QUESTION),
    "stream": _in_thread(_stream),
    "astream": _astream,
    "node": _in_thread(_node),
    "anode": _anode,
}


# The methods of the chat model; the others run a graph with one node.
CHAT_MODEL = ("invoke", "ainvoke", "stream", "astream")

Row = dict[tuple[str, str], list[Outcome]]


def cases(fault: Fault, wire: str, entry_point: str) -> list[Case]:
    """The cases to run: with a node, which calls the model's `stream`, the first and the last."""
    cases = list(fault.cases(wire))
    return cases if entry_point in CHAT_MODEL else [cases[i] for i in sorted({0, len(cases) - 1})]


def expected(case: Case, entry_point: str) -> Outcome | None:
    if case.in_threads and not entry_point.startswith("a"):
        return case.in_threads
    return case.streamed if case.streamed and "stream" in entry_point else case.outcome


def observe(fault: Fault) -> Row:
    """The outcome of each case of a row, by API and entry point; concurrent, since many wait."""
    return asyncio.run(_observe(fault))


async def _observe(fault: Fault) -> Row:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    cells = [(wire, entry_point) for wire in WIRES for entry_point in ENTRY_POINTS]
    observed = await asyncio.gather(*(_observe_cell(fault, *cell) for cell in cells))
    return dict(zip(cells, observed, strict=True))


async def _observe_cell(fault: Fault, wire: str, entry_point: str) -> list[Outcome]:
    async with _servers(fault) as (server, elsewhere):
        try:
            model = ChatQwenCodeInterpreter(
                api=wire, base_url=fault.address(server), api_key=KEY, **fault.fields
            )
        except ValueError:
            return [Outcome("ValueError", requests=0)]
        observed = []
        for case in cases(fault, wire, entry_point):
            server.play(*case.plays)
            if fault.warm:
                await ENTRY_POINTS[entry_point](model, [])
            before = len(server.requests)
            outcome = await _call(model, entry_point)
            direct = fault.secure or fault.greeting
            requests = server.connections if direct else len(server.requests) - before
            assert not await asyncio.to_thread(server.busy), "the client holds a connection"
            assert all(f"Bearer {KEY}".encode() in request for request in server.requests)
            if outcome.result:
                outcome = replace(outcome, result=case.observed(outcome.result))
            observed.append(replace(outcome, requests=requests, elsewhere=elsewhere.connections))
        await model.aclose()
        assert not await asyncio.to_thread(server.open), "a closed model holds a connection"
        return observed


@contextlib.asynccontextmanager
async def _servers(fault: Fault) -> AsyncIterator[tuple[FaultServer, FaultServer]]:
    with FaultServer((head(404, Content_Length=0),)) as elsewhere:
        names = {b"ELSEWHERE": elsewhere.url}
        with FaultServer(greeting=fault.greeting, secure=fault.secure, names=names) as server:
            yield server, elsewhere


async def _call(model: ChatQwenCodeInterpreter, entry_point: str) -> Outcome:
    received: Chunks = []
    try:
        message = await ENTRY_POINTS[entry_point](model, received)
    except QwenError as error:
        _check(error, received)
        return _error_outcome(error)
    return Outcome(result=AnswerParts.by(message))


def _error_outcome(error: QwenError) -> Outcome:
    failed = Outcome(
        type(error).__name__,
        AnswerParts.by(error.partial) if error.partial else None,
        retryable=error.is_retryable,
    )
    if not isinstance(error, QwenAPIError):
        return failed
    return replace(failed, status=error.status_code, code=error.code, request_id=error.request_id)


def _check(error: QwenError, received: Chunks) -> None:
    """Check what holds for every error: the key is not in it, it can be pickled, and `partial`
    equals the chunks that were streamed."""
    assert KEY not in "".join(traceback.format_exception(error))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    if received:
        assert error.partial
        streamed, stored = AnswerParts.by(reduce(add, received)), AnswerParts.by(error.partial)
        assert (streamed.reasoning, streamed.code) == (stored.reasoning, stored.code)
        assert streamed.text == stored.text


# The table.


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


def unexpected(fault: Fault, row: Row) -> list[str]:
    """The cells of a row whose outcomes are wrong."""
    return [
        f"{fault.name}, {wire}, {entry_point}"
        for (wire, entry_point), outcomes in row.items()
        if any(
            wanted and wanted != outcome
            for case, outcome in zip(cases(fault, wire, entry_point), outcomes, strict=True)
            for wanted in [expected(case, entry_point)]
        )
    ]


@contextlib.contextmanager
def fault_environment() -> Iterator[None]:
    """Remove the delays between retries, and reject host names that end with `.invalid`.

    RFC 6761 requires the latter of every resolver, but some return an address."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *more, **named)

    with (
        mock.patch("random.uniform", return_value=0.0),
        mock.patch("socket.getaddrinfo", resolved),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Chat Completions runs code")
        yield


PAGE = Path(__file__).parents[2] / "docs" / "fault-handling.md"
_OBSERVED = re.compile(r"(?<=<!-- observed -->\n).*", re.DOTALL)


def documented_table() -> str:
    """The table in the documentation."""
    found = _OBSERVED.search(PAGE.read_text())
    assert found
    return found[0]


def main() -> int:
    with fault_environment():
        rows = {name: observe(fault) for name, fault in FAULTS.items()}
    print(table(rows))
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(_OBSERVED.sub(lambda _: table(rows) + "\n", PAGE.read_text()))
    wrong = [one for name, row in rows.items() for one in unexpected(FAULTS[name], row)]
    calls = sum(len(outcomes) for row in rows.values() for outcomes in row.values())
    print(f"\n{len(rows)} faults, {calls} calls. Wrong: {', '.join(wrong) or 'nothing'}.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
