"""The Chat Completions API from the side of the service: OpenAI's format, with Qwen's flags added.

It returns neither code nor counts, and the stream sends nothing while a program runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests import request_rules
from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.requests.request_rules import ServiceError, invalid
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
from langchain_qwen_ci.emulator.wires.encoding import AnswerProgress, compact_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.responders.responder import Step
    from langchain_qwen_ci.emulator.wires.interface import Payload

_PATH = "/compatible-mode/v1/chat/completions"
_OPENAI_PATH = "/v1/chat/completions"  # as on other OpenAI-compatible servers
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
# Errors with these codes have the type invalid_request_error; the type of others is their code.
_INVALID_REQUESTS = ("invalid_parameter_error", "invalid_api_key", "model_not_found")
_WRONG_KEY = f"Incorrect API key provided. {request_rules.DETAILS}#apikey-error"


class ChatCompletions:
    """The Chat Completions API of the emulator; implements `Wire`."""

    paths = (_PATH, _OPENAI_PATH)

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
        # OpenAI's newer name of this parameter takes precedence over the older one.
        max_tokens = body.get("max_completion_tokens", body.get("max_tokens"))
        self.parsed = ParsedRequest.from_flags(
            "chat_completions",
            {**body, "max_tokens": max_tokens},
            model=body.get("model"),
            messages=body.get("messages"),
            streams=bool(body.get("stream")),
        )

    def request_error(self) -> ServiceError | None:
        return request_rules.first_error(
            self.parsed,
            (
                *request_rules.RULES_OF_DASHSCOPE_AND_CHAT_COMPLETIONS,
                _check_model_runs_code,
                _check_json_is_mentioned,
            ),
        )

    def response_error(self) -> ServiceError | None:
        """Return None: this API reports all errors with an HTTP status."""

    def create_encoder(self, request_id: str) -> ChatCompletionsEncoder:
        options = as_object(self._body.get("stream_options"))
        return ChatCompletionsEncoder(
            request_id,
            self.parsed,
            includes_usage=bool(options.get("include_usage")),
        )


def _check_model_runs_code(parsed: ParsedRequest) -> ServiceError | None:
    # These models run code with Responses only (measured).
    if parsed.interpreter and parsed.model.startswith("qwen3.8"):
        return invalid(f"{parsed.model} does not support the code_interpreter tool")
    return None


def _check_json_is_mentioned(parsed: ParsedRequest) -> ServiceError | None:
    # The rule and its text are in the service's documentation of errors.
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

    def __init__(self, request_id: str, parsed: ParsedRequest, *, includes_usage: bool) -> None:
        self._request_id = request_id
        self._model = parsed.model
        self._thinking_enabled = parsed.thinking_enabled
        self._includes_usage = includes_usage
        self._created = int(time.time())
        self._progress = AnswerProgress(request_id, parsed.token_usage())
        self.written = 0

    def start_payloads(self) -> Iterator[Payload]:
        """Yield the chunk with the role."""
        empty = {"reasoning_content": ""} if self._thinking_enabled else {"content": ""}
        yield self._chunk({"role": "assistant", **empty})

    def step_payloads(self, step: Step) -> Iterator[Payload]:
        progress = self._progress
        match step:
            case Think(text):
                yield from map(self._reasoning_chunk, progress.add_reasoning(text))
            case Say(text):
                yield from map(self._text_chunk, progress.add_text(text))
            case Call():
                yield from map(self._tool_call_chunk, progress.add_call(step))
            case Run(code):
                progress.tokens.count_output(code)
            case Search(_, sources):
                progress.tokens.start_inference(" ".join(sources))
            case Finish(reason):
                progress.finish_reason = reason
            case Extract():
                raise TypeError("Chat Completions has no tool that reads web pages.")

    def result_payloads(self, result: Result) -> Iterator[Payload]:
        """Yield nothing: this API does not return the results of programs."""
        self._progress.tokens.start_inference(result)
        yield from ()

    def end_payloads(self) -> Iterator[Payload]:
        """Yield the chunk with the finish reason, and the chunk with the usage if requested."""
        yield self._chunk({"content": ""}, finish=self._progress.finish_reason)
        if self._includes_usage:
            yield {**self._chunk({}), "choices": [], "usage": self._usage()}

    def frame(self, payload: Payload) -> bytes:
        self.written += 1
        return b"data: " + compact_json(payload) + b"\n\n"

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        del number  # frames of this API have no number
        return b"data: " + self.failed_document(request_error) + b"\n\n"

    def document(self) -> bytes:
        progress = self._progress
        message: Payload = {"role": "assistant", "content": progress.text}
        if self._thinking_enabled:
            message["reasoning_content"] = progress.reasoning
        if progress.calls:
            message["tool_calls"] = progress.calls
        choice = {
            "message": message,
            "finish_reason": progress.finish_reason,
            "index": 0,
            "logprobs": None,
        }
        return compact_json(
            {
                "choices": [choice],
                "object": "chat.completion",
                "usage": self._usage(),
                **self._common_fields(),
            }
        )

    def failed_document(self, request_error: ServiceError) -> bytes:
        return ChatCompletions().error_body(request_error, self._request_id)

    def _reasoning_chunk(self, piece: str) -> Payload:
        return self._chunk({"reasoning_content": piece})

    def _text_chunk(self, piece: str) -> Payload:
        return self._chunk({"content": piece})

    def _tool_call_chunk(self, part: Payload) -> Payload:
        return self._chunk({"tool_calls": [part]})

    def _chunk(self, delta: Payload, *, finish: str | None = None) -> Payload:
        # One of content and reasoning_content is null in every delta.
        complete = {"content": None, "reasoning_content": None, **delta}
        choice = {"delta": complete, "finish_reason": finish, "index": 0, "logprobs": None}
        return {
            "choices": [choice],
            "object": "chat.completion.chunk",
            "usage": None,
            **self._common_fields(),
        }

    def _common_fields(self) -> Payload:
        return {
            "created": self._created,
            "system_fingerprint": None,
            "model": self._model,
            "id": f"chatcmpl-{self._request_id}",
        }

    def _usage(self) -> Payload:
        tokens = self._progress.tokens
        return {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.total,
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "prompt_tokens_details": {"cached_tokens": 0},
        }
