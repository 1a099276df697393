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


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call that the model made in an earlier turn; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `tool_call_id` says which call a tool's turn answers."""

    role: Role
    parts: tuple[Text | Media, ...]
    calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


Prompt = tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one call asks for besides its messages.

    Attributes:
        endpoint: the path family that serves the model (see `catalogue`).
        enable_thinking: None leaves it to the model's own default.
        tools: function tools in OpenAI's shape; empty while the interpreter is on.
        parameters: sampling and other request parameters, under DashScope's names.
    """

    model: str
    endpoint: str
    enable_code_interpreter: bool
    enable_thinking: bool | None
    tools: Sequence[Mapping[str, Any]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
