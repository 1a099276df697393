"""Splits an SSE stream into frames, strictly as the service writes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_qwen_ci.emulator.conformance.errors import ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import as_json, json_object

DONE = "[DONE]"
_STATUS_COMMENT = "HTTP_STATUS/"


@dataclass(frozen=True)
class Frame:
    """The lines of one event of a stream."""

    lines: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """Return the values of a field; "" returns the comments, which are lines without a name."""
        fields = (line.partition(":") for line in self.lines)
        return [value.removeprefix(" ") for field, _, value in fields if field == name]

    def value(self, name: str) -> str:
        """Return the value of a field that every frame must have exactly once."""
        found = self.values(name)
        if len(found) == 1:
            return found[0]
        raise ViolationError(f"a frame has {len(found)} lines of {name!r}: {as_json(self.lines)}")

    @property
    def status(self) -> str:
        """The HTTP status in the frame's comment."""
        found = [comment for comment in self.values("") if comment.startswith(_STATUS_COMMENT)]
        if len(found) == 1:
            return found[0].removeprefix(_STATUS_COMMENT)
        raise ViolationError(f"a frame has no comment with its status: {as_json(self.lines)}")

    @cached_property  # about twenty checks read the same frames
    def data(self) -> dict[str, Any]:
        """The JSON object in the frame's only data line."""
        return json_object(self.value("data"))

    @property
    def is_done(self) -> bool:
        """True for the frame that ends a Chat Completions stream."""
        return self.values("data") == [DONE]


def split_frames(text: str) -> tuple[Frame, ...]:
    """Split the text of a stream at its blank lines."""
    parts = text.replace("\r\n", "\n").split("\n\n")
    return tuple(Frame(tuple(part.strip("\n").split("\n"))) for part in parts if part.strip("\n"))
