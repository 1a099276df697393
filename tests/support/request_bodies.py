"""Bodies of requests to the OpenAI-compatible APIs, recorded by a mock service."""

from __future__ import annotations

from typing import Any

import chat_completions_streams
import responses_streams

ANSWERS = {
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}


def request_body(service: Any, api: str, messages: Any = "Hi", /, **fields: Any) -> dict[str, Any]:
    """The body of the request of a model with these fields; `call` are arguments of the call."""
    served = service(ANSWERS[api])
    arguments = fields.pop("call", {})
    served.model(api=api, **fields).invoke(messages, **arguments)
    return served.bodies[0]
