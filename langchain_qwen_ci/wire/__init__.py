"""The three APIs of the service, one file each. Bytes in and out, no I/O.

An API is a `Wire` with three methods. `request` writes a prompt and its options as path, headers
and body. `decoder` returns an object that converts the bytes of an answer, split anywhere, to
`events`. `error` converts the body of an HTTP error to an exception. Names and formats of an API
appear in its own file only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Prompt, RequestOptions
    from langchain_qwen_ci.wire.events import Event


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request: the path below the host, the headers of the API (without the key), the body."""

    model: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Decoder(Protocol):
    """Converts the bytes of one answer to events. Both methods are generators.

    Attributes:
        frames_with_events: number of frames so far that produced events.
    """

    frames_with_events: int

    @property
    def started(self) -> bool:
        """True once an event was emitted; the request is not retried from then on."""

    @property
    def finished(self) -> bool:
        """True once the terminal event was received: the answer is complete."""

    @property
    def ended(self) -> bool:
        """True once all events were emitted: further bytes are ignored."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are complete with `data`, the next bytes.

        Raises:
            QwenAPIError: the service reports an error inside the stream.
            QwenStreamError: a frame cannot be parsed.
        """

    def close(self) -> Iterator[Event]:
        """Yield the remaining events at the end of the body.

        Raises:
            QwenStreamError: the body ended before the terminal event.
        """


class Wire(Protocol):
    """One API of the service."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        """Write a request.

        Raises:
            QwenInputError: the prompt contains something that this API or model does not support.
        """

    def decoder(self, request: WireRequest) -> Decoder:
        """Return a new decoder for the answer to `request`."""

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        """Convert a response with an HTTP status other than 200 to an exception."""
