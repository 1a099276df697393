"""The data that the package adds to a message, and functions that read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeGuard, cast

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

MODEL_PROVIDER = "qwen"
"""`response_metadata["model_provider"]` of every message."""

CODE_INTERPRETER = "code_interpreter"
"""Name of the interpreter among plugins, server tools and tool runs."""


_JSON_CODE = re.compile(r'(?:\{"code": ")?([^"\\]*(?:\\.[^"\\]*)*)')


class CodeExecution(TypedDict):
    """One program that the model wrote and the service ran."""

    id: str
    """Unique across messages; the `id` of the `server_tool_call` block."""

    code: str
    """The Python source code, as the model wrote it."""

    status: Literal["in_progress", "completed", "failed", "incomplete"]
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


Message = BaseMessage | Mapping[str, Any]
"""A message, a chunk, a sum of chunks, or one of them as a dictionary (from JSON)."""

_MESSAGE_KEYS = frozenset({"content", "response_metadata", "additional_kwargs", "data", "kwargs"})
_STATE_KEYS = ("messages", "code_executions", "plugin_counts")


def code_executions(source: Message | Sequence[Message]) -> list[CodeExecution]:
    """Return the programs that the service ran for a message, a list of messages or a graph, in
    order.

    Args:
        source: a message, a chunk, a sum of chunks, or one of them as a dictionary (from JSON); a
            list of these; or a graph's state or a node's update, as a dictionary or an object: its
            "code_executions", else those of its "messages".

    Returns:
        The executions. For a message that is still streaming, the executions so far. Empty if no
        program ran, or if the API does not return programs (Chat Completions). Those of a state
        have a `message_id` as well.

    Raises:
        TypeError: `source` is none of these.
    """
    recorded = _channel(source, "code_executions")
    if recorded is not None:
        return _valid_executions(recorded)
    return [
        execution for message in _messages(source) for execution in _message_executions(message)
    ]


def _message_executions(message: Message) -> list[CodeExecution]:
    recorded = _metadata(message, "response_metadata").get("code_executions")
    if isinstance(recorded, list):
        return _valid_executions(recorded)
    # The records are in the last chunk only. Before it, the positions of blocks hold the code.
    positions = block_positions(message)
    results = {entry["result_of"]: entry for entry in positions if "result_of" in entry}
    return [
        _execution_from_positions(entry, results.get(entry["id"]))
        for entry in positions
        if {"id", "code", "reasoning_offset"} <= entry.keys()  # not a chunk with more code
    ]


def _valid_executions(recorded: object) -> list[CodeExecution]:
    return [
        cast("CodeExecution", dict(execution))
        for execution in (recorded if isinstance(recorded, list) else ())
        if _has_types(execution, _EXECUTION_TYPES)
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


def plugin_counts(source: Message | Sequence[Message]) -> dict[str, int]:
    """Return the number of calls of each plugin: `{"code_interpreter": 1}`.

    Args:
        source: a message, a sum of chunks, or one of them as a dictionary (from JSON); a list of
            these; or a graph's state or a node's update, as a dictionary or an object: its
            "plugin_counts", else the sum over its "messages".

    Returns:
        Number of calls by plugin. Where the API returns no counts, the executions of the message
        are counted. Empty if neither is known.

    Raises:
        TypeError: `source` is none of these.
    """
    recorded = _channel(source, "plugin_counts")
    if isinstance(recorded, Mapping):
        return {name: count for name, count in recorded.items() if type(count) is int}
    counts: dict[str, int] = {}
    for message in _messages(source):
        for name, count in _message_counts(message).items():
            counts[name] = counts.get(name, 0) + count
    return counts


def _message_counts(message: Message) -> dict[str, int]:
    plugins = _metadata(message, "response_metadata").get("plugins")
    counts = {
        name: usage["count"]
        for name, usage in (plugins.items() if isinstance(plugins, Mapping) else ())
        if isinstance(usage, Mapping) and type(usage.get("count")) is int
    }
    if counts:
        return counts
    executions = _message_executions(message)
    return {CODE_INTERPRETER: len(executions)} if executions else {}


def _channel(source: object, name: str) -> object:
    """Return a value of a graph's state; None if `source` is no state or does not have it."""
    if isinstance(source, BaseMessage):
        return None
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _messages(source: object) -> Iterator[Message]:
    """Yield the messages of a message, a list or a state.

    Raises:
        TypeError: it is none of these.
    """
    if _is_message(source):
        yield source
    elif isinstance(source, (list, tuple)):
        for message in source:
            if _is_message(message):
                yield message
            elif not isinstance(message, (str, tuple)):  # the input forms have no metadata
                raise _type_error(message, "in the list")
    elif _is_state(source):
        messages = _channel(source, "messages")
        if messages is not None and not isinstance(messages, str):
            yield from _messages(messages)
    else:
        raise _type_error(source)


def _is_message(value: object) -> TypeGuard[Message]:
    if isinstance(value, Mapping):
        return not _MESSAGE_KEYS.isdisjoint(value)
    return isinstance(value, BaseMessage)


def _is_state(value: object) -> bool:
    if isinstance(value, Mapping):
        return not value or any(name in value for name in _STATE_KEYS)  # a new state is empty
    return any(hasattr(value, name) for name in _STATE_KEYS)


def _type_error(value: object, place: str = "") -> TypeError:
    described = f"{type(value).__name__} {place}".strip()
    if isinstance(value, Mapping):
        described += f" with the keys {', '.join(map(str, value))}"
    return TypeError(
        f"An object of type {described} is neither a message nor a graph's state: pass a message, "
        'a list of messages, or a state with "messages", "code_executions" or "plugin_counts".'
    )


def _metadata(message: Message, name: str) -> Mapping[str, Any]:
    if isinstance(message, Mapping):
        # `message_to_dict` puts the fields into "data", `dumpd` into "kwargs".
        fields = message.get("data") or message.get("kwargs") or message
        values = fields.get(name) if isinstance(fields, Mapping) else None
    else:
        values = getattr(message, name)
    return values if isinstance(values, Mapping) else {}
