"""`EmulatorServer`: starts and stops the emulator in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from langchain_qwen_ci.emulator.endpoint import Endpoint
from langchain_qwen_ci.emulator.faults import Fault
from langchain_qwen_ci.emulator.requests.recorded_requests import RecordedRequest, remove_oldest
from langchain_qwen_ci.emulator.responders.planner import Planner
from langchain_qwen_ci.emulator.responders.responder import Responder
from langchain_qwen_ci.emulator.responders.script import Script, Turn
from langchain_qwen_ci.emulator.sandbox import Limits, Sandbox
from langchain_qwen_ci.emulator.wires.chat_completions import ChatCompletions
from langchain_qwen_ci.emulator.wires.dashscope import DashScope
from langchain_qwen_ci.emulator.wires.responses import Responses
from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents
from langchain_qwen_ci.emulator.wires.stored_responses import ResponseStore

_HOST = "127.0.0.1"
_MIB = 1024 * 1024
_STOP_TIMEOUT_SECONDS = 10.0
# All methods reach the endpoint, so that a wrong one gets an error in the service's format.
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class UnusedFaultWarning(UserWarning):
    """An injected fault never took effect, so that a test has not tested it."""


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
        allowed_hosts: names in the `Host` header, without port, that are accepted besides
            "localhost", "127.0.0.1" and "[::1]". Requests for other hosts are rejected with HTTP
            421, so that web pages cannot reach the emulator by DNS rebinding.
        max_request_bytes: maximum size of a request's body; larger ones are rejected with HTTP 413.
        max_recorded_requests: maximum length of `requests`; the oldest are removed.
        max_recorded_bytes: maximum size of all bodies in `requests`; the oldest are removed.

    Attributes:
        url: `http://127.0.0.1:PORT`; set when the server starts.
        requests: the newest received requests, in order.
        received: number of requests received, including those that `requests` no longer has.

    Example:
        ```python
        with EmulatorServer() as server:
            model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
        ```

    Raises:
        TypeError: `responder` has no method `respond`, or `allowed_hosts` is a string.
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
        allowed_hosts: Collection[str] = (),
        max_request_bytes: int = 20 * _MIB,
        max_recorded_requests: int = 1000,
        max_recorded_bytes: int = 100 * _MIB,
    ) -> None:
        if reasoning_events not in get_args(ReasoningEvents):
            names = " or ".join(map(repr, get_args(ReasoningEvents)))
            raise ValueError(f"reasoning_events must be {names}; {reasoning_events!r} is none.")
        if responder is not None and not callable(getattr(responder, "respond", None)):
            raise TypeError(
                "responder must be a Script, a Planner or an object with a method respond; a list "
                f"of steps belongs into Script([...]). Not {responder!r}."
            )
        if isinstance(allowed_hosts, str):
            raise TypeError(f"allowed_hosts must be a list of names: [{allowed_hosts!r}].")
        self.requests: list[RecordedRequest] = []
        self.received = 0
        self.allowed_hosts = frozenset(map(str.lower, allowed_hosts))
        self.max_request_bytes = max_request_bytes
        self._max_recorded_requests = max_recorded_requests
        self._max_recorded_bytes = max_recorded_bytes
        self.url = ""
        self._responder = responder or Planner()
        self._pace = pace
        self._api_key = api_key
        self._faults: deque[Fault | None] = deque(() if callable(faults) else faults)
        # The faults of requests, until they take effect.
        self._pending_faults: list[tuple[RecordedRequest, Fault]] = []
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
        if error is None and (unused := self.unused_faults):
            warnings.warn(
                f"These injected faults never took effect: {', '.join(map(repr, unused))}",
                UnusedFaultWarning,
                stacklevel=2,
            )

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
        # Without `ws="none"` it imports websockets, whose newer versions warn of deprecations.
        config = uvicorn.Config(
            app, lifespan="off", ws="none", log_config=None, log_level="critical"
        )
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

    def record(self, received: RecordedRequest) -> None:
        """Add a request to `requests`, within the limits."""
        self.received += 1
        self.requests.append(received)
        remove_oldest(self.requests, self._max_recorded_requests, self._max_recorded_bytes)

    @property
    def unused_faults(self) -> tuple[Fault, ...]:
        """The injected faults without an effect so far.

        No request has come for them, or the answer ended before the place of the fault. An answer
        whose client disconnected does not count. Leaving the server's `with` block warns of them.
        """
        pending = (fault for _, fault in self._pending_faults)
        return (*pending, *(fault for fault in self._faults if fault is not None))

    def on_fault(self, received: RecordedRequest) -> None:
        """Register that the fault of a request took effect, or that its client disconnected."""
        self._pending_faults = [
            (request, fault) for request, fault in self._pending_faults if request is not received
        ]

    def set_script(self, *turns: Turn) -> None:
        """Answer the next requests with a new `Script` of these answers.

        Raises:
            TypeError: an argument is no list of steps.
        """
        self._responder = Script(*turns)

    def take_fault(self, received: RecordedRequest) -> Fault | None:
        """Return the fault for a request that was just received; None for no fault.

        Faults in order come before the function, so that `inject_fault` always has an effect.
        """
        fault: Fault | None = None
        if self._faults:
            fault = self._faults.popleft()
        elif self._fault_function:
            fault = self._fault_function(received)
        if fault is not None:
            self._pending_faults.append((received, fault))
        return fault

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
