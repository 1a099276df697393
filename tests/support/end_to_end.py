"""The whole way from bytes to messages, and what must hold on it whatever the bytes are.

Property tests and the fuzzer ask the same of it: `check` raises where a promise is broken.
"""

from __future__ import annotations

import json
import pickle
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
_MOST_GROWTH = 16  # a program stands in a message and its blocks four times, escaped
_OF_NOTHING = 200
_MAKE_BLOCKS = (
    *(TextDelta, ReasoningDelta, CodeDelta, CodeFinished),
    *(ServerToolCalled, ServerToolReturned, ToolCallDelta),
)


@dataclass
class Outcome:
    """What came of some bytes: events, and the message or the error at their end."""

    events: list[Event]
    message: AIMessage
    error: QwenError | None = None


def outcome(api: str, pieces: Iterable[bytes]) -> Outcome:
    """Read an answer as a call does. What is no `QwenError` passes."""
    decoder = WIRES[api].decoder(_REQUEST)
    answer = MessageBuilder(_MODEL)
    events: list[Event] = []

    def take(event: Event) -> None:
        events.append(event)
        answer.add(event)

    try:
        with answer.attach_partial_to_errors():
            for piece in pieces:
                for event in decoder.feed(piece):
                    take(event)
            for event in decoder.close():
                take(event)
    except QwenError as error:
        return Outcome(events, answer.message(), error)
    assert decoder.finished
    return Outcome(events, answer.message())


def check(api: str, body: bytes, cut: Callable[[bytes], Iterable[bytes]]) -> Outcome:
    """Read a body whole and in pieces; encode what it tells in every way.

    Raises:
        Exception: a promise does not hold.
    """
    whole = outcome(api, [body])
    pieces = outcome(api, cut(body))
    _check_order(whole)
    assert _without_made_up_ids(pieces.events) == _without_made_up_ids(whole.events)
    assert (type(pieces.error), str(pieces.error)) == (type(whole.error), str(whole.error))
    if whole.error is not None:
        _check_error(whole.error)
        assert whole.error.partial == (whole.message if whole.events else None)
    _check_message(whole.message)
    _check_encodings(whole)
    # What is made of an answer does not grow by more than what it says.
    assert len(_written(whole.message)) <= _MOST_GROWTH * (len(body) + _OF_NOTHING)
    for status_code in _STATUS_CODES:
        refused = WIRES[api].error(_REQUEST, status_code, body)
        assert isinstance(refused, QwenAPIError)
        _check_error(refused)
    return whole


def _check_order(told: Outcome) -> None:
    kinds = [type(event) for event in told.events]
    assert kinds.count(Finished) == (told.error is None)
    assert told.error is not None or kinds[-1] is Finished
    assert kinds.count(ResponseStarted) <= 1


def _without_made_up_ids(events: list[Event]) -> str:
    """Events as text. Where the service names no request, its id is made up, and code's from it."""
    told = repr(events)
    for event in events:
        if isinstance(event, ResponseStarted) and len(event.request_id) == len("0" * 32):
            return told.replace(event.request_id, "…")
    return told


def _check_error(error: QwenError) -> None:
    """An error can be shown on a terminal and in a log, and can go to another process."""
    shown = str(error)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    shown.encode()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    if error.partial is not None:
        json.dumps(error.response.json())


def _check_message(message: AIMessage) -> None:
    """A message can be stored, in both ways that LangChain and LangGraph store it.

    Without what LangChain reads out of a call's arguments: they are the model's words, and may say
    what cannot be stored.
    """
    calls = [{**call, "args": {}} for call in message.tool_calls]
    message = message.model_copy(update={"tool_calls": calls})
    (again,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    assert again == message
    json.loads(message.model_dump_json())
    json.loads(dumps(message))
    serializer = JsonPlusSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(message)) == message
    assert all(type(count) is int for count in plugin_counts(message).values())
    assert all(execution["code"].encode() is not None for execution in code_executions(message))
    usage: Any = message.usage_metadata or {}
    assert all(usage[name] >= 0 for name in usage if name.endswith("_tokens"))


def _check_encodings(told: Outcome) -> None:
    texts, blocks = MessageBuilder(_MODEL), MessageBuilder(_MODEL)
    text = summed(chunk_encoder(texts, None), told.events)
    block = summed(chunk_encoder(blocks, "v1"), told.events)
    v1 = blocks.message("v1")
    v3 = _protocol_blocks(told)
    if told.error is not None:
        return
    assert text is not None
    assert block is not None
    assert _written(text) == _written(told.message)
    assert to_text_message(v1).content == told.message.content
    assert v1.text == told.message.text == block.text
    assert _outline(v3) == _outline(v1.content)
    if _blocks_stay(told):
        assert _sorted_json(v3) == _sorted_json([_without_index(one) for one in v1.content])
        assert _written(block) == _written(v1)


def summed(encoder: Any, events: list[Event]) -> AIMessageChunk | None:
    """The chunks of some events, added up as a caller does."""
    total: AIMessageChunk | None = None
    for event in events:
        if chunk := encoder.feed(event):
            assert isinstance(chunk.content_blocks, list)
            total = chunk if total is None else total + chunk
    return total


def _outline(blocks: Iterable[Any]) -> tuple[str, str, list[str]]:
    """All text, all reasoning, and which other blocks there are, wherever each of them stands."""
    blocks = list(blocks)
    return (
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning"),
        sorted(block["type"] for block in blocks if block["type"] not in ("text", "reasoning")),
    )


def _blocks_stay(told: Outcome) -> bool:
    """Whether each block can stand where it began, as it was shown.

    Function calls stand at the end of a message, those that cannot be read after the others;
    LangChain tells them apart by their ids; and code that is corrected was shown before.
    """
    kinds = [type(event) for event in told.events if isinstance(event, _MAKE_BLOCKS)]
    calls = told.message.tool_calls
    return (
        CodeReplaced not in map(type, told.events)
        and kinds == sorted(kinds, key=lambda kind: kind is ToolCallDelta)
        and not told.message.invalid_tool_calls
        and len({call["id"] for call in calls} - {None}) == len(calls)
    )


def _protocol_blocks(told: Outcome) -> list[dict[str, Any]]:
    """Blocks of protocol events: each is opened before it grows, and ends once."""
    encoder = ProtocolEvents(MessageBuilder(_MODEL), None)
    events = [one for event in told.events for one in encoder.feed(event)]
    if told.error is None:
        events.extend(encoder.end())
    open_blocks: set[int] = set()
    opened = 0
    ended: dict[int, dict[str, Any]] = {}
    for event in events:
        match event["event"]:
            case "content-block-start":
                assert event["index"] == opened
                open_blocks.add(event["index"])
                opened += 1
            case "content-block-delta":
                assert event["index"] in open_blocks
            case "content-block-finish":
                open_blocks.remove(event["index"])
                ended[event["index"]] = event["content"]
    if told.error is None:
        assert not open_blocks
        assert_valid_event_stream(events)
    json.dumps(events)
    return [ended[index] for index in sorted(ended)]


def _written(message: AIMessage) -> str:
    """All of a message, but for its id and what makes it a chunk."""
    if isinstance(message, AIMessageChunk):
        message = message_chunk_to_message(message)
    fields = messages_to_dict([message])[0]["data"]
    return _sorted_json({**fields, "id": None, "blocks": message.content_blocks})


def _sorted_json(value: Any) -> str:
    """As text NaN is NaN; and no order of keys tells two values apart."""
    return json.dumps(value, sort_keys=True)


def _without_index(block: Any) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "index"}
