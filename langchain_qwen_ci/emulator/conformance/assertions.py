"""Bytes to what a check looks at: frames, errors, and values within JSON.

Written anew, and strictly: the package's own decoders forgive more than a judge may.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance.checks import NoAnswerError, ViolationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Reply

_OK = 200
_STATUS = "HTTP_STATUS/"
_HTTP_STATUS = re.compile(r"[1-5]\d\d")
# Fewer pieces may repeat each other by chance.
_ENOUGH_PIECES = 3


def at(value: object, *path: str | int) -> Any:  # noqa: ANN401  # JSON holds anything
    """What stands at a path within JSON.

    Raises:
        ViolationError: nothing does.
    """
    here: Any = value
    for step in path:
        if isinstance(step, int):
            found = isinstance(here, list) and -len(here) <= step < len(here)
        else:
            found = isinstance(here, dict) and step in here
        if not found:
            raise ViolationError(f"there is no {_dotted(path)} in {shown(value)}")
        here = here[step]
    return here


def text_at(value: object, *path: str | int) -> str:
    """The string that stands at a path; it may be empty."""
    found = at(value, *path)
    if isinstance(found, str):
        return found
    raise ViolationError(f"{_dotted(path)} is {shown(found)} and no string")


def words_at(value: object, *path: str | int) -> str:
    """The string that stands at a path, which must not be empty."""
    if found := text_at(value, *path):
        return found
    raise ViolationError(f"{_dotted(path)} is empty")


def count_at(value: object, *path: str | int) -> int:
    """The whole number that stands at a path, which is not negative."""
    found = at(value, *path)
    if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
        return found
    raise ViolationError(f"{_dotted(path)} is {shown(found)} and no count")


def list_at(value: object, *path: str | int) -> list[Any]:
    found = at(value, *path)
    if isinstance(found, list):
        return found
    raise ViolationError(f"{_dotted(path)} is {shown(found)} and no list")


def object_at(value: object, *path: str | int) -> dict[str, Any]:
    found = at(value, *path)
    if isinstance(found, dict):
        return found
    raise ViolationError(f"{_dotted(path)} is {shown(found)} and no object")


def text_or_null(value: object, name: str) -> str:
    """The string of a field that may also be null or missing, which is no text either."""
    found = object_at(value).get(name)
    return "" if found is None else text_at(value, name)


def shown(value: object) -> str:
    """A value in a sentence."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "something too deep"


def must_be(found: object, expected: object, what: str) -> None:
    """Compare one value with the fact."""
    if found != expected:
        raise ViolationError(f"{what} is {shown(found)} and not {shown(expected)}")


def must_not_fall(numbers: Iterable[int], what: str) -> None:
    """Whether a count that stands in every frame only grows."""
    for before, after in pairwise(numbers):
        if after < before:
            raise ViolationError(f"{what} falls from {before} to {after}")


def must_come_in_pieces(*series: Sequence[str]) -> None:
    """Whether texts are streamed, and every frame holds what is new and nothing else.

    Args:
        series: the pieces of each text.
    """
    texts = [[piece for piece in pieces if piece] for pieces in series]
    if sum(map(len, texts)) <= sum(map(bool, texts)):
        raise ViolationError(f"the text comes at once: {shown(texts)}")
    for pieces in texts:
        repeats = all(after.startswith(before) for before, after in pairwise(pieces))
        if len(pieces) >= _ENOUGH_PIECES and repeats:
            raise ViolationError(f"pieces repeat the ones before them: {shown(pieces[:3])}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream, line by line."""

    lines: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """The values of one field; comments are those of the field without a name."""
        split = (line.partition(":") for line in self.lines)
        return [value.removeprefix(" ") for field, _, value in split if field == name]

    def value(self, name: str) -> str:
        """The value of a field that stands once in every frame."""
        found = self.values(name)
        if len(found) == 1:
            return found[0]
        raise ViolationError(f"a frame has {len(found)} lines of {name!r}: {shown(self.lines)}")

    @property
    def status(self) -> str:
        """What the comment says about the HTTP status."""
        found = [comment for comment in self.values("") if comment.startswith(_STATUS)]
        if len(found) == 1:
            return found[0].removeprefix(_STATUS)
        raise ViolationError(f"a frame has no comment with its status: {shown(self.lines)}")

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object of its one data line."""
        return json_object(self.value("data"))


def json_object(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ViolationError: the text is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise ViolationError(f"this is no JSON object: {text}")


def frames_of(reply: Reply) -> list[Frame]:
    """The frames of a stream.

    Raises:
        NoAnswerError: an error came in its place, or nothing.
    """
    frames = _frames(reply.text)
    told = [value for frame in frames for value in frame.values("data")]
    if reply.status != _OK or not set(told) - {"", "[DONE]"}:
        raise NoAnswerError(f"HTTP {reply.status} in place of a stream: {reply.text}")
    return frames


def _frames(text: str) -> list[Frame]:
    parts = text.replace("\r\n", "\n").split("\n\n")
    return [Frame(tuple(part.strip("\n").split("\n"))) for part in parts if part.strip("\n")]


def document_of(reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer that is not streamed.

    Raises:
        NoAnswerError: an error came in its place.
    """
    if reply.status != _OK:
        raise NoAnswerError(f"HTTP {reply.status} in place of an answer: {reply.text}")
    return json_object(reply.text)


def native_error(reply: Reply) -> tuple[int, str, str]:
    """Status, code and message of a native error: a body of JSON, or a frame of a stream.

    The Content-Type is not asked: a recorded 401 has none.

    Raises:
        ViolationError: it is no error, or has another shape.
    """
    status, text = reply.status, reply.text
    for frame in _frames(text):
        if frame.values("event") == ["error"]:
            status = int(frame.status) if _HTTP_STATUS.fullmatch(frame.status) else 0
            text = frame.value("data")
    if status == _OK:
        raise ViolationError(f"this is answered: {text}")
    body = json_object(text)
    words_at(body, "request_id")
    return status, words_at(body, "code"), words_at(body, "message")


def must_be_refused(refusal: tuple[int, str, str], status: int, *codes: str) -> None:
    """Compare an error with the fact.

    Args:
        refusal: status, code and message.
        status: the status that it must have.
        codes: the codes that it may have; none: any.
    """
    found, code, message = refusal
    if found != status or (codes and code not in codes):
        wanted = " or ".join(codes) or "a code"
        raise ViolationError(f"HTTP {found}, {code} and not {status}, {wanted}: {message}")


def must_have_request_id(reply: Reply) -> None:
    if not reply.headers.get("x-request-id"):
        raise ViolationError("the header is missing")


def must_add_up(usage: object, read: str, written: str) -> None:
    """Whether a usage counts both kinds of tokens, under a wire's own names, and their total."""
    counts = [count_at(usage, f"{name}_tokens") for name in (read, written)]
    must_be(count_at(usage, "total_tokens"), sum(counts), "total_tokens")
    if not all(counts):
        raise ViolationError(f"usage is {shown(usage)}")


def must_report_reasoning(usage: object, written: str) -> None:
    """Whether a usage says how many of the tokens that were written were thoughts."""
    thought = count_at(usage, f"{written}_tokens_details", "reasoning_tokens")
    if not 0 < thought <= count_at(usage, f"{written}_tokens"):
        raise ViolationError(f"reasoning_tokens is {thought} in {shown(usage)}")


def must_be_framed(frame: Frame) -> None:
    """Whether a frame of the native or the Responses wire has its four lines."""
    frame.value("id")
    frame.value("event")
    must_be(frame.status, "200", "the status of a frame")
    frame.data  # noqa: B018  # raises


def must_end_by_itself(frames: Iterable[Frame]) -> None:
    if any(frame.values("data") == ["[DONE]"] for frame in frames):
        raise ViolationError("there is a [DONE], as Chat Completions has it")


def must_be_numbered(frames: Sequence[Frame]) -> None:
    found = [frame.value("id") for frame in frames]
    must_be(found, [str(number) for number in range(1, len(found) + 1)], "the list of ids")


def must_have_no_spaces(frames: Iterable[Frame]) -> None:
    for frame in frames:
        for line in frame.lines:
            if line.partition(":")[2].startswith(" "):
                raise ViolationError(f"there is a space after the colon: {line}")


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))
