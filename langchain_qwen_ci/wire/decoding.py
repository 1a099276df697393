"""Decodes the frames of an answer into events; the part that is the same for all APIs.

An API supplies a `FrameParser`, which knows the contents of its frames. `FramedDecoder` ignores
frames after the end, raises an error that shows a frame that cannot be parsed, yields the events
that precede an error, and raises an error for an answer without its terminal event.
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

_EXCERPT_BYTES = 200  # of a response, in error messages

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class FrameParser(Protocol):
    """Parses the frames of one answer of one API."""

    @property
    def started(self) -> bool:
        """True once the model has produced output; the request is not retried from then on."""

    @property
    def finished(self) -> bool:
        """True once the terminal event was received: the answer is complete."""

    @property
    def ended(self) -> bool:
        """True once all events were emitted: further frames are ignored."""

    @property
    def usage(self) -> dict[str, Any]:
        """The usage that the service reported last; an interrupted answer is billed too."""

    def read(self, frame: Frame, events: list[Event]) -> None:
        """Append the events of a frame to `events`, also those that precede an error in it.

        Raises:
            QwenAPIError: the frame is an error of the service.
            ValueError, TypeError, LookupError, AttributeError: the frame has an unexpected shape.
        """

    def end(self) -> list[Event]:
        """Return the remaining events at the end of the body of a finished answer."""


class FramedDecoder:
    """Decodes bytes to events with a parser; implements `langchain_qwen_ci.wire.Decoder`."""

    def __init__(self, parser: FrameParser) -> None:
        self._parser = parser
        self._frames = SSEParser()
        self._frames_read = 0
        self.frames_with_events = 0
        self._first_bytes = b""  # of the body, for the error message if it is not a stream

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
        """Return an excerpt of a body without any frame, such as an error page of a proxy."""
        if self._frames_read or not self._first_bytes:
            return ""
        return f" It began with: {excerpt(self._first_bytes)}"

    def _events(self, frame: Frame) -> Iterator[Event]:
        if self._parser.ended:
            logger.debug("Ignoring a frame after the end of the answer.")
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
                logger.debug("Ignoring a frame after the terminal event that cannot be parsed.")
                return
            self._frames = SSEParser()  # `close` must not parse what follows the broken frame
            yield from usage_events(self._parser.usage)
            raise QwenStreamError(
                f"Frame {self._frames_read} of the answer cannot be read "
                f"({excerpt(str(error).encode())}): {excerpt(frame.data)}"
            ) from error
        if events:
            self.frames_with_events += 1
            yield from events


class Logprobs:
    """Collects the log probabilities of all chunks, if they were requested."""

    def __init__(self) -> None:
        self._content: list[Any] = []

    def add(self, choice: dict[str, Any]) -> None:
        if found := choice.get("logprobs"):
            self._content += json_safe(as_list(found.get("content") or []))

    def events(self) -> list[Event]:
        """Return them as one event; no event if there are none."""
        return [Extra("logprobs", {"content": self._content})] if self._content else []


class ToolCalls:
    """Converts streamed parts of function calls to deltas.

    The first part of a call has its id and function name; later parts have `"id": ""` and more of
    the arguments. Calls are numbered anew, in the order in which they start, because a service that
    gave two calls the same index would mix their arguments.
    """

    def __init__(self) -> None:
        self._calls: dict[object, _Call] = {}  # the latest call of each index of the service
        self._count = 0

    def delta(self, part: dict[str, Any]) -> ToolCallDelta:
        index, function = part.get("index") or 0, part.get("function") or {}
        call_id = as_optional_string(part.get("id"))
        name = as_optional_string(function.get("name"))
        arguments = as_string(function.get("arguments") or "")
        call = self._calls.get(index)
        if call is None or call_id not in (None, call.call_id or call_id):
            self._calls[index] = call = _Call(self._count)
            self._count += 1
        return call.delta(call_id, name, arguments)


@dataclass(slots=True)
class _Call:
    number: int
    call_id: str | None = None
    name: str | None = None

    def delta(self, call_id: str | None, name: str | None, arguments: str) -> ToolCallDelta:
        # Id and name are in one delta only: LangChain concatenates the names of merged chunks.
        delta = ToolCallDelta(
            self.number,
            None if self.call_id else call_id,
            None if self.name else name,
            arguments,
        )
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        return delta


def to_finish_reason(value: object) -> FinishReason:
    """Convert the service's finish reason; an unknown one becomes "stop".

    Raises:
        TypeError: the value is not a string.
    """
    name = as_string(value)
    if name in _FINISH_REASONS:
        return _FINISH_REASONS[name]
    logger.debug("Treating the unknown finish_reason %r as 'stop'.", name)
    return "stop"


def service_error(payload: dict[str, Any], status_code: int | None) -> QwenAPIError:
    """Convert the body of an error to an exception.

    The native shape is `{"code", "message", "request_id"}`, OpenAI's is
    `{"error": {"code", "type", "message"}, "request_id"}`; gateways also send `{"error":
    "message"}`.
    """
    error = payload.get("error")
    details = error if isinstance(error, dict) else payload
    code = details.get("code") or (details.get("type") if details is error else None)
    request_id = payload.get("request_id") or details.get("request_id") or details.get("id")
    message = details.get("message") or (error if isinstance(error, str) else None)
    return api_error(
        error_message(message),
        status_code=status_code,
        code=error_name(code),
        request_id=error_name(request_id),
    )


def error_message(message: object) -> str:
    """Return the service's message in a form that is safe to print."""
    return escape_line(str(message or "The service gives no reason."))


def error_name(value: object) -> str | None:
    """Return the code or id of an error in a form that is safe to print."""
    return escape_line(str(value)) if value else None


def error_document(body: bytes) -> dict[str, Any]:
    """Parse the body of an HTTP error.

    The body is parsed as JSON without looking at its Content-Type, because a recorded 401 had none,
    and also as JSON in a frame (official DashScope SDK). Any other body becomes the message.
    """
    parser = SSEParser()
    for frame in (*parser.feed(body), *parser.close()):
        try:
            payload = from_json(frame.data)
        except ValueError:
            continue
        if isinstance(payload, dict):
            return payload
    return {"message": f"The service answered: {excerpt(body)}"} if body.strip() else {}


def excerpt(data: bytes) -> str:
    """Return the start of some bytes for an error message."""
    text = data[:_EXCERPT_BYTES].decode("utf-8", "replace")
    return escape_line(f"{text}…" if len(data) > _EXCERPT_BYTES else text)
