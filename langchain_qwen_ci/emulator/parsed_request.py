"""What a request asks for, whichever wire it came by: messages and tools in OpenAI's shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.responders.responder import ChatMessage, ModelRequest
from langchain_qwen_ci.emulator.stop_limits import StopLimiter
from langchain_qwen_ci.emulator.token_usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

# Thinking is on by default for 3.5 and later; the catalogue's rows go before this rule.
_THINKS_BY_DEFAULT = re.compile(r"qwen3\.([5-9]|\d\d)|qwen([4-9]|\d\d)")
# How each wire names a part of a message that is no text: native ones by their key alone.
_MEDIA = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
    "audio": "audio",
    "input_audio": "audio",
}


@dataclass(frozen=True)
class ParsedRequest:
    """A request after its wire's vocabulary has been taken off; not checked yet.

    Attributes:
        model, messages, tools, tool_choice, response_format: as they came, in the shapes of
            Chat Completions.
        interpreter_requested: whether it switches the interpreter on.
        thinking: what it says about thinking; None if nothing.
        parameters: what has a range, under the native names.
        server_tools: the service's other tools that it allows.
    """

    model: Any
    messages: Any
    streams: bool
    interpreter_requested: bool
    thinking: bool | None
    tools: Any = ()
    tool_choice: Any = "auto"
    response_format: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    server_tools: frozenset[str] = frozenset()

    @cached_property
    def spec(self) -> models.ModelSpec | None:
        """What is known of the model."""
        return models.find_model(str(self.model))

    @property
    def interpreter(self) -> bool:
        """Whether code may run: some models ignore the wish without a word."""
        return self.interpreter_requested and (self.spec is None or self.spec.interpreter)

    @property
    def thinking_enabled(self) -> bool:
        if self.thinking is not None:
            return bool(self.thinking)
        if self.spec is not None:
            return self.spec.thinking == "on"
        return bool(_THINKS_BY_DEFAULT.match(str(self.model)))

    @property
    def has_vision(self) -> bool:
        """Whether the model takes images, videos and audio."""
        return models.native_endpoint(str(self.model)) == "multimodal-generation"

    @property
    def forced_tool(self) -> str | None:
        name = as_object(as_object(self.tool_choice).get("function")).get("name")
        return name if isinstance(name, str) else None

    @property
    def format(self) -> str:
        """Of the answer: "text", "json_object" or "json_schema"."""
        return str(as_object(self.response_format).get("type", "text"))

    def to_model_request(self) -> ModelRequest:
        described = as_object(as_object(self.response_format).get("json_schema"))
        callable_ones = self.tools if self.tool_choice != "none" else ()
        return ModelRequest(
            model=str(self.model),
            messages=tuple(map(to_chat_message, self.messages)),
            code_interpreter=self.interpreter,
            thinking=self.thinking_enabled,
            tools=tuple(tool["function"] for tool in callable_ones),
            forced_tool=self.forced_tool or "",
            server_tools=self.server_tools,
            requires_json=self.format != "text",
            schema=described.get("schema") if self.format == "json_schema" else None,
        )

    def token_usage(self) -> TokenUsage:
        """The account of what the answer costs."""
        text = "".join(text_of(message.get("content")) for message in self.messages)
        return TokenUsage(text, interpreter=self.interpreter)

    def stop_limiter(self) -> StopLimiter:
        """What ends the answer where this request wants it to end."""
        stop = self.parameters.get("stop") or ()
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        limits = (self.parameters.get(name) for name in ("max_tokens", "thinking_budget"))
        return StopLimiter(stops, *limits)


def to_chat_message(message: Mapping[str, Any]) -> ChatMessage:
    content = message.get("content")
    return ChatMessage(message["role"], text_of(content), media_kinds(content))


def text_of(content: object) -> str:
    """The text of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def media_kinds(content: object) -> tuple[str, ...]:
    """The kinds of what else than text stands in a message's content."""
    parts = content if isinstance(content, list) else []
    names = (_part_name(part) for part in parts if isinstance(part, dict))
    return tuple(_MEDIA[name] for name in names if name in _MEDIA)


def _part_name(part: Mapping[str, Any]) -> str:
    return str(part.get("type") or next(iter(part), ""))


def as_object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}
