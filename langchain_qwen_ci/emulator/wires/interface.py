"""What the server knows of a wire: how it asks, how it answers, how it says what is wrong."""

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
    """Turns the steps of one answer into what the wire shows of them.

    Attributes:
        written: frames so far.
        closing: the bytes after the last frame.
    """

    written: int
    closing: bytes

    def begin(self) -> Iterator[Payload]:
        """The payloads of the frames before the first step."""

    def step(self, step: Step) -> Iterator[Payload]:
        """The payloads of the frames that a step makes."""

    def on_code_result(self, result: Result) -> Iterator[Payload]:
        """What is shown once the program of the last step has run."""

    def end(self) -> Iterator[Payload]:
        """The payloads of the last frames."""

    def frame(self, payload: Payload) -> bytes:
        """A payload as the next frame of the stream."""

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        """An error as this frame of the stream."""

    def document(self) -> bytes:
        """The whole answer as the body of one that is not streamed, after its end."""

    def failed_document(self, request_error: ServiceError) -> bytes:
        """An error as the body of an answer with HTTP status 200."""


class WireRequest(Protocol):
    """A request as it came by a wire, and what follows from it."""

    @property
    def parsed(self) -> ParsedRequest:
        """What it asks for. Complete only if there is no refusal."""

    def request_error(self) -> ServiceError | None:
        """The first rule that it breaks."""

    def response_error(self) -> ServiceError | None:
        """What is wrong with it that is told inside an answer with HTTP status 200."""

    def encoder(self, request_id: str) -> ResponseEncoder:
        """The encoder of the answer to it."""


class Wire(Protocol):
    """One API of the service.

    Attributes:
        paths: where it is served.
    """

    @property
    def paths(self) -> tuple[str, ...]: ...

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> WireRequest: ...

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        """An error in the place of an answer."""


def compact_json(payload: object) -> bytes:
    """JSON as the service writes it: without spaces, and without escapes for other scripts."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def call_id(call: Call, request_id: str, index: int) -> str:
    """The id of a call: its own, or one made of the request's."""
    return call.id or f"call_{request_id[:8]}_{index}"


def arguments_of(call: Call) -> tuple[str, str]:
    """The arguments of a call as JSON, in the two pieces that a stream carries them in."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    half = len(arguments) // 2
    return arguments[:half], arguments[half:]


def tool_calls(call: Call, request_id: str, index: int) -> tuple[Payload, Payload, Payload]:
    """A call in OpenAI's shape: whole, then in the two pieces that a stream carries it in.

    The second piece has no name and an empty id; `index` says what it belongs to (recorded).
    """
    identity = call_id(call, request_id, index)
    first, rest = arguments_of(call)
    return (
        _tool_call(index, identity, {"name": call.name, "arguments": first + rest}),
        _tool_call(index, identity, {"name": call.name, "arguments": first}),
        _tool_call(index, "", {"arguments": rest}),
    )


def _tool_call(index: int, identity: str, function: dict[str, str]) -> Payload:
    return {"index": index, "id": identity, "type": "function", "function": function}
