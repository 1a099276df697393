"""The messages and options of a request, before an API file encodes them."""

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
    """An image, video or audio; `url` is an http(s), oss or data URL."""

    kind: MediaKind
    url: str

    @property
    def format(self) -> str:
        """The format, such as "wav", from a data URL's type or a URL's suffix; "" if unknown."""
        if self.url.startswith("data:"):
            return self.url[5:].partition(";")[0].rpartition("/")[2]
        path = self.url.partition("?")[0].rpartition("/")[2]
        return path.rpartition(".")[2] if "." in path else ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call in an earlier answer; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message.

    Attributes:
        parts: text and media.
        calls: the function calls of an earlier answer.
        tool_call_id: the id of the call that a tool message answers.
        reasoning: the reasoning of an earlier answer.
    """

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
    """The options of a request, checked and complete.

    Attributes:
        endpoint: the path of the native API that serves the model (see `models`).
        enable_thinking: None means the model's own default.
        preserve_thinking: whether the reasoning of earlier answers is sent.
        functions: function tools in OpenAI's format; empty while the interpreter is on.
        server_tools: other tools of the service, in the format of the Responses API.
        session_cache: whether the service may cache the conversation (Responses only).
        parameters: sampling and other parameters, with DashScope's names.
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
        """Whether the model accepts images, video and audio: such models have their own path."""
        return self.endpoint == "multimodal-generation"
