"""What a model does while it answers, in the order it does it.

Every wire's frames become these; nothing downstream can tell which wire they came from. Pieces
are deltas: a text is the sum of its pieces. `TokensUsed` is cumulative: the last one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ExecutionStatus = Literal["in_progress", "completed", "failed"]
ResultStatus = Literal["success", "error"]


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The service answers. `request_id` is its name for this request.

    It comes first, and again where an answer broke off and was asked for again: what came before
    does not count then.
    """

    request_id: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The model speaks."""

    text: str


@dataclass(frozen=True, slots=True)
class CodeDelta:
    """The model writes code to run. The first piece of a `call_id` opens that execution."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeReplaced:
    """The service corrected code that it had already shown: `code` is the whole of it."""

    call_id: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeFinished:
    """An execution is over.

    `output` is None where the wire does not carry outputs; `images` are URLs of what was drawn.
    """

    call_id: str
    status: ExecutionStatus
    output: str | None = None
    images: tuple[str, ...] = ()

    @property
    def result_status(self) -> ResultStatus:
        """The status in LangChain's words for results."""
        return "error" if self.status == "failed" else "success"


@dataclass(frozen=True, slots=True)
class ServerToolCalled:
    """The service uses another tool of its own, such as `web_search`."""

    call_id: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerToolReturned:
    """That tool has answered. `output` is what the service shows of it, as it sent it."""

    call_id: str
    status: ResultStatus
    output: Any


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a function call; pieces of one call share `index`."""

    index: int
    call_id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """Tokens of all inferences of the request so far, and the calls of each plugin.

    `plugins` is `{"code_interpreter": {"count": 1}}`; None where the wire gives no counts.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_details: dict[str, int] = field(default_factory=dict)
    output_details: dict[str, int] = field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class InferenceEnded:
    """One inference of the request is over: its own tokens, where the wire can tell."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Extra:
    """Whatever else the service reports, under the service's own name and as it sent it."""

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
