"""What the package adds to a message, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NotRequired, cast

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class CodeExecution(TypedDict):
    """One program that the model wrote and the service ran."""

    id: str
    """Unique across messages; the `id` of the `server_tool_call` block."""

    code: str
    """The Python source, as the model wrote it."""

    status: Literal["in_progress", "completed", "failed"]
    """"in_progress" only in partial messages. Only the Responses API can tell "failed": there a
    traceback stands in the output."""

    output: NotRequired[str]
    """What the program printed. Absent where the wire carries no outputs: only the Responses API
    does."""

    images: NotRequired[list[str]]
    """URLs of what the program drew; they are links in `output`, too. Signed: they end after about
    twelve hours. Absent if it drew nothing, or where the wire carries no outputs."""


class PluginUsage(TypedDict):
    """What the service charges for one plugin in one request."""

    count: int
    """Calls of the plugin."""

    strategy: NotRequired[str]
    """The search strategy; of the `search` plugin only."""


class InferenceUsage(TypedDict):
    """What one inference of a request cost; a request with executions has several.

    Every execution is followed by another inference, which reads the prompt, the code and its
    output again: the input tokens of the second and later ones are the price of executions. In
    `response_metadata["inference_usage"]`, in order, from the native API only: there usage steps
    up where an inference begins.
    """

    input_tokens: int
    output_tokens: int


def code_executions(message: BaseMessage | Mapping[str, Any]) -> list[CodeExecution]:
    """The programs that the service ran for a message, in order.

    Args:
        message: a message, a chunk, a sum of chunks, or one of them as a dictionary (from JSON).

    Returns:
        The executions; while a message still streams, what is known of them. Empty if none ran,
        or if the wire does not show them (Chat Completions).
    """
    recorded = _metadata(message, "response_metadata").get("code_executions")
    if recorded is not None:
        return [cast("CodeExecution", dict(execution)) for execution in recorded]
    trail = _metadata(message, "additional_kwargs").get("trail") or ()
    results = {entry["result_of"]: entry for entry in trail if "result_of" in entry}
    return [
        _so_far(entry, results.get(entry["id"]))
        for entry in trail
        if {"id", "code"} <= entry.keys()
    ]


def _so_far(entry: Mapping[str, Any], result: Mapping[str, Any] | None) -> CodeExecution:
    """The record of an execution as chunks have told it."""
    execution = CodeExecution(id=entry["id"], code=entry["code"], status="in_progress")
    if result:
        execution["status"] = "failed" if result["status"] == "error" else "completed"
        execution["output"] = result["output"]
        if "images" in result:
            execution["images"] = list(result["images"])
    return execution


def plugin_counts(message: BaseMessage | Mapping[str, Any]) -> dict[str, int]:
    """How often each plugin was called for a message: `{"code_interpreter": 1}`.

    Args:
        message: a message, a sum of chunks, or one of them as a dictionary (from JSON).

    Returns:
        Calls by plugin; empty if none was called, or if the wire gives no counts.
    """
    plugins = _metadata(message, "response_metadata").get("plugins") or {}
    return {name: usage["count"] for name, usage in plugins.items() if "count" in usage}


def _metadata(message: BaseMessage | Mapping[str, Any], name: str) -> dict[str, Any]:
    if isinstance(message, Mapping):
        # `message_to_dict` wraps the fields into "data", `dumpd` into "kwargs".
        fields = message.get("data") or message.get("kwargs") or message
        return fields.get(name) or {}
    return cast("dict[str, Any]", getattr(message, name))
