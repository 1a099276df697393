"""The Responses API, which returns code and its output and has other tools of the service.

Sources: Model Studio's reference of the Responses API, its page on the code interpreter, and
measurements published against the live service. Properties of this API:

- an answer is a stream of items (see `responses_items`), which the last frame repeats;
- reasoning has two event names, and code arrives complete with its item or as deltas;
- a failure, including a rate limit, has status 200 and is reported in the last frame.
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
from langchain_qwen_ci.wire.decoding import (
    FramedDecoder,
    error_document,
    error_message,
    error_name,
    service_error,
)
from langchain_qwen_ci.wire.encoding import encode_content, json_body
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
# A failure names its status and code in its message: `<400> InternalError.Algo.InvalidParameter:
# …`.
_FAILURE = re.compile(r"<(\d{3})> ([\w.]+): ")
_INCOMPLETE_REASONS: dict[object, FinishReason] = {"content_filter": "content_filter"}


class ResponsesWire:
    """The Responses API; implements `langchain_qwen_ci.wire.Wire`."""

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
        return service_error(error_document(body), status_code)


def _input_items(message: PromptMessage, options: RequestOptions) -> Iterator[dict[str, Any]]:
    """Encode a message as input items: reasoning, text, function calls and results are separate."""
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
        yield {"role": message.role, "content": encode_content(message, _part)}
    for call in message.calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image":
        return {"type": "input_image", "image_url": part.url}
    raise QwenInputError(
        f"The Responses API is not known to take {part.kind} input: use api='dashscope'."
    )


def _tools(options: RequestOptions) -> list[dict[str, Any]]:
    interpreter = [{"type": "code_interpreter"}] if options.enable_code_interpreter else []
    functions = [{"type": "function", **tool["function"]} for tool in options.functions]
    return [*interpreter, *map(dict, options.server_tools), *functions]


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters from DashScope's names to those of this API.

    Raises:
        QwenInputError: this API does not support a parameter.
    """
    converted = dict(parameters)
    if "thinking_budget" in converted:
        raise QwenInputError(
            "The Responses API takes no thinking_budget: pass reasoning_effort "
            '("low", "medium" or "high"), or use another api.'
        )
    if (limit := converted.pop("max_tokens", None)) is not None:
        if limit < _MIN_OUTPUT_TOKENS:
            raise QwenInputError(
                f"max_tokens is {limit}: the Responses API takes {_MIN_OUTPUT_TOKENS} or more."
            )
        converted["max_output_tokens"] = limit
    if (effort := converted.pop("reasoning_effort", None)) is not None:
        converted["reasoning"] = {**converted.get("reasoning", {}), "effort": effort}
    if (response_format := converted.pop("response_format", None)) is not None:
        converted["text"] = {**converted.get("text", {}), "format": _text_format(response_format)}
    if isinstance(choice := converted.get("tool_choice"), dict) and "function" in choice:
        converted["tool_choice"] = {"type": "function", **choice["function"]}
    return converted


def _text_format(response_format: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a response format of Chat Completions, which nests the schema in `json_schema`."""
    return {"type": response_format["type"], **response_format.get("json_schema", {})}


class _ResponsesParser:
    """Converts items to events; implements `langchain_qwen_ci.wire.decoding.FrameParser`."""

    def __init__(self) -> None:
        self.finished = False
        self.usage: dict[str, Any] = {}
        self._request_id = ""  # set with the first event
        self._response_id: object = None
        self._code_calls = code_calls = CodeInterpreterCalls()
        self._function_calls = function_calls = FunctionCalls()
        self._server_tool_calls = ServerToolCalls()
        messages, reasoning = Messages(), Reasoning()
        self._item_handlers: dict[str, ItemHandler] = {
            "reasoning": reasoning,
            "message": messages,
            "code_interpreter_call": code_calls,
            "function_call": function_calls,
        }
        self._handlers: dict[str, Callable[[Payload], Iterable[Event]]] = {
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
        if payload.get("object") == "response":  # a response that is not streamed
            payload = {"response": payload}
            kind = f"response.{payload['response'].get('status')}"
        elif not kind.startswith("response.") and _is_error(kind, payload):
            raise service_error(payload, frame.status)
        handler = self._handlers.get(kind)
        if handler is None:
            logger.debug("Ignoring event %r.", kind)
            return
        for event in handler(payload):
            if not self._request_id:
                events.append(self._start(payload))
            events.append(event)

    def _start(self, payload: Payload) -> ResponseStarted:
        # Not with `response.created`, because a rate limit may follow it, and that is retried.
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
            return self._server_tool_calls
        logger.debug("Ignoring an item of unknown type %r.", kind)
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
        yield from self._code_calls.end()
        yield from usage_events(self.usage)
        self.finished = True
        yield Finished("tool_calls" if self._function_calls.called and reason == "stop" else reason)

    def _on_failed(self, payload: Payload) -> list[Event]:
        self._read_usage(payload["response"])
        raise _response_error(payload["response"])

    def _read_usage(self, response: Payload) -> None:
        if usage := response.get("usage"):
            self.usage = as_object(usage)


def _is_error(kind: str, payload: Payload) -> bool:
    return kind == "error" or bool(payload.get("code") or payload.get("error"))


def _response_error(response: Payload) -> QwenAPIError:
    error = as_object(response.get("error") or {})
    message, code, request_id = error.get("message"), error.get("code"), response.get("id")
    if "rate limit" in str(message).lower():  # its documented code is server_error
        return QwenRateLimitError(
            error_message(message), code=error_name(code), request_id=error_name(request_id)
        )
    match = _FAILURE.match(str(message))
    payload = {"message": message, "code": match[2] if match else code, "request_id": request_id}
    return service_error(payload, int(match[1]) if match else None)
