"""Tells which item of an answer an event belongs to.

Ids of items do not hold on every server. Alibaba's are correct, but its `output_index` is
inconsistent even within one sample of its documentation. Read in the source of other servers or
recorded from them: SGLang uses one id for the whole stream; vLLM streams other ids than those of
the last frame, and has sent `item_id: ""` and `id: null`; some gateways give each event a new id;
LiteLLM uses the id of the response. Deltas may come without any item being added.

So an item is found by all that is known of it: its type, whether it is open, its ids, its position,
and its content. `ItemTracker` does this for the items of one type.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What an event says about its item. Missing, null and empty values are no evidence.

    Attributes:
        item_id: `""` if there is none.
        output_index: position in the answer; None if there is none.
        call_id: the id of a function call; `""` if there is none.
        name: the name of a function; `""` if there is none.
        content: the complete text, code or arguments of a complete item; `""` before.
    """

    item_id: str = ""
    output_index: int | None = None
    call_id: str = ""
    name: str = ""
    content: str = ""

    @classmethod
    def of_event(cls, payload: Payload) -> Identity:
        """Read the identity from an event inside an item, such as a delta."""
        return cls(_string(payload.get("item_id")), _index(payload.get("output_index")))

    @classmethod
    def of_item(cls, item: Payload, output_index: object, content: str = "") -> Identity:
        """Read the identity from an item that is added or complete."""
        return cls(
            item_id=_string(item.get("id")),
            output_index=_index(output_index),
            call_id=_string(item.get("call_id")),
            name=_string(item.get("name")),
            content=content,
        )


@dataclass(slots=True, eq=False)
class Item:
    """One item of the answer.

    Attributes:
        item_id: the id that events use; unique within the answer, and never empty.
        identity: what was known when the first event of the item was received.
        is_open: False once the item was completed.
        was_added: False if no event has added the item, only deltas were received.
        has_complete_part: whether an event such as `output_text.done` was received.
        pieces: what was emitted of its text, code or arguments, by content index.
        given: complete code or arguments with which it was added, which deltas may repeat.
        repeated: number of characters of `given` that deltas have repeated.
    """

    item_id: str
    identity: Identity
    is_open: bool = True
    was_added: bool = False
    has_complete_part: bool = False
    pieces: dict[int, list[str]] = field(default_factory=dict)
    given: str = ""
    repeated: int = 0

    @property
    def content(self) -> str:
        return "".join(piece for index in sorted(self.pieces) for piece in self.pieces[index])

    def add(self, piece: str, content_index: int = 0) -> str:
        """Record a piece that is emitted, and return it."""
        if piece:
            self.pieces.setdefault(content_index, []).append(piece)
        return piece

    def without_repetition(self, piece: str) -> str:
        """Return what a delta adds to the content with which the item was added.

        OpenAI's event order, which vLLM documents, allows an item to be added with its complete
        code and then to send the code in deltas.
        """
        if not self.given:
            return piece
        if self.given.startswith(piece, self.repeated):
            self.repeated += len(piece)
            if self.repeated == len(self.given):
                self.given = ""
            return ""
        piece, self.given = self.given[: self.repeated] + piece, ""
        return piece

    def remaining(self, complete: str, content_index: int = 0) -> str:
        """Return the part of a complete text that was not emitted yet, and record it."""
        emitted = sum(map(len, self.pieces.get(content_index, ())))
        return self.add(complete[emitted:], content_index)


def final_identities(
    items: Sequence[Payload], content_of: Callable[[Payload], str]
) -> tuple[list[Identity], Exception | None]:
    """Return the identities of the last frame's items, up to the first malformed one.

    Its exception is returned, so that what precedes it is emitted first.
    """
    identities: list[Identity] = []
    for item in items:
        try:
            identities.append(Identity.of_item(item, None, content_of(item)))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            return identities, error
    return identities, None


def new_id(prefix: str) -> str:
    """Return an id that is unique across messages."""
    return f"{prefix}_{uuid.uuid4().hex}"


class ItemTracker:
    """The items of one type, in the order in which they appeared.

    On all servers that were read, items of one type follow each other; only function calls may
    overlap. So while one item is open, an event belongs to it, whatever id the event has.

    Args:
        prefix: begins the ids that are generated where the server sends none.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._used_ids: set[str] = set()
        self.items: list[Item] = []
        self.open_items: list[Item] = []

    def added(self, identity: Identity) -> Item:
        """Return the item that an event adds; a known one if the event repeats it.

        The content is empty if the item has none yet.
        """
        for item in self.open_items:
            if not item.was_added or _is_same_place(item.identity, identity):
                item.was_added = True
                return item
        for item in self.items:
            is_repeated = identity.content and identity.content == item.content
            if is_repeated and _is_same_place(item.identity, identity):
                return item
        item = self.new(identity)
        item.was_added = True
        return item

    def of_delta(self, payload: Payload) -> Item:
        """Return the item that a delta belongs to; a new one if none is open."""
        item = self._find(payload)
        # Nothing but a new item follows the complete content of an item that was not added.
        if item is None or (item.has_complete_part and not item.was_added):
            return self.new(Identity.of_event(payload))
        return item

    def of_complete_part(self, payload: Payload, content: str) -> Item:
        """Return the item of an event with complete content, such as `output_text.done`."""
        item = self._find(payload) or next(
            (item for item in reversed(self.items) if content in item.content), None
        )
        item = item or self.new(Identity.of_event(payload))
        item.has_complete_part = True
        return item

    def completed(self, identity: Identity) -> Item:
        """Return the item that an event completes; the caller closes it.

        It is a closed item if the event only repeats it, and a new one if the server streamed
        nothing of it before.
        """
        open_items = [item for item in self.open_items if _may_be_completed_by(item, identity)]
        repeated = (item for item in reversed(self.items) if _is_completed_again(item, identity))
        item = _most_similar(open_items, identity) or next(repeated, None) or self.new(identity)
        item.was_added = True
        return item

    def align(self, final: Sequence[Identity]) -> list[Item | None]:
        """Find the items of the last frame, which repeats the whole answer, among those streamed.

        Ids may differ there, items may be missing, and others may be new. Items that have the same
        content correspond to each other; the others between two of them correspond in their order.

        Returns:
            For each identity its item; None for an item of which nothing was streamed.
        """
        aligned: list[Item | None] = [None] * len(final)
        used = 0  # number of streamed items up to the last one that was found
        unknown: list[int] = []  # positions in `final` since then
        for position, identity in enumerate(final):
            candidates = enumerate(self.items[used:], used)
            found = next((n for n, item in candidates if _is_repeated(item, identity)), None)
            if found is None:
                unknown.append(position)
                continue
            for other, item in zip(unknown, self.items[used:found], strict=False):
                aligned[other] = item
            unknown.clear()
            aligned[position] = self.items[found]
            used = found + 1
        for other, item in zip(unknown, self.items[used:], strict=False):
            aligned[other] = item
        return aligned

    def new(self, identity: Identity) -> Item:
        """Add an item; its id is generated if the server sends none or one that is used."""
        item_id = identity.item_id
        if not item_id or item_id in self._used_ids:
            item_id = new_id(self._prefix)
        self._used_ids.add(item_id)
        item = Item(item_id, identity)
        self.items.append(item)
        self.open_items.append(item)
        return item

    def close(self, item: Item) -> None:
        """Mark an item as complete."""
        if item.is_open:
            item.is_open = False
            self.open_items.remove(item)

    def _find(self, payload: Payload) -> Item | None:
        """Return the item of an event inside it; None if it begins a new one.

        If no item is open, it is a late event of a closed one, if their ids are equal.
        """
        if len(self.open_items) == 1:
            return self.open_items[0]
        identity = Identity.of_event(payload)
        if not self.open_items:
            closed = (i for i in reversed(self.items) if _is_same_place(i.identity, identity))
            return next(closed, None)
        candidates = self.open_items
        if same_id := [item for item in candidates if _equal_id(item.identity, identity)]:
            candidates = same_id
        if same_index := [item for item in candidates if _equal_index(item.identity, identity)]:
            candidates = same_index
        return candidates[-1]


def _equal_id(a: Identity, b: Identity) -> bool:
    return a.item_id == b.item_id != ""


def _equal_index(a: Identity, b: Identity) -> bool:
    return a.output_index == b.output_index is not None


def _differ(a: object, b: object) -> bool:
    """Return whether two values are known and differ."""
    return a not in ("", None) and b not in ("", None) and a != b


def _is_same_place(known: Identity, identity: Identity) -> bool:
    """Return whether the ids are equal and nothing else that is known differs."""
    return (
        _equal_id(known, identity)
        and not _differ(known.output_index, identity.output_index)
        and not _differ(known.call_id, identity.call_id)
    )


def _may_be_completed_by(item: Item, identity: Identity) -> bool:
    """Return whether a complete item can be the end of an open one."""
    known = item.identity
    consistent = identity.content.startswith(item.content)
    if _differ(known.name, identity.name):
        return False
    if _differ(known.call_id, identity.call_id):
        # vLLM completes a call with another `call_id`, at the same position.
        return consistent and not (
            _differ(known.output_index, identity.output_index)
            and (_differ(known.item_id, identity.item_id) or not identity.item_id)
        )
    return consistent or _equal_id(known, identity) or _equal_index(known, identity)


def _most_similar(open_items: list[Item], identity: Identity) -> Item | None:
    """Return the item that has most in common with a complete one; of equals, the oldest."""
    return max(
        open_items,
        key=lambda item: (
            item.identity.call_id == identity.call_id != "",
            _equal_id(item.identity, identity),
            _equal_index(item.identity, identity),
            bool(item.content) and identity.content.startswith(item.content),
        ),
        default=None,
    )


def _is_completed_again(item: Item, identity: Identity) -> bool:
    """Return whether a complete item is a repetition of a closed one."""
    known = item.identity
    if item.is_open or _differ(known.output_index, identity.output_index):
        return False
    if _equal_id(known, identity):
        return identity.content.startswith(item.content)
    same_place = _equal_index(known, identity) or known.call_id == identity.call_id != ""
    return same_place and identity.content == item.content


def _is_repeated(item: Item, identity: Identity) -> bool:
    """Return whether an item of the last frame is certainly a streamed one."""
    if _differ(item.identity.name, identity.name):
        return False
    if content := item.content.strip():
        return content == identity.content.strip() or (
            _equal_id(item.identity, identity) and identity.content.startswith(item.content)
        )
    return _equal_id(item.identity, identity)


def _string(value: object) -> str:
    # A value of another type is no evidence. It is not an error, because ids are not needed.
    return value if isinstance(value, str) else ""


def _index(value: object) -> int | None:
    return value if isinstance(value, int) else None
