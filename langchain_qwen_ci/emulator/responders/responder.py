"""What thinks in the emulator: it is asked a question and answers step by step.

A mind is a generator. For a `Run` it is sent the sandbox's `Result`, so that it can go on from
there, as the model behind the real service does.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the conversation: its role and its text.

    Attributes:
        media: what came besides text, by its kind: "image", "video" or "audio".
    """

    role: str
    text: str
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request, whichever wire it came by.

    Attributes:
        tools: functions in OpenAI's shape; none if the request forbids to call them.
        forced_tool: the name of the one that the request demands a call of, or "".
        server_tools: what else than code the service may run by itself: "web_search",
            "web_extractor".
        requires_json: whether the answer has to be one JSON object.
        schema: the JSON schema that this object has to fit; None leaves its keys open.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    code_interpreter: bool
    thinking: bool
    tools: tuple[Mapping[str, Any], ...] = ()
    forced_tool: str = ""
    server_tools: frozenset[str] = frozenset()
    requires_json: bool = False
    schema: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """What was said last."""
        return self.messages[-1].text


@dataclass(frozen=True, slots=True)
class Think:
    """Reason in the open; left out where the request has turned thinking off."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program in the sandbox; the mind is sent its `Result`.

    Attributes:
        appears_empty: show the run without its code first and fill that in one frame later, as
            the service sometimes does on its native wire. The others show whole code only.
        images: URLs of plots. The sandbox cannot draw, so they are said here; Responses links
            to them in the logs, and the other wires show no output.
    """

    code: str
    appears_empty: bool = False
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Search the web, or seem to: nothing leaves this machine.

    Responses shows it as an item, the native wire as sources and a count, Chat Completions not
    at all. The request must have switched it on.

    Attributes:
        sources: the URLs found.
    """

    query: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extract:
    """Read web pages, or seem to. Responses alone has this tool."""

    urls: tuple[str, ...]
    goal: str
    output: str


@dataclass(frozen=True, slots=True)
class Say:
    """A part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call one of the caller's functions; several in a row are parallel calls."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """End here, with another reason than "stop" (or "tool_calls" after calls)."""

    reason: str


Step = Think | Run | Search | Extract | Say | Call | Finish


@dataclass(frozen=True, slots=True)
class Result:
    """What a program printed and the echo of its last value, or the traceback it ended with."""

    output: str
    failed: bool = False


Steps = Generator[Step, Result | None, None]


class Responder(Protocol):
    """Anything that answers. It runs in the server's event loop, so it should not block."""

    def respond(self, model_request: ModelRequest) -> Steps:
        """Yield the steps of one answer; a `Run` is sent its `Result`."""
