"""Splits reasoning in `<think>` tags from the text of an answer, while it is streamed.

Servers without a reasoning parser send the model's output unchanged: `<think>reasoning</think>` and
then the text. Chat templates of some models put `<think>` into the prompt, so that an answer may
begin with reasoning and contain `</think>` only; vLLM and SGLang have parsers for such models, so
that form is not guessed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_ci.wire.events import ReasoningDelta, TextDelta

if TYPE_CHECKING:
    from langchain_qwen_ci.wire.events import Event

_OPENING, _CLOSING = "<think>", "</think>"


class ThinkTagSplitter:
    """Converts pieces of text, split anywhere, to reasoning and text.

    Only a tag at the beginning of the answer starts reasoning, so that an answer about such tags is
    not changed. White space around the tags is removed.
    """

    def __init__(self) -> None:
        self._pending = ""  # may be the beginning of a tag, or white space beside one
        self._tag: str | None = _OPENING  # the tag that is expected next; None after the last
        self._strip_next = False  # remove white space at the beginning of the next piece

    def feed(self, text: str) -> list[Event]:
        """Return the events of the next piece of text."""
        events: list[Event] = []
        self._pending += text
        while self._advance(events):
            pass
        return events

    def close(self) -> list[Event]:
        """Return the events of the rest when the text has ended."""
        rest, self._pending = self._pending, ""
        if self._tag == _CLOSING:
            rest = rest.rstrip()
            return [ReasoningDelta(rest)] if rest else []
        return [TextDelta(rest)] if rest else []

    def _advance(self, events: list[Event]) -> bool:
        """Emit what can be decided; return whether the rest has to be looked at again."""
        if self._strip_next:
            self._pending = self._pending.lstrip()
            self._strip_next = not self._pending
        if self._tag == _OPENING:
            return self._read_beginning()
        if self._tag == _CLOSING:
            return self._read_reasoning(events)
        if self._pending:
            events.append(TextDelta(self._pending))
            self._pending = ""
        return False

    def _read_beginning(self) -> bool:
        beginning = self._pending.lstrip()
        if beginning.startswith(_OPENING):
            self._pending = beginning.removeprefix(_OPENING)
            self._tag, self._strip_next = _CLOSING, True
            return True
        if _OPENING.startswith(beginning):
            return False  # not yet decided
        self._tag = None
        return bool(self._pending)

    def _read_reasoning(self, events: list[Event]) -> bool:
        reasoning, tag, rest = self._pending.partition(_CLOSING)
        if tag:
            if reasoning := reasoning.rstrip():
                events.append(ReasoningDelta(reasoning))
            self._pending, self._tag, self._strip_next = rest, None, True
            return True
        end = len(self._pending) - _length_of_possible_end(self._pending)
        if end:
            events.append(ReasoningDelta(self._pending[:end]))
            self._pending = self._pending[end:]
        return False


def _length_of_possible_end(text: str) -> int:
    """Return the length of the end that may be white space before, or a part of, the last tag."""
    length = next(
        (size for size in range(len(_CLOSING) - 1, 0, -1) if text.endswith(_CLOSING[:size])), 0
    )
    before = text[: len(text) - length]
    return length + len(before) - len(before.rstrip())
