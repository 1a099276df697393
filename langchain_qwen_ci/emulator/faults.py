"""What can go wrong with a request: each fault is used up by one request.

A fault either answers in place of the service (`Status`, `JsonError`) or spoils the stream that a
healthy service would have sent: it lets `after` frames pass, or all of them if there are fewer,
and then strikes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class Line(Protocol):
    """What a fault may do to the connection that it strikes."""

    def error_frame(self, status: int, code: str, message: str) -> bytes:
        """The frame that tells of an error inside a stream, in the request's wire."""
        ...

    async def pause(self, seconds: float) -> None:
        """Send nothing for so long, or until the server stops."""
        ...

    async def reset(self) -> None:
        """Abort the connection; never comes back."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error in place of the answer."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JsonError:
    """An error in a JSON body, under HTTP 200."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """An error inside the stream; it is the last frame."""

    after: int
    status: int
    code: str
    message: str

    async def spoil(self, frames: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:
        async for frame in _first(self.after, frames):
            yield frame
        yield line.error_frame(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Cut:
    """The stream ends early, as if it were complete; perhaps in the middle of a frame."""

    after: int
    bytes_into_next: int = 0

    async def spoil(self, frames: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:  # noqa: ARG002 - every fault is called alike
        async for frame in _first(self.after, frames):
            yield frame
        if self.bytes_into_next:
            yield (await anext(frames, b""))[: self.bytes_into_next]


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks in the middle of the body."""

    after: int

    async def spoil(self, frames: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:
        async for frame in _first(self.after, frames):
            yield frame
        await line.reset()


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence for some seconds; then the stream goes on."""

    after: int
    seconds: float

    async def spoil(self, frames: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:
        async for frame in _first(self.after, frames):
            yield frame
        await line.pause(self.seconds)
        async for frame in frames:
            yield frame


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that belong to no frame; then the stream goes on."""

    after: int
    data: bytes = b"data:{not json\n\n"

    async def spoil(self, frames: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:  # noqa: ARG002 - every fault is called alike
        async for frame in _first(self.after, frames):
            yield frame
        yield self.data
        async for frame in frames:
            yield frame


StreamFault = ErrorFrame | Cut | Reset | Stall | Garbage
Fault = Status | JsonError | StreamFault


async def _first(count: int, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # Pulls exactly `count`: the next frame must not exist yet, since frames are numbered.
    for _ in range(count):
        frame = await anext(frames, None)
        if frame is None:
            return
        yield frame
