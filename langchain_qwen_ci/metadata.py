"""The data that the package adds to a message, and functions that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, cast

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

MODEL_PROVIDER = "qwen"
"""`response_metadata["model_provider"]` of every message."""

CODE_INTERPRETER = "code_interpreter"
"""Name of the interpreter among plugins, server tools and tool runs."""


class CodeExecution(TypedDict):
    """One program that the model wrote and the service ran."""

    id: str
    """Unique across messages; the `id` of the `server_tool_call` block."""

    code: str
    """The Python source code, as the model wrote it."""

    status: Literal["in_progress", "completed", "failed"]
    """"in_progress" appears in partial messages only. "failed" means that the output holds a
    traceback, so only the Responses API can report it."""

    output: NotRequired[str]
    """What the program printed. Absent on the APIs that return no outputs: only the Responses API
    returns them."""

    images: NotRequired[list[str]]
    """URLs of the images that the program created; `output` links to them as well. The URLs are
    signed and expire after about twelve hours. Absent if there are none, or if the API returns no
    outputs."""


class PluginUsage(TypedDict):
    """The use of one plugin in one request, as the service counts it."""

    count: int
    """Number of calls of the plugin."""

    strategy: NotRequired[str]
    """The search strategy; only for the `search` plugin."""


class InferenceUsage(TypedDict):
    """Tokens of one inference; a request with code executions has several inferences.

    After each execution another inference reads the prompt, the code and its output again. The
    input tokens of the second and later inferences are therefore the cost of executions.
    `response_metadata["inference_usage"]` lists them in order. Only the native API has it, because
    only there the usage grows when an inference starts.
    """

    input_tokens: int
    output_tokens: int


_EXECUTION_TYPES = {"id": str, "code": str, "status": str}
_POSITION_TYPES = {
    "reasoning_offset": int,
    "text_offset": int,
    "id": str,
    "code": str,
    "name": str,
    "args": dict,
    "result_of": str,
    "status": str,
    "images": list,
}


def code_executions(message: BaseMessage | Mapping[str, Any]) -> list[CodeExecution]:
    """Return the programs that the service ran for a message, in order.

    Args:
        message: a message, a chunk, a sum of chunks, or one of them as a dictionary (from JSON).

    Returns:
        The executions. For a message that is still streaming, the executions so far. Empty if no
        program ran, or if the API does not return programs (Chat Completions).
    """
    recorded = _metadata(message, "response_metadata").get("code_executions")
    if isinstance(recorded, list):
        return [
            cast("CodeExecution", dict(execution))
            for execution in recorded
            if _has_types(execution, _EXECUTION_TYPES)
        ]
    # The records are in the last chunk only. Before it, the positions of blocks hold the code.
    positions = block_positions(message)
    results = {entry["result_of"]: entry for entry in positions if "result_of" in entry}
    return [
        _execution_from_positions(entry, results.get(entry["id"]))
        for entry in positions
        if {"id", "code"} <= entry.keys()
    ]


def block_positions(message: BaseMessage | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the positions of executions, results and reasoning that `MessageBuilder` stores."""
    positions = _metadata(message, "additional_kwargs").get("block_positions")
    if not isinstance(positions, list):
        return []
    return [entry for entry in positions if _is_position(entry)]


def _is_position(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    types = {name: expected for name, expected in _POSITION_TYPES.items() if name in entry}
    has_result = "result_of" not in entry or {"status", "output"} <= entry.keys()
    return has_result and _has_types(entry, types)


def _has_types(value: object, types: Mapping[str, type]) -> bool:
    """Return whether a value from a message is a dictionary with values of these types.

    Checkpoints of other versions, and messages of other packages, have other data under our names.
    """
    return isinstance(value, Mapping) and all(
        isinstance(value.get(name), expected) for name, expected in types.items()
    )


def _execution_from_positions(
    entry: Mapping[str, Any], result: Mapping[str, Any] | None
) -> CodeExecution:
    execution = CodeExecution(id=entry["id"], code=entry["code"], status="in_progress")
    if result:
        execution["status"] = "failed" if result["status"] == "error" else "completed"
        execution["output"] = result["output"]
        if "images" in result:
            execution["images"] = list(result["images"])
    return execution


def plugin_counts(message: BaseMessage | Mapping[str, Any]) -> dict[str, int]:
    """Return the number of calls of each plugin for a message: `{"code_interpreter": 1}`.

    Args:
        message: a message, a sum of chunks, or one of them as a dictionary (from JSON).

    Returns:
        Number of calls by plugin. Where the API returns no counts, the executions of the message
        are counted. Empty if neither is known.
    """
    plugins = _metadata(message, "response_metadata").get("plugins")
    counts = {
        name: usage["count"]
        for name, usage in (plugins.items() if isinstance(plugins, Mapping) else ())
        if isinstance(usage, Mapping) and type(usage.get("count")) is int
    }
    if counts:
        return counts
    executions = code_executions(message)
    return {CODE_INTERPRETER: len(executions)} if executions else {}


def _metadata(message: BaseMessage | Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if isinstance(message, Mapping):
        # `message_to_dict` puts the fields into "data", `dumpd` into "kwargs".
        fields = message.get("data") or message.get("kwargs") or message
        values = fields.get(name) if isinstance(fields, Mapping) else None
    else:
        values = getattr(message, name)
    return values if isinstance(values, Mapping) else {}
