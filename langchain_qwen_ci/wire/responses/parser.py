"""Converts the frames of a Responses answer to events."""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenRateLimitError
from langchain_qwen_ci.wire.error_bodies import error_field, error_message, service_error
from langchain_qwen_ci.wire.events import (
    Event,
    Finished,
    FinishReason,
    ResponseStarted,
    TextDelta,
)
from langchain_qwen_ci.wire.json_values import as_object, as_string, parse_json
from langchain_qwen_ci.wire.responses.calls import (
    Executions,
    FunctionCalls,
    McpCalls,
    ServerToolCalls,
)
from langchain_qwen_ci.wire.responses.executions import is_execution, to_code_interpreter_call
from langchain_qwen_ci.wire.responses.texts import Messages, Reasoning
from langchain_qwen_ci.wire.text.think_tags import ThinkTagSplitter
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.wire.responses.identity import Payload
    from langchain_qwen_ci.wire.responses.items import ItemHandler
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

# The message of a failure may begin with a status and a code, and its own code is then less exact:
# `<400> InternalError.Algo.InvalidParameter: …`.
_STATUS_AND_CODE = re.compile(r"<(\d{3})> ([\w.]+): ")
# Reasons of `response.incomplete`; all others are limits of tokens.
_INCOMPLETE_REASONS: dict[object, FinishReason] = {"content_filter": "content_filter"}


class ResponsesParser:
    """Implements `langchain_qwen_ci.wire.decoding.FrameParser` for Responses.

    Args:
        parse_think_tags: whether text in `<think>` tags is reasoning.
    """

    def __init__(self, *, parse_think_tags: bool) -> None:
        self.finished = False
        self._think_tags = ThinkTagSplitter() if parse_think_tags else None
        self.usage: dict[str, Any] = {}
        self._request_id = ""  # set with the first event that is emitted
        self._response_id: object = None  # from `response.created`
        self._executions = executions = Executions()
        self._function_calls = function_calls = FunctionCalls()
        self._messages = messages = Messages()
        reasoning = Reasoning()
        mcp_calls = McpCalls(executions)
        self._item_handlers: dict[str, ItemHandler] = {
            "reasoning": reasoning,
            "message": messages,
            "code_interpreter_call": executions,
            "function_call": function_calls,
            "mcp_call": mcp_calls,
        }
        self._event_handlers: dict[str, Callable[[Payload], Iterable[Event]]] = {
            "response.created": self._on_created,
            "response.queued": self._on_created,
            "response.in_progress": self._on_created,
            "response.output_item.added": self._on_item_added,
            "response.output_item.done": self._on_item_done,
            "response.reasoning_text.delta": reasoning.delta,
            "response.reasoning_summary_text.delta": reasoning.delta,
            "response.output_text.delta": messages.delta,
            "response.output_text.done": messages.done,
            "response.output_text.annotation.added": messages.annotation,
            "response.refusal.delta": messages.refusal_delta,
            "response.refusal.done": messages.refusal_done,
            "response.code_interpreter_call_code.delta": executions.delta,
            "response.code_interpreter_call_code.done": executions.done,
            "response.mcp_call_arguments.delta": mcp_calls.delta,
            "response.mcp_call_arguments.done": mcp_calls.done,
            "response.function_call_arguments.delta": function_calls.delta,
            "response.function_call_arguments.done": function_calls.done,
            "response.completed": self._on_completed,
            "response.incomplete": self._on_incomplete,
            "response.failed": self._on_failed,
        }

    @property
    def started(self) -> bool:
        return bool(self._request_id)

    @property
    def ended(self) -> bool:
        return self.finished

    def end(self) -> list[Event]:
        return []

    def read(self, frame: Frame, events: list[Event]) -> None:
        payload = parse_json(frame.data)
        kind = payload.get("type") or frame.event
        if payload.get("object") == "response":  # a JSON document instead of a stream
            payload = {"response": payload}
            kind = f"response.{payload['response'].get('status')}"
        elif not kind.startswith("response.") and _is_error(kind, payload):
            raise service_error(payload, frame.status)
        handler = self._event_handlers.get(kind)
        if handler is None:
            logger.debug("Event %r is ignored.", kind)
            return
        for event in handler(payload):
            if not self._request_id:
                events.append(self._response_started(payload))
            if self._think_tags is None:
                events.append(event)
            else:
                events += _without_think_tags(event, self._think_tags)

    def _response_started(self, payload: Payload) -> ResponseStarted:
        """Return the event that precedes the first event of an item.

        `response.created` alone does not start a response: a rate limit, which is retried, may
        follow it.
        """
        response = payload.get("response")
        response_id = response.get("id") if isinstance(response, dict) else None
        self._request_id = str(response_id or self._response_id or uuid.uuid4().hex)
        return ResponseStarted(self._request_id)

    def _on_created(self, payload: Payload) -> list[Event]:
        self._response_id = payload["response"].get("id")
        return []

    def _on_item_added(self, payload: Payload) -> Iterable[Event]:
        item = payload["item"]
        handler = self._handler_of(item)
        return handler.open(item, payload.get("output_index")) if handler else []

    def _on_item_done(self, payload: Payload) -> Iterable[Event]:
        item = payload["item"]
        handler = self._handler_of(item)
        return handler.close(item, payload.get("output_index")) if handler else []

    def _handler_of(self, item: Payload) -> ItemHandler | None:
        kind = as_string(item["type"])
        if kind in self._item_handlers:
            return self._item_handlers[kind]
        if kind.endswith("_call"):
            return self._item_handlers.setdefault(kind, ServerToolCalls(kind))
        logger.debug("An item of the unknown type %r is ignored.", kind)
        return None

    def _on_completed(self, payload: Payload) -> Iterator[Event]:
        # vLLM sends this event with the status "incomplete", too.
        if payload["response"].get("status") == "incomplete":
            return self._on_incomplete(payload)
        return self._finish(payload["response"], "stop")

    def _on_incomplete(self, payload: Payload) -> Iterator[Event]:
        details = payload["response"].get("incomplete_details") or {}
        reason = _INCOMPLETE_REASONS.get(details.get("reason"), "length")
        return self._finish(payload["response"], reason)

    def _finish(self, response: Payload, reason: FinishReason) -> Iterator[Event]:
        self._read_usage(response)
        yield from self._final_items(response.get("output") or ())
        yield from self._executions.close_all()
        yield from usage_events(self.usage)
        self.finished = True
        if reason == "stop" and self._function_calls.has_calls:
            reason = "tool_calls"
        elif reason == "stop" and self._messages.has_refusal:
            reason = "content_filter"
        yield Finished(reason)

    def _final_items(self, items: Iterable[Payload]) -> Iterator[Event]:
        """Yield what the last frame adds to the items that were streamed.

        Each handler receives all items of its type, because their ids may be others than before.
        """
        handlers: list[ItemHandler] = []  # of each item
        items_of: dict[ItemHandler, list[Payload]] = {}
        for item in items:
            if is_execution(item):
                handler: ItemHandler | None = self._executions
                item = to_code_interpreter_call(item)  # noqa: PLW2901
            else:
                handler = self._handler_of(item)
            if handler:
                handlers.append(handler)
                items_of.setdefault(handler, []).append(item)
        events_of = {handler: handler.close_final(items) for handler, items in items_of.items()}
        for handler in handlers:
            yield from next(events_of[handler])

    def _on_failed(self, payload: Payload) -> list[Event]:
        self._read_usage(payload["response"])
        raise _failure(payload["response"])

    def _read_usage(self, response: Payload) -> None:
        if usage := response.get("usage"):
            self.usage = as_object(usage)


def _without_think_tags(event: Event, splitter: ThinkTagSplitter) -> list[Event]:
    if isinstance(event, TextDelta):
        return splitter.feed(event.text)
    return [*(splitter.close() if isinstance(event, Finished) else ()), event]


def _is_error(kind: str, payload: Payload) -> bool:
    return kind == "error" or bool(payload.get("code") or payload.get("error"))


def _failure(response: Payload) -> QwenAPIError:
    """Return the exception for the `error` of a failed response."""
    error = as_object(response.get("error") or {})
    message, code, request_id = error.get("message"), error.get("code"), response.get("id")
    if "rate limit" in str(message).lower():
        # Documented with the code "server_error", which would be a QwenServerError.
        return QwenRateLimitError(
            error_message(message), code=error_field(code), request_id=error_field(request_id)
        )
    match = _STATUS_AND_CODE.match(str(message))
    payload = {"message": message, "code": match[2] if match else code, "request_id": request_id}
    return service_error(payload, int(match[1]) if match else None)
