"""The emulator's server: its options, its thread, its start and stop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Self, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from langchain_qwen_ci.emulator.endpoint import Endpoint, RecordedRequest
from langchain_qwen_ci.emulator.responders.planner import Planner
from langchain_qwen_ci.emulator.sandbox import Limits, Sandbox
from langchain_qwen_ci.emulator.wires.chat_completions import ChatCompletions
from langchain_qwen_ci.emulator.wires.dashscope import DashScope
from langchain_qwen_ci.emulator.wires.responses import Responses
from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from langchain_qwen_ci.emulator.faults import Fault
    from langchain_qwen_ci.emulator.responders.responder import Responder

_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class EmulatorServer:
    """Qwen's code-interpreter-enabled endpoints on this machine.

    Args:
        mind: what thinks: a `Script`, a `Planner` (default), or anything with their `answer`.
        pace: seconds between two frames.
        api_key: the only key it accepts; None accepts every key.
        faults: faults for the first requests, in order; None leaves a request alone. Or a
            function that says it of every request: requests that come together have no order.
        limits: of the programs that run.
        reasoning_events: how Responses names the events of reasoning: "reasoning_text", or the
            older "reasoning_summary_text".
        port: 0 takes a free one.

    Attributes:
        url: `http://127.0.0.1:PORT`, from the start of the server on.
        requests: what it has received, in order.

    Example:
        ```python
        with EmulatorServer() as server:
            model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
        ```

    Raises:
        ValueError: there are no events of that name.
        OSError: the port is taken (when it starts).
    """

    def __init__(  # noqa: PLR0913  # options of a server, all by name
        self,
        *,
        responder: Responder | None = None,
        pace: float = 0.0,
        api_key: str | None = None,
        faults: tuple[Fault | None, ...] | Callable[[RecordedRequest], Fault | None] = (),
        limits: Limits | None = None,
        reasoning_events: ReasoningEvents = "reasoning_text",
        port: int = 0,
    ) -> None:
        if reasoning_events not in get_args(ReasoningEvents):
            raise ValueError(f"reasoning_events {reasoning_events!r} is none of its names.")
        self.requests: list[RecordedRequest] = []
        self.url = ""
        self._responder = responder or Planner()
        self._pace = pace
        self._api_key = api_key
        self._faults: deque[Fault | None] = deque(() if callable(faults) else faults)
        self._fault_of = faults if callable(faults) else _no_fault
        self._limits = limits or Limits()
        self._reasoning_events = reasoning_events
        self._port = port
        self._server: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    def inject_fault(self, *faults: Fault | None) -> None:
        """Spoil the next requests, one fault each; None leaves a request alone."""
        self._faults.extend(faults)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it in a thread of its own; it listens when this returns.

        Raises:
            OSError: the port is taken.
            RuntimeError: it is running already.
        """
        if self._server is not None:
            raise RuntimeError(f"The emulator is running already, at {self.url}.")
        listener = socket.create_server((_HOST, self._port))
        self.url = f"http://{_HOST}:{listener.getsockname()[1]}"
        sandbox = Sandbox(self._limits)
        wires = (DashScope(), ChatCompletions(), Responses(self._reasoning_events))
        endpoint = Endpoint(self, sandbox, wires)
        app = Starlette(routes=[Route("/{path:path}", endpoint.respond, methods=_METHODS)])
        config = uvicorn.Config(app, lifespan="off", log_config=None, log_level="critical")
        self._server = _Uvicorn(config)
        self._thread = threading.Thread(
            target=asyncio.run,
            args=(_serve(self._server, sandbox, listener),),
            name="qwen-emulator",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop it, without waiting for streams that still run."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(_START_SECONDS)
        self._server = self._thread = None

    def take_fault(self, received: RecordedRequest) -> Fault | None:
        """The fault ordered for the request that has just come."""
        return self._faults.popleft() if self._faults else self._fault_of(received)

    def accepts(self, authorization: str) -> bool:
        """Whether a request's key is accepted."""
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and bool(key) and self._api_key in (None, key)

    @property
    def responder(self) -> Responder:
        return self._responder

    @property
    def pace(self) -> float:
        return self._pace


def _no_fault(_: RecordedRequest) -> None:
    return None


class _Uvicorn(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # From Python 3.12 on, closing a server waits for its connections: drop them first.
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await super().shutdown(sockets)


async def _serve(server: uvicorn.Server, sandbox: Sandbox, listener: socket.socket) -> None:
    async with sandbox:
        with listener:
            await server.serve(sockets=[listener])
        # Streams that still run are left by their clients as far as the sandbox is concerned.
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
