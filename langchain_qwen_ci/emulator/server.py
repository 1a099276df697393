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
from langchain_qwen_ci.emulator.mind import Finish, Run, Think
from langchain_qwen_ci.emulator.planner import Planner
from langchain_qwen_ci.emulator.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from starlette.requests import Request

    from langchain_qwen_ci.emulator.dashscope import NativeAnswer
    from langchain_qwen_ci.emulator.mind import Mind, Question, Step

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


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
        app = Starlette(
            routes=[Route("/{path:path}", _Endpoint(self, sandbox).answer, methods=_METHODS)]
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
        payloads = self._payloads(request.question(), answer)
        headers = {"x-request-id": request_id}
        try:
            first = await anext(payloads)
            if not request.streams:
                *_, last = [first, *[payload async for payload in payloads]]
                content = answer.document(last)
                return Response(content, media_type="application/json", headers=headers)
        except Exception as error:  # noqa: BLE001  # a mind is foreign code; a script may run out
            return _refused(Refusal(500, "InternalError", _told(error)), request_id, None)
        frames = _frames(first, payloads, answer, self._server.pace)
        spoilt = _spoilt(frames, fault, answer)
        return StreamingResponse(spoilt, media_type="text/event-stream", headers=headers)

    def _refusal(
        self, http: Request, body: object, request: NativeRequest | None, fault: Fault | None
    ) -> Refusal | None:
        if isinstance(fault, Status):
            return Refusal(fault.status, fault.code, fault.message)
        if http.url.path not in PATHS or http.method != "POST":
            return Refusal(404, "NotFound", f"There is nothing at {http.method} {http.url.path}.")
        if not self._server.accepts(http.headers.get("authorization", "")):
            return Refusal(401, "InvalidApiKey", "Invalid API-key provided.")
        if request is None:
            return Refusal(400, "BadRequest", f"The body is no JSON object: {type(body).__name__}")
        return request.refusal()

    async def _payloads(
        self, question: Question, answer: NativeAnswer
    ) -> AsyncIterator[dict[str, Any]]:
        """Let the mind think, run what it wants to run, and write it down."""
        steps = self._server.mind.answer(question)
        step = next(steps, None)
        async with self._sandbox.session() as session:
            while step is not None:
                for payload in answer.step(step) if _shown(step, question) else ():
                    yield payload
                if isinstance(step, Finish):
                    steps.close()
                    break
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


def _shown(step: Step, question: Question) -> bool:
    """Whether an answer shows a step at all.

    Raises:
        RuntimeError: the service could not have taken this step.
    """
    if isinstance(step, Run) and not question.code_interpreter:
        raise RuntimeError("The mind runs code, but the request's interpreter is off.")
    return question.thinking or not isinstance(step, Think)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
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
    try:
        async for payload in payloads:
            if pace:
                await asyncio.sleep(pace)
            yield answer.frame(payload)
    except Exception as error:  # noqa: BLE001  # a mind is foreign code, and 200 has been sent
        yield answer.error_frame(answer.written + 1, 500, "InternalError", _told(error))


async def _spoilt(
    frames: AsyncIterator[bytes], fault: Fault | None, answer: NativeAnswer
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
                yield answer.error_frame(sent + 1, status, code, message)
                return
            case Cut(_, bytes_into_next):
                yield frame[:bytes_into_next]
                return
            case Reset():
                # The frames before are on their way only after the loop has had a turn.
                await asyncio.sleep(0)
                raise ConnectionBroken
