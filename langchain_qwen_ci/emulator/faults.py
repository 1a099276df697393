"""Faults that can be injected, one for each request, encoded for each API.

`Status`, `ErrorBody` and `FailedResponse` replace the answer. The others take effect when `after`
frames have been sent, or after the first step of a kind: "reasoning", "code" or "text". An answer
that is not streamed is a single frame, which they affect whatever `after` is. Error codes are those
of the native API; the other APIs translate the codes that they know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from langchain_qwen_ci.emulator.requests.request_rules import ServiceError

if TYPE_CHECKING:
    from langchain_qwen_ci.emulator.wires.interface import ResponseEncoder

# The service's code and text for an HTTP status; others have those of 400 or 500.
_DEFAULT_ERRORS = {
    400: ("InvalidParameter", "The parameter is invalid."),
    401: ("InvalidApiKey", "Invalid API-key provided."),
    403: ("AccessDenied", "Access denied."),
    404: ("ModelNotFound", "Model not exist."),
    408: ("RequestTimeOut", "Request timed out, please try again later."),
    429: ("Throttling", "Requests rate limit exceeded, please try again later."),
    500: ("InternalError", "An internal error has occurred, please try again later."),
    503: ("ServiceUnavailable", "The service is unavailable, please try again later."),
    504: ("GatewayTimeout", "The gateway timed out, please try again later."),
}
# The first `Think`, `Run` or `Say` step of an answer.
Place = Literal["reasoning", "code", "text"]
_DEFAULT_MESSAGE = _DEFAULT_ERRORS[500][1]


class _FaultInStream:
    """Raises ValueError for an unknown place when the fault is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        after = getattr(self, "after")  # noqa: B009  # an attribute of the subclasses
        names = (*get_args(Place), *(("request",) if isinstance(self, Stall) else ()))
        is_count = isinstance(after, int) and not isinstance(after, bool) and after >= 0
        if not is_count and after not in names:
            raise ValueError(
                f"{type(self).__name__}: after must be a number of frames or one of "
                f"{', '.join(map(repr, names))}; not {after!r}."
            )


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an HTTP status and an error body, before anything runs.

    Attributes:
        code: the error code; by default the service's code for the status.
        message: the error text; by default a text for the status.
        headers: further headers of the response, such as "retry-after".
    """

    status: int
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def error(self) -> ServiceError:
        return _error(self.status, self.code, self.message)


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
class ErrorFrame(_FaultInStream):
    """Send an error frame in a stream with HTTP status 200, and end the stream.

    An answer that is not streamed is an error response with the HTTP status of this error.

    Attributes:
        after: number of frames, or the place of the answer, that are sent before.
        code: the error code; by default the service's code for the status.
        message: the error text; by default a text for the status.
    """

    after: int | Place
    status: int = 500
    code: str = ""
    message: str = ""

    @property
    def error(self) -> ServiceError:
        return _error(self.status, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Cut(_FaultInStream):
    """End the body early.

    Attributes:
        after: number of complete frames, or the place of the answer, that are sent before.
        bytes_into_next: number of bytes of the next frame that are sent as well.
    """

    after: int | Place
    bytes_into_next: int = 0


@dataclass(frozen=True, slots=True)
class Reset(_FaultInStream):
    """Close the connection in the middle of the body.

    Attributes:
        after: number of frames, or the place of the answer, that are sent before.
    """

    after: int | Place


@dataclass(frozen=True, slots=True)
class Stall(_FaultInStream):
    """Pause the stream, then continue it.

    Attributes:
        after: number of frames, or the place of the answer, that are sent before; "request" pauses
            before the head of the response.
        seconds: length of the pause.
    """

    after: int | Place | Literal["request"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Garbage(_FaultInStream):
    """Send bytes that are not a frame of the API, and end the body.

    Attributes:
        after: number of frames, or the place of the answer, that are sent before.
        data: the bytes; an empty line is added.
    """

    after: int | Place
    data: bytes = b'data:{"output":\n\n'


Fault = Status | ErrorBody | FailedResponse | ErrorFrame | Cut | Reset | Stall | Garbage


def _error(status: int, code: str, message: str) -> ServiceError:
    """Return an error with the defaults for its status where code or text are empty."""
    client_error = 400 <= status < 500  # noqa: PLR2004  # the range of HTTP's client errors
    by_class = _DEFAULT_ERRORS[400 if client_error else 500]
    default_code, default_message = _DEFAULT_ERRORS.get(status, by_class)
    return ServiceError(status, code or default_code, message or default_message)


class ConnectionBroken(Exception):  # noqa: N818  # not an error of the emulator
    """Raised inside a response body, so that uvicorn closes the connection; see `Reset`."""


def moved_to_first_frame(fault: Fault) -> Fault:
    """Return the fault of an answer that is not streamed, which is a single frame."""
    return replace(fault, after=0) if isinstance(fault, Cut | Reset | Stall | Garbage) else fault


async def with_fault(
    frames: AsyncGenerator[bytes],
    fault: Fault | None,
    encoder: ResponseEncoder,
    places: Collection[Place],
    on_fault: Callable[[], None],
) -> AsyncGenerator[bytes]:
    """Yield the frames of an answer until the fault ends them; None yields all.

    Args:
        frames: the frames of the answer.
        fault: the fault of the request.
        encoder: the encoder of the answer.
        places: the places that the frames have passed; it grows while they are read.
        on_fault: called when the fault takes effect, or the client disconnects before that.
    """
    try:
        async with aclosing(frames):
            after = getattr(fault, "after", None)  # a fault without it has replaced the answer
            sent = 0
            async for frame in frames:
                if after is None or (sent != after and after not in places):
                    yield frame
                    sent += 1
                    continue
                on_fault()
                if not isinstance(fault, Stall):
                    async with aclosing(_faulty_end(frame, fault, encoder, sent)) as last:
                        async for part in last:
                            yield part
                    return
                after = None  # a place stays passed, but the pause is over
                await asyncio.sleep(fault.seconds)
                yield frame
                sent += 1
    except (GeneratorExit, asyncio.CancelledError):  # the client has disconnected
        on_fault()
        raise


async def _faulty_end(
    frame: bytes, fault: Fault | None, encoder: ResponseEncoder, sent: int
) -> AsyncGenerator[bytes]:
    """Yield what a fault sends in place of a frame and all later ones."""
    match fault:
        case Garbage(_, data):
            yield data + b"\n\n"
        case ErrorFrame():
            yield encoder.error_frame(sent + 1, fault.error)
        case Cut(_, bytes_into_next):
            yield frame[:bytes_into_next]
        case Reset():
            # Let the event loop send the earlier frames before the connection is closed.
            await asyncio.sleep(0)
            raise ConnectionBroken
