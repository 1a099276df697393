"""Faults that can be injected, one for each request, encoded for each API.

`Status`, `ErrorBody` and `FailedResponse` replace the answer. The others take effect when `after`
frames have been sent; an answer that is not streamed is a single frame, which they affect whatever
`after` is. Error codes are those of the
native API; the other APIs translate the codes that they know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.requests.request_rules import ServiceError

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.wires.interface import ResponseEncoder

_DEFAULT_MESSAGE = "An internal error has occurred, please try again later."


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an HTTP status and an error body, before anything runs.

    Attributes:
        headers: further headers of the response, such as "retry-after".
    """

    status: int
    code: str = "InternalError"
    message: str = _DEFAULT_MESSAGE
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """Answer HTTP 200 with an error as the JSON body, also to a streaming request."""

    code: str = "InternalError"
    message: str = _DEFAULT_MESSAGE

    @property
    def error(self) -> ServiceError:
        return ServiceError(500, self.code, self.message)


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """Answer HTTP 200 with a failed response, as the Responses API does for a rate limit.

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
    """Send an error frame in a stream with HTTP status 200, and end the stream.

    An answer that is not streamed is an error response with the HTTP status of this error.

    Attributes:
        after: number of frames that are sent before.
    """

    after: int
    status: int = 500
    code: str = "InternalError"
    message: str = _DEFAULT_MESSAGE

    @property
    def error(self) -> ServiceError:
        return ServiceError(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Cut:
    """End the body early.

    Attributes:
        after: number of complete frames that are sent before.
        bytes_into_next: number of bytes of the next frame that are sent as well.
    """

    after: int
    bytes_into_next: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """Close the connection in the middle of the body.

    Attributes:
        after: number of frames that are sent before.
    """

    after: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Pause the stream, then continue it.

    Attributes:
        after: number of frames that are sent before.
        seconds: length of the pause.
    """

    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send bytes that are not a frame of the API, and end the body.

    Attributes:
        after: number of frames that are sent before.
        data: the bytes; an empty line is added.
    """

    after: int
    data: bytes = b'data:{"output":\n\n'


Fault = Status | ErrorBody | FailedResponse | ErrorFrame | Cut | Reset | Stall | Garbage


class ConnectionBroken(Exception):  # noqa: N818  # not an error of the emulator
    """Raised inside a response body, so that uvicorn closes the connection; see `Reset`."""


def moved_to_first_frame(fault: Fault) -> Fault:
    """Return the fault of an answer that is not streamed, which is a single frame."""
    return replace(fault, after=0) if isinstance(fault, Cut | Reset | Stall | Garbage) else fault


async def with_fault(
    frames: AsyncGenerator[bytes], fault: Fault | None, encoder: ResponseEncoder
) -> AsyncGenerator[bytes]:
    """Yield the frames of an answer until the fault ends them; None yields all."""
    async with aclosing(frames):
        after = getattr(fault, "after", None)  # a fault without it has replaced the answer
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
                    # Let the event loop send the earlier frames before the connection is closed.
                    await asyncio.sleep(0)
                    raise ConnectionBroken
