"""Runs a fault with combinations of an API and an entry point, and compares the outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import ssl
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any
from unittest import mock

import httpx2
from expected_answers import AnswerParts
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
# Clients that read certificates would block the event loop while the timeouts of others run.
_TLS = ssl.create_default_context()
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

Cell = tuple[str, str]  # API, entry point
Row = dict[Cell, list[Outcome]]

ALL_CELLS: list[Cell] = [(wire, entry_point) for wire in WIRES for entry_point in ENTRY_POINTS]
_SYNCHRONOUS = ("invoke", "stream", "node")
_ASYNCHRONOUS = ("astream", "anode", "ainvoke")


def selected_cells(fault: Fault) -> list[Cell]:
    """A synchronous and an asynchronous entry point for each API, as in a Latin square.

    Each row has every entry point once, and three consecutive rows have all cells. No API has both
    graphs in the same row, because these do not run all cases.
    """
    row = list(FAULTS).index(fault.name)
    return [
        (wire, entry_points[(row + column) % len(WIRES)])
        for column, wire in enumerate(WIRES)
        for entry_points in (_SYNCHRONOUS, _ASYNCHRONOUS)
    ]


def cases(fault: Fault, wire: str, entry_point: str) -> list[Case]:
    """The cases to run.

    With a graph, only the first and the last: its node calls the model's `invoke` or `ainvoke`,
    which run all cases by themselves.
    """
    cases = list(fault.cases(wire))
    return cases if entry_point in CHAT_MODEL else [cases[i] for i in sorted({0, len(cases) - 1})]


def expected(case: Case, entry_point: str) -> Outcome | None:
    if case.in_threads and not entry_point.startswith("a"):
        return case.in_threads
    return case.streamed if case.streamed and "stream" in entry_point else case.outcome


def expected_outcomes(fault: Fault, cell: Cell) -> list[Outcome | None]:
    return [expected(case, cell[1]) for case in cases(fault, *cell)]


def observe(fault: Fault, cells: Sequence[Cell], transport: str = "httpx") -> Row:
    """The outcomes of each cell. The cells run concurrently, since many wait for a timeout."""
    return asyncio.run(_observe(fault, cells, transport))


async def _observe(fault: Fault, cells: Sequence[Cell], transport: str) -> Row:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    observed = await asyncio.gather(*(_observe_cell(fault, *cell, transport) for cell in cells))
    return dict(zip(cells, observed, strict=True))


async def _observe_cell(fault: Fault, wire: str, entry_point: str, transport: str) -> list[Outcome]:
    try:
        return await _observe_cases(fault, wire, entry_point, transport)
    except Exception as error:
        error.add_note(
            f"Fault: {fault.name}. API: {wire}. Entry point: {entry_point}. Transport: {transport}."
        )
        raise


async def _observe_cases(
    fault: Fault, wire: str, entry_point: str, transport: str
) -> list[Outcome]:
    async with _servers(fault) as (server, elsewhere), AsyncExitStack() as stack:
        try:
            model = ChatQwenCodeInterpreter(
                api=wire,
                base_url=fault.address(server),
                api_key=KEY,
                **_transport_fields(transport, stack),
                **fault.fields,
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
        await stack.aclose()
        assert not await asyncio.to_thread(server.open), "a closed model holds a connection"
        return observed


def _transport_fields(transport: str, stack: AsyncExitStack) -> dict[str, Any]:
    """The model's fields for a transport; "httpx2" is clients that belong to the user."""
    if transport != "httpx2":
        return {"transport": transport}
    client, async_client = httpx2.Client(verify=_TLS), httpx2.AsyncClient(verify=_TLS)
    stack.callback(client.close)
    stack.push_async_callback(async_client.aclose)
    return {"http_client": client, "http_async_client": async_client}


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


def unexpected(fault: Fault, row: Row) -> Iterator[str]:
    """Describe each outcome that is not the expected one."""
    for cell, outcomes in row.items():
        for number, (wanted, outcome) in enumerate(
            zip(expected_outcomes(fault, cell), outcomes, strict=True)
        ):
            if wanted and wanted != outcome:
                yield (
                    f"{fault.name}, {', '.join(cell)}, case {number}:\n"
                    f"  expected {wanted}\n  observed {outcome}"
                )


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
