"""The interface of an API in the emulator: parse a request, encode an answer, encode an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest
    from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Result, Step

Payload = dict[str, Any]


class ResponseEncoder(Protocol):
    """Encodes the steps of one answer.

    A step becomes payloads, and `frame` encodes a payload as a frame. An answer that is not
    streamed needs the payloads as well, because its document is built while they are produced.

    Attributes:
        written: number of frames so far.
        closing: the bytes after the last frame.
    """

    written: int
    closing: bytes

    def start_payloads(self) -> Iterator[Payload]:
        """Yield the payloads before the first step."""

    def step_payloads(self, step: Step) -> Iterator[Payload]:
        """Yield the payloads of a step; for a `Run` step those before its program runs."""

    def result_payloads(self, result: Result) -> Iterator[Payload]:
        """Yield the payloads after a program has run."""

    def end_payloads(self) -> Iterator[Payload]:
        """Yield the last payloads of the answer."""

    def frame(self, payload: Payload) -> bytes:
        """Encode a payload as the next frame of the stream."""

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        """Encode an error as the frame with this number, counted from 1."""

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
    """One API of the service."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The URL paths that the API serves."""

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> WireRequest:
        """Parse a request, without checking it.

        Args:
            path: one of `paths`.
            headers: the headers, with lower-case names.
            body: the JSON body.
        """

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        """Encode an error in place of an answer."""
