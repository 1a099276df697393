"""The interface of an API in the emulator: parse a request, encode an answer, encode an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.parsed_request import ParsedRequest
    from langchain_qwen_ci.emulator.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Call, Result, Step

Payload = dict[str, Any]


class ResponseEncoder(Protocol):
    """Encodes the steps of one answer.

    Attributes:
        written: number of frames so far.
        closing: the bytes after the last frame.
    """

    written: int
    closing: bytes

    def begin(self) -> Iterator[Payload]:
        """Yield the payloads of the frames before the first step."""

    def step(self, step: Step) -> Iterator[Payload]:
        """Yield the payloads of the frames of a step."""

    def on_code_result(self, result: Result) -> Iterator[Payload]:
        """Yield the payloads of the frames after a program has run."""

    def end(self) -> Iterator[Payload]:
        """Yield the payloads of the last frames."""

    def frame(self, payload: Payload) -> bytes:
        """Encode a payload as the next frame of the stream."""

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        """Encode an error as a frame of the stream."""

    def document(self) -> bytes:
        """Return the body of an answer that is not streamed, after its end."""

    def failed_document(self, request_error: ServiceError) -> bytes:
        """Return the body of a failed answer with HTTP status 200."""


class WireRequest(Protocol):
    """A request of one API."""

    @property
    def parsed(self) -> ParsedRequest:
        """The neutral form of the request; complete only if there is no error."""

    def request_error(self) -> ServiceError | None:
        """Return the error of the first rule that the request violates; None without one."""

    def response_error(self) -> ServiceError | None:
        """Return the error that is reported inside an answer with HTTP status 200; None if there is
        none.
        """

    def create_encoder(self, request_id: str) -> ResponseEncoder:
        """Return a new encoder for the answer."""


class Wire(Protocol):
    """One API of the service.

    Attributes:
        paths: the paths of the API.
    """

    @property
    def paths(self) -> tuple[str, ...]: ...

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> WireRequest: ...

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        """Encode an error in place of an answer."""


def compact_json(payload: object) -> bytes:
    """Serialize JSON as the service does: no spaces, and non-ASCII characters unescaped."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def call_id(call: Call, request_id: str, index: int) -> str:
    """Return the id of a call: its own, or one made from the request's id."""
    return call.id or f"call_{request_id[:8]}_{index}"


def arguments_of(call: Call) -> tuple[str, str]:
    """Return the arguments of a call as JSON, in the two parts that a stream sends."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    half = len(arguments) // 2
    return arguments[:half], arguments[half:]


def tool_calls(call: Call, request_id: str, index: int) -> tuple[Payload, Payload, Payload]:
    """Return a call in OpenAI's format: complete, then the two parts that a stream sends.

    The second part has no name and an empty id; its `index` identifies the call (recorded).
    """
    tool_call_id = call_id(call, request_id, index)
    first, second = arguments_of(call)
    return (
        _tool_call(index, tool_call_id, {"name": call.name, "arguments": first + second}),
        _tool_call(index, tool_call_id, {"name": call.name, "arguments": first}),
        _tool_call(index, "", {"arguments": second}),
    )


def _tool_call(index: int, tool_call_id: str, function: dict[str, str]) -> Payload:
    return {"index": index, "id": tool_call_id, "type": "function", "function": function}
