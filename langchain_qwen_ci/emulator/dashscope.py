"""DashScope's native wire, from the service's side.

Written from the description of the service (API reference and recordings), not from the client:
the official SDK judges both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import catalogue
from langchain_qwen_ci.emulator import rules
from langchain_qwen_ci.emulator.asked import Asked, as_object
from langchain_qwen_ci.emulator.mind import Call, Extract, Finish, Result, Run, Say, Search, Think
from langchain_qwen_ci.emulator.rules import invalid
from langchain_qwen_ci.emulator.tokens import pieces
from langchain_qwen_ci.emulator.wire import compact_json, tool_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.mind import Step
    from langchain_qwen_ci.emulator.rules import Refusal
    from langchain_qwen_ci.emulator.tokens import Tokens

_ENDPOINTS = {
    f"/api/v1/services/aigc/{endpoint}/generation": endpoint
    for endpoint in ("text-generation", "multimodal-generation")
}
_FRAMES_WHILE_WRITING = 2


class DashScope:
    """The native API: flags stand in `parameters`, and every frame repeats all code so far."""

    paths = tuple(_ENDPOINTS)

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> DashScopeRequest:
        return DashScopeRequest(_ENDPOINTS[path], headers, body)

    def error_body(self, refusal: Refusal, request_id: str) -> bytes:
        body = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
        return compact_json(body)


class DashScopeRequest:
    """A native request as it came, and what follows from it."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._body = body
        self._parameters = as_object(body.get("parameters"))
        search = {"web_search"} if self._parameters.get("enable_search") else set()
        self.asked = Asked(
            model=body.get("model"),
            messages=as_object(body.get("input")).get("messages") or [],
            streams=headers.get("x-dashscope-sse") == "enable"
            or "text/event-stream" in headers.get("accept", ""),
            wants_interpreter=bool(self._parameters.get("enable_code_interpreter")),
            thinking=self._parameters.get("enable_thinking"),
            tools=self._parameters.get("tools") or (),
            tool_choice=self._parameters.get("tool_choice") or "auto",
            response_format=self._parameters.get("response_format"),
            parameters=self._parameters,
            server_tools=frozenset(search),
        )

    def refusal(self) -> Refusal | None:
        return rules.first_refusal(
            self.asked,
            (
                self._check_shapes,
                rules.model_exists,
                self._check_path,
                rules.messages_have_roles,
                self._check_content,
                *rules.EVERYWHERE,
                rules.interpreter_streams,
                rules.interpreter_thinks,
                self._check_thinking,
            ),
        )

    def failure(self) -> Refusal | None:
        """Nothing: this wire refuses with HTTP's own status."""

    def answer(self, request_id: str) -> DashScopeAnswer:
        return DashScopeAnswer(
            request_id,
            self.asked.tokens(),
            multimodal=self._endpoint == "multimodal-generation",
            incremental=self.asked.streams and bool(self._parameters.get("incremental_output")),
        )

    def _check_shapes(self, _: Asked) -> Refusal | None:
        for name in ("input", "parameters"):
            if not isinstance(self._body.get(name) or {}, dict):
                return invalid(f"{name} must be an object.")
        return None

    def _check_path(self, asked: Asked) -> Refusal | None:
        if catalogue.endpoint_of(asked.model) == self._endpoint:
            return None
        return invalid(f"url error, please check url！ {rules.DETAILS}#error-url")  # noqa: RUF001

    def _check_content(self, asked: Asked) -> Refusal | None:
        contents = [message.get("content") for message in asked.messages]
        if self._endpoint == "multimodal-generation" or all(
            isinstance(content, str) for content in contents
        ):
            return None
        return invalid("input content must be a string.")

    def _check_thinking(self, asked: Asked) -> Refusal | None:
        if not (asked.thinks and asked.streams):
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


class DashScopeAnswer:
    """Turns the steps of a mind into frames: every frame repeats usage and all code so far."""

    closing = b""  # the stream ends with the connection

    def __init__(
        self, request_id: str, tokens: Tokens, *, multimodal: bool, incremental: bool
    ) -> None:
        self._request_id = request_id
        self._tokens = tokens
        self._multimodal = multimodal
        self._incremental = incremental
        self._codes: list[str] = []
        self._sources: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._thought = ""
        self._said = ""
        self._held: str | None = None  # the last piece of text, which goes into the last frame
        self._reason = "stop"
        self.written = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        yield from ()

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        match step:
            case Think(text):
                yield from self._think(text)
            case Run():
                yield from self._run(step)
            case Search(_, sources):
                yield from self._search(sources)
            case Say(text):
                yield from self._say(text)
            case Call():
                yield from self._call(step)
            case Finish(reason):
                self._reason = reason
            case Extract():
                raise TypeError("The native wire has no tool that reads web pages.")

    def ran(self, result: Result) -> Iterator[dict[str, Any]]:
        """Nothing: outputs never stand on this wire."""
        self._tokens.read(result)
        yield from ()

    def end(self) -> Iterator[dict[str, Any]]:
        """The last frame; on the multimodal path it still carries text."""
        said, self._held = self._held or "", None
        yield self._payload(said=said, finish=self._reason)

    def frame(self, payload: dict[str, Any]) -> bytes:
        """No space after the colons, one data line."""
        self.written += 1
        head = b"id:%d\nevent:result\n:HTTP_STATUS/200\n" % self.written
        return head + b"data:" + compact_json(payload) + b"\n\n"

    def error_frame(self, number: int, refusal: Refusal) -> bytes:
        """The status of the error stands in a comment."""
        head = b"id:%d\nevent:error\n:HTTP_STATUS/%d\n" % (number, refusal.status)
        return head + b"data:" + self.failed_document(refusal) + b"\n\n"

    def document(self) -> bytes:
        return compact_json(self._payload(finish=self._reason))

    def failed_document(self, refusal: Refusal) -> bytes:
        return DashScope().error_body(refusal, self._request_id)

    def _released(self) -> Iterator[dict[str, Any]]:
        """The text held back for the last frame, now that something follows it."""
        if self._held is not None:
            said, self._held = self._held, None
            yield self._payload(said=said)

    def _think(self, text: str) -> Iterator[dict[str, Any]]:
        yield from self._released()
        for piece in pieces(text):
            self._tokens.thought()
            self._thought += piece
            yield self._payload(thought=piece)

    def _say(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in pieces(text):
            self._tokens.said()
            self._said += piece
            if not self._multimodal:
                yield self._payload(said=piece)
                continue
            yield from self._released()
            self._held = piece

    def _run(self, run: Run) -> Iterator[dict[str, Any]]:
        yield from self._released()
        self._tokens.wrote(run.code)
        for _ in range(_FRAMES_WHILE_WRITING):
            yield self._payload()
        if run.appears_empty:
            self._codes.append("")
            yield self._payload()
            self._codes.pop()
        self._codes.append(run.code)
        self._tokens.used("code_interpreter")
        yield self._payload()

    def _search(self, sources: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        yield from self._released()
        self._sources += sources
        self._tokens.used("web_search")
        self._tokens.read(" ".join(sources))
        yield self._payload()

    def _call(self, call: Call) -> Iterator[dict[str, Any]]:
        yield from self._released()
        self._reason = "tool_calls"
        whole, first, rest = tool_calls(call, self._request_id, len(self._calls))
        self._tokens.wrote(whole["function"]["arguments"])
        self._calls.append(whole)
        if not self._incremental:
            yield self._payload()
            return
        yield self._payload(calls=[first])
        yield self._payload(calls=[rest])

    def _payload(
        self,
        *,
        thought: str = "",
        said: str = "",
        calls: list[dict[str, Any]] | None = None,
        finish: str = "null",
    ) -> dict[str, Any]:
        message = self._message(thought, said)
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
            output["search_info"] = {"search_results": list(map(_found, self._sources))}
        return {"output": output, "usage": self._usage(), "request_id": self._request_id}

    def _message(self, thought: str, said: str) -> dict[str, Any]:
        if not self._incremental:
            thought, said = self._thought, self._said
        if not self._multimodal:
            return {"content": said, "reasoning_content": thought, "role": "assistant"}
        if said:  # the multimodal path has no reasoning_content beside text
            return {"content": [{"text": said}], "role": "assistant"}
        return {"content": [], "reasoning_content": thought, "role": "assistant"}

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


def _found(url: str) -> dict[str, str]:
    return {"title": url, "url": url}
