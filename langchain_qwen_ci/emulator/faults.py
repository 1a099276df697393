"""Faults to order: each spoils one request, on every wire in that wire's own shape.

Some answer in place of the service; the others let `after` frames of a healthy stream pass and
then strike. An answer that is not streamed is one piece, which they strike whatever `after` is.
Codes are the native ones; a wire that has others translates those that it knows.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.request_rules import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from langchain_qwen_ci.emulator.wires.interface import ResponseEncoder

_SORRY = "An internal error has occurred, please try again later."


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an HTTP status and an error body, before anything runs."""

    status: int
    code: str = "InternalError"
    message: str = _SORRY
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """Answer 200 with a JSON body that holds an error, even where a stream was asked for."""

    code: str = "InternalError"
    message: str = _SORRY

    @property
    def error(self) -> ServiceError:
        return ServiceError(500, self.code, self.message)


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """Answer 200 with an answer that has failed, as Responses does at a rate limit.

    A stream begins as always and then says so; another answer is a JSON body that holds an error.
    """

    status: int = 429
    code: str = "Throttling.RateQuota"
    message: str = "Operation model request rate limit exceeded, please try again later."

    @property
    def error(self) -> ServiceError:
        return ServiceError(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Send an error inside the 200 stream; in place of a document, with its own HTTP status."""

    after: int
    status: int = 500
    code: str = "InternalError"
    message: str = _SORRY

    @property
    def error(self) -> ServiceError:
        return ServiceError(self.status, self.code, self.message)


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


Fault = Status | ErrorBody | FailedResponse | ErrorFrame | Cut | Reset | Stall | Garbage


class ConnectionBroken(Exception):  # noqa: N818  # an order to the server, not an error of it
    """Raised in a body to make the server drop the connection, as `Reset` orders."""


def as_single_chunk(fault: Fault | None) -> Fault | None:
    """The fault as it strikes the first frame."""
    return replace(fault, after=0) if isinstance(fault, Cut | Reset | Stall | Garbage) else fault


async def with_fault(
    frames: AsyncGenerator[bytes], fault: Fault | None, encoder: ResponseEncoder
) -> AsyncGenerator[bytes]:
    """The frames of an answer, until a fault strikes."""
    async with aclosing(frames):
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
                case ErrorFrame():
                    yield encoder.error_frame(sent + 1, fault.error)
                    return
                case Cut(_, bytes_into_next):
                    yield frame[:bytes_into_next]
                    return
                case Reset():
                    # The frames before are on their way only after the loop has had a turn.
                    await asyncio.sleep(0)
                    raise ConnectionBroken
