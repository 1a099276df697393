"""`EmulatorServer`: starts and stops the emulator in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from langchain_qwen_ci.emulator.endpoint import Endpoint, RecordedRequest
from langchain_qwen_ci.emulator.faults import Fault
from langchain_qwen_ci.emulator.responders.planner import Planner
from langchain_qwen_ci.emulator.responders.responder import Responder
from langchain_qwen_ci.emulator.sandbox import Limits, Sandbox
from langchain_qwen_ci.emulator.wires.chat_completions import ChatCompletions
from langchain_qwen_ci.emulator.wires.dashscope import DashScope
from langchain_qwen_ci.emulator.wires.responses import Responses
from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents
from langchain_qwen_ci.emulator.wires.stored_responses import ResponseStore

_HOST = "127.0.0.1"
_STOP_TIMEOUT_SECONDS = 10.0
# All methods reach the endpoint, so that a wrong one gets an error in the service's format.
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class EmulatorServer:
    """An emulator of Qwen's code-interpreter endpoints on this machine.

    Args:
        responder: decides the answers: a `Script`, a `Planner` (default), or your own `Responder`.
        pace: seconds between two frames of a stream.
        api_key: the only accepted key; None accepts every key.
        faults: faults for the first requests, in order; None leaves a request unchanged. Or a
            function that returns the fault of a request, for concurrent requests, which have no
            order.
        limits: limits of each program that runs.
        reasoning_events: the event name of reasoning on Responses: "reasoning_text", or the older
            "reasoning_summary_text".
        port: the port to listen on; 0 chooses a free one.

    Attributes:
        url: `http://127.0.0.1:PORT`; set when the server starts.
        requests: the received requests, in order.

    Example:
        ```python
        with EmulatorServer() as server:
            model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
        ```

    Raises:
        ValueError: the value of `reasoning_events` is unknown.
        OSError: the port is in use (raised when the server starts).
    """

    def __init__(  # noqa: PLR0913  # independent options, all by name
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
            names = " or ".join(map(repr, get_args(ReasoningEvents)))
            raise ValueError(f"reasoning_events must be {names}; {reasoning_events!r} is none.")
        self.requests: list[RecordedRequest] = []
        self.url = ""
        self._responder = responder or Planner()
        self._pace = pace
        self._api_key = api_key
        self._faults: deque[Fault | None] = deque(() if callable(faults) else faults)
        self._fault_function = faults if callable(faults) else None
        self._limits = limits or Limits()
        self._reasoning_events = reasoning_events
        self._port = port
        self._server: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    def inject_fault(self, *faults: Fault | None) -> None:
        """Inject faults into the next requests, one each; None leaves a request unchanged."""
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
        """Start the server in a thread; it accepts connections when this method returns.

        Raises:
            OSError: the port is in use.
            RuntimeError: the server is already running.
        """
        if self._server is not None:
            raise RuntimeError(f"The emulator is already running, at {self.url}.")
        listener = socket.create_server((_HOST, self._port))
        # Without TCP_NODELAY each response waits about 40 ms for a delayed ACK. asyncio sets it
        # only on sockets with TCP's protocol number, and `create_server` sets the number 0.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://{_HOST}:{listener.getsockname()[1]}"
        sandbox = Sandbox(self._limits)
        store = ResponseStore()
        wires = (DashScope(), ChatCompletions(), Responses(self._reasoning_events, store))
        endpoint = Endpoint(self, sandbox, wires, store)
        app = Starlette(routes=[Route("/{path:path}", endpoint.respond, methods=_METHODS)])
        # The application has no code for startup or shutdown. uvicorn must not log into the output
        # of the user's tests.
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
        """Stop the server without waiting for open streams."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(_STOP_TIMEOUT_SECONDS)
        self._server = self._thread = None

    def take_fault(self, received: RecordedRequest) -> Fault | None:
        """Return the fault for a request that was just received; None for no fault.

        Faults in order come before the function, so that `inject_fault` always has an effect.
        """
        if self._faults:
            return self._faults.popleft()
        return self._fault_function(received) if self._fault_function else None

    def accepts(self, authorization: str) -> bool:
        """Return whether the key of a request is accepted."""
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and bool(key) and self._api_key in (None, key)

    @property
    def responder(self) -> Responder:
        return self._responder

    @property
    def pace(self) -> float:
        return self._pace


class _Uvicorn(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Since Python 3.12, closing a server waits until its connections are closed by the clients,
        # so they are closed here first.
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await super().shutdown(sockets)


async def _serve(server: uvicorn.Server, sandbox: Sandbox, listener: socket.socket) -> None:
    """Serve until the server is stopped, then cancel what is still running."""
    async with sandbox:
        with listener:
            await server.serve(sockets=[listener])
        # A cancelled request stops its program; otherwise the sandbox would wait for it.
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
