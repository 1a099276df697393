"""Responses: OpenAI's newer shape. It shows code and its output, and takes other server tools.

Facts in this module: Model Studio's reference of the Responses API, its page on the code
interpreter, and measurements published against the live service. What makes this wire special:

- an answer is a stream of items (`response_items`), which the last frame repeats;
- reasoning has two event names, and code may come whole with its item or in pieces;
- a failure, a rate limit among them, comes with status 200 and says so in the last frame.
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
_FEWEST_OUTPUT_TOKENS = 16
# `<400> InternalError.Algo.InvalidParameter: …` is how a failure names its status and code.
_FAILURE = re.compile(r"<(\d{3})> ([\w.]+): ")
_INCOMPLETE: dict[object, FinishReason] = {"content_filter": "content_filter"}


class ResponsesWire:
    """The Responses wire; see `langchain_qwen_ci.wire.Wire`."""

    def request(self, prompt: Prompt, options: RequestOptions) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "input": [item for message in prompt for item in _handler_for(message, options)],
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


def _handler_for(message: PromptMessage, options: RequestOptions) -> Iterator[dict[str, Any]]:
    """A turn as input items: a message, and one item for each thought, call and result."""
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
    function_calls = [{"type": "function", **tool["function"]} for tool in options.functions]
    return [*interpreter, *map(dict, options.server_tools), *function_calls]


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """DashScope's names in this API's.

    Raises:
        QwenInputError: one that this API does not take.
    """
    sent = dict(parameters)
    if "thinking_budget" in sent:
        raise QwenInputError(
            "The Responses API takes no thinking_budget: pass reasoning_effort "
            '("low", "medium" or "high"), or use another api.'
        )
    if (limit := sent.pop("max_tokens", None)) is not None:
        if limit < _FEWEST_OUTPUT_TOKENS:
            raise QwenInputError(
                f"max_tokens is {limit}: the Responses API takes {_FEWEST_OUTPUT_TOKENS} or more."
            )
        sent["max_output_tokens"] = limit
    if (effort := sent.pop("reasoning_effort", None)) is not None:
        sent["reasoning"] = {**sent.get("reasoning", {}), "effort": effort}
    if (form := sent.pop("response_format", None)) is not None:
        sent["text"] = {**sent.get("text", {}), "format": _format(form)}
    if isinstance(choice := sent.get("tool_choice"), dict) and "function" in choice:
        sent["tool_choice"] = {"type": "function", **choice["function"]}
    return sent


def _format(form: Mapping[str, Any]) -> dict[str, Any]:
    """Chat Completions wraps a schema in `json_schema`; here it stands beside the type."""
    return {"type": form["type"], **form.get("json_schema", {})}


class _ResponsesParser:
    """Items to events; see `langchain_qwen_ci.wire.decoding.Reading`."""

    def __init__(self) -> None:
        self.finished = False
        self.usage: dict[str, Any] = {}
        self._request_id = ""  # once something has been told
        self._response_id: object = None
        self._code_calls = code_calls = CodeInterpreterCalls()
        self._function_calls = function_calls = FunctionCalls()
        self._server_tools = ServerToolCalls()
        messages, reasoning = Messages(), Reasoning()
        self._kinds: dict[str, ItemHandler] = {
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
        if payload.get("object") == "response":  # an answer that is no stream
            payload = {"response": payload}
            kind = f"response.{payload['response'].get('status')}"
        elif not kind.startswith("response.") and _is_error(kind, payload):
            raise service_error(payload, frame.status)
        handler = self._handlers.get(kind)
        if handler is None:
            logger.debug("Event %r is passed over.", kind)
            return
        for event in handler(payload):
            if not self._request_id:
                events.append(self._started(payload))
            events.append(event)

    def _started(self, payload: Payload) -> ResponseStarted:
        """Not before something is told: `response.created` may be followed by a rate limit."""
        response = payload.get("response")
        named = response.get("id") if isinstance(response, dict) else None
        self._request_id = str(named or self._response_id or uuid.uuid4().hex)
        return ResponseStarted(self._request_id)

    def _on_created(self, payload: Payload) -> list[Event]:
        self._response_id = payload["response"].get("id")
        return []

    def _on_item_added(self, payload: Payload) -> Iterable[Event]:
        items = self._handler_for(payload["item"])
        return items.open(payload["item"]) if items else []

    def _on_item_done(self, payload: Payload) -> Iterable[Event]:
        return self._close_item(payload["item"])

    def _close_item(self, item: Payload) -> Iterable[Event]:
        items = self._handler_for(item)
        return items.close(item) if items else []

    def _handler_for(self, item: Payload) -> ItemHandler | None:
        kind = as_string(item["type"])
        if kind in self._kinds:
            return self._kinds[kind]
        if kind.endswith("_call"):
            return self._server_tools
        logger.debug("An item of unknown type %r is passed over.", kind)
        return None

    def _on_completed(self, payload: Payload) -> Iterator[Event]:
        return self._finished(payload["response"], "stop")

    def _on_incomplete(self, payload: Payload) -> Iterator[Event]:
        details = payload["response"].get("incomplete_details") or {}
        error_message = _INCOMPLETE.get(details.get("reason"), "length")
        return self._finished(payload["response"], error_message)

    def _finished(self, response: Payload, error_message: FinishReason) -> Iterator[Event]:
        self._read_usage(response)
        for item in response.get("output") or ():
            yield from self._close_item(item)
        yield from self._code_calls.end()
        yield from usage_events(self.usage)
        self.finished = True
        yield Finished(
            "tool_calls"
            if self._function_calls.called and error_message == "stop"
            else error_message
        )

    def _on_failed(self, payload: Payload) -> list[Event]:
        self._read_usage(payload["response"])
        raise _failure(payload["response"])

    def _read_usage(self, response: Payload) -> None:
        if usage := response.get("usage"):
            self.usage = as_object(usage)


def _is_error(kind: str, payload: Payload) -> bool:
    return kind == "error" or bool(payload.get("code") or payload.get("error"))


def _failure(response: Payload) -> QwenAPIError:
    error = as_object(response.get("error") or {})
    message, code, request_id = error.get("message"), error.get("code"), response.get("id")
    if "rate limit" in str(message).lower():  # documented with code server_error
        return QwenRateLimitError(
            error_message(message), code=error_name(code), request_id=error_name(request_id)
        )
    named = _FAILURE.match(str(message))
    payload = {"message": message, "code": named[2] if named else code, "request_id": request_id}
    return service_error(payload, int(named[1]) if named else None)
