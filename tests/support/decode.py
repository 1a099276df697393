"""Decodes bytes with the decoder of an API."""

from __future__ import annotations

from langchain_qwen_ci.wire import Wire, WireRequest
from langchain_qwen_ci.wire.chat_completions import ChatCompletionsWire
from langchain_qwen_ci.wire.dashscope import DashScopeWire
from langchain_qwen_ci.wire.events import Event
from langchain_qwen_ci.wire.responses import ResponsesWire

REQUEST = WireRequest(model="qwen3-max", path="/", body=b"")
WIRES: dict[str, Wire] = {
    "dashscope": DashScopeWire(),
    "responses": ResponsesWire(),
    "chat_completions": ChatCompletionsWire(),
}


def decode(*pieces: bytes, api: str = "dashscope") -> list[Event]:
    """Return the events of a complete response that arrives in these pieces."""
    decoder = WIRES[api].decoder(REQUEST)
    events: list[Event] = []
    for piece in pieces:
        decoder.feed(piece, events)
    decoder.close(events)
    return events
