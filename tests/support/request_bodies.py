"""Bodies of requests, recorded by a mock service."""

from __future__ import annotations

from typing import Any

import chat_completions_streams
import dashscope_streams
import responses_streams

ANSWERS = {
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}


APIS = ("dashscope", *ANSWERS)


def api_body(mock_service: Any, api: str, messages: Any = "Hi", /, **fields: Any) -> dict[str, Any]:
    """The body of the request of a model with these fields, on any API."""
    backend = mock_service(ANSWERS.get(api, dashscope_streams.STREAMS["one run"].body))
    backend.model(api=api, **fields).invoke(messages)
    return backend.bodies[0]


def request_body(
    mock_service: Any, api: str, messages: Any = "Hi", /, **fields: Any
) -> dict[str, Any]:
    """The body of the request of a model with these fields; `call` are arguments of the call."""
    backend = mock_service(ANSWERS[api])
    arguments = fields.pop("call", {})
    backend.model(api=api, **fields).invoke(messages, **arguments)
    return backend.bodies[0]
