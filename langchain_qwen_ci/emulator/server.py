"""The emulator's server: loopback HTTP around a mind, a sandbox and the wires' encoders."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from langchain_qwen_ci.emulator.dashscope import (
    PATHS,
    NativeRequest,
    Refusal,
    error_body,
    error_frame,
)
from langchain_qwen_ci.emulator.faults import (
    Cut,
    ErrorFrame,
    Fault,
    Garbage,
    JsonError,
    Reset,
    Stall,
    Status,
)
from langchain_qwen_ci.emulator.mind import Run
from langchain_qwen_ci.emulator.planner import Planner
from langchain_qwen_ci.emulator.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from starlette.requests import Request

    from langchain_qwen_ci.emulator.dashscope import NativeAnswer
    from langchain_qwen_ci.emulator.mind import Mind

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_START_SECONDS = 10.0


class ConnectionBroken(Exception):  # noqa: N818  # an order to the server, not an error of it
    """Raised in a body to make the server drop the connection, as `Reset` orders."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request that the emulator got. The key is masked in `headers`."""

    path: str
    headers: Mapping[str, str]
    body: Any


class EmulatorServer:
    """Qwen's code-interpreter-enabled endpoints on this machine.

    Args:
        mind: what thinks: a `Script`, a `Planner` (default), or anything with their `answer`.
        pace: seconds between two frames.
        api_key: the only key it accepts; None accepts every key.
        faults: faults for the first requests, in order; None leaves a request alone.
        limits: of the programs that run.
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
        OSError: the port is taken (when it starts).
    """

    def __init__(
        self,
        *,
        mind: Mind | None = None,
        pace: float = 0.0,
        api_key: str | None = None,
        faults: tuple[Fault | None, ...] = (),
        limits: Limits | None = None,
        port: int = 0,
    ) -> None:
        self.requests: list[Received] = []
        self.url = ""
        self._mind = mind or Planner()
        self._pace = pace
        self._api_key = api_key
        self._faults: deque[Fault | None] = deque(faults)
        self._limits = limits or Limits()
        self._port = port
        self._server: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    def order(self, *faults: Fault | None) -> None:
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
        """Start it in a thread of its own; it listens when this returns."""
        listener = socket.create_server((_HOST, self._port))
        self.url = f"http://{_HOST}:{listener.getsockname()[1]}"
        sandbox = Sandbox(self._limits)
        app = Starlette(
            routes=[Route("/{path:path}", _Endpoint(self, sandbox).answer, methods=["POST", "GET"])]
        )
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

    def take_fault(self) -> Fault | None:
        """The fault ordered for the request that has just come."""
        return self._faults.popleft() if self._faults else None

    def accepts(self, authorization: str) -> bool:
        """Whether a request's key is accepted."""
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and bool(key) and self._api_key in (None, key)

    @property
    def mind(self) -> Mind:
        return self._mind

    @property
    def pace(self) -> float:
        return self._pace


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


class _Endpoint:
    """Answers one request after the other."""

    def __init__(self, server: EmulatorServer, sandbox: Sandbox) -> None:
        self._server = server
        self._sandbox = sandbox

    async def answer(self, http: Request) -> Response:
        request_id = str(uuid.uuid4())
        body = _parsed(await http.body())
        self._server.requests.append(Received(http.url.path, _masked(http.headers), body))
        fault = self._server.take_fault()
        request = None
        if isinstance(body, dict) and http.url.path in PATHS:
            request = NativeRequest(http.url.path, http.headers, body)
        refusal = self._refusal(http, body, request, fault)
        if refusal is not None or request is None:
            return _refused(refusal, request_id, fault)
        if isinstance(fault, JsonError):
            content = error_body(fault.code, fault.message, request_id)
            return Response(content, media_type="application/json")
        answer = request.answer(request_id)
        payloads = self._payloads(request, answer)
        headers = {"x-request-id": request_id}
        try:
            first = await anext(payloads)
        except LookupError as error:  # a script that has run out
            return _refused(Refusal(500, "InternalError", str(error)), request_id, None)
        if not request.streams:
            *_, last = [first, *[payload async for payload in payloads]]
            content = answer.document(last)
            return Response(content, media_type="application/json", headers=headers)
        frames = _frames(first, payloads, answer, self._server.pace)
        spoilt = _spoilt(frames, fault, request_id)
        return StreamingResponse(spoilt, media_type="text/event-stream", headers=headers)

    def _refusal(
        self, http: Request, body: object, request: NativeRequest | None, fault: Fault | None
    ) -> Refusal | None:
        if isinstance(fault, Status):
            return Refusal(fault.status, fault.code, fault.message)
        if http.url.path not in PATHS:
            return Refusal(404, "NotFound", f"There is nothing at {http.url.path}.")
        if not self._server.accepts(http.headers.get("authorization", "")):
            return Refusal(401, "InvalidApiKey", "Invalid API-key provided.")
        if request is None:
            return Refusal(400, "BadRequest", f"The body is no JSON object: {type(body).__name__}")
        return request.refusal()

    async def _payloads(
        self, request: NativeRequest, answer: NativeAnswer
    ) -> AsyncIterator[dict[str, Any]]:
        """Let the mind think, run what it wants to run, and write it down."""
        question = request.question()
        steps = self._server.mind.answer(question)
        step = next(steps, None)
        async with self._sandbox.session() as session:
            while step is not None:
                for payload in answer.step(step):
                    yield payload
                result = None
                if isinstance(step, Run):
                    result = await session.run(step.code)
                    answer.ran(result)
                try:
                    step = steps.send(result)
                except StopIteration:
                    step = None
        for payload in answer.end():
            yield payload


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if name == "authorization" else value for name, value in headers.items()}


def _refused(refusal: Refusal | None, request_id: str, fault: Fault | None) -> Response:
    refusal = refusal or Refusal(500, "InternalError", "No answer.")
    more = dict(fault.headers) if isinstance(fault, Status) else {}
    return Response(
        error_body(refusal.code, refusal.message, request_id),
        status_code=refusal.status,
        headers={"x-request-id": request_id, **more},
        media_type="application/json",
    )


async def _frames(
    first: dict[str, Any],
    payloads: AsyncIterator[dict[str, Any]],
    answer: NativeAnswer,
    pace: float,
) -> AsyncIterator[bytes]:
    yield answer.frame(first)
    async for payload in payloads:
        if pace:
            await asyncio.sleep(pace)
        yield answer.frame(payload)


async def _spoilt(
    frames: AsyncIterator[bytes], fault: Fault | None, request_id: str
) -> AsyncIterator[bytes]:
    """The frames, until a fault strikes."""
    after = getattr(fault, "after", None)
    sent = 0
    async for frame in frames:
        if sent != after:
            yield frame
            sent += 1
            continue
        match fault:
            case Stall(_, seconds):
                await asyncio.sleep(seconds)
                yield frame
                sent += 1
            case Garbage(_, data):
                yield data + b"\n\n"
                return
            case ErrorFrame(_, status, code, message):
                yield error_frame(status, code, message, request_id)
                return
            case Cut(_, bytes_into_next):
                yield frame[:bytes_into_next]
                return
            case Reset():
                # The frames before are on their way only after the loop has had a turn.
                await asyncio.sleep(0)
                raise ConnectionBroken
