"""What the node adds to a graph's state, and how updates of it come together.

Records in state are plain dictionaries: checkpointers keep those as they are.

Both channels take it when something comes twice. A subgraph gives back all of the state that it
shares with its parent, what it was given with what it added, and the parent reduces that once more.
So counts remember which message brought each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Self, cast
from uuid import uuid4

from langchain_core.messages import AnyMessage  # noqa: TC002  # LangGraph reads the hints
from langgraph.channels import BinaryOperatorAggregate
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
    known: list[StateExecution], new: list[StateExecution]
) -> list[StateExecution]:
    """The reducer of `code_executions`: new ones at the end; one that comes again, as it does when
    a run is replayed, takes the place of the one before."""
    merged = {_key(execution): execution for execution in known or ()}
    merged |= {_key(execution): execution for execution in new or ()}
    return list(merged.values())


def _key(execution: Mapping[str, Any]) -> tuple[str | None, str]:
    return execution.get("message_id"), execution["id"]


class PluginCounts(dict[str, int]):
    """Counts by plugin that know their sources: `sources[message id]` is what a message brought."""

    def __init__(self, sources: Mapping[str, Mapping[str, int]]) -> None:
        names = {name: None for counts in sources.values() for name in counts}
        super().__init__(
            {name: sum(counts.get(name, 0) for counts in sources.values()) for name in names}
        )
        self.sources = {source: dict(counts) for source, counts in sources.items()}


def add_counts(known: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    """The reducer of `plugin_counts`: sums. What comes from a message that is known counts once."""
    return PluginCounts({**_sources(known), **_sources(new)})


def _sources(counts: dict[str, int] | None) -> dict[str, dict[str, int]]:
    """Counts by source; plain ones, such as an `update_state` brings, are a source of their own."""
    if isinstance(counts, PluginCounts):
        return counts.sources
    return {str(uuid4()): counts} if counts else {}


class PluginCountsChannel(BinaryOperatorAggregate[dict[str, int]]):
    """Sums by `add_counts`, and keeps the sources in checkpoints, as plain dictionaries.

    Counts alone would forget them there: a subgraph that is interrupted would come back without.
    """

    def __init__(
        self,
        typ: type[dict[str, int]],
        operator: Callable[[dict[str, int], dict[str, int]], dict[str, int]] = add_counts,
    ) -> None:
        super().__init__(typ, operator)

    def update(self, values: Sequence[dict[str, int]]) -> bool:
        changed = super().update(values)
        self.value = PluginCounts(_sources(self.value))  # plain if it was overwritten
        return changed

    def checkpoint(self) -> dict[str, Any]:
        return _sources(self.value)

    def from_checkpoint(self, checkpoint: Any) -> Self:  # noqa: ANN401  # or none, or counts alone
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
    """Calls of each plugin in this thread: `{"code_interpreter": 2}`."""


class CodeInterpreterState(MessagesState, CodeInterpreterChannels):
    """A state for graphs with a `QwenCodeInterpreterNode`: messages, executions and counts."""


class NodeInput(CodeInterpreterChannels):
    """What the node reads. Its `messages` has no reducer, so that it adopts the graph's own: do not
    inherit from it."""

    messages: list[AnyMessage]


def channels_of(message: BaseMessage) -> CodeInterpreterChannels:
    """What a message says of executions and counts, as an update of the state."""
    executions = cast("list[StateExecution]", code_executions(message))
    for execution in executions if message.id else ():
        execution["message_id"] = str(message.id)
    counts = plugin_counts(message)
    if message.id and counts:
        counts = PluginCounts({message.id: counts})
    return {"code_executions": executions, "plugin_counts": counts}
