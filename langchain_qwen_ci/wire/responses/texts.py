"""Items that are text: the model's reasoning, and messages with their annotations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic_core import to_json

from langchain_qwen_ci.wire.events import CitationAdded, Event, ReasoningDelta, TextDelta
from langchain_qwen_ci.wire.json_values import as_string
from langchain_qwen_ci.wire.responses.identity import Identity, Item, ItemTracker, final_identities
from langchain_qwen_ci.wire.text.citations import to_citation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from langchain_qwen_ci.wire.responses.identity import Payload


class Reasoning:
    """Reasoning of the model."""

    def __init__(self) -> None:
        self._tracker = ItemTracker("rs")
        self._event_types: dict[Item, str] = {}  # the type of the first delta of each item

    def open(self, item: Payload, output_index: object) -> list[Event]:
        self._tracker.added(Identity.of_item(item, output_index))
        return []  # an item has no text yet when it is added

    def delta(self, payload: Payload) -> list[Event]:
        item, event_type = self._tracker.of_delta(payload), payload["type"]
        if self._event_types.setdefault(item, event_type) != event_type:
            # The service may send each piece twice, as `reasoning_text` and under the older name
            # `reasoning_summary_text`.
            return []
        return _reasoning(item.add(as_string(payload["delta"])))

    def close(self, item: Payload, output_index: object) -> list[Event]:
        text = _reasoning_text(item)
        known = self._tracker.completed(Identity.of_item(item, output_index, text))
        self._tracker.close(known)
        return _reasoning(known.remaining(text))

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        yield from map(_reasoning, _remaining_texts(self._tracker, items, _reasoning_text))


def _reasoning_text(item: Payload) -> str:
    # Alibaba sends the text in the summary, vLLM and SGLang in the content.
    parts = item.get("summary") or item.get("content") or ()
    return "".join(as_string(part.get("text") or "") for part in parts)


def _reasoning(text: str) -> list[Event]:
    return [ReasoningDelta(text)] if text else []


class Messages:
    """Text of the answer, refusals included, with its annotations."""

    def __init__(self) -> None:
        self._tracker = ItemTracker("msg")
        self._annotations: Counter[bytes] = Counter()  # those emitted, as JSON
        self.has_refusal = False

    def open(self, item: Payload, output_index: object) -> list[Event]:
        self._tracker.added(Identity.of_item(item, output_index))
        return []

    def delta(self, payload: Payload) -> list[Event]:
        item = self._tracker.of_delta(payload)
        return _text(item.add(as_string(payload["delta"]), _content_index(payload)))

    def done(self, payload: Payload) -> list[Event]:
        return self._complete_part(payload, as_string(payload.get("text") or ""))

    def refusal_delta(self, payload: Payload) -> list[Event]:
        self.has_refusal = True
        return self.delta(payload)

    def refusal_done(self, payload: Payload) -> list[Event]:
        self.has_refusal = True
        return self._complete_part(payload, as_string(payload.get("refusal") or ""))

    def _complete_part(self, payload: Payload, text: str) -> list[Event]:
        item = self._tracker.of_complete_part(payload, text)
        return _text(item.remaining(text, _content_index(payload)))

    def annotation(self, payload: Payload) -> list[Event]:
        """Return the event of an annotation that is sent while its text is streamed."""
        annotation = payload["annotation"]
        self._annotations[to_json(annotation)] += 1
        return [CitationAdded(to_citation(annotation))]

    def close(self, item: Payload, output_index: object) -> Iterator[Event]:
        parts = _message_parts(item)
        identity = Identity.of_item(item, output_index, "".join(parts))
        known = self._tracker.completed(identity)
        self._tracker.close(known)
        self._note_refusal(item)
        if known.pieces.keys() - set(range(len(parts))):
            # Deltas with other content indexes than those of the complete item.
            emitted = len(known.content)
            yield from _text(known.add(identity.content[emitted:], max(known.pieces)))
        else:
            for index, part in enumerate(parts):
                yield from _text(known.remaining(part, index))
        yield from self._new_annotations([item])

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        texts = _remaining_texts(self._tracker, items, lambda item: "".join(_message_parts(item)))
        for number, (item, text) in enumerate(zip(items, texts, strict=True)):
            self._note_refusal(item)
            # The annotations of all items are counted together, since a text may be split into
            # items in another way than it was streamed.
            annotations = self._new_annotations(items) if number == len(items) - 1 else ()
            yield [*_text(text), *annotations]

    def _note_refusal(self, item: Payload) -> None:
        parts = item.get("content") or ()
        self.has_refusal = self.has_refusal or any(part.get("refusal") for part in parts)

    def _new_annotations(self, items: Iterable[Payload]) -> Iterator[Event]:
        """Yield the annotations of complete items that were not emitted yet."""
        seen: Counter[bytes] = Counter()
        for item in items:
            for part in item.get("content") or ():
                for annotation in part.get("annotations") or ():
                    key = to_json(annotation)
                    seen[key] += 1
                    if seen[key] > self._annotations[key]:
                        self._annotations[key] += 1
                        yield CitationAdded(to_citation(annotation))


def _message_parts(item: Payload) -> list[str]:
    """Return the texts of the parts; the type of a part is "output_text", "text" or "refusal"."""
    return [
        as_string(part.get("text") or part.get("refusal") or "")
        for part in item.get("content") or ()
    ]


def _content_index(payload: Payload) -> int:
    index = payload.get("content_index")
    return index if isinstance(index, int) else 0


def _text(text: str) -> list[Event]:
    return [TextDelta(text)] if text else []


def _remaining_texts(
    tracker: ItemTracker, items: Sequence[Payload], text_of: Callable[[Payload], str]
) -> Iterator[str]:
    """Yield the part of each text of the last frame that was not emitted yet."""
    identities, malformed = final_identities(items, text_of)
    emitted = "".join(item.content for item in tracker.items)
    complete = "".join(identity.content for identity in identities)
    if complete.startswith(emitted):
        # The usual case. It also holds if texts are joined or split in the last frame.
        position = 0
        for identity in identities:
            yield identity.content[max(0, len(emitted) - position) :]
            position += len(identity.content)
    else:
        # Texts that were changed or left out. What was streamed is not emitted again.
        for identity, item in zip(identities, tracker.align(identities), strict=True):
            known = item.content if item else ""
            is_continued = identity.content.startswith(known)
            yield identity.content[len(known) :] if is_continued else ""
    if malformed:
        raise malformed
