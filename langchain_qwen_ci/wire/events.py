"""Events of a streamed answer, the same for all APIs, in the order in which they happen.

Every API's frames are decoded to these events, so the code that reads them does not depend on the
API. Texts come as deltas: concatenate them. `TokensUsed` is cumulative: only the last one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ExecutionStatus = Literal["in_progress", "completed", "failed"]
ResultStatus = Literal["success", "error"]


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The first event of a response.

    When an interrupted answer is retried, the event comes again: discard all events before it.

    Attributes:
        request_id: the service's id of the response; a random one if the service sent none.
    """

    request_id: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationAdded:
    """An annotation of the text before it, as LangChain's text blocks have it."""

    citation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CodeDelta:
    """A piece of code to be executed. The first piece of a `call_id` starts that execution."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeReplaced:
    """The service changed code that it had sent before. `code` is the complete new code."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeComplete:
    """The service has sent the code of an execution as a whole, after a part of it.

    The native API always sends code as a whole, but may send it again with more code. An execution
    whose first piece was the whole code may have no such event.
    """

    call_id: str


@dataclass(frozen=True, slots=True)
class CodeFinished:
    """The end of an execution.

    Attributes:
        output: the printed output; None if the API does not return outputs.
        images: URLs of the images that the code drew.
    """

    call_id: str
    status: ExecutionStatus
    output: str | None = None
    images: tuple[str, ...] = ()

    @property
    def result_status(self) -> ResultStatus:
        """The status of LangChain's `server_tool_result` block."""
        return "error" if self.status == "failed" else "success"


@dataclass(frozen=True, slots=True)
class ServerToolCalled:
    """A call of another tool of the service, such as `web_search`."""

    call_id: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerToolReturned:
    """The result of such a call. `output` is the service's value, unchanged."""

    call_id: str
    status: ResultStatus
    output: Any


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a function call. Pieces with the same `index` belong to one call."""

    index: int
    call_id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """Tokens of all inferences of the request so far, and the call counts of plugins.

    Attributes:
        plugins: such as `{"code_interpreter": {"count": 1}}`; None if the API returns no counts.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_details: dict[str, int] = field(default_factory=dict)
    output_details: dict[str, int] = field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class InferenceEnded:
    """The end of one inference of the request, with its own tokens. Only the native API has it."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Extra:
    """Another value of the response, such as `search_info`, with the service's name, unchanged."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a complete answer."""

    reason: FinishReason


Event = (
    ResponseStarted
    | ReasoningDelta
    | TextDelta
    | CitationAdded
    | CodeDelta
    | CodeReplaced
    | CodeComplete
    | CodeFinished
    | ServerToolCalled
    | ServerToolReturned
    | ToolCallDelta
    | TokensUsed
    | InferenceEnded
    | Extra
    | Finished
)
