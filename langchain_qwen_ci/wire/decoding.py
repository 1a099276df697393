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
from langchain_qwen_ci.printable import in_one_line
from langchain_qwen_ci.wire.events import Extra, ToolCallDelta
from langchain_qwen_ci.wire.sse import FrameReader
from langchain_qwen_ci.wire.tokens import counted
from langchain_qwen_ci.wire.values import (
    list_only,
    storable,
    string_only,
    string_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_qwen_ci.wire.events import Event, FinishReason
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_SHOWN_BYTES = 200

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class Reading(Protocol):
    """How one wire reads the frames of one answer."""

    @property
    def begun(self) -> bool:
        """Whether the model has done anything: from then on a request is not repeated."""

    @property
    def finished(self) -> bool:
        """Whether the model has said that it is done: the proof that an answer is complete."""

    @property
    def over(self) -> bool:
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

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._frames = FrameReader()
        self._frames_read = 0
        self.told = 0
        self._beginning = b""  # of the bytes

    @property
    def begun(self) -> bool:
        return self._reading.begun

    @property
    def finished(self) -> bool:
        return self._reading.finished

    @property
    def over(self) -> bool:
        return self._reading.over

    def feed(self, data: bytes) -> Iterator[Event]:
        if len(self._beginning) <= _SHOWN_BYTES:
            self._beginning += data[: _SHOWN_BYTES + 1]
        for frame in self._frames.feed(data):
            yield from self._events(frame)

    def close(self) -> Iterator[Event]:
        for frame in self._frames.close():
            yield from self._events(frame)
        if not self.finished:
            yield from counted(self._reading.usage)
            raise QwenStreamError(
                f"The answer broke off: the connection ended after {self._frames_read} frames, "
                f"before the service said that it had finished.{self._instead()}"
            )
        yield from self._reading.end()

    def _instead(self) -> str:
        """What came in place of an answer, such as the page of a proxy."""
        instead = self._beginning if not self._frames_read else b""
        return f" It began with: {shown(instead)}" if instead else ""

    def _events(self, frame: Frame) -> Iterator[Event]:
        if self._reading.over:
            logger.debug("A frame after the end of the answer is passed over.")
            return
        self._frames_read += 1
        events: list[Event] = []
        try:
            self._reading.read(frame, events)
        except QwenAPIError:
            yield from events
            yield from counted(self._reading.usage)
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            yield from events
            if self.finished:
                logger.debug("A frame after the finish cannot be read, and is passed over.")
                return
            self._frames = FrameReader()  # what comes behind is not read
            yield from counted(self._reading.usage)
            raise QwenStreamError(
                f"Frame {self._frames_read} of the answer cannot be read "
                f"({shown(str(error).encode())}): {shown(frame.data)}"
            ) from error
        if events:
            self.told += 1
            yield from events


class Logprobs:
    """Collects the log probabilities that choices carry piece by piece, if they were asked for."""

    def __init__(self) -> None:
        self._content: list[Any] = []

    def take(self, choice: dict[str, Any]) -> None:
        if found := choice.get("logprobs"):
            self._content += storable(list_only(found.get("content") or []))

    def told(self) -> list[Event]:
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
        self._begun = 0

    def piece(self, told: dict[str, Any]) -> ToolCallDelta:
        index, function = told.get("index") or 0, told.get("function") or {}
        call_id, name = string_or_none(told.get("id")), string_or_none(function.get("name"))
        arguments = string_only(function.get("arguments") or "")
        call = self._calls.get(index)
        if call is None or call_id not in (None, call.call_id or call_id):
            self._calls[index] = call = _Call(self._begun)
            self._begun += 1
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


def finish_reason(reason: object) -> FinishReason:
    """Why the model has stopped; one that is not known counts as "stop".

    Raises:
        TypeError: it is no string.
    """
    name = string_only(reason)
    if name in _FINISH_REASONS:
        return _FINISH_REASONS[name]
    logger.debug("Unknown finish_reason %r is read as 'stop'.", reason)
    return "stop"


def refusal(payload: dict[str, Any], status_code: int | None) -> QwenAPIError:
    """The error that a body means: `{"code", "message", "request_id"}`, or OpenAI's
    `{"error": {"code", "type", "message"}, "request_id"}`; gateways also send
    `{"error": "message"}`."""
    inner = payload.get("error")
    told = inner if isinstance(inner, dict) else payload
    code = told.get("code") or (told.get("type") if told is inner else None)
    request_id = payload.get("request_id") or told.get("request_id") or told.get("id")
    return api_error(
        reason(told.get("message") or (inner if isinstance(inner, str) else None)),
        status_code=status_code,
        code=name_of(code),
        request_id=name_of(request_id),
    )


def reason(message: object) -> str:
    """The service's message in an error."""
    return in_one_line(str(message or "The service gives no reason."))


def name_of(value: object) -> str | None:
    """A code or an id in an error."""
    return in_one_line(str(value)) if value else None


def document(body: bytes) -> dict[str, Any]:
    """An error's body: JSON whatever its Content-Type says (a recorded 401 had none), and
    sometimes JSON within a frame. What is neither becomes the message of an error."""
    reader = FrameReader()
    for frame in (*reader.feed(body), *reader.close()):
        try:
            payload = from_json(frame.data)
        except ValueError:
            continue
        if isinstance(payload, dict):
            return payload
    return {"message": f"The service answered: {shown(body)}"} if body.strip() else {}


def shown(data: bytes) -> str:
    """The beginning of some bytes, for an error to show."""
    text = data[:_SHOWN_BYTES].decode("utf-8", "replace")
    return in_one_line(f"{text}…" if len(data) > _SHOWN_BYTES else text)
