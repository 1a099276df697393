"""The state channels of the node, and their reducers.

Records in the state are plain dictionaries, which checkpointers store unchanged.

Both channels tolerate the same value twice: a subgraph receives the channels that it shares with
its parent and returns them completely, so that the parent reduces them again. Counts therefore
remember their messages, and a graph does not take over the counts of its parent.

Names of LangGraph that this module relies on (langgraph 1.2.0 to 1.2.24): the attribute `value` of
`BinaryOperatorAggregate`, and `checkpoint_ns` in the configuration, whose parts are separated by
"|".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Self, cast
from uuid import uuid4

from langchain_core.messages import AnyMessage  # LangGraph reads the hints
from langgraph.channels import BinaryOperatorAggregate
from langgraph.config import get_config
from langgraph.graph import MessagesState
from typing_extensions import TypedDict

from langchain_qwen_ci.metadata import CodeExecution, code_executions, plugin_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage


class StateExecution(CodeExecution):
    """The record of a program in a graph's state, with the id of its message."""

    message_id: NotRequired[str]
    """The id of the message that the execution belongs to."""


def merge_executions(
    existing: list[StateExecution], new: list[StateExecution]
) -> list[StateExecution]:
    """Reduce `code_executions`: append new executions, and replace one that is written again, as in
    a replay."""
    merged = {_key(execution): execution for execution in existing or ()}
    merged |= {_key(execution): execution for execution in new or ()}
    return list(merged.values())


def _key(execution: Mapping[str, Any]) -> tuple[str | None, str]:
    return execution.get("message_id"), execution["id"]


class PluginCounts(dict[str, int]):
    """Counts by plugin that also know their messages. Serializers store the plain counts only.

    Attributes:
        sources: the counts of each message, by its id.
        depth: the nesting depth of the graph whose state contains the counts; None for new counts.
    """

    def __init__(self, sources: Mapping[str, Mapping[str, int]], depth: int | None = None) -> None:
        names = {name: None for counts in sources.values() for name in counts}
        super().__init__(
            {name: sum(counts.get(name, 0) for counts in sources.values()) for name in names}
        )
        self.sources = {source: dict(counts) for source, counts in sources.items()}
        self.depth = depth


def add_counts(existing: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    """Reduce `plugin_counts`: sum them, and count each message once.

    The counts of a parent graph are not taken over. So the parent can add everything that this
    graph has counted, even in a run that is resumed from a checkpoint with plain numbers.
    """
    depth = getattr(new, "depth", None)
    if depth is not None and depth < _depth():
        return existing
    return PluginCounts({**_sources(existing), **_sources(new)})


def _sources(counts: dict[str, int] | None) -> dict[str, dict[str, int]]:
    """Return the counts by message; plain counts, as of `update_state`, get a new unique key."""
    if isinstance(counts, PluginCounts):
        return counts.sources
    return {str(uuid4()): counts} if counts else {}


def _depth() -> int:
    """Return how many parents the running graph has."""
    try:
        namespace = get_config().get("configurable", {}).get("checkpoint_ns")
    except RuntimeError:
        return 0
    return len(namespace.split("|")) if namespace else 0


class PluginCountsChannel(BinaryOperatorAggregate[dict[str, int]]):
    """Reduces with `add_counts` and stores the counts of each message in checkpoints."""

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
        self.value = PluginCounts(_sources(self.value))  # an overwrite stores a plain dictionary
        return changed

    def checkpoint(self) -> dict[str, Any]:
        return _sources(self.value)

    def from_checkpoint(self, checkpoint: Any) -> Self:
        # The checkpoint is LangGraph's marker for a missing value, sources, or plain counts.
        channel = super().from_checkpoint(checkpoint)
        stored = cast("dict[str, Any]", channel.value)
        if all(isinstance(counts, dict) for counts in stored.values()):
            channel.value = PluginCounts(stored)
        return channel


class CodeInterpreterChannels(TypedDict, total=False):
    """The channels that the node writes in addition to messages."""

    code_executions: Annotated[list[StateExecution], merge_executions]
    """All programs that ran in this thread, in order."""

    plugin_counts: Annotated[dict[str, int], PluginCountsChannel]
    """Number of calls of each plugin in this thread: `{"code_interpreter": 2}`. A subgraph counts
    only its own calls, and the parent graph adds them."""


class CodeInterpreterState(MessagesState, CodeInterpreterChannels):
    """A state for graphs with a `QwenCodeInterpreterNode`: messages, executions and counts."""


class NodeInput(CodeInterpreterChannels):
    """The input of the node. Do not inherit from it: its `messages` has no reducer, so that the
    node uses the reducer of the graph."""

    messages: list[AnyMessage]


def channels_from_message(message: BaseMessage) -> CodeInterpreterChannels:
    """Return the executions and counts of a message as an update of the state."""
    executions = cast("list[StateExecution]", code_executions(message))
    for execution in executions if message.id else ():
        execution["message_id"] = str(message.id)
    counts = plugin_counts(message)
    if message.id and counts:
        counts = PluginCounts({message.id: counts})
    return {"code_executions": executions, "plugin_counts": counts}
