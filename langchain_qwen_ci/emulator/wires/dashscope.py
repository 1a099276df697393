"""DashScope's native API from the side of the service.

Written from the description of the service (API reference and recordings), not from the client's
code. The official SDK checks both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator import request_rules
from langchain_qwen_ci.emulator.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.request_rules import invalid
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

    from langchain_qwen_ci.emulator.request_rules import ServiceError
    from langchain_qwen_ci.emulator.responders.responder import Step
    from langchain_qwen_ci.emulator.token_usage import TokenUsage

_ENDPOINTS = {
    f"/api/v1/services/aigc/{endpoint}/generation": endpoint
    for endpoint in ("text-generation", "multimodal-generation")
}
_FRAMES_WHILE_WRITING = 2


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
        search = {"web_search"} if self._parameters.get("enable_search") else set()
        self.parsed = ParsedRequest(
            api="dashscope",
            model=body.get("model"),
            messages=as_object(body.get("input")).get("messages") or [],
            streams=headers.get("x-dashscope-sse") == "enable"
            or "text/event-stream" in headers.get("accept", ""),
            interpreter_requested=bool(self._parameters.get("enable_code_interpreter")),
            thinking=self._parameters.get("enable_thinking"),
            tools=self._parameters.get("tools") or (),
            tool_choice=self._parameters.get("tool_choice") or "auto",
            response_format=self._parameters.get("response_format"),
            parameters=self._parameters,
            server_tools=frozenset(search),
        )

    def request_error(self) -> ServiceError | None:
        return request_rules.first_error(
            self.parsed,
            (
                self._check_shapes,
                request_rules.model_exists,
                self._check_path,
                request_rules.messages_have_roles,
                self._check_content,
                *request_rules.EVERYWHERE,
                request_rules.interpreter_requires_streaming,
                request_rules.interpreter_requires_thinking,
                self._check_thinking,
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

    def _check_shapes(self, _: ParsedRequest) -> ServiceError | None:
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
            isinstance(content, str) for content in contents
        ):
            return None
        return invalid("input content must be a string.")

    def _check_thinking(self, parsed: ParsedRequest) -> ServiceError | None:
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
    """Encodes the steps of a responder as frames. Every frame repeats usage and all code so far."""

    closing = b""  # the stream ends with the connection

    def __init__(
        self, request_id: str, tokens: TokenUsage, *, multimodal: bool, incremental: bool
    ) -> None:
        self._request_id = request_id
        self._tokens = tokens
        self._multimodal = multimodal
        self._incremental = incremental
        self._codes: list[str] = []
        self._sources: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._reasoning = ""
        self._text = ""
        self._held: str | None = None  # the last part of the text, which the last frame contains
        self._reason = "stop"
        self.written = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        yield from ()

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Think(text):
                yield from self._on_think(text)
            case Run():
                yield from self._on_run(step)
            case Search(_, sources):
                yield from self._on_search(sources)
            case Say(text):
                yield from self._on_say(text)
            case Call():
                yield from self._on_call(step)
            case Finish(reason):
                self._reason = reason
            case Extract():
                raise TypeError("The native wire has no tool that reads web pages.")

    def on_code_result(self, result: Result) -> Iterator[dict[str, Any]]:
        """Yield nothing: this API does not return outputs."""
        self._tokens.start_inference(result)
        yield from ()

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield the last frame, which still contains text on the multimodal path."""
        text, self._held = self._held or "", None
        yield self._payload(text=text, finish=self._reason)

    def frame(self, payload: dict[str, Any]) -> bytes:
        """Encode a frame: no space after the colons, one data line."""
        self.written += 1
        head = b"id:%d\nevent:result\n:HTTP_STATUS/200\n" % self.written
        return head + b"data:" + compact_json(payload) + b"\n\n"

    def error_frame(self, number: int, request_error: ServiceError) -> bytes:
        """Encode an error; its HTTP status is in a comment."""
        head = b"id:%d\nevent:error\n:HTTP_STATUS/%d\n" % (number, request_error.status)
        return head + b"data:" + self.failed_document(request_error) + b"\n\n"

    def document(self) -> bytes:
        return compact_json(self._payload(finish=self._reason))

    def failed_document(self, request_error: ServiceError) -> bytes:
        return DashScope().error_body(request_error, self._request_id)

    def _release_held_text(self) -> Iterator[dict[str, Any]]:
        """Yield the text that was held back for the last frame, because another step follows it."""
        if self._held is not None:
            text, self._held = self._held, None
            yield self._payload(text=text)

    def _on_think(self, text: str) -> Iterator[dict[str, Any]]:
        yield from self._release_held_text()
        for piece in pieces(text):
            self._tokens.count_reasoning()
            self._reasoning += piece
            yield self._payload(reasoning=piece)

    def _on_say(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in pieces(text):
            self._tokens.count_text()
            self._text += piece
            if not self._multimodal:
                yield self._payload(text=piece)
                continue
            yield from self._release_held_text()
            self._held = piece

    def _on_run(self, run: Run) -> Iterator[dict[str, Any]]:
        yield from self._release_held_text()
        self._tokens.count_output(run.code)
        for _ in range(_FRAMES_WHILE_WRITING):
            yield self._payload()
        if run.appears_empty:
            self._codes.append("")
            yield self._payload()
            self._codes.pop()
        self._codes.append(run.code)
        self._tokens.count_tool_call("code_interpreter")
        yield self._payload()

    def _on_search(self, sources: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        yield from self._release_held_text()
        self._sources += sources
        self._tokens.count_tool_call("web_search")
        self._tokens.start_inference(" ".join(sources))
        yield self._payload()

    def _on_call(self, call: Call) -> Iterator[dict[str, Any]]:
        yield from self._release_held_text()
        self._reason = "tool_calls"
        complete, first, second = tool_calls(call, self._request_id, len(self._calls))
        self._tokens.count_output(complete["function"]["arguments"])
        self._calls.append(complete)
        if not self._incremental:
            yield self._payload()
            return
        yield self._payload(calls=[first])
        yield self._payload(calls=[second])

    def _payload(
        self,
        *,
        reasoning: str = "",
        text: str = "",
        calls: list[dict[str, Any]] | None = None,
        finish: str = "null",
    ) -> dict[str, Any]:
        message = self._message(reasoning, text)
        if not self._incremental:
            calls = list(self._calls)
        if calls:
            message["tool_calls"] = calls
        output: dict[str, Any] = {"choices": [{"message": message, "finish_reason": finish}]}
        if self._codes:
            output["tool_info"] = [
                {"code_interpreter": {"code": code}, "type": "code_interpreter"}
                for code in self._codes
            ]
        if self._sources:
            output["search_info"] = {"search_results": list(map(_search_result, self._sources))}
        return {"output": output, "usage": self._usage(), "request_id": self._request_id}

    def _message(self, reasoning: str, text: str) -> dict[str, Any]:
        if not self._incremental:
            reasoning, text = self._reasoning, self._text
        if not self._multimodal:
            return {"content": text, "reasoning_content": reasoning, "role": "assistant"}
        if text:  # frames with text have no reasoning_content on the multimodal path
            return {"content": [{"text": text}], "role": "assistant"}
        return {"content": [], "reasoning_content": reasoning, "role": "assistant"}

    def _usage(self) -> dict[str, Any]:
        tokens = self._tokens
        usage: dict[str, Any] = {
            "total_tokens": tokens.total,
            "output_tokens": tokens.output,
            "input_tokens": tokens.input,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
        if self._multimodal:
            usage["input_tokens_details"] = {"text_tokens": tokens.input}
        if plugins := tokens.plugins():
            if search := plugins.pop("web_search", None):
                plugins["search"] = {**search, "strategy": "turbo"}
            usage["plugins"] = plugins
        return usage


def _search_result(url: str) -> dict[str, str]:
    return {"title": url, "url": url}
