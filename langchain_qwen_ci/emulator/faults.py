"""Faults to order: each spoils one request.

Some answer in place of the service; the others let `after` frames of a healthy stream pass and
then strike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SORRY = "An internal error has occurred, please try again later."


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an HTTP status and an error body, before anything runs."""

    status: int
    code: str = "InternalError"
    message: str = _SORRY
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JsonError:
    """Answer 200 with a JSON body that holds an error."""

    code: str = "InternalError"
    message: str = _SORRY


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Send an error inside the 200 stream."""

    after: int
    status: int = 500
    code: str = "InternalError"
    message: str = _SORRY


@dataclass(frozen=True, slots=True)
class Cut:
    """End the body early and cleanly, so many bytes into the next frame."""

    after: int
    bytes_into_next: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """Drop the connection in the middle of the body."""

    after: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Fall silent for so many seconds, then go on."""

    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send bytes that are no frame of this wire, and end."""

    after: int
    data: bytes = b'data:{"output":\n\n'


Fault = Status | JsonError | ErrorFrame | Cut | Reset | Stall | Garbage
