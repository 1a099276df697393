"""What the node adds to a graph's state, and how updates of it come together.

Records in state are plain dictionaries: checkpointers keep those as they are.

Both channels take it when something comes twice. A graph within a graph is given the state that it
shares with the one around it, and gives all of it back, to be reduced once more. So counts remember
which message brought each of them, and a graph does not take over the counts of one around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Self, cast
from uuid import uuid4

from langchain_core.messages import AnyMessage  # noqa: TC002  # LangGraph reads the hints
from langgraph.channels import BinaryOperatorAggregate
from langgraph.config import get_config
from langgraph.graph import MessagesState
from typing_extensions import TypedDict

from langchain_qwen_ci.metadata import CodeExecution, code_executions, plugin_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage


class StateExecution(CodeExecution):
    """One program in a graph's state: what the message says of it, and which message."""

    message_id: NotRequired[str]
    """`id` of the message that it belongs to."""


def merge_executions(
    existing: list[StateExecution], new: list[StateExecution]
) -> list[StateExecution]:
    """The reducer of `code_executions`: new ones at the end; one that comes again, as it does when
    a run is replayed, takes the place of the one before."""
    merged = {_key(execution): execution for execution in existing or ()}
    merged |= {_key(execution): execution for execution in new or ()}
    return list(merged.values())


def _key(execution: Mapping[str, Any]) -> tuple[str | None, str]:
    return execution.get("message_id"), execution["id"]


class PluginCounts(dict[str, int]):
    """Counts by plugin that know where they come from. Serializers keep the plain counts of it.

    Attributes:
        sources: what each message brought, by its id.
        depth: if a graph's state holds them, how many graphs that one runs within.
    """

    def __init__(self, sources: Mapping[str, Mapping[str, int]], depth: int | None = None) -> None:
        names = {name: None for counts in sources.values() for name in counts}
        super().__init__(
            {name: sum(counts.get(name, 0) for counts in sources.values()) for name in names}
        )
        self.sources = {source: dict(counts) for source, counts in sources.items()}
        self.depth = depth


def add_counts(existing: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    """The reducer of `plugin_counts`: sums. What comes from a message that is known counts once.

    Counts of a graph around this one stay out: whatever this one has counted can then be added
    there, even by a run that goes on from a checkpoint and finds nothing but numbers.
    """
    depth = getattr(new, "depth", None)
    if depth is not None and depth < _depth():
        return existing
    return PluginCounts({**_sources(existing), **_sources(new)})


def _sources(counts: dict[str, int] | None) -> dict[str, dict[str, int]]:
    """Counts by source; plain ones, such as an `update_state` brings, are a source of their own."""
    if isinstance(counts, PluginCounts):
        return counts.sources
    return {str(uuid4()): counts} if counts else {}


def _depth() -> int:
    """How many graphs the one that runs here runs within."""
    try:
        around = get_config().get("configurable", {}).get("checkpoint_ns")
    except RuntimeError:
        return 0
    return len(around.split("|")) if around else 0


class PluginCountsChannel(BinaryOperatorAggregate[dict[str, int]]):
    """Sums by `add_counts`, and keeps the sources in checkpoints, as plain dictionaries."""

    def __init__(
        self,
        typ: type[dict[str, int]],
        operator: Callable[[dict[str, int], dict[str, int]], dict[str, int]] = add_counts,
    ) -> None:
        super().__init__(typ, operator)

    def get(self) -> dict[str, int]:
        return PluginCounts(_sources(super().get()), _depth())

    def update(self, values: Sequence[dict[str, int]]) -> bool:
        changed = super().update(values)
        self.value = PluginCounts(_sources(self.value))  # plain if it was overwritten
        return changed

    def checkpoint(self) -> dict[str, Any]:
        return _sources(self.value)

    def from_checkpoint(self, checkpoint: Any) -> Self:  # or none, or counts alone
        channel = super().from_checkpoint(checkpoint)
        kept = cast("dict[str, Any]", channel.value)
        if all(isinstance(counts, dict) for counts in kept.values()):
            channel.value = PluginCounts(kept)
        return channel


class CodeInterpreterChannels(TypedDict, total=False):
    """What the node writes besides messages."""

    code_executions: Annotated[list[StateExecution], merge_executions]
    """Every program that ran in this thread, in order."""

    plugin_counts: Annotated[dict[str, int], PluginCountsChannel]
    """Calls of each plugin in this thread: `{"code_interpreter": 2}`. A graph within a graph counts
    its own, and the one around it adds them."""


class CodeInterpreterState(MessagesState, CodeInterpreterChannels):
    """A state for graphs with a `QwenCodeInterpreterNode`: messages, executions and counts."""


class NodeInput(CodeInterpreterChannels):
    """What the node reads. Its `messages` has no reducer, so that it adopts the graph's own: do not
    inherit from it."""

    messages: list[AnyMessage]


def channels_from_message(message: BaseMessage) -> CodeInterpreterChannels:
    """What a message says of executions and counts, as an update of the state."""
    executions = cast("list[StateExecution]", code_executions(message))
    for execution in executions if message.id else ():
        execution["message_id"] = str(message.id)
    counts = plugin_counts(message)
    if message.id and counts:
        counts = PluginCounts({message.id: counts})
    return {"code_executions": executions, "plugin_counts": counts}
