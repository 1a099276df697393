"""Handles the emulator's HTTP requests: chooses the API, checks the request, starts the answer."""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

from langchain_qwen_ci.emulator.answers.answer_stream import (
    AnswerStream,
    RejectedError,
    failed_frames,
)
from langchain_qwen_ci.emulator.answers.disconnects import (
    ClosingStreamingResponse,
    run_while_connected,
)
from langchain_qwen_ci.emulator.faults import (
    ErrorBody,
    ErrorFrame,
    FailedResponse,
    Stall,
    Status,
    moved_to_first_frame,
    with_fault,
)
from langchain_qwen_ci.emulator.requests.http_limits import check_host, check_size, read_body
from langchain_qwen_ci.emulator.requests.recorded_requests import RecordedRequest
from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
from langchain_qwen_ci.emulator.wires.encoding import compact_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request

    from langchain_qwen_ci.emulator.faults import Fault
    from langchain_qwen_ci.emulator.responders.responder import Responder
    from langchain_qwen_ci.emulator.sandbox import Sandbox
    from langchain_qwen_ci.emulator.wires.interface import ResponseEncoder, Wire, WireRequest
    from langchain_qwen_ci.emulator.wires.stored_responses import ResponseStore

_JSON = "application/json"
_EVENT_STREAM = "text/event-stream"


class Settings(Protocol):
    """The settings that the endpoint reads from the server for each request."""

    allowed_hosts: frozenset[str]
    max_request_bytes: int

    @property
    def responder(self) -> Responder: ...
    @property
    def pace(self) -> float: ...
    def record(self, received: RecordedRequest) -> None: ...
    def on_fault(self, received: RecordedRequest) -> None: ...
    def take_fault(self, received: RecordedRequest) -> Fault | None: ...
    def accepts(self, authorization: str) -> bool: ...


class Endpoint:
    """Answers requests on the paths of all APIs; the first API answers unknown paths.

    Args:
        settings: the settings of the server.
        sandbox: runs the programs of all answers.
        wires: the APIs.
        store: the stored responses, which have paths of their own.
    """

    def __init__(
        self,
        settings: Settings,
        sandbox: Sandbox,
        wires: tuple[Wire, ...],
        store: ResponseStore,
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._store = store
        self._default_wire = wires[0]
        self._wires = {path: wire for wire in wires for path in wire.paths}

    async def respond(self, http: Request) -> Response:
        """Return the response to a request; this is the handler of all routes."""
        request_id = str(uuid.uuid4())
        wire = self._wires.get(http.url.path, self._default_wire)
        content, size = await read_body(http, self._settings.max_request_bytes)
        host_error = check_host(http.headers.get("host"), self._settings.allowed_hosts)
        if host_error:  # neither recorded nor failed: it is none of the requests of the tests
            error_body = wire.error_body(host_error, request_id)
            return Response(error_body, host_error.status, media_type=_JSON)
        body = None if content is None else _parse_json(content)
        # Recorded requests are printed and stored, so they must not contain the key.
        headers = {
            name: "***" if name == "authorization" else value
            for name, value in http.headers.items()
        }
        received = RecordedRequest(http.url.path, headers, body, size)
        self._settings.record(received)
        fault = self._settings.take_fault(received)
        on_fault = partial(self._settings.on_fault, received)
        try:
            if isinstance(fault, Status):
                on_fault()
                _raise_error(fault.error)
            _raise_error(check_size(size, self._settings.max_request_bytes))
            if (document := self._stored_document(http)) is not None:
                headers = {"x-request-id": request_id}
                return Response(document, media_type=_JSON, headers=headers)
            request = self._check_request(http, body)
            encoder = request.create_encoder(request_id)
            answering = self._respond(
                request, encoder, fault, on_fault, {"x-request-id": request_id}
            )
            return await run_while_connected(http, answering)
        except asyncio.CancelledError:  # the client has disconnected
            on_fault()
            raise
        except RejectedError as rejected:
            fault_headers = fault.headers if isinstance(fault, Status) else {}
            return Response(
                wire.error_body(rejected.error, request_id),
                status_code=rejected.error.status,
                headers={"x-request-id": request_id, **fault_headers},
                media_type=_JSON,
            )

    def _stored_document(self, http: Request) -> bytes | None:
        """Return the answer to a request for a stored response; None for any other request.

        Raises:
            RejectedError: the key is wrong, or there is no such response.
        """
        if not self._store.is_path(http.method, http.url.path):
            return None
        self._check_key(http)
        document = self._store.document(http.method, http.url.path, http.query_params)
        if isinstance(document, ServiceError):
            raise RejectedError(document)
        return compact_json(document)

    def _check_key(self, http: Request) -> None:
        if not self._settings.accepts(http.headers.get("authorization", "")):
            raise RejectedError(ServiceError(401, "InvalidApiKey", "Invalid API-key provided."))

    def _check_request(self, http: Request, body: object) -> WireRequest:
        """Return the request in the form of its API.

        Raises:
            RejectedError: the service rejects such a request.
        """
        path = http.url.path
        wire = self._wires.get(path)
        if wire is None or http.method != "POST":
            raise RejectedError(ServiceError(404, "NotFound", f"There is no {http.method} {path}."))
        self._check_key(http)
        if not isinstance(body, dict):
            message = f"The body is not a JSON object: {type(body).__name__}"
            raise RejectedError(ServiceError(400, "BadRequest", message))
        request = wire.request(path, http.headers, body)
        if request_error := request.request_error():
            raise RejectedError(request_error)
        return request

    async def _respond(
        self,
        request: WireRequest,
        encoder: ResponseEncoder,
        fault: Fault | None,
        on_fault: Callable[[], None],
        headers: dict[str, str],
    ) -> Response:
        """Return the response with HTTP status 200, with its fault.

        Raises:
            RejectedError: the responder failed before anything was sent, or the fault is an HTTP
                error of an answer that is not streamed.
        """
        if isinstance(fault, Stall) and fault.after == "request":
            on_fault()
            await asyncio.sleep(fault.seconds)
            fault = None
        streams = request.parsed.streams
        injected = fault.error if isinstance(fault, FailedResponse | ErrorBody) else None
        response_error = injected or request.response_error()
        if injected:
            on_fault()
        if response_error and (not streams or isinstance(fault, ErrorBody)):
            document = encoder.failed_document(response_error)
            return Response(document, media_type=_JSON, headers=headers)
        answer = AnswerStream(request, encoder, self._settings.responder, self._sandbox)
        if response_error:
            frames = failed_frames(encoder, response_error)
        elif streams:
            frames = await answer.frames(self._settings.pace)
        elif isinstance(fault, ErrorFrame):
            on_fault()
            raise RejectedError(fault.error)
        else:
            document = await answer.document()
            if fault is None:
                return Response(document, media_type=_JSON, headers=headers)
            # The document is sent in the way of a stream, because faults break off streams.
            frames, fault = _single_frame(document), moved_to_first_frame(fault)
        media_type = _EVENT_STREAM if streams else _JSON
        faulty_frames = with_fault(frames, fault, encoder, answer.places, on_fault)
        return ClosingStreamingResponse(faulty_frames, media_type, headers)


def _raise_error(error: ServiceError | None) -> None:
    """Raise an error that replaces the answer; None does nothing.

    Raises:
        RejectedError: there is an error.
    """
    if error is not None:
        raise RejectedError(error)


def _parse_json(content: bytes) -> object:
    """Return the parsed body; None if it is not JSON, or nested too deeply for Python."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


async def _single_frame(document: bytes) -> AsyncGenerator[bytes]:
    yield document
