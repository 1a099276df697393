"""The interface of a responder, which decides an answer step by step.

A responder is a generator of steps. For a `Run` step it is sent the sandbox's `Result`, so that the
following steps can depend on it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message of the conversation.

    Attributes:
        role: "system", "user", "assistant" or "tool".
        text: the text of its content.
        media: the kinds of its media: "image", "video" or "audio".
    """

    role: str
    text: str
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request, the same for all APIs.

    Attributes:
        tools: functions in OpenAI's format; empty if the request forbids function calls.
        forced_tool: the name of the function that must be called; "" if none is forced.
        server_tools: other tools of the service that are on: "web_search", "web_extractor".
        requires_json: whether the answer must be a JSON object.
        schema: the JSON schema of that object; None if there is none.
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
        """The text of the last message."""
        return self.messages[-1].text


@dataclass(frozen=True, slots=True)
class Think:
    """Emit reasoning. It is dropped if the request has turned thinking off."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program in the sandbox; the responder is sent its `Result`.

    Attributes:
        code: the Python source code.
        appears_empty: send the execution without code first and fill the code in one frame later,
            as the service sometimes does on the native API. The other APIs send complete code only.
        images: URLs of plots, because the sandbox cannot plot. Responses links to them in the logs;
            the other APIs return no output.
    """

    code: str
    appears_empty: bool = False
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Pretend to search the web.

    Responses returns it as an item, the native API as sources and a count, Chat Completions not at
    all. The request must have turned web search on.

    Attributes:
        query: the search query.
        sources: the URLs of the results.
    """

    query: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extract:
    """Pretend to read web pages. Only Responses has this tool."""

    urls: tuple[str, ...]
    goal: str
    output: str


@dataclass(frozen=True, slots=True)
class Say:
    """Emit text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of the caller; several in a row are parallel calls."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer with a finish reason other than "stop" (or "tool_calls" after calls)."""

    reason: str


Step = Think | Run | Search | Extract | Say | Call | Finish


@dataclass(frozen=True, slots=True)
class Result:
    """What a program printed and the value of its last expression, or its traceback."""

    output: str
    failed: bool = False


Steps = Generator[Step, Result | None, None]


class Responder(Protocol):
    """Decides the answers. It runs in the server's event loop and must not block."""

    def respond(self, model_request: ModelRequest) -> Steps:
        """Yield the steps of one answer; a `Run` step is sent its `Result`."""
