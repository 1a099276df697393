"""Wires: how one API of Qwen writes a request and how it tells an answer. Bytes only, no I/O.

A wire is three functions, and its vocabulary ends in its module: `request` turns a neutral
prompt into path, headers and body; a `decoder` turns the bytes of an answer, cut anywhere, into
`events`; `error` turns a refusal into an error of the tree.
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
    """What is sent: a path below the host, the wire's own headers (no key), and the body."""

    model: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Decoder(Protocol):
    """Turns the bytes of one answer into events. Both methods are lazy: iterate them.

    Attributes:
        told: how many frames there were so far that told something.
    """

    frames_with_events: int

    @property
    def started(self) -> bool:
        """Whether anything has been told: from then on a request is not repeated."""

    @property
    def finished(self) -> bool:
        """Whether the terminal event has come: without it an answer is not complete."""

    @property
    def ended(self) -> bool:
        """Whether everything is told: what still comes means nothing."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data`, the next bytes however cut, tells.

        Raises:
            QwenAPIError: the service reports an error inside the stream.
            QwenStreamError: a frame cannot be read.
        """

    def close(self) -> Iterator[Event]:
        """What is left to tell when the bytes end.

        Raises:
            QwenStreamError: the bytes ended before the terminal event.
        """


class Wire(Protocol):
    """One API of the service."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        """Write a request.

        Raises:
            QwenInputError: the prompt holds what this wire or model cannot take.
        """

    def decoder(self, request: WireRequest) -> Decoder:
        """A fresh decoder for the answer to `request`."""

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        """The error that an HTTP status other than 200 means."""
