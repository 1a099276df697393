"""Faults that can be injected, one for each request, encoded for each API.

Some faults replace the answer. The others let `after` frames pass first; an answer that is not
streamed is a single frame, which they affect whatever `after` is. Error codes are those of the
native API; the other APIs translate the codes that they know.
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
    """Answer 200 with a JSON body that holds an error, also to a streaming request."""

    code: str = "InternalError"
    message: str = _SORRY

    @property
    def error(self) -> ServiceError:
        return ServiceError(500, self.code, self.message)


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """Answer 200 with a failed response, as the Responses API does for a rate limit.

    A stream starts normally and then reports the failure; an answer that is not streamed is a JSON
    body with an error.
    """

    status: int = 429
    code: str = "Throttling.RateQuota"
    message: str = "Operation model request rate limit exceeded, please try again later."

    @property
    def error(self) -> ServiceError:
        return ServiceError(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Send an error frame in a 200 stream; an answer that is not streamed has the HTTP status of
    the error.
    """

    after: int
    status: int = 500
    code: str = "InternalError"
    message: str = _SORRY

    @property
    def error(self) -> ServiceError:
        return ServiceError(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Cut:
    """End the body early, this many bytes into the next frame."""

    after: int
    bytes_into_next: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """Close the connection in the middle of the body."""

    after: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing for this many seconds, then continue."""

    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send bytes that are not a frame of the API, and end the body."""

    after: int
    data: bytes = b'data:{"output":\n\n'


Fault = Status | ErrorBody | FailedResponse | ErrorFrame | Cut | Reset | Stall | Garbage


class ConnectionBroken(Exception):  # noqa: N818  # an order to the server, not an error of it
    """Raised in a body to make the server close the connection; see `Reset`."""


def as_single_chunk(fault: Fault | None) -> Fault | None:
    """Return the fault so that it affects the first frame."""
    return replace(fault, after=0) if isinstance(fault, Cut | Reset | Stall | Garbage) else fault


async def with_fault(
    frames: AsyncGenerator[bytes], fault: Fault | None, encoder: ResponseEncoder
) -> AsyncGenerator[bytes]:
    """Yield the frames of an answer with a fault."""
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
                    # The event loop sends the earlier frames only after it was given control.
                    await asyncio.sleep(0)
                    raise ConnectionBroken
