"""DashScope's native wire, from the service's side.

Written from the description of the service (API reference and recordings), not from the client:
the official SDK judges both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import catalogue
from langchain_qwen_ci.emulator.mind import Call, Finish, Question, Result, Run, Said, Say, Think

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from langchain_qwen_ci.emulator.mind import Step

PATHS = {
    f"/api/v1/services/aigc/{endpoint}/generation": endpoint
    for endpoint in ("text-generation", "multimodal-generation")
}
_KNOWN_PREFIXES = ("qwen", "qvq", "deepseek")
_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_DETAILS = "For details, see: https://help.aliyun.com/zh/model-studio/error-code"
# What the service's own prompt for the interpreter costs: about 800 tokens over two inferences.
_INTERPRETER_TOKENS = 270
_ROLES = ("system", "user", "assistant", "tool")
# Thinking is on by default for 3.5 and later; the catalogue's rows go before this rule.
_THINKS_BY_DEFAULT = re.compile(r"qwen3\.([5-9]|\d\d)|qwen([4-9]|\d\d)")
_FRAMES_WHILE_WRITING = 2
_CHARACTERS_PER_TOKEN = 4

_RANGES: dict[str, Callable[[float], bool]] = {
    "temperature": lambda value: 0 <= value < 2,  # noqa: PLR2004  # the API reference's bounds
    "top_p": lambda value: 0 < value <= 1,
    "top_k": lambda value: value >= 0,
    "presence_penalty": lambda value: -2 <= value <= 2,  # noqa: PLR2004
    "repetition_penalty": lambda value: value > 0,
    "max_tokens": lambda value: value >= 1,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error before anything runs."""

    status: int
    code: str
    message: str


def _invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidParameter", message)


def error_body(code: str, message: str, request_id: str) -> bytes:
    """An error as this wire writes it."""
    return _json({"code": code, "message": message, "request_id": request_id})


class NativeRequest:
    """A request as it came, and what follows from it."""

    def __init__(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        self._endpoint = PATHS[path]
        self._body = body
        self._model = body.get("model")
        self._messages: list[Any] = _object(body.get("input")).get("messages") or []
        self._parameters = _object(body.get("parameters"))
        self._tools = self._parameters.get("tools") or []
        self._tool_choice = self._parameters.get("tool_choice") or "auto"
        self.streams = headers.get(
            "x-dashscope-sse"
        ) == "enable" or "text/event-stream" in headers.get("accept", "")
        model = catalogue.known_model(str(self._model))
        # Some models ignore the flag without a word.
        self._interpreter = bool(self._parameters.get("enable_code_interpreter")) and (
            model is None or model.interpreter
        )
        self._needs_thinking = model is not None and model.thinking == "required"
        told = self._parameters.get("enable_thinking")
        self._thinking = bool(_thinks_by_default(str(self._model)) if told is None else told)

    def refusal(self) -> Refusal | None:
        """The first rule that the request breaks."""
        return next(filter(None, (rule(self) for rule in self._RULES)), None)

    def question(self) -> Question:
        return Question(
            model=str(self._model),
            messages=tuple(
                Said(message["role"], _text(message.get("content"))) for message in self._messages
            ),
            code_interpreter=self._interpreter,
            thinking=self._thinking,
            tools=tuple(tool["function"] for tool in self._tools if self._tool_choice != "none"),
            forced_tool=_forced_tool(self._tool_choice) or "",
        )

    def answer(self, request_id: str) -> NativeAnswer:
        """The encoder of the answer to this request."""
        said = len("".join(_text(message.get("content")) for message in self._messages))
        tokens = said // _CHARACTERS_PER_TOKEN + 10
        return NativeAnswer(
            request_id,
            multimodal=self._endpoint == "multimodal-generation",
            incremental=self.streams and bool(self._parameters.get("incremental_output")),
            prompt_tokens=tokens + (_INTERPRETER_TOKENS if self._interpreter else 0),
        )

    def _check_shapes(self) -> Refusal | None:
        for name in ("input", "parameters"):
            if not isinstance(self._body.get(name) or {}, dict):
                return _invalid(f"{name} must be an object.")
        return None

    def _check_model(self) -> Refusal | None:
        if not isinstance(self._model, str) or not self._model:
            return _invalid("Field required: model")
        if not self._model.startswith(_KNOWN_PREFIXES):
            return Refusal(404, "ModelNotFound", f"Model not exist. {_DETAILS}")
        if catalogue.endpoint_of(self._model) != self._endpoint:
            return _invalid(f"url error, please check url！ {_DETAILS}#error-url")  # noqa: RUF001
        return None

    def _check_messages(self) -> Refusal | None:
        if not isinstance(self._messages, list) or not self._messages:
            return _invalid("Field required: input.messages")
        for message in self._messages:
            role = message.get("role") if isinstance(message, dict) else None
            if role not in _ROLES or (role == "user" and not message.get("content")):
                return _invalid(
                    "Role must be user or assistant and Content length must be greater than 0"
                )
            content = message.get("content")
            if self._endpoint == "text-generation" and not isinstance(content, str):
                return _invalid("input content must be a string.")
        return None

    def _check_tools(self) -> Refusal | None:
        if not isinstance(self._tools, list):
            return _invalid("tools must be a list.")
        for tool in self._tools:
            if "function" not in _object(tool):
                return _invalid("'function' is a required property")
            if not isinstance(_object(tool["function"]).get("name"), str):
                return _invalid("'name' is a required property")
        if self._tool_choice not in ("auto", "none") and _forced_tool(self._tool_choice) is None:
            return _invalid("tool_choice must be auto, none or a function.")
        return None

    def _check_interpreter(self) -> Refusal | None:
        if not self._interpreter:
            return None
        if not self.streams:
            return _invalid("Non-streaming mode does not support Code interpreter.")
        if self._tools:
            return _invalid(
                "Agent mode does not support tools. You need to either avoid using "
                "enable_code_interpreter or avoid using the agent mode with enable_search."
            )
        if self._needs_thinking and not self._thinking:
            return _invalid(
                "Normal mode does not support Code interpreter. Please set enable_thinking to true."
            )
        return None

    def _check_thinking(self) -> Refusal | None:
        if not (self._thinking and self.streams):
            return None
        if not self._parameters.get("incremental_output"):
            return _invalid(
                'The incremental_output parameter must be "true" when enable_thinking is true'
            )
        if self._parameters.get("result_format") != "message":
            return _invalid(
                'The result_format parameter must be "message" when enable_thinking is true'
            )
        return None

    def _check_ranges(self) -> Refusal | None:
        for name, fits in _RANGES.items():
            value = self._parameters.get(name)
            if value is None:
                continue
            if not isinstance(value, int | float) or not fits(value):
                return _invalid(f"Range of {name} is wrong: {value!r}. {_DETAILS}")
        return None

    _RULES = (
        _check_shapes,
        _check_model,
        _check_messages,
        _check_tools,
        _check_interpreter,
        _check_thinking,
        _check_ranges,
    )


class NativeAnswer:
    """Turns the steps of a mind into frames: every frame repeats usage and all code so far."""

    def __init__(
        self, request_id: str, *, multimodal: bool, incremental: bool, prompt_tokens: int
    ) -> None:
        self._request_id = request_id
        self._multimodal = multimodal
        self._incremental = incremental
        self._prompt_tokens = prompt_tokens
        self._input_tokens = prompt_tokens
        self._output_tokens = 0
        self._reasoning_tokens = 0
        self._codes: list[str] = []
        self._runs = 0
        self._calls: list[dict[str, Any]] = []
        self._thought = ""
        self._said = ""
        self._held: str | None = None  # the last piece of text, which goes into the last frame
        self._reason = "stop"
        self.written = 0  # frames so far

    def step(self, step: Step) -> Iterator[dict[str, Any]]:
        """The payloads of the frames that a step makes."""
        match step:
            case Think(text):
                yield from self._think(text)
            case Run():
                yield from self._run(step)
            case Say(text):
                yield from self._say(text)
            case Call():
                yield from self._call(step)
            case Finish(reason):
                self._reason = reason

    def ran(self, result: Result) -> None:
        """The next inference reads everything again, and the program's output."""
        read = self._output_tokens + len(result.output) // _CHARACTERS_PER_TOKEN
        self._input_tokens += self._prompt_tokens + read

    def end(self) -> Iterator[dict[str, Any]]:
        """The last frame; on the multimodal path it still carries text."""
        said, self._held = self._held or "", None
        yield self._payload(said=said, finish=self._reason)

    def frame(self, payload: dict[str, Any]) -> bytes:
        """A payload as the stream carries it: no space after the colons, one data line."""
        self.written += 1
        head = b"id:%d\nevent:result\n:HTTP_STATUS/200\n" % self.written
        return head + b"data:" + _json(payload) + b"\n\n"

    def error_frame(self, number: int, status: int, code: str, message: str) -> bytes:
        """An error as this frame of the stream: its status stands in a comment."""
        data = error_body(code, message, self._request_id)
        head = b"id:%d\nevent:error\n:HTTP_STATUS/%d\n" % (number, status)
        return head + b"data:" + data + b"\n\n"

    def document(self, payload: dict[str, Any]) -> bytes:
        """A payload as the body of an answer that is not streamed."""
        return _json(payload)

    def _released(self) -> Iterator[dict[str, Any]]:
        """The text held back for the last frame, now that something follows it."""
        if self._held is not None:
            said, self._held = self._held, None
            yield self._payload(said=said)

    def _think(self, text: str) -> Iterator[dict[str, Any]]:
        yield from self._released()
        for piece in _PIECE.findall(text):
            self._output_tokens += 1
            self._reasoning_tokens += 1
            self._thought += piece
            yield self._payload(thought=piece)

    def _say(self, text: str) -> Iterator[dict[str, Any]]:
        for piece in _PIECE.findall(text):
            self._output_tokens += 1
            self._said += piece
            if not self._multimodal:
                yield self._payload(said=piece)
                continue
            yield from self._released()
            self._held = piece

    def _run(self, run: Run) -> Iterator[dict[str, Any]]:
        yield from self._released()
        for _ in range(_FRAMES_WHILE_WRITING):
            self._output_tokens += 1 + len(run.code) // (2 * _CHARACTERS_PER_TOKEN)
            yield self._payload()
        if run.appears_empty:
            self._codes.append("")
            yield self._payload()
            self._codes.pop()
        self._codes.append(run.code)
        self._runs += 1
        yield self._payload()

    def _call(self, call: Call) -> Iterator[dict[str, Any]]:
        yield from self._released()
        index = len(self._calls)
        self._reason = "tool_calls"
        call_id = call.id or f"call_{self._request_id[:8]}_{index}"
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        self._calls.append(_tool_call(index, call_id, {"name": call.name, "arguments": arguments}))
        self._output_tokens += 1 + len(arguments) // _CHARACTERS_PER_TOKEN
        if not self._incremental:
            yield self._payload()
            return
        half = len(arguments) // 2
        first = {"name": call.name, "arguments": arguments[:half]}
        yield self._payload(calls=[_tool_call(index, call_id, first)])
        yield self._payload(calls=[_tool_call(index, "", {"arguments": arguments[half:]})])

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
        usage: dict[str, Any] = {
            "total_tokens": self._input_tokens + self._output_tokens,
            "output_tokens": self._output_tokens,
            "input_tokens": self._input_tokens,
            "output_tokens_details": {"reasoning_tokens": self._reasoning_tokens},
        }
        if self._multimodal:
            usage["input_tokens_details"] = {"text_tokens": self._input_tokens}
        if self._runs:
            usage["plugins"] = {"code_interpreter": {"count": self._runs}}
        return usage


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _thinks_by_default(name: str) -> bool:
    model = catalogue.known_model(name)
    return model.thinking == "on" if model else bool(_THINKS_BY_DEFAULT.match(name))


def _forced_tool(choice: object) -> str | None:
    name = _object(_object(choice).get("function")).get("name")
    return name if isinstance(name, str) else None


def _tool_call(index: int, call_id: str, function: dict[str, str]) -> dict[str, Any]:
    return {"index": index, "id": call_id, "type": "function", "function": function}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _json(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
