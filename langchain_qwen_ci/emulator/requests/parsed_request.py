"""A parsed request, the same for all APIs: messages and tools in the format of Chat Completions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.answers.stop_limits import StopLimiter
from langchain_qwen_ci.emulator.responders.responder import ChatMessage, ModelRequest
from langchain_qwen_ci.emulator.token_usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

# Thinking is on by default for 3.5 and later. Known models take precedence over this pattern.
_THINKS_BY_DEFAULT = re.compile(r"qwen3\.([5-9]|\d\d)|qwen([4-9]|\d\d)")
# The kinds of media, by the names that content parts have on the three APIs.
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
    """A request with the same names for all APIs. Its values have not been checked.

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

    @classmethod
    def from_flags(
        cls,
        api: models.Api,
        flags: Mapping[str, Any],
        *,
        model: object,
        messages: object,
        streams: bool,
    ) -> Self:
        """Return a request of the native API or of Chat Completions.

        Args:
            api: one of these two.
            flags: the object that has the options; the names are the same on both APIs.
            model: the value of "model".
            messages: the value of "messages".
            streams: whether the answer should be streamed.
        """
        return cls(
            api=api,
            model=model,
            messages=messages or [],
            streams=streams,
            interpreter_requested=bool(flags.get("enable_code_interpreter")),
            thinking=flags.get("enable_thinking"),
            tools=flags.get("tools") or (),
            tool_choice=flags.get("tool_choice") or "auto",
            response_format=flags.get("response_format"),
            parameters=flags,
            server_tools=frozenset({"web_search"} if flags.get("enable_search") else ()),
        )

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
        """Whether the model thinks: the request's flag, otherwise the default of the model."""
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
        """The name of the function that must be called; None if none is forced.

        "required" forces the only function. With several tools, what the service does is not known,
        and none is forced.
        """
        if self.tool_choice == "required" and len(self.tools) == 1:
            name = as_object(as_object(self.tools[0]).get("function")).get("name")
            return name if isinstance(name, str) else None
        name = as_object(as_object(self.tool_choice).get("function")).get("name")
        return name if isinstance(name, str) else None

    @property
    def format(self) -> str:
        """The response format: "text", "json_object" or "json_schema"."""
        return str(as_object(self.response_format).get("type", "text"))

    def to_model_request(self) -> ModelRequest:
        """Return the request in the form that responders get; it must have passed all checks."""
        described = as_object(as_object(self.response_format).get("json_schema"))
        tools = self.tools if self.tool_choice != "none" else ()
        return ModelRequest(
            model=str(self.model),
            messages=tuple(
                ChatMessage(
                    message["role"],
                    text_of(message.get("content")),
                    media_kinds(message.get("content")),
                )
                for message in self.messages
            ),
            code_interpreter=self.interpreter,
            thinking=self.thinking_enabled,
            tools=tuple(tool["function"] for tool in tools),
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


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def has_cache_control(content: object) -> bool:
    """Return whether a part of a message's content has a marker of the explicit context cache."""
    return isinstance(content, list) and any("cache_control" in as_object(part) for part in content)


def media_kinds(content: object) -> tuple[str, ...]:
    """Return the kinds of media in a message's content."""
    parts = content if isinstance(content, list) else []
    # A part of the native API has no type: its only key is the kind of its content.
    names = (
        str(part.get("type") or next(iter(part), "")) for part in parts if isinstance(part, dict)
    )
    return tuple(_MEDIA[name] for name in names if name in _MEDIA)


def as_object(value: object) -> dict[str, Any]:
    """Return the value if it is a JSON object, otherwise an empty object."""
    return value if isinstance(value, dict) else {}
