"""Handles the emulator's HTTP requests: parses them, checks them, runs the responder, injects
faults.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response, StreamingResponse

from langchain_qwen_ci.emulator.faults import (
    ErrorBody,
    ErrorFrame,
    FailedResponse,
    Status,
    as_single_chunk,
    with_fault,
)
from langchain_qwen_ci.emulator.request_rules import ServiceError
from langchain_qwen_ci.emulator.responders.responder import Extract, Finish, Run, Search, Think

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from langchain_qwen_ci.emulator.faults import Fault
    from langchain_qwen_ci.emulator.responders.responder import (
        ModelRequest,
        Responder,
        Result,
        Step,
        Steps,
    )
    from langchain_qwen_ci.emulator.sandbox import Sandbox
    from langchain_qwen_ci.emulator.wires.interface import (
        Payload,
        ResponseEncoder,
        Wire,
        WireRequest,
    )

_JSON = "application/json"
_EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the emulator received. The key is masked in `headers`."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Settings(Protocol):
    """The settings that the endpoint reads from the server for each request."""

    requests: list[RecordedRequest]

    @property
    def responder(self) -> Responder: ...
    @property
    def pace(self) -> float: ...
    def take_fault(self, received: RecordedRequest) -> Fault | None: ...
    def accepts(self, authorization: str) -> bool: ...


class Endpoint:
    """Answers requests on the paths of all APIs; the first API answers unknown paths."""

    def __init__(self, settings: Settings, sandbox: Sandbox, wires: tuple[Wire, ...]) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._default_wire = wires[0]
        self._wires = {path: wire for wire in wires for path in wire.paths}

    async def respond(self, http: Request) -> Response:
        request_id = str(uuid.uuid4())
        body = _parsed(await http.body())
        received = RecordedRequest(http.url.path, _masked(http.headers), body)
        self._settings.requests.append(received)
        fault = self._settings.take_fault(received)
        try:
            request = self._check_request(http, body, fault)
            encoder = request.create_encoder(request_id)
            sending = self._respond(request, encoder, fault, {"x-request-id": request_id})
            return await _while_connected(http, sending)
        except _RefusedError as refused:
            wire = self._wires.get(http.url.path, self._default_wire)
            more = dict(fault.headers) if isinstance(fault, Status) else {}
            return Response(
                wire.error_body(refused.error, request_id),
                status_code=refused.error.status,
                headers={"x-request-id": request_id, **more},
                media_type=_JSON,
            )

    def _check_request(self, http: Request, body: object, fault: Fault | None) -> WireRequest:
        path = http.url.path
        if isinstance(fault, Status):
            raise _RefusedError(ServiceError(fault.status, fault.code, fault.message))
        wire = self._wires.get(path)
        if wire is None or http.method != "POST":
            raise _RefusedError(ServiceError(404, "NotFound", f"There is no {http.method} {path}."))
        if not self._settings.accepts(http.headers.get("authorization", "")):
            raise _RefusedError(ServiceError(401, "InvalidApiKey", "Invalid API-key provided."))
        if not isinstance(body, dict):
            message = f"The body is not a JSON object: {type(body).__name__}"
            raise _RefusedError(ServiceError(400, "BadRequest", message))
        request = wire.request(path, http.headers, body)
        if request_error := request.request_error():
            raise _RefusedError(request_error)
        return request

    async def _respond(
        self,
        request: WireRequest,
        encoder: ResponseEncoder,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> Response:
        streams = request.parsed.streams
        response_error = _failure(fault) or request.response_error()
        if response_error and (not streams or isinstance(fault, ErrorBody)):
            return Response(
                encoder.failed_document(response_error), media_type=_JSON, headers=headers
            )
        if response_error:
            frames = _as_async(_failed_stream(encoder, response_error))
        elif streams:
            frames = await self._frames(request, encoder)
        else:
            if isinstance(fault, ErrorFrame):
                raise _RefusedError(fault.error)
            document = await self._document(request, encoder)
            if fault is None:
                return Response(document, media_type=_JSON, headers=headers)
            frames, fault = _as_async([document]), as_single_chunk(fault)
        return _Stream(
            with_fault(frames, fault, encoder),
            media_type=_EVENTS if streams else _JSON,
            headers=headers,
        )

    async def _document(self, request: WireRequest, encoder: ResponseEncoder) -> bytes:
        try:
            async for _ in self._payloads(request, encoder):
                pass
        except Exception as error:
            raise _RefusedError(_internal_error(error)) from error
        return encoder.document()

    async def _frames(
        self, request: WireRequest, encoder: ResponseEncoder
    ) -> AsyncGenerator[bytes]:
        """Return the frames of the answer, after the first one was produced.

        Raises:
            _RefusedError: the responder failed before the first frame, so that an HTTP error can be
                sent.
        """
        payloads = self._payloads(request, encoder)
        try:
            first = await anext(payloads)
        except Exception as error:
            raise _RefusedError(_internal_error(error)) from error
        return _paced_frames(first, payloads, encoder, self._settings.pace)

    async def _payloads(
        self, request: WireRequest, encoder: ResponseEncoder
    ) -> AsyncGenerator[Payload]:
        """Run the responder, execute its code, and encode its steps."""
        writer = _StreamWriter(request, encoder)
        steps = self._settings.responder.respond(writer.model_request)
        session = self._sandbox.session()
        with closing(steps):
            step = next(steps, None)
            for payload in writer.begin(step):
                yield payload
            while step is not None and not writer.finished:
                for payload in writer.step(step):
                    yield payload
                result = None
                if isinstance(step, Run) and not writer.finished:
                    result = await session.run(step.code)
                    for payload in encoder.on_code_result(result):
                        yield payload
                step = _next(steps, result)
        for payload in writer.end():
            yield payload


class _Stream(StreamingResponse):
    """A streaming response that closes its generator when the client disconnects.

    Starlette leaves the generator to the garbage collector, which would keep the responder and a
    worker of the sandbox.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(frames, media_type=media_type, headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames):
            await super().__call__(scope, receive, send)


class _StreamWriter:
    """Encodes the steps of a responder: without reasoning if thinking is off, and nothing after the
    end.
    """

    def __init__(self, request: WireRequest, encoder: ResponseEncoder) -> None:
        self.model_request = request.parsed.to_model_request()
        self.finished = False
        self._trimmer = request.parsed.stop_limiter()
        self._encoder = encoder

    def begin(self, first: Step | None) -> Iterator[Payload]:
        """Encode the start of the answer, after checking that the first step is allowed."""
        _check(first, self.model_request)
        yield from self._encoder.begin()

    def step(self, step: Step) -> Iterator[Payload]:
        _check(step, self.model_request)
        if self.model_request.thinking or not isinstance(step, Think):
            yield from self._encode(self._trimmer.step(step))

    def end(self) -> Iterator[Payload]:
        yield from self._encode(self._trimmer.end())
        yield from self._encoder.end()

    def _encode(self, steps: Iterable[Step]) -> Iterator[Payload]:
        for step in steps:
            yield from self._encoder.step(step)
            if isinstance(step, Finish):
                self.finished = True
                return


class _RefusedError(Exception):
    """An error that is sent in place of an answer."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error


def _check(step: Step | None, model_request: ModelRequest) -> None:
    """Check that the request allows a step.

    Raises:
        RuntimeError: the step needs a feature that the request has not turned on.
    """
    if isinstance(step, Run) and not model_request.code_interpreter:
        raise RuntimeError("The responder runs code, but the request's interpreter is off.")
    tool = {Search: "web_search", Extract: "web_extractor"}.get(type(step))
    if tool and tool not in model_request.server_tools:
        raise RuntimeError(f"The responder uses {tool}, but the request has not switched it on.")


def _next(steps: Steps, result: Result | None) -> Step | None:
    try:
        return steps.send(result)
    except StopIteration:
        return None


def _failure(fault: Fault | None) -> ServiceError | None:
    return fault.error if isinstance(fault, FailedResponse | ErrorBody) else None


def _internal_error(error: Exception) -> ServiceError:
    """Return the error for an exception of a responder, which is user code."""
    return ServiceError(500, "InternalError", f"{type(error).__name__}: {error}")


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if name == "authorization" else value for name, value in headers.items()}


async def _while_connected(http: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Return the result of a coroutine; cancel it when the client disconnects."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_disconnected(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
        return await working
    finally:
        working.cancel()
        leaving.cancel()


async def _client_disconnected(http: Request) -> None:
    """Wait until the client disconnects. The body was read, so no other message can arrive."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _as_async(frames: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for frame in frames:
        yield frame


def _failed_stream(encoder: ResponseEncoder, response_error: ServiceError) -> Iterator[bytes]:
    for payload in encoder.begin():
        yield encoder.frame(payload)
    yield encoder.error_frame(encoder.written + 1, response_error)


async def _paced_frames(
    first: Payload, payloads: AsyncGenerator[Payload], encoder: ResponseEncoder, pace: float
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(payloads):
            yield encoder.frame(first)
            async for payload in payloads:
                if pace:
                    await asyncio.sleep(pace)
                yield encoder.frame(payload)
    except Exception as error:  # noqa: BLE001  # any responder's error; 200 has been sent
        yield encoder.error_frame(encoder.written + 1, _internal_error(error))
        return
    if encoder.closing:
        yield encoder.closing
