"""DashScope's native API from the side of the service.

It is written from the API reference and recordings of the service, not from the client's code, so
that a mistake of the client is not repeated here. Tests read it with the official SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.requests import request_rules
from langchain_qwen_ci.emulator.requests.parsed_request import (
    ParsedRequest,
    as_object,
    has_cache_control,
)
from langchain_qwen_ci.emulator.requests.request_rules import invalid
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
from langchain_qwen_ci.emulator.wires.encoding import AnswerProgress, compact_json, status_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Step
    from langchain_qwen_ci.emulator.token_usage import TokenUsage
    from langchain_qwen_ci.emulator.wires.interface import Payload

_ENDPOINTS = {
    f"/api/v1/services/aigc/{endpoint}/generation": endpoint
    for endpoint in ("text-generation", "multimodal-generation")
}
# While the model writes a program, the service sends frames without text (recorded).
_EMPTY_FRAMES_BEFORE_CODE = 2


class DashScope:
    """The native API of the emulator; implements `Wire`."""

    paths = tuple(_ENDPOINTS)

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> DashScopeRequest:
        return DashScopeRequest(_ENDPOINTS[path], headers, body)

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        body = {
            "code": request_error.code,
            "message": request_error.message,
            "request_id": request_id,
        }
        return compact_json(body)


class DashScopeRequest:
    """A native request; implements `WireRequest`."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._body = body
        self._parameters = as_object(body.get("parameters"))
        self.parsed = ParsedRequest.from_flags(
            "dashscope",
            self._parameters,
            model=body.get("model"),
            messages=as_object(body.get("input")).get("messages"),
            streams=headers.get("x-dashscope-sse") == "enable"
            or "text/event-stream" in headers.get("accept", ""),
        )

    def request_error(self) -> ServiceError | None:
        return request_rules.first_error(
            self.parsed,
            (
                self._check_objects,
                request_rules.check_model_exists,
                self._check_path,
                request_rules.check_messages,
                self._check_content,
                *request_rules.RULES_OF_DASHSCOPE_AND_CHAT_COMPLETIONS,
                request_rules.check_interpreter_thinks,
                self._check_thinking_format,
            ),
        )

    def response_error(self) -> ServiceError | None:
        """Return None: this API reports all errors with an HTTP status."""

    def create_encoder(self, request_id: str) -> DashScopeEncoder:
        return DashScopeEncoder(
            request_id,
            self.parsed.token_usage(),
            multimodal=self._endpoint == "multimodal-generation",
            incremental=self.parsed.streams and bool(self._parameters.get("incremental_output")),
        )

    def _check_objects(self, _: ParsedRequest) -> ServiceError | None:
        for name in ("input", "parameters"):
            if not isinstance(self._body.get(name) or {}, dict):
                return invalid(f"{name} must be an object.")
        return None

    def _check_path(self, parsed: ParsedRequest) -> ServiceError | None:
        if models.native_endpoint(parsed.model) == self._endpoint:
            return None
        return invalid(f"url error, please check url！ {request_rules.DETAILS}#error-url")  # noqa: RUF001

    def _check_content(self, parsed: ParsedRequest) -> ServiceError | None:
        contents = [message.get("content") for message in parsed.messages]
        if self._endpoint == "multimodal-generation" or all(
            isinstance(content, str) or has_cache_control(content) for content in contents
        ):
            return None
        return invalid("input content must be a string.")

    def _check_thinking_format(self, parsed: ParsedRequest) -> ServiceError | None:
        if not (parsed.thinking_enabled and parsed.streams):
            return None
        if not self._parameters.get("incremental_output"):
            return invalid(
                'The incremental_output parameter must be "true" when enable_thinking is true'
            )
        if self._parameters.get("result_format") != "message":
            return invalid(
                'The result_format parameter must be "message" when enable_thinking is true'
            )
        return None


class DashScopeEncoder:
    """Encodes the steps of a responder as frames. Every frame repeats usage and all code so far.

    Args:
        multimodal: use the format of the multimodal-generation path.
        incremental: frames have only new text, as with `incremental_output`, and not all text so
            far.
    """

    closing = b""  # the last frame ends the stream; this API has no [DONE]

    def __init__(
        self, request_id: str, tokens: TokenUsage, *, multimodal: bool, incremental: bool
    ) -> None:
        self._request_id = request_id
        self._multimodal = multimodal
        self._incremental = incremental
        self._progress = AnswerProgress(request_id, tokens)
        self._codes: list[str] = []
        self._sources: list[str] = []
        # On the multimodal path the last frame has text, unlike on the other path. So each piece of
        # text is held until the next one, or another step, shows that it is not the last.
        self._held_text: str | None = None
        self.written = 0

    def start_payloads(self) -> Iterator[Payload]:
        """Yield nothing: the first frame is that of the first step."""
        yield from ()

    def step_payloads(self, step: Step) -> Iterator[Payload]:
        match step:
            case Say(text):
                yield from self._text_payloads(text)
            case Finish(reason):
                self._progress.finish_reason = reason
            case Extract():
                raise TypeError("The native API has no tool that reads web pages.")
            case _:
                yield from self._held_text_payloads()
                yield from self._other_step_payloads(step)

    def result_payloads(self, result: Result) -> Iterator[Payload]:
        """Yield nothing: this API does not return the results of programs."""
        self._progress.tokens.start_inference(result)
        yield from ()

    def end_payloads(self) -> Iterator[Payload]:
        """Yield the last frame, which has the finish reason."""
        text, self._held_text = self._held_text or "", None
        yield self._payload(text=text, finish=self._progress.finish_reason)

    def frame(self, payload: Payload) -> bytes:
        self.written += 1
        return status_frame(self.written, "result", 200, compact_json(payload))

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        error = self.failed_document(request_error)
        return status_frame(number, "error", request_error.status, error)

    def document(self) -> bytes:
        return compact_json(self._payload(finish=self._progress.finish_reason))

    def failed_document(self, request_error: ServiceError) -> bytes:
        return DashScope().error_body(request_error, self._request_id)

    def _text_payloads(self, text: str) -> Iterator[Payload]:
        for piece in self._progress.add_text(text):
            if not self._multimodal:
                yield self._payload(text=piece)
                continue
            yield from self._held_text_payloads()
            self._held_text = piece

    def _held_text_payloads(self) -> Iterator[Payload]:
        """Yield the text that was held, because it is not in the last frame."""
        if self._held_text is not None:
            text, self._held_text = self._held_text, None
            yield self._payload(text=text)

    def _other_step_payloads(self, step: Step) -> Iterator[Payload]:
        match step:
            case Think(text):
                for piece in self._progress.add_reasoning(text):
                    yield self._payload(reasoning=piece)
            case Run():
                yield from self._code_payloads(step)
            case Search(_, sources):
                self._sources += sources
                self._progress.tokens.count_tool_call("web_search")
                self._progress.tokens.start_inference(" ".join(sources))
                yield self._payload()
            case Call():
                yield from self._call_payloads(step)

    def _code_payloads(self, run: Run) -> Iterator[Payload]:
        self._progress.tokens.count_output(run.code)
        for _ in range(_EMPTY_FRAMES_BEFORE_CODE):
            yield self._payload()
        if run.appears_empty:
            self._codes.append("")
            yield self._payload()
            self._codes.pop()
        self._codes.append(run.code)
        self._progress.tokens.count_tool_call("code_interpreter")
        yield self._payload()

    def _call_payloads(self, call: Call) -> Iterator[Payload]:
        parts = self._progress.add_call(call)
        if not self._incremental:
            yield self._payload()
            return
        for part in parts:
            yield self._payload(calls=[part])

    def _payload(
        self,
        *,
        reasoning: str = "",
        text: str = "",
        calls: list[Payload] | None = None,
        finish: str = "null",
    ) -> Payload:
        message = self._message(reasoning, text)
        if not self._incremental:
            calls = list(self._progress.calls)
        if calls:
            message["tool_calls"] = calls
        output: Payload = {"choices": [{"message": message, "finish_reason": finish}]}
        if self._codes:
            output["tool_info"] = [
                {"code_interpreter": {"code": code}, "type": "code_interpreter"}
                for code in self._codes
            ]
        if self._sources:
            results = [{"title": url, "url": url} for url in self._sources]
            output["search_info"] = {"search_results": results}
        return {"output": output, "usage": self._usage(), "request_id": self._request_id}

    def _message(self, reasoning: str, text: str) -> Payload:
        if not self._incremental:
            reasoning, text = self._progress.reasoning, self._progress.text
        if not self._multimodal:
            return {"content": text, "reasoning_content": reasoning, "role": "assistant"}
        if text:  # frames with text have no reasoning_content on the multimodal path
            return {"content": [{"text": text}], "role": "assistant"}
        return {"content": [], "reasoning_content": reasoning, "role": "assistant"}

    def _usage(self) -> Payload:
        tokens = self._progress.tokens
        usage: Payload = {
            "total_tokens": tokens.total,
            "output_tokens": tokens.output,
            "input_tokens": tokens.input,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
        if self._multimodal:
            usage["input_tokens_details"] = {"text_tokens": tokens.input}
        if plugins := tokens.plugins():
            # The native API has another name for the search tool than Responses.
            if search := plugins.pop("web_search", None):
                plugins["search"] = {**search, "strategy": "turbo"}
            usage["plugins"] = plugins
        return usage
