"""A conversation and the wishes that go with it, before any wire has shaped them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Role = Literal["system", "user", "assistant", "tool"]
MediaKind = Literal["image", "video", "audio"]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Media:
    """An image, video or sound: `url` is an http(s), oss or data URL."""

    kind: MediaKind
    url: str

    @property
    def format(self) -> str:
        """Such as "wav": from a data URL's type or a URL's ending, "" where neither tells."""
        if self.url.startswith("data:"):
            return self.url[5:].partition(";")[0].rpartition("/")[2]
        path = self.url.partition("?")[0].rpartition("/")[2]
        return path.rpartition(".")[2] if "." in path else ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call that the model made in an earlier turn; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message. `tool_call_id` says which call a tool's turn answers; `reasoning` is what the
    model thought in an earlier turn."""

    role: Role
    parts: tuple[Text | Media, ...]
    calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


Prompt = tuple[PromptMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """What one call asks for besides its messages.

    Attributes:
        endpoint: the native path family that serves the model (see `catalogue`).
        enable_thinking: None leaves it to the model's own default.
        preserve_thinking: whether earlier turns go with their reasoning.
        functions: function tools in OpenAI's shape; empty while the interpreter is on.
        server_tools: other tools of the service, as the Responses API takes them.
        session_cache: whether the service may keep the conversation cached (Responses only).
        parameters: sampling and other request parameters, under DashScope's names.
    """

    model: str
    endpoint: str
    enable_code_interpreter: bool
    enable_thinking: bool | None
    preserve_thinking: bool = False
    functions: Sequence[Mapping[str, Any]] = ()
    server_tools: Sequence[Mapping[str, Any]] = ()
    session_cache: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_media(self) -> bool:
        """Whether the model sees and hears: those models have a path of their own."""
        return self.endpoint == "multimodal-generation"
