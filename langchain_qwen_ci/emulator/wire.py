"""What the server needs of a wire: requests become questions, steps become frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.mind import Call, Question, Result, Run


class RefusalError(Exception):
    """The service does not take this request."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the server got it.

    Attributes:
        headers: names in lower case; the key in `authorization` is masked.
        body: the parsed JSON; None where it was not JSON.
    """

    path: str
    headers: Mapping[str, str]
    body: Any


class Encoder(Protocol):
    """Writes one answer. Frames are made as they are asked for: each call may yield several."""

    media_type: str

    def think(self, text: str) -> Iterator[bytes]: ...
    def say(self, text: str) -> Iterator[bytes]: ...
    def run(self, run: Run) -> Iterator[bytes]: ...
    def ran(self, result: Result) -> Iterator[bytes]: ...
    def call(self, call: Call) -> Iterator[bytes]: ...
    def finish(self, reason: str) -> Iterator[bytes]: ...
    def error_frame(self, status: int, code: str, message: str) -> bytes: ...


class Wire(Protocol):
    """One wire format, on the paths that speak it."""

    paths: tuple[str, ...]

    def question(self, received: Received) -> Question:
        """Read a request.

        Raises:
            RefusalError: the real service would not take it.
        """
        ...

    def encoder(self, received: Received, question: Question, request_id: str) -> Encoder:
        """The writer of the answer, streaming or whole as the request wants it."""
        ...

    def error_body(self, code: str, message: str, request_id: str) -> dict[str, Any]:
        """An error as a JSON body."""
        ...
