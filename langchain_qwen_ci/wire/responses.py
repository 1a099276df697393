"""Wire format of Responses, OpenAI's newer API. It returns code with its output.

Sources: Model Studio's reference of the Responses API, its page on the code interpreter, and
measurements published against the live service. Differences from the other APIs:

- An answer is a list of items (see `responses_items`). They are streamed, and the last frame
  repeats all of them.
- Reasoning has two event names. Code comes either complete with its item or in pieces.
- A failure, for example a rate limit, comes with HTTP status 200; the last frame reports it.
- The service has other tools that can be used together with the interpreter.
"""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from langchain_qwen_ci.errors import QwenInputError, QwenRateLimitError
from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.decoding import FramedDecoder
from langchain_qwen_ci.wire.encoding import encode_content, json_body
from langchain_qwen_ci.wire.error_bodies import (
    error_field,
    error_message,
    parse_error_body,
    service_error,
)
from langchain_qwen_ci.wire.events import Event, Finished, FinishReason, ResponseStarted
from langchain_qwen_ci.wire.json_values import as_object, as_string
from langchain_qwen_ci.wire.responses_items import (
    CodeInterpreterCalls,
    FunctionCalls,
    ItemHandler,
    Messages,
    Reasoning,
    ServerToolCalls,
)
from langchain_qwen_ci.wire.usage import usage_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.request.prompt import Media, Prompt, PromptMessage, RequestOptions
    from langchain_qwen_ci.wire.responses_items import Payload
    from langchain_qwen_ci.wire.sse import Frame

logger = logging.getLogger(__name__)

_PATH = "/compatible-mode/v1/responses"
_MIN_OUTPUT_TOKENS = 16
# The message of a failure may begin with a status and a code, and its own code is then less exact:
# `<400> InternalError.Algo.InvalidParameter: …`.
_STATUS_AND_CODE = re.compile(r"<(\d{3})> ([\w.]+): ")
# Reasons of `response.incomplete`; all others are limits of tokens.
_INCOMPLETE_REASONS: dict[object, FinishReason] = {"content_filter": "content_filter"}


class ResponsesWire:
    """Implements `langchain_qwen_ci.wire.Wire` for Responses."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "input": [item for message in prompt for item in _input_items(message, options)],
            "stream": True,
        }
        if tools := _tools(options):
            payload["tools"] = tools
        if options.enable_thinking is not None:
            payload["enable_thinking"] = options.enable_thinking
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={
                "Accept": "text/event-stream",
                **({"x-dashscope-session-cache": "enable"} if options.session_cache else {}),
            },
            body=json_body({**payload, **_parameters(options.parameters)}),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        del request
        return FramedDecoder(_ResponsesParser())

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return service_error(parse_error_body(body), status_code)


def _input_items(message: PromptMessage, options: RequestOptions) -> Iterator[dict[str, Any]]:
    """Encode a message as input items: reasoning, content, function calls or a call's result."""
    if message.tool_call_id is not None:
        yield {
            "type": "function_call_output",
            "call_id": message.tool_call_id,
            "output": message.text,
        }
        return
    if message.reasoning and options.preserve_thinking:
        summary = [{"type": "summary_text", "text": message.reasoning}]
        yield {"type": "reasoning", "summary": summary}
    if message.parts or not message.calls:
        yield {"role": message.role, "content": encode_content(message, _encode_part)}
    for call in message.calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _encode_part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image":
        return {"type": "input_image", "image_url": part.url}
    raise QwenInputError(
        f"The Responses API is not known to take {part.kind} input: use api='dashscope'."
    )


def _tools(options: RequestOptions) -> list[dict[str, Any]]:
    interpreter = [dict(options.interpreter_tool)] if options.enable_code_interpreter else []
    # Chat Completions nests a function under "function"; Responses does not.
    functions = [{"type": "function", **tool["function"]} for tool in options.functions]
    return [*interpreter, *map(dict, options.server_tools), *functions]


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters under DashScope's names to those of this API.

    Raises:
        QwenInputError: this API does not accept a parameter or its value.
    """
    sent = dict(parameters)
    if "thinking_budget" in sent:
        raise QwenInputError(
            "The Responses API takes no thinking_budget: pass reasoning_effort "
            '("low", "medium" or "high"), or use another api.'
        )
    if (limit := sent.pop("max_tokens", None)) is not None:
        if limit < _MIN_OUTPUT_TOKENS:
            raise QwenInputError(
                f"max_tokens is {limit}: the Responses API takes {_MIN_OUTPUT_TOKENS} or more."
            )
        sent["max_output_tokens"] = limit
    if (effort := sent.pop("reasoning_effort", None)) is not None:
        sent["reasoning"] = {**sent.get("reasoning", {}), "effort": effort}
    if (response_format := sent.pop("response_format", None)) is not None:
        # Chat Completions nests a schema under "json_schema"; Responses does not.
        flat = {"type": response_format["type"], **response_format.get("json_schema", {})}
        sent["text"] = {**sent.get("text", {}), "format": flat}
    if isinstance(choice := sent.get("tool_choice"), dict) and "function" in choice:
        sent["tool_choice"] = {"type": "function", **choice["function"]}
    return sent


class _ResponsesParser:
    """Implements `langchain_qwen_ci.wire.decoding.FrameParser` for Responses."""

    def __init__(self) -> None:
        self.finished = False
        self.usage: dict[str, Any] = {}
        self._request_id = ""  # set with the first event that is emitted
        self._response_id: object = None  # from `response.created`
        self._code_calls = code_calls = CodeInterpreterCalls()
        self._function_calls = function_calls = FunctionCalls()
        self._server_tools = ServerToolCalls()
        messages, reasoning = Messages(), Reasoning()
        self._item_handlers: dict[str, ItemHandler] = {
            "reasoning": reasoning,
            "message": messages,
            "code_interpreter_call": code_calls,
            "function_call": function_calls,
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
            "response.code_interpreter_call_code.delta": code_calls.delta,
            "response.code_interpreter_call_code.done": code_calls.done,
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
        payload = from_json(frame.data)
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
            events.append(event)

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
        handler = self._handler_for(payload["item"])
        return handler.open(payload["item"]) if handler else []

    def _on_item_done(self, payload: Payload) -> Iterable[Event]:
        return self._close_item(payload["item"])

    def _close_item(self, item: Payload) -> Iterable[Event]:
        handler = self._handler_for(item)
        return handler.close(item) if handler else []

    def _handler_for(self, item: Payload) -> ItemHandler | None:
        kind = as_string(item["type"])
        if kind in self._item_handlers:
            return self._item_handlers[kind]
        if kind.endswith("_call"):
            return self._server_tools
        logger.debug("An item of the unknown type %r is ignored.", kind)
        return None

    def _on_completed(self, payload: Payload) -> Iterator[Event]:
        return self._finish(payload["response"], "stop")

    def _on_incomplete(self, payload: Payload) -> Iterator[Event]:
        details = payload["response"].get("incomplete_details") or {}
        reason = _INCOMPLETE_REASONS.get(details.get("reason"), "length")
        return self._finish(payload["response"], reason)

    def _finish(self, response: Payload, reason: FinishReason) -> Iterator[Event]:
        self._read_usage(response)
        for item in response.get("output") or ():
            yield from self._close_item(item)
        yield from self._code_calls.close_all()
        yield from usage_events(self.usage)
        self.finished = True
        has_calls = self._function_calls.has_calls
        yield Finished("tool_calls" if has_calls and reason == "stop" else reason)

    def _on_failed(self, payload: Payload) -> list[Event]:
        self._read_usage(payload["response"])
        raise _failure(payload["response"])

    def _read_usage(self, response: Payload) -> None:
        if usage := response.get("usage"):
            self.usage = as_object(usage)


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
