"""The answers of the Responses API: a stream of items, each opened, filled in and closed.

What its answers have that others have not:

- items are known by their ids; `output_index` does not agree even within one official sample;
- a text comes as deltas, then whole, then whole again in its item and in the last frame. Each is
  caught up with: what of it has not been told is told, and nothing is told twice;
- reasoning has two event names, and code may come whole with its item or in pieces;
- a program's output is wrapped in a Markdown fence, and one that failed is `completed` too;
- a failure, a rate limit among them, comes with status 200 and says so in the last frame.
"""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from langchain_qwen_ci.errors import QwenAPIError, QwenRateLimitError
from langchain_qwen_ci.wire.decoding import refusal, string_only
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    ExecutionStatus,
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    ToolCallDelta,
)
from langchain_qwen_ci.wire.tokens import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_FENCED = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
_IMAGE_LINK = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_TRACEBACK = "Traceback (most recent call last)"
# `<400> InternalError.Algo.InvalidParameter: …` is how a failure names its status and code.
_FAILURE = re.compile(r"<(\d{3})> ([\w.]+): ")
_INCOMPLETE: dict[object, FinishReason] = {"content_filter": "content_filter"}
_NO_ARGS = frozenset({"id", "type", "status"})


class ResponsesReading:
    """Items to events; see `langchain_qwen_ci.wire.decoding.Reading`."""

    def __init__(self) -> None:
        self.finished = False
        self._request_id = ""  # once something has been told
        self._response_id = ""
        self.usage: dict[str, Any] = {}
        self._told: dict[object, int] = {}  # characters of each text that have been told
        self._reasoning_events: dict[object, str] = {}  # by item, which of the two names it uses
        self._message_id = ""  # of the message that a delta without an id belongs to
        self._codes: dict[str, str] = {}
        self._running: dict[str, None] = {}  # programs without an end, in order
        self._calls: dict[str, int] = {}  # the index of each function call
        self._tools: dict[str, dict[str, Any]] = {}  # the arguments of other tools' calls
        self._open_tools: dict[str, None] = {}

    @property
    def begun(self) -> bool:
        return bool(self._request_id)

    @property
    def over(self) -> bool:
        return self.finished

    def end(self) -> list[Event]:
        return []

    def read(self, frame: Frame) -> list[Event]:
        payload = from_json(frame.data)
        kind = payload.get("type") or frame.event
        if payload.get("object") == "response":  # an answer that is no stream
            payload = {"response": payload}
            kind = f"response.{payload['response'].get('status')}"
        elif not kind.startswith("response.") and _is_refusal(kind, payload):
            raise refusal(payload, frame.status)
        events: list[Event] = []
        take = self._TAKE.get(kind)
        if take is not None:
            take(self, payload, events)
        else:
            logger.debug("Event %r is passed over.", kind)
        if events and not self._request_id:
            self._start(payload, events)
        return events

    def _start(self, payload: dict[str, Any], events: list[Event]) -> None:
        """Not before something is told: `response.created` may be followed by a rate limit."""
        response = payload.get("response") or {}
        self._request_id = str(response.get("id") or self._response_id or uuid.uuid4().hex)
        events.insert(0, ResponseStarted(self._request_id))

    def _created(self, payload: dict[str, Any], events: list[Event]) -> None:
        del events
        self._response_id = str(payload["response"].get("id") or "")

    # Texts.

    def _reasoning_delta(self, payload: dict[str, Any], events: list[Event]) -> None:
        item_id = payload.get("item_id")
        kind = self._reasoning_events.setdefault(item_id, payload["type"])
        if kind == payload["type"]:  # else the same thought again, under the other name
            piece = string_only(payload["delta"])
            self._count(("reasoning", item_id), piece)
            events.append(ReasoningDelta(piece))

    def _text_delta(self, payload: dict[str, Any], events: list[Event]) -> None:
        piece = string_only(payload["delta"])
        self._count(self._text_key(payload), piece)
        events.append(TextDelta(piece))

    def _text_done(self, payload: dict[str, Any], events: list[Event]) -> None:
        if rest := self._rest(self._text_key(payload), payload.get("text")):
            events.append(TextDelta(rest))

    def _text_key(self, payload: dict[str, Any]) -> tuple[str, str, int]:
        item_id = payload.get("item_id") or self._message_id
        return ("text", item_id, payload.get("content_index") or 0)

    def _count(self, key: object, piece: str) -> None:
        self._told[key] = self._told.get(key, 0) + len(piece)

    def _rest(self, key: object, whole: str | None) -> str:
        """What of a whole text has not been told, which then counts as told."""
        rest = string_only(whole or "")[self._told.get(key, 0) :]
        self._count(key, rest)
        return rest

    # Items.

    def _added(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._open(payload["item"], events)

    def _done(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._close(payload["item"], events)

    def _open(self, item: dict[str, Any], events: list[Event]) -> None:
        item_id = _id(item)
        match item["type"]:
            case "message":
                self._message_id = item_id
            case "code_interpreter_call":
                self._running[item_id] = None
                self._code(item_id, item.get("code"), events)
            case "function_call":
                self._open_call(item_id, item, events)
            case "reasoning":
                pass
            case kind if kind.endswith("_call"):
                self._open_tool(item_id, item, events)
            case kind:
                logger.debug("An item of unknown type %r is passed over.", kind)

    def _close(self, item: dict[str, Any], events: list[Event]) -> None:
        """An item is complete. One that was not opened is told whole."""
        item_id = _id(item)
        match item["type"]:
            case "message":
                self._close_message(item_id, item, events)
            case "reasoning":
                parts = item.get("summary") or item.get("content") or ()
                whole = "".join(part.get("text") or "" for part in parts)
                if rest := self._rest(("reasoning", item_id), whole):
                    events.append(ReasoningDelta(rest))
            case "code_interpreter_call":
                self._close_code(item_id, item, events)
            case "function_call":
                self._open_call(item_id, item, events)
                self._arguments_rest(item_id, item.get("arguments"), events)
            case kind if kind.endswith("_call"):
                self._close_tool(item_id, item, events)

    def _close_message(self, item_id: str, item: dict[str, Any], events: list[Event]) -> None:
        for index, part in enumerate(item.get("content") or ()):
            if ("text", "", index) in self._told:  # by deltas that named no message
                continue
            if rest := self._rest(("text", item_id, index), part.get("text")):
                events.append(TextDelta(rest))

    # Programs.

    def _code(self, item_id: str, code: str | None, events: list[Event]) -> None:
        """All code of a program, as far as it is written."""
        known = self._codes.get(item_id)
        code = string_only(code or "")
        if code == known:
            return
        self._codes[item_id] = code
        if known is None:
            events.append(CodeDelta(item_id, code))
        elif code.startswith(known):
            events.append(CodeDelta(item_id, code[len(known) :]))
        elif code:
            events.append(CodeReplaced(item_id, code))

    def _code_delta(self, payload: dict[str, Any], events: list[Event]) -> None:
        item_id = payload["item_id"]
        self._code(item_id, self._codes.get(item_id, "") + payload["delta"], events)

    def _code_done(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._code(payload["item_id"], payload.get("code"), events)

    def _close_code(self, item_id: str, item: dict[str, Any], events: list[Event]) -> None:
        if item_id in self._codes and item_id not in self._running:
            return  # the last frame repeats what is known
        self._code(item_id, item.get("code") or self._codes.get(item_id), events)
        self._running.pop(item_id, None)
        outputs = item.get("outputs")
        output = None if outputs is None else _logs(outputs)
        images = _images(outputs or [], output or "")
        events.append(CodeFinished(item_id, _status(item, output or ""), output, images))

    # Functions of the caller.

    def _open_call(self, item_id: str, item: dict[str, Any], events: list[Event]) -> None:
        if item_id in self._calls:
            return
        self._calls[item_id] = index = len(self._calls)
        call_id = item.get("call_id") or item_id
        events.append(ToolCallDelta(index, call_id, item.get("name"), ""))
        self._arguments_rest(item_id, item.get("arguments"), events)

    def _arguments_delta(self, payload: dict[str, Any], events: list[Event]) -> None:
        item_id, piece = payload["item_id"], string_only(payload["delta"])
        self._count(("arguments", item_id), piece)
        events.append(ToolCallDelta(self._calls[item_id], None, None, piece))

    def _arguments_done(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._arguments_rest(payload["item_id"], payload.get("arguments"), events)

    def _arguments_rest(self, item_id: str, whole: str | None, events: list[Event]) -> None:
        if rest := self._rest(("arguments", item_id), whole):
            events.append(ToolCallDelta(self._calls[item_id], None, None, rest))

    # Other tools of the service.

    def _open_tool(self, item_id: str, item: dict[str, Any], events: list[Event]) -> None:
        if item_id in self._tools:
            return
        self._tools[item_id] = args = _fields(item)
        self._open_tools[item_id] = None
        events.append(ServerToolCalled(item_id, item["type"].removesuffix("_call"), args))

    def _close_tool(self, item_id: str, item: dict[str, Any], events: list[Event]) -> None:
        self._open_tool(item_id, item, events)
        if item_id not in self._open_tools:
            return
        del self._open_tools[item_id]
        known = self._tools[item_id]
        # What was not there when the call began is its result; `output` alone needs no wrapping.
        found = {name: value for name, value in _fields(item).items() if known.get(name) != value}
        output = found["output"] if found.keys() == {"output"} else found
        failed = item.get("status") in ("failed", "incomplete")
        events.append(ServerToolReturned(item_id, "error" if failed else "success", output))

    # The end.

    def _completed(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._finish(payload, "stop", events)

    def _incomplete(self, payload: dict[str, Any], events: list[Event]) -> None:
        details = payload["response"].get("incomplete_details") or {}
        self._finish(payload, _INCOMPLETE.get(details.get("reason"), "length"), events)

    def _finish(self, payload: dict[str, Any], reason: FinishReason, events: list[Event]) -> None:
        response = payload["response"]
        for item in response.get("output") or ():
            self._close(item, events)
        events.extend(CodeFinished(item_id, "completed") for item_id in self._running)
        self._running.clear()
        self.usage = response.get("usage") or self.usage
        if self._calls and reason == "stop":
            reason = "tool_calls"
        self.finished = True
        events += [*counted(self.usage), Finished(reason)]

    def _failed(self, payload: dict[str, Any], events: list[Event]) -> None:
        del events
        response = payload["response"]
        self.usage = response.get("usage") or self.usage
        raise _failure(response)

    _TAKE: dict[str, Callable[[ResponsesReading, dict[str, Any], list[Event]], None]] = {  # noqa: RUF012
        "response.created": _created,
        "response.queued": _created,
        "response.in_progress": _created,
        "response.output_item.added": _added,
        "response.output_item.done": _done,
        "response.output_text.delta": _text_delta,
        "response.output_text.done": _text_done,
        "response.reasoning_text.delta": _reasoning_delta,
        "response.reasoning_summary_text.delta": _reasoning_delta,
        "response.code_interpreter_call_code.delta": _code_delta,
        "response.code_interpreter_call_code.done": _code_done,
        "response.function_call_arguments.delta": _arguments_delta,
        "response.function_call_arguments.done": _arguments_done,
        "response.completed": _completed,
        "response.incomplete": _incomplete,
        "response.failed": _failed,
    }


def _is_refusal(kind: str, payload: dict[str, Any]) -> bool:
    return kind == "error" or bool(payload.get("code") or payload.get("error"))


def _id(item: dict[str, Any]) -> str:
    return string_only(item["id"])


def _fields(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in _NO_ARGS}


def _logs(outputs: list[dict[str, Any]]) -> str:
    """What a program printed, out of its Markdown fence."""
    return "\n".join(
        fenced[1] if (fenced := _FENCED.fullmatch(logs)) else logs
        for output in outputs
        if (logs := output.get("logs"))
    )


def _images(outputs: list[dict[str, Any]], logs: str) -> tuple[str, ...]:
    """URLs of what a program drew: links in its logs, or outputs of their own in OpenAI's shape.
    The service signs them for about twelve hours."""
    linked = _IMAGE_LINK.findall(logs)
    return (*linked, *(output["url"] for output in outputs if output.get("type") == "image"))


def _status(item: dict[str, Any], logs: str) -> ExecutionStatus:
    """An exception is `completed` too: its traceback in the logs tells."""
    failed = item.get("status") in ("failed", "incomplete") or _TRACEBACK in logs
    return "failed" if failed else "completed"


def _failure(response: dict[str, Any]) -> QwenAPIError:
    told = response.get("error") or {}
    message = str(told.get("message") or "The service gives no reason.")
    request_id = response.get("id")
    if "rate limit" in message.lower():  # documented with code server_error
        return QwenRateLimitError(message, code=told.get("code"), request_id=request_id)
    named = _FAILURE.match(message)
    payload = {
        "message": message,
        "code": named[2] if named else told.get("code"),
        "request_id": request_id,
    }
    return refusal(payload, int(named[1]) if named else None)
