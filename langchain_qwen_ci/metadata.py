"""The data that the package adds to a message, and functions that read it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypeGuard, cast

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

MODEL_PROVIDER = "qwen"
"""`response_metadata["model_provider"]` of every message."""

CODE_INTERPRETER = "code_interpreter"
"""Name of the interpreter among plugins, server tools and tool runs."""


_JSON_CODE = re.compile(r'(?:\{"code": ")?([^"\\]*(?:\\.[^"\\]*)*)')


ExecutionStatus = Literal["in_progress", "completed", "failed", "incomplete"]


class CodeExecution(TypedDict):
    """One program that the model wrote and the service ran."""

    id: str
    """Unique across messages; the `id` of the `server_tool_call` block."""

    code: str
    """The Python source code, as the model wrote it."""

    status: ExecutionStatus
    """"in_progress" appears in partial messages only. "failed" means that the output holds a
    traceback, so only the Responses API can report it. "incomplete" appears in custom stream events
    of a graph only: the answer ended before the execution did."""

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


# Of messages as dictionaries: from `model_dump`, `message_to_dict`, `dumpd`.
_MESSAGE_KEYS = ("response_metadata", "additional_kwargs", "content", "data", "kwargs")
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
    "is_end": bool,
}


def code_executions(source: object) -> list[CodeExecution]:
    """Return the programs that the service ran, in order.

    Args:
        source: a message, a chunk, a sum of chunks, or one of them as a dictionary (from JSON); a
            list of messages; or the state of a graph, a dictionary or an object. Of a state, the
            channel `code_executions` is returned, which `QwenCodeInterpreterNode` writes; without
            this channel, the programs of its `messages`.

    Returns:
        The executions. For a message that is still streaming, the executions so far. Empty if no
        program ran, or if the API does not return programs (Chat Completions).

    Raises:
        TypeError: `source` is none of these.
    """
    channel = _state_channel(source, "code_executions")
    if isinstance(channel, list):
        return _valid_executions(channel)
    return [
        execution
        for message in _messages(source, "code_executions")
        for execution in (*_recorded_executions(message), *_unrecorded_executions(message))
    ]


def _recorded_executions(message: BaseMessage | Mapping[str, Any]) -> list[CodeExecution]:
    return _valid_executions(_metadata(message, "response_metadata").get("code_executions"))


def _valid_executions(recorded: object) -> list[CodeExecution]:
    return [
        cast("CodeExecution", dict(execution))
        for execution in (recorded if isinstance(recorded, list) else ())
        if has_types(execution, _EXECUTION_TYPES)
    ]


def _unrecorded_executions(message: BaseMessage | Mapping[str, Any]) -> list[CodeExecution]:
    """Return the programs that only the positions of blocks, or the content blocks, have.

    The records are in the last chunk only, and `merge_message_runs` of LangChain keeps those of the
    first message only.
    """
    is_finished = isinstance(_metadata(message, "response_metadata").get("code_executions"), list)
    recorded_ids = {execution["id"] for execution in _recorded_executions(message)}
    positions = [*block_positions(message), *_positions_in_content(message)]
    results = {entry["result_of"]: entry for entry in positions if "result_of" in entry}
    status: ExecutionStatus = "completed" if is_finished else "in_progress"
    return [
        _execution_from_positions(entry, status, results.get(entry["id"]))
        for entry in positions
        if {"id", "code", "reasoning_offset"} <= entry.keys()  # not a chunk with more code
        and entry["id"] not in recorded_ids
    ]


def block_positions(message: BaseMessage | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the positions of executions, results and reasoning that `MessageBuilder` stores."""
    positions = _metadata(message, "additional_kwargs").get("block_positions")
    if not isinstance(positions, list):
        return []
    return [entry for entry in positions if _is_position(entry)]


def _positions_in_content(message: BaseMessage | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the programs and results of `output_version="v1"`, in the form of positions."""
    content = _field(message, "content")
    is_ours = _metadata(message, "response_metadata").get("model_provider") == MODEL_PROVIDER
    if not is_ours or not isinstance(content, list):
        return []
    found = [_position_of(block) for block in content if isinstance(block, dict)]
    return [entry for entry in found if entry and _is_position(entry)]


def _position_of(block: dict[str, Any]) -> dict[str, Any] | None:
    match block:
        case {"type": "server_tool_call", "name": "code_interpreter", "args": {"code": code}}:
            return {"id": block.get("id"), "code": code, "reasoning_offset": 0}
        case {"type": "server_tool_call_chunk", "name": "code_interpreter", "args": str()}:
            try:
                code = code_delta(block)
            except ValueError:  # no JSON text of this package
                return None
            return {"id": block.get("id"), "code": code, "reasoning_offset": 0}
        case {"type": "server_tool_result", "tool_call_id": call_id, "output": str(output)}:
            result = {"result_of": call_id, "status": block.get("status"), "output": output}
            match block.get("extras"):
                case {"images": [*images]}:
                    urls = [image["url"] for image in images if has_types(image, {"url": str})]
                    return {**result, "images": urls}
            return result
    return None


def _is_position(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    types = {name: expected for name, expected in _POSITION_TYPES.items() if name in entry}
    has_result = "result_of" not in entry or {"status", "output"} <= entry.keys()
    return has_result and has_types(entry, types)


def has_types(value: object, types: Mapping[str, type]) -> bool:
    """Return whether a value from a message is a dictionary with values of these types.

    Checkpoints of other versions, and messages of other packages, have other data under our names.
    """
    return isinstance(value, Mapping) and all(
        isinstance(value.get(name), expected) for name, expected in types.items()
    )


def _execution_from_positions(
    entry: Mapping[str, Any], status: ExecutionStatus, result: Mapping[str, Any] | None
) -> CodeExecution:
    execution = CodeExecution(id=entry["id"], code=entry["code"], status=status)
    if result:
        execution["status"] = "failed" if result["status"] == "error" else "completed"
        execution["output"] = result["output"]
        if "images" in result:
            execution["images"] = list(result["images"])
    return execution


def code_delta(block: Mapping[str, Any]) -> str:
    """Return the code in a block of a streamed chunk, to print it while it is received.

    A program may be in one block, or be continued by the blocks of later chunks with the same `id`.

    Args:
        block: a block of `chunk.content_blocks`, of any output version.

    Returns:
        The code that the block adds to its program; empty for all other blocks.
    """
    args = block.get("args")
    if block.get("type") == "server_tool_call" and block.get("name") == CODE_INTERPRETER:
        return str(cast("Mapping[str, Any]", args)["code"])
    if block.get("type") != "server_tool_call_chunk":
        return ""
    # A part of the JSON text {"code": "…"}. With the default output version it is a part of the
    # string; else the first block has what precedes the string, and the last one what follows it.
    return str(json.loads(f'"{_JSON_CODE.match(str(args))[1]}"'))  # type: ignore[index]


def plugin_counts(source: object) -> dict[str, int]:
    """Return the number of calls of each plugin: `{"code_interpreter": 1}`.

    Args:
        source: a message, a list of messages, or a state, as for `code_executions`. Of a state, the
            channel `plugin_counts` is returned; without this channel, the sum of its `messages`.

    Returns:
        Number of calls by plugin. Where the API returns no counts, the executions are counted.
        Empty if neither is known.

    Raises:
        TypeError: `source` is none of these.
    """
    channel = _state_channel(source, "plugin_counts")
    if isinstance(channel, Mapping):
        return {name: count for name, count in channel.items() if type(count) is int}
    total: Counter[str] = Counter()
    for message in _messages(source, "plugin_counts"):
        total.update(_counts_of(message))
    return dict(total)


def _counts_of(message: BaseMessage | Mapping[str, Any]) -> dict[str, int]:
    plugins = _metadata(message, "response_metadata").get("plugins")
    counts = {
        name: usage["count"]
        for name, usage in (plugins.items() if isinstance(plugins, Mapping) else ())
        if isinstance(usage, Mapping) and type(usage.get("count")) is int
    }
    uncounted = len(_unrecorded_executions(message))
    if not counts:
        uncounted += len(_recorded_executions(message))
    if uncounted:
        counts[CODE_INTERPRETER] = counts.get(CODE_INTERPRETER, 0) + uncounted
    return counts


def _state_channel(source: object, name: str) -> Any:  # noqa: ANN401  # any value of a channel
    """Return a channel of a graph's state; None if it has none, or if `source` is no state."""
    if _is_message(source):
        return None
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _is_message(source: object) -> TypeGuard[BaseMessage | Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return any(name in source for name in _MESSAGE_KEYS)
    return isinstance(source, BaseMessage)


def _messages(source: object, function: str) -> list[BaseMessage | Mapping[str, Any]]:
    """Return the messages of what was passed to a function.

    Raises:
        TypeError: it is no message, no list of messages and no state.
    """
    if _is_message(source):
        return [source]
    if isinstance(source, (list, tuple)) and all(map(_is_message, source)):
        return list(source)
    channel = None if isinstance(source, (list, tuple)) else _state_channel(source, "messages")
    if isinstance(channel, (list, tuple)):
        # The input of a graph may have messages in other forms, such as ("user", "Hi").
        return [message for message in channel if _is_message(message)]
    raise TypeError(
        f"{function}() takes a message, a list of messages, or the state of a graph (with messages "
        f"or {function}), and not a {type(source).__name__}."
    )


def _metadata(message: BaseMessage | Mapping[str, Any], name: str) -> Mapping[str, Any]:
    values = _field(message, name)
    return values if isinstance(values, Mapping) else {}


def _field(message: BaseMessage | Mapping[str, Any], name: str) -> object:
    if not isinstance(message, Mapping):
        return getattr(message, name)
    # `message_to_dict` puts the fields into "data", `dumpd` into "kwargs".
    fields = message.get("data") or message.get("kwargs") or message
    return fields.get(name) if isinstance(fields, Mapping) else None
