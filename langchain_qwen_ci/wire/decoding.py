"""The decoder that all APIs share: it parses bytes into frames and handles malformed streams.

Each API supplies a `FrameParser`, which converts one frame to events. `FramedDecoder` does what is
the same for all APIs: it ignores frames after the end, reports a malformed frame together with an
excerpt of it, emits the usage received so far before it raises, and rejects a stream without a
finish reason.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from langchain_qwen_ci.errors import QwenAPIError, QwenStreamError
from langchain_qwen_ci.wire.error_bodies import EXCERPT_BYTES, excerpt
from langchain_qwen_ci.wire.sse import SSEParser
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.events import Event
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)


class FrameParser(Protocol):
    """Converts the frames of one response to events. Each API implements it."""

    @property
    def started(self) -> bool:
        """True once an event was emitted. Code may have run then, and a retry may run it again."""

    @property
    def finished(self) -> bool:
        """True once the finish reason was received. Without it the answer is incomplete."""

    @property
    def ended(self) -> bool:
        """True once the last event was emitted. Frames received later are ignored."""

    @property
    def usage(self) -> dict[str, Any]:
        """The latest usage that the service reported; an interrupted answer is billed, too."""

    def read(self, frame: Frame, events: list[Event]) -> None:
        """Append the events of a frame to `events`, up to the first malformed value.

        Raises:
            QwenAPIError: the frame reports an error of the service.
            ValueError, TypeError, LookupError, AttributeError: the frame is malformed.
        """

    def end(self) -> list[Event]:
        """Return the remaining events when the body of a finished answer has ended.

        It does not raise: the values were checked when they were read.
        """


class FramedDecoder:
    """Implements `langchain_qwen_ci.wire.Decoder` with the `FrameParser` of one API."""

    def __init__(self, parser: FrameParser) -> None:
        self._parser = parser
        self._sse_parser = SSEParser()
        self._frames_read = 0
        self._first_bytes = b""

    @property
    def started(self) -> bool:
        return self._parser.started

    @property
    def finished(self) -> bool:
        return self._parser.finished

    @property
    def ended(self) -> bool:
        return self._parser.ended

    @property
    def has_new_data(self) -> bool:
        return self._sse_parser.has_new_data

    def feed(self, data: bytes, events: list[Event]) -> None:
        if len(self._first_bytes) <= EXCERPT_BYTES:
            self._first_bytes += data[: EXCERPT_BYTES + 1]
        for frame in self._sse_parser.feed(data):
            self._read(frame, events)

    def close(self, events: list[Event]) -> None:
        for frame in self._sse_parser.close():
            self._read(frame, events)
        if not self.finished:
            events += usage_events(self._parser.usage)
            raise QwenStreamError(
                f"The answer broke off: the connection ended after {self._frames_read} frames, "
                f"before the service said that it had finished.{self._non_stream_body()}"
            )
        events += self._parser.end()

    def _non_stream_body(self) -> str:
        """Quote a body without any frame, such as the HTML page of a proxy."""
        body = self._first_bytes if not self._frames_read else b""
        return f" It began with: {excerpt(body)}" if body else ""

    def _read(self, frame: Frame, events: list[Event]) -> None:
        if self._parser.ended:
            logger.debug("A frame after the end of the answer is ignored.")
            return
        self._frames_read += 1
        try:
            self._parser.read(frame, events)
        except QwenAPIError:
            events += usage_events(self._parser.usage)
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            if self.finished:
                # Chat Completions sends frames after the finish reason; the answer is complete.
                logger.debug("A malformed frame after the finish reason is ignored.")
                return
            self._sse_parser = SSEParser()  # discards the rest of the body, also on `close`
            events += usage_events(self._parser.usage)
            raise QwenStreamError(
                f"Frame {self._frames_read} of the answer cannot be read "
                f"({excerpt(str(error).encode())}): {excerpt(frame.data)}"
            ) from error
