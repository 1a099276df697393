"""The Chat Completions API from the side of the service: OpenAI's format, with flags at the top
level.

It returns neither code nor counts, and the stream is silent while a program runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator import request_rules
from langchain_qwen_ci.emulator.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.request_rules import ServiceError, invalid
from langchain_qwen_ci.emulator.responders.responder import (
    Call,
    Extract,
    Finish,
    Result,
    Run,
    Say,
    Search,
    Think,
)
from langchain_qwen_ci.emulator.token_usage import pieces
from langchain_qwen_ci.emulator.wires.interface import compact_json, tool_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.responders.responder import Step
    from langchain_qwen_ci.emulator.token_usage import TokenUsage

_PATH = "/compatible-mode/v1/chat/completions"
# The codes of this API for native codes. Other codes are sent unchanged.
_CODES = {
    "InvalidParameter": "invalid_parameter_error",
    "BadRequest": "invalid_parameter_error",
    "DataInspectionFailed": "data_inspection_failed",
    "InvalidApiKey": "invalid_api_key",
    "AccessDenied": "access_denied",
    "Model.AccessDenied": "access_denied",
    "ModelNotFound": "model_not_found",
    "Model.NotExist": "model_not_found",
    "Throttling": "limit_requests",
    "Throttling.RateQuota": "limit_requests",
    "Throttling.BurstRate": "limit_burst_rate",
    "Throttling.AllocationQuota": "insufficient_quota",
    "InternalError": "internal_error",
    "SystemError": "internal_error",
}
# The type of an error is its code, except for these.
_INVALID_REQUESTS = ("invalid_parameter_error", "invalid_api_key", "model_not_found")
_WRONG_KEY = f"Incorrect API key provided. {request_rules.DETAILS}#apikey-error"


class ChatCompletions:
    """The Chat Completions API of the emulator; implements `Wire`."""

    paths = (_PATH,)

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> ChatRequest:
        del path, headers
        return ChatRequest(body)

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        code = _CODES.get(request_error.code, request_error.code)
        wrong_key = request_error.code == "InvalidApiKey" and request_error.message.startswith(
            "Invalid"
        )
        error = {
            "message": _WRONG_KEY if wrong_key else request_error.message,
            "type": "invalid_request_error" if code in _INVALID_REQUESTS else code,
            "param": None,
            "code": code,
        }
        return compact_json({"error": error, "request_id": request_id})


class ChatRequest:
    """A request for a chat completion; implements `WireRequest`."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        search = {"web_search"} if body.get("enable_search") else set()
        self.parsed = ParsedRequest(
            api="chat_completions",
            model=body.get("model"),
            messages=body.get("messages") or [],
            streams=bool(body.get("stream")),
            interpreter_requested=bool(body.get("enable_code_interpreter")),
            thinking=body.get("enable_thinking"),
            tools=body.get("tools") or (),
            tool_choice=body.get("tool_choice") or "auto",
            response_format=body.get("response_format"),
            parameters={**body, "max_tokens": _max_tokens(body)},
            server_tools=frozenset(search),
        )

    def request_error(self) -> ServiceError | None:
        own = (_code_interpreter_is_served, _json_is_named)
        streaming = request_rules.interpreter_requires_streaming
        return request_rules.first_error(self.parsed, (*request_rules.EVERYWHERE, streaming, *own))

    def response_error(self) -> ServiceError | None:
        """Return None: this API reports all errors with an HTTP status."""

    def create_encoder(self, request_id: str) -> ChatCompletionsEncoder:
        options = as_object(self._body.get("stream_options"))
        return ChatCompletionsEncoder(
            request_id,
            self.parsed,
            shows_usage=bool(options.get("include_usage")),
        )


def _max_tokens(body: Mapping[str, Any]) -> object:
    # OpenAI's newer name takes precedence over the older one.
    return body.get("max_completion_tokens", body.get("max_tokens"))


def _code_interpreter_is_served(parsed: ParsedRequest) -> ServiceError | None:
    # Measured: these models run code with Responses only.
    if parsed.interpreter and parsed.model.startswith("qwen3.8"):
        return invalid(f"{parsed.model} does not support the code_interpreter tool")
    return None


def _json_is_named(parsed: ParsedRequest) -> ServiceError | None:
    # The service's rule, with the message in the documentation of its errors.
    text = " ".join(str(message.get("content")) for message in parsed.messages)
    if parsed.format == "json_object" and "json" not in text.lower():
        return invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'."
        )
    return None


class ChatCompletionsEncoder:
    """Encodes the steps of a responder as chunks, or as one completion."""

    closing = b"data: [DONE]\n\n"

    def __init__(self, request_id: str, parsed: ParsedRequest, *, shows_usage: bool) -> None:
        self._request_id = request_id
        self._model = parsed.model
        self._thinking_enabled = parsed.thinking_enabled
        self._tokens: TokenUsage = parsed.token_usage()
        self._shows_usage = shows_usage
        self._created = int(time.time())
        self._calls: list[dict[str, Any]] = []
        self._reasoning = ""
        self._text = ""
        self._reason = "stop"
        self.written = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        empty = {"reasoning_content": ""} if self._thinking_enabled else {"content": ""}
        yield self._chunk({"role": "assistant", **empty})

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Think(text):
                yield from self._on_think(text)
            case Run(code):
                self._tokens.count_output(code)
            case Search(_, sources):
                self._tokens.start_inference(" ".join(sources))
            case Say(text):
                yield from self._on_say(text)
            case Call():
                yield from self._on_call(step)
            case Finish(reason):
                self._reason = reason
            case Extract():
                raise TypeError("Chat Completions has no tool that reads web pages.")

    def on_code_result(self, result: Result) -> Iterator[dict[str, Any]]:
        """Yield nothing: this API does not return code results."""
        self._tokens.start_inference(result)
        yield from ()

    def end(self) -> Iterator[dict[str, Any]]:
        yield self._chunk({"content": ""}, finish=self._reason)
        if self._shows_usage:
            yield {**self._chunk({}), "choices": [], "usage": self._usage()}

    def frame(self, payload: dict[str, Any]) -> bytes:
        self.written += 1
        return b"data: " + compact_json(payload) + b"\n\n"

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        del number  # frames of this API have no number
        return b"data: " + self.failed_document(request_error) + b"\n\n"

    def document(self) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": self._text}
        if self._thinking_enabled:
            message["reasoning_content"] = self._reasoning
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {
            "message": message,
            "finish_reason": self._reason,
            "index": 0,
            "logprobs": None,
        }
        return compact_json(
            {
                "choices": [choice],
                "object": "chat.completion",
                "usage": self._usage(),
                **self._names(),
            }
        )

    def failed_document(self, request_error: ServiceError) -> bytes:
        return ChatCompletions().error_body(request_error, self._request_id)

    def _on_think(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in pieces(text):
            self._tokens.count_reasoning()
            self._reasoning += piece
            yield self._chunk({"reasoning_content": piece})

    def _on_say(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in pieces(text):
            self._tokens.count_text()
            self._text += piece
            yield self._chunk({"content": piece})

    def _on_call(self, call: Call) -> Iterator[dict[str, Any]]:
        self._reason = "tool_calls"
        complete, first, second = tool_calls(call, self._request_id, len(self._calls))
        self._tokens.count_output(complete["function"]["arguments"])
        self._calls.append(complete)
        yield self._chunk({"tool_calls": [first]})
        yield self._chunk({"tool_calls": [second]})

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None) -> dict[str, Any]:
        # One of content and reasoning_content is null in every delta.
        complete = {"content": None, "reasoning_content": None, **delta}
        choice = {"delta": complete, "finish_reason": finish, "index": 0, "logprobs": None}
        return {
            "choices": [choice],
            "object": "chat.completion.chunk",
            "usage": None,
            **self._names(),
        }

    def _names(self) -> dict[str, Any]:
        return {
            "created": self._created,
            "system_fingerprint": None,
            "model": self._model,
            "id": f"chatcmpl-{self._request_id}",
        }

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._tokens.input,
            "completion_tokens": self._tokens.output,
            "total_tokens": self._tokens.total,
            "completion_tokens_details": {"reasoning_tokens": self._tokens.reasoning},
            "prompt_tokens_details": {"cached_tokens": 0},
        }
