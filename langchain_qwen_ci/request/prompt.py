"""The messages and options of a request, in a form that does not depend on the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Role = Literal["system", "user", "assistant", "tool"]
MediaKind = Literal["image", "video", "audio"]


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a message that is text.

    Attributes:
        cache_control: marks the end of a prefix for the explicit context cache; None: no marker.
    """

    text: str
    cache_control: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A part of a message that is an image, a video or audio.

    Attributes:
        url: an http(s), oss or data URL; empty for a video of frames.
        cache_control: as of `Text`.
        frames: the URLs of the images of a video that has no URL of its own.
        options: how the service should read it, with the service's names, such as `min_pixels`,
            `max_pixels` and `fps`; or OpenAI's `detail`.
    """

    kind: MediaKind
    url: str
    cache_control: Mapping[str, Any] | None = None
    frames: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The file format, such as "wav": from the media type of a data URL or the file extension.

        It is empty if the URL has neither.
        """
        if self.url.startswith("data:"):
            return self.url[5:].partition(";")[0].rpartition("/")[2]
        path = self.url.partition("?")[0].rpartition("/")[2]
        return path.rpartition(".")[2] if "." in path else ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call that the model made in an earlier turn.

    Attributes:
        arguments: JSON text.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of the conversation.

    Attributes:
        calls: function calls, if the message is an answer of the model.
        tool_call_id: id of the function call whose result the message is; None for other messages.
        reasoning: the model's reasoning, if the message is an answer of the model.
    """

    role: Role
    parts: tuple[Text | Media, ...]
    calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""

    @property
    def text(self) -> str:
        """The text of all parts; media are left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def has_media(self) -> bool:
        return any(isinstance(part, Media) for part in self.parts)

    @property
    def cache_markers(self) -> int:
        """The number of parts with `cache_control`."""
        return sum(part.cache_control is not None for part in self.parts)


Prompt = tuple[PromptMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of one request, validated by `options.resolve_options`.

    Attributes:
        endpoint: the path of the native API that serves the model (see `models`).
        takes_media: whether the model may accept images, video and audio.
        interpreter_tool: the interpreter as a tool of the Responses API, for requests with the
            interpreter on.
        enable_thinking: None uses the model's default.
        preserve_thinking: whether the model reads the reasoning of earlier answers. None uses the
            model's default.
        send_reasoning: whether the reasoning of earlier answers is sent.
        functions: function tools in OpenAI's format; empty while the interpreter is on.
        server_tools: other tools of the service, in the format of the Responses API.
        session_cache: whether the service may cache the conversation (Responses only).
        parse_think_tags: whether text in `<think>` tags is reasoning (not on the native API).
        parameters: sampling and other request parameters, under DashScope's names.
    """

    model: str
    endpoint: str
    takes_media: bool
    enable_code_interpreter: bool
    interpreter_tool: Mapping[str, Any]
    enable_thinking: bool | None
    preserve_thinking: bool | None = None
    send_reasoning: bool = False
    functions: Sequence[Mapping[str, Any]] = ()
    server_tools: Sequence[Mapping[str, Any]] = ()
    session_cache: bool = False
    parse_think_tags: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
