"""What the node adds to a graph's state, and how updates of it come together.

Records in state are plain dictionaries: checkpointers keep those as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from langchain_core.messages import AnyMessage  # noqa: TC002  # LangGraph reads the hints
from langgraph.graph import MessagesState
from typing_extensions import TypedDict

from langchain_qwen_ci.metadata import CodeExecution, code_executions, plugin_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def add_counts(known: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    """The reducer of `plugin_counts`: sums."""
    known, new = known or {}, new or {}
    return {name: known.get(name, 0) + new.get(name, 0) for name in {**known, **new}}


class CodeInterpreterChannels(TypedDict, total=False):
    """What the node writes besides messages."""

    code_executions: Annotated[list[StateExecution], merge_executions]
    """Every program that ran in this thread, in order."""

    plugin_counts: Annotated[dict[str, int], add_counts]
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
    return {"code_executions": executions, "plugin_counts": plugin_counts(message)}
