"""What every decoder does with frames, whichever wire they come by.

A wire supplies a `Reading`: what one frame means. Around it stands what must not differ: frames
after the end are passed over, a frame that cannot be read is an error that shows it, what was
known before an error is told before it, and an answer without its end is no answer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import from_json

from langchain_qwen_ci.errors import QwenAPIError, QwenStreamError, api_error
from langchain_qwen_ci.errors.text_safety import escape_line
from langchain_qwen_ci.wire.events import Extra, ToolCallDelta
from langchain_qwen_ci.wire.json_values import (
    as_list,
    as_optional_string,
    as_string,
    json_safe,
)
from langchain_qwen_ci.wire.sse import SSEParser
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_qwen_ci.wire.events import Event, FinishReason
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_EXCERPT_BYTES = 200

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class FrameParser(Protocol):
    """How one wire reads the frames of one answer."""

    @property
    def started(self) -> bool:
        """Whether the model has done anything: from then on a request is not repeated."""

    @property
    def finished(self) -> bool:
        """Whether the model has said that it is done: the proof that an answer is complete."""

    @property
    def ended(self) -> bool:
        """Whether everything is told: a frame that still comes means nothing."""

    @property
    def usage(self) -> dict[str, Any]:
        """Usage as last told by the service, which an answer that breaks off has cost, too."""

    def read(self, frame: Frame, events: list[Event]) -> None:
        """Append what a frame tells to `events`, as far as it can be read.

        Raises:
            QwenAPIError: it is an error of the service.
            ValueError, TypeError, LookupError, AttributeError: it is not shaped as it should be.
        """

    def end(self) -> list[Event]:
        """What is left to tell when the bytes of a finished answer end. It was read before, so
        this cannot fail."""


class FramedDecoder:
    """Bytes to events; see `langchain_qwen_ci.wire.Decoder`."""

    def __init__(self, parser: FrameParser) -> None:
        self._parser = parser
        self._frames = SSEParser()
        self._frames_read = 0
        self.frames_with_events = 0
        self._first_bytes = b""  # of the bytes

    @property
    def started(self) -> bool:
        return self._parser.started

    @property
    def finished(self) -> bool:
        return self._parser.finished

    @property
    def ended(self) -> bool:
        return self._parser.ended

    def feed(self, data: bytes) -> Iterator[Event]:
        if len(self._first_bytes) <= _EXCERPT_BYTES:
            self._first_bytes += data[: _EXCERPT_BYTES + 1]
        for frame in self._frames.feed(data):
            yield from self._events(frame)

    def close(self) -> Iterator[Event]:
        for frame in self._frames.close():
            yield from self._events(frame)
        if not self.finished:
            yield from usage_events(self._parser.usage)
            raise QwenStreamError(
                f"The answer broke off: the connection ended after {self._frames_read} frames, "
                f"before the service said that it had finished.{self._non_stream_body()}"
            )
        yield from self._parser.end()

    def _non_stream_body(self) -> str:
        """What came in place of an answer, such as the page of a proxy."""
        instead = self._first_bytes if not self._frames_read else b""
        return f" It began with: {excerpt(instead)}" if instead else ""

    def _events(self, frame: Frame) -> Iterator[Event]:
        if self._parser.ended:
            logger.debug("A frame after the end of the answer is passed over.")
            return
        self._frames_read += 1
        events: list[Event] = []
        try:
            self._parser.read(frame, events)
        except QwenAPIError:
            yield from events
            yield from usage_events(self._parser.usage)
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            yield from events
            if self.finished:
                logger.debug("A frame after the finish cannot be read, and is passed over.")
                return
            self._frames = SSEParser()  # what comes behind is not read
            yield from usage_events(self._parser.usage)
            raise QwenStreamError(
                f"Frame {self._frames_read} of the answer cannot be read "
                f"({excerpt(str(error).encode())}): {excerpt(frame.data)}"
            ) from error
        if events:
            self.frames_with_events += 1
            yield from events


class Logprobs:
    """Collects the log probabilities that choices carry piece by piece, if they were asked for."""

    def __init__(self) -> None:
        self._content: list[Any] = []

    def add(self, choice: dict[str, Any]) -> None:
        if found := choice.get("logprobs"):
            self._content += json_safe(as_list(found.get("content") or []))

    def events(self) -> list[Event]:
        """All of them, as they came; nothing if none did."""
        return [Extra("logprobs", {"content": self._content})] if self._content else []


class ToolCalls:
    """Function calls in pieces. The first one names id and function; later ones send `"id": ""`
    and more arguments.

    Calls are numbered anew, in the order in which they begin: a service that gave two of them the
    same index would have their arguments mixed.
    """

    def __init__(self) -> None:
        self._calls: dict[object, _Call] = {}  # by the service's index, the last one of it
        self._started = 0

    def piece(self, frames_with_events: dict[str, Any]) -> ToolCallDelta:
        index, function = (
            frames_with_events.get("index") or 0,
            frames_with_events.get("function") or {},
        )
        call_id, name = (
            as_optional_string(frames_with_events.get("id")),
            as_optional_string(function.get("name")),
        )
        arguments = as_string(function.get("arguments") or "")
        call = self._calls.get(index)
        if call is None or call_id not in (None, call.call_id or call_id):
            self._calls[index] = call = _Call(self._started)
            self._started += 1
        return call.piece(call_id, name, arguments)


@dataclass(slots=True)
class _Call:
    number: int
    call_id: str | None = None
    name: str | None = None

    def piece(self, call_id: str | None, name: str | None, arguments: str) -> ToolCallDelta:
        """Id and name are told once: LangChain would add a repeated name to itself."""
        piece = ToolCallDelta(
            self.number,
            None if self.call_id else call_id,
            None if self.name else name,
            arguments,
        )
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        return piece


def finish_reason(error_message: object) -> FinishReason:
    """Why the model has stopped; one that is not known counts as "stop".

    Raises:
        TypeError: it is no string.
    """
    name = as_string(error_message)
    if name in _FINISH_REASONS:
        return _FINISH_REASONS[name]
    logger.debug("Unknown finish_reason %r is read as 'stop'.", error_message)
    return "stop"


def service_error(payload: dict[str, Any], status_code: int | None) -> QwenAPIError:
    """The error that a body means: `{"code", "message", "request_id"}`, or OpenAI's
    `{"error": {"code", "type", "message"}, "request_id"}`; gateways also send
    `{"error": "message"}`."""
    inner = payload.get("error")
    frames_with_events = inner if isinstance(inner, dict) else payload
    code = frames_with_events.get("code") or (
        frames_with_events.get("type") if frames_with_events is inner else None
    )
    request_id = (
        payload.get("request_id")
        or frames_with_events.get("request_id")
        or frames_with_events.get("id")
    )
    return api_error(
        error_message(
            frames_with_events.get("message") or (inner if isinstance(inner, str) else None)
        ),
        status_code=status_code,
        code=error_name(code),
        request_id=error_name(request_id),
    )


def error_message(message: object) -> str:
    """The service's message in an error."""
    return escape_line(str(message or "The service gives no reason."))


def error_name(value: object) -> str | None:
    """A code or an id in an error."""
    return escape_line(str(value)) if value else None


def error_document(body: bytes) -> dict[str, Any]:
    """An error's body: JSON whatever its Content-Type says (a recorded 401 had none), and
    sometimes JSON within a frame. What is neither becomes the message of an error."""
    reader = SSEParser()
    for frame in (*reader.feed(body), *reader.close()):
        try:
            payload = from_json(frame.data)
        except ValueError:
            continue
        if isinstance(payload, dict):
            return payload
    return {"message": f"The service answered: {excerpt(body)}"} if body.strip() else {}


def excerpt(data: bytes) -> str:
    """The beginning of some bytes, for an error to show."""
    text = data[:_EXCERPT_BYTES].decode("utf-8", "replace")
    return escape_line(f"{text}…" if len(data) > _EXCERPT_BYTES else text)
