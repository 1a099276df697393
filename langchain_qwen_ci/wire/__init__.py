"""Wire formats: one module for each API of the service. They work on bytes and do no I/O.

Each API implements `Wire`: `request` writes a prompt as path, headers and JSON body; `decoder`
returns an object that turns the bytes of the response into `events`, however the bytes are split;
`error` converts an HTTP error response to an exception. Field names of an API appear only in its
own module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Prompt, RequestOptions
    from langchain_qwen_ci.wire.events import Event


@dataclass(frozen=True, slots=True)
class WireRequest:
    """An HTTP request of one API, without host and API key.

    Attributes:
        path: the path below the host.
        headers: the headers that this API needs; the transport adds the others.
        parse_think_tags: whether text in `<think>` tags is reasoning; the decoder needs it.
    """

    model: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    parse_think_tags: bool = False


class Decoder(Protocol):
    """Decodes the body of one response.

    `feed` and `close` append to a list of the caller, which so has the events that precede a
    malformed frame when the exception is raised.
    """

    @property
    def started(self) -> bool:
        """True once there was an event. Code may have run then, and a retry may run it again."""

    @property
    def finished(self) -> bool:
        """True once the finish reason was received. Without it the answer is incomplete."""

    @property
    def ended(self) -> bool:
        """True once there was the last event. Frames received later are ignored."""

    @property
    def has_new_data(self) -> bool:
        """Whether the bytes of the last `feed` contained data: a frame, or a part of one. Comments
        of server-sent events, which keep a connection alive, are no data."""

    def feed(self, data: bytes, events: list[Event]) -> None:
        """Decode the next bytes of the body and append their events.

        Raises:
            QwenAPIError: the service reported an error inside the stream.
            QwenStreamError: a frame is malformed.
        """

    def close(self, events: list[Event]) -> None:
        """Decode the rest when the body has ended and append the events.

        Raises:
            QwenAPIError: the service reported an error in the last frame.
            QwenStreamError: the last frame is malformed, or the finish reason is missing.
        """


class Wire(Protocol):
    """The wire format of one API."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        """Encode a prompt and its options.

        Raises:
            QwenInputError: the API does not support a part of the prompt or a parameter.
        """

    def decoder(self, request: WireRequest) -> Decoder:
        """Return a new decoder for the response to `request`."""

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        """Return the exception for an HTTP response whose status is not 200."""
