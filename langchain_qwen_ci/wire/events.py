"""The events of an answer, in the order in which they happen, the same for all APIs.

Texts and code are deltas: the complete text is their concatenation. `TokensUsed` is cumulative: the
last one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ExecutionStatus = Literal["in_progress", "completed", "failed"]
ResultStatus = Literal["success", "error"]


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The first event of an answer; `request_id` is the service's id of the request.

    A second one means that the answer was interrupted and the request was repeated: all events
    before it are void.
    """

    request_id: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CodeDelta:
    """More code of an execution. The first delta of a `call_id` starts the execution."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeReplaced:
    """The service changed code that it had already sent; `code` is the complete new code."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeFinished:
    """An execution has ended.

    `output` is None if the API returns no outputs. `images` are the URLs of created images.
    """

    call_id: str
    status: ExecutionStatus
    output: str | None = None
    images: tuple[str, ...] = ()

    @property
    def result_status(self) -> ResultStatus:
        """The status in LangChain's terms for results."""
        return "error" if self.status == "failed" else "success"


@dataclass(frozen=True, slots=True)
class ServerToolCalled:
    """The service has called another tool of its own, such as `web_search`."""

    call_id: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerToolReturned:
    """A tool of the service has returned. `output` is what the service sends of the result."""

    call_id: str
    status: ResultStatus
    output: Any


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A part of a function call; the parts of one call have the same `index`."""

    index: int
    call_id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """Tokens of all inferences of the request so far, and the number of calls of each plugin.

    `plugins` is `{"code_interpreter": {"count": 1}}`; None if the API returns no counts.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_details: dict[str, int] = field(default_factory=dict)
    output_details: dict[str, int] = field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class InferenceEnded:
    """One inference of the request has ended, with its own tokens. Native API only."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Extra:
    """Another value that the service reports, unchanged and with the service's name for it."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete."""

    reason: FinishReason


Event = (
    ResponseStarted
    | ReasoningDelta
    | TextDelta
    | CodeDelta
    | CodeReplaced
    | CodeFinished
    | ServerToolCalled
    | ServerToolReturned
    | ToolCallDelta
    | TokensUsed
    | InferenceEnded
    | Extra
    | Finished
)
