"""What all items of a Responses answer have in common.

An item is added (`response.output_item.added`), filled by deltas, and completed
(`response.output_item.done`). The last frame of the answer repeats all items. A text therefore
comes as deltas, then complete, then complete again in its item, and again in the last frame. Each
time only the part that was not emitted yet is emitted. `identity` finds the item of an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_qwen_ci.wire.events import Event
    from langchain_qwen_ci.wire.responses.identity import Payload


class ItemHandler(Protocol):
    """Handles one type of item."""

    def open(self, item: Payload, output_index: object) -> Iterable[Event]:
        """Return the events of an item that was added."""

    def close(self, item: Payload, output_index: object) -> Iterable[Event]:
        """Return the events of a complete item that were not emitted yet.

        The item may not have been opened before, and it may be closed more than once.
        """

    def close_final(self, items: Sequence[Payload]) -> Iterator[list[Event]]:
        """Yield the events of each of the last frame's items that were not emitted yet."""
