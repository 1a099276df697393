"""Decodes any bytes to messages, and checks the guarantees that hold for every input.

The property tests and the fuzzer share `check_stream`, which raises if a guarantee does not hold.
"""

from __future__ import annotations

import json
import pickle
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from decode import WIRES
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_qwen_ci import code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenAPIError, QwenError
from langchain_qwen_ci.response.chunks import chunk_encoder
from langchain_qwen_ci.response.message_builder import MessageBuilder
from langchain_qwen_ci.response.protocol_events import ProtocolEvents
from langchain_qwen_ci.response.text_messages import to_text_message
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.events import (
    CodeDelta,
    CodeFinished,
    CodeReplaced,
    Event,
    Finished,
    ReasoningDelta,
    ResponseStarted,
    ServerToolCalled,
    ServerToolReturned,
    TextDelta,
    ToolCallDelta,
)

_REQUEST = WireRequest(model="qwen3-max", path="/multimodal-generation/", body=b"")
_MODEL = "qwen3-max"
_STATUS_CODES = (400, 429, 500)
# Largest ratio of message JSON to body: a message and its blocks hold code four times, escaped.
_MAX_GROWTH = 16
_EMPTY_MESSAGE_BYTES = 200
_GENERATED_ID = re.compile("[0-9a-f]{32}")  # a UUID
_BLOCK_EVENTS = (
    *(TextDelta, ReasoningDelta, CodeDelta, CodeFinished),
    *(ServerToolCalled, ServerToolReturned, ToolCallDelta),
)


@dataclass
class StreamResult:
    """The events of a body, the message built from them, and the error, if there is one."""

    events: list[Event]
    message: AIMessage
    error: QwenError | None = None


def read_stream(api: str, pieces: Iterable[bytes]) -> StreamResult:
    """Decode a body as a call does. Exceptions other than `QwenError` are not caught."""
    decoder = WIRES[api].decoder(_REQUEST)
    builder = MessageBuilder(_MODEL)
    events: list[Event] = []

    def read(step: Callable[..., None], *data: bytes) -> None:
        decoded: list[Event] = []
        try:
            step(*data, decoded)
        finally:
            events.extend(decoded)
            for event in decoded:
                builder.add(event)

    try:
        with builder.attach_partial_to_errors():
            for piece in pieces:
                read(decoder.feed, piece)
            read(decoder.close)
    except QwenError as error:
        return StreamResult(events, builder.message(), error)
    assert decoder.finished
    return StreamResult(events, builder.message())


def check_stream(
    api: str, body: bytes, split: Callable[[bytes], Iterable[bytes]] = lambda body: [body]
) -> StreamResult:
    """Decode a body at once and in pieces, build every form of message, and check the guarantees.

    Raises:
        Exception: a guarantee does not hold.
    """
    result = read_stream(api, [body])
    from_pieces = read_stream(api, split(body))
    _check_event_order(result)
    assert _without_generated_ids(from_pieces.events) == _without_generated_ids(result.events)
    assert type(from_pieces.error) is type(result.error)
    assert str(from_pieces.error) == str(result.error)
    if result.error is not None:
        _check_error(result.error)
        assert result.error.partial == (result.message if result.events else None)
    _check_message(result.message)
    _check_message_forms(result)
    # A small body must not result in a huge message.
    size = len(_message_json(result.message))
    assert size <= _MAX_GROWTH * (len(body) + _EMPTY_MESSAGE_BYTES)
    for status_code in _STATUS_CODES:
        http_error = WIRES[api].error(_REQUEST, status_code, body)
        assert isinstance(http_error, QwenAPIError)
        _check_error(http_error)
    return result


def _check_event_order(result: StreamResult) -> None:
    types = [type(event) for event in result.events]
    assert types.count(Finished) == (result.error is None)
    assert result.error is not None or types[-1] is Finished
    assert types.count(ResponseStarted) <= 1


def _without_generated_ids(events: list[Event]) -> str:
    """Return the events as text, without the random ids that replace missing ones."""
    return _GENERATED_ID.sub("…", repr(events))


def _check_error(error: QwenError) -> None:
    """Check that an error can be shown in a terminal and a log, and be pickled."""
    text = str(error)
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    text.encode()
    unpickled = pickle.loads(pickle.dumps(error))
    assert type(unpickled) is type(error)
    if error.partial is not None:
        json.dumps(error.response.json())


def _check_message(message: AIMessage) -> None:
    """Check that LangChain and LangGraph can store a message.

    The parsed arguments of function calls are left out: LangChain parses them from text that the
    model wrote, and they may contain numbers or strings that cannot be stored.
    """
    calls = [{**call, "args": {}} for call in message.tool_calls]
    message = message.model_copy(update={"tool_calls": calls})
    (restored,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    assert restored == message
    json.loads(message.model_dump_json())
    json.loads(dumps(message))
    serializer = JsonPlusSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(message)) == message
    assert all(type(count) is int for count in plugin_counts(message).values())
    for execution in code_executions(message):
        execution["code"].encode()  # raises an error for a lone surrogate
    usage: Any = message.usage_metadata or {}
    assert all(usage[name] >= 0 for name in usage if name.endswith("_tokens"))


def _check_message_forms(result: StreamResult) -> None:
    """Check that chunks, `output_version="v1"` and protocol events have the same content."""
    text_builder, v1_builder = MessageBuilder(_MODEL), MessageBuilder(_MODEL)
    text_chunk = merge_chunks(chunk_encoder(text_builder, None, None), result.events)
    v1_chunk = merge_chunks(chunk_encoder(v1_builder, "v1", None), result.events)
    v1_message = v1_builder.message("v1")
    v3_blocks = _protocol_blocks(result)
    if result.error is not None:
        return
    assert text_chunk is not None
    assert v1_chunk is not None
    assert _message_json(text_chunk) == _message_json(result.message)
    assert to_text_message(v1_message).content == result.message.content
    assert v1_message.text == result.message.text == v1_chunk.text
    assert _content_summary(v3_blocks) == _content_summary(v1_message.content)
    if _has_stable_blocks(result):
        assert _sorted_json(v3_blocks) == _sorted_json(v1_message.content)
        assert _message_json(v1_chunk) == _message_json(v1_message)


def merge_chunks(encoder: Any, events: list[Event]) -> AIMessageChunk | None:
    """Encode events as chunks and add these up, as a caller does; None without chunks."""
    total: AIMessageChunk | None = None
    for event in events:
        if chunk := encoder.feed(event):
            assert isinstance(chunk.content_blocks, list)
            total = chunk if total is None else total + chunk
    return total


def _content_summary(blocks: Iterable[Any]) -> tuple[str, str, list[str]]:
    """Return all text, all reasoning, and the types of all other blocks, whatever their order."""
    blocks = list(blocks)
    return (
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning"),
        sorted(block["type"] for block in blocks if block["type"] not in ("text", "reasoning")),
    )


def _has_stable_blocks(result: StreamResult) -> bool:
    """Return whether each block keeps its position and content from when it was streamed.

    It does not if code was replaced after it was streamed, and in three cases of function calls: a
    message has its function calls last, and invalid calls after the valid ones; and LangChain
    identifies calls by their ids.
    """
    types = [type(event) for event in result.events if isinstance(event, _BLOCK_EVENTS)]
    calls = result.message.tool_calls
    return (
        CodeReplaced not in map(type, result.events)
        and types == sorted(types, key=lambda event_type: event_type is ToolCallDelta)
        and not result.message.invalid_tool_calls
        and len({call["id"] for call in calls} - {None}) == len(calls)
    )


def _protocol_blocks(result: StreamResult) -> list[dict[str, Any]]:
    """Encode events as protocol events and return the finished blocks.

    Each block must be started before its deltas, and finished once.
    """
    encoder = ProtocolEvents(MessageBuilder(_MODEL), None)
    protocol_events = [encoded for event in result.events for encoded in encoder.feed(event)]
    if result.error is None:
        protocol_events.extend(encoder.end())
    open_blocks: set[int] = set()
    started = 0
    finished_blocks: dict[int, dict[str, Any]] = {}
    for event in protocol_events:
        match event["event"]:
            case "content-block-start":
                assert event["index"] == started
                open_blocks.add(event["index"])
                started += 1
            case "content-block-delta":
                assert event["index"] in open_blocks
            case "content-block-finish":
                open_blocks.remove(event["index"])
                finished_blocks[event["index"]] = event["content"]
    if result.error is None:
        assert not open_blocks
        assert_valid_event_stream(protocol_events)
    json.dumps(protocol_events)
    return [finished_blocks[index] for index in sorted(finished_blocks)]


def _message_json(message: AIMessage) -> str:
    """Return a message or chunk as JSON, without its id."""
    if isinstance(message, AIMessageChunk):
        message = message_chunk_to_message(message)
    fields = messages_to_dict([message])[0]["data"]
    return _sorted_json({**fields, "id": None, "blocks": message.content_blocks})


def _sorted_json(value: Any) -> str:
    """Return text to compare: NaN is equal to NaN, and the order of keys does not matter."""
    return json.dumps(value, sort_keys=True)
