"""What answers a request: a mind takes a question and gives steps, whatever the wire.

A mind is a generator. It yields steps; for a `Run` it is sent the sandbox's `Result` back, so that
it can go on from there, as the model behind the real service does.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Think:
    """Reason in the open. Left out where the request turned thinking off."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run code in the sandbox; the mind is sent the `Result`.

    Attributes:
        appears_empty: announce the run with empty code first and fill it in one frame later,
            as the real service sometimes does.
    """

    code: str
    appears_empty: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """A part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call one of the request's function tools. `id` is made up where it is None."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer now, for this reason: "stop", "length", "tool_calls"."""

    reason: str


Step = Think | Run | Say | Call | Finish


@dataclass(frozen=True, slots=True)
class Result:
    """What the sandbox made of a run: prints and the echo of the last value, or a traceback."""

    output: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation. Parts of it that are no text are left out of `text`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the request lets the model call; `parameters` is its JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A request, after its wire has been taken off.

    Attributes:
        interpreter: whether code may be run.
        thinking: whether thoughts are shown.
        forced_tool: the tool that the request demands a call of, if it names one.
        body: the request as it came.
    """

    model: str
    messages: tuple[Message, ...]
    interpreter: bool = False
    thinking: bool = False
    tools: tuple[Tool, ...] = ()
    forced_tool: str | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The last thing the user said."""
        users = (message.text for message in reversed(self.messages) if message.role == "user")
        return next(users, "")


class Mind(Protocol):
    """Answers questions. It is called in the server's event loop: it should not block."""

    def answer(self, question: Question) -> Generator[Step, Result | None, None]:
        """Yield the steps of one answer; a `Run` is sent its `Result`."""
        ...
