"""A parsed request, the same for all APIs: messages and tools in the format of Chat Completions."""

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

# Thinking is on by default for 3.5 and later. Known models take precedence over this pattern.
_THINKS_BY_DEFAULT = re.compile(r"qwen3\.([5-9]|\d\d)|qwen([4-9]|\d\d)")
# The names of media parts on each API; parts of the native API have no type, only a key.
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
    """A request with neutral names; not checked yet.

    Attributes:
        api: the API of the request.
        model, messages, tools, tool_choice, response_format: as received, in the format of Chat
            Completions.
        streams: whether the answer should be streamed.
        interpreter_requested: whether the request turns the interpreter on.
        thinking: the value of the thinking flag; None if it is absent.
        parameters: numeric parameters and `stop`, with the names of the native API.
        server_tools: the other tools of the service that the request allows.
    """

    api: models.Api
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
        """The known model; None for an unknown one."""
        return models.find_model(str(self.model))

    @property
    def interpreter(self) -> bool:
        """Whether code can run. Some models ignore the interpreter flag on some APIs."""
        ignored = self.spec is not None and self.spec.evidence(self.api) == "ignored"
        return self.interpreter_requested and not ignored

    @property
    def thinking_enabled(self) -> bool:
        if self.thinking is not None:
            return bool(self.thinking)
        if self.spec is not None and self.spec.thinking in ("on", "off"):
            return self.spec.thinking == "on"
        return bool(_THINKS_BY_DEFAULT.match(str(self.model)))

    @property
    def has_vision(self) -> bool:
        """Whether the model accepts images, videos and audio."""
        return models.native_endpoint(str(self.model)) == "multimodal-generation"

    @property
    def forced_tool(self) -> str | None:
        name = as_object(as_object(self.tool_choice).get("function")).get("name")
        return name if isinstance(name, str) else None

    @property
    def format(self) -> str:
        """The response format: "text", "json_object" or "json_schema"."""
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
        """Return a new token counter for the answer."""
        text = "".join(text_of(message.get("content")) for message in self.messages)
        return TokenUsage(text, interpreter=self.interpreter)

    def stop_limiter(self) -> StopLimiter:
        """Return the limiter for this request's stop sequences and token limits."""
        stop = self.parameters.get("stop") or ()
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        limits = (self.parameters.get(name) for name in ("max_tokens", "thinking_budget"))
        return StopLimiter(stops, *limits)


def to_chat_message(message: Mapping[str, Any]) -> ChatMessage:
    content = message.get("content")
    return ChatMessage(message["role"], text_of(content), media_kinds(content))


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def media_kinds(content: object) -> tuple[str, ...]:
    """Return the kinds of media in a message's content."""
    parts = content if isinstance(content, list) else []
    names = (_part_name(part) for part in parts if isinstance(part, dict))
    return tuple(_MEDIA[name] for name in names if name in _MEDIA)


def _part_name(part: Mapping[str, Any]) -> str:
    return str(part.get("type") or next(iter(part), ""))


def as_object(value: object) -> dict[str, Any]:
    """Return the value if it is a JSON object, otherwise an empty object."""
    return value if isinstance(value, dict) else {}
