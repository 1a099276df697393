"""The requests that checks of the Responses API send, and access to the events they return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.errors import NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import as_json, object_at, value_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

PATH = "/compatible-mode/v1/responses"
# A field that no version of the API has.
UNKNOWN_FIELD: dict[str, Any] = {"no_such_field": True}
ITEM_ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"


def build_request(
    endpoint: Endpoint, prompt: str | list[Any], *, path: str = PATH, **options: Any
) -> Request:
    """Build a streaming request with interpreter and thinking on, unless an option differs."""
    body = {
        "model": endpoint.model,
        "input": prompt,
        "tools": [{"type": "code_interpreter"}],
        "enable_thinking": True,
        "stream": True,
        **options,
    }
    return Request(path, body)


def plain_request(
    endpoint: Endpoint, prompt: str | list[Any] = prompts.TEXT_PROMPT, **options: Any
) -> Request:
    """Build a request without streaming, interpreter and thinking."""
    plain = {"tools": [], "enable_thinking": False, "stream": False}
    return build_request(endpoint, prompt, **{**plain, **options})


async def document_of(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    return (await endpoint.reply(request)).document()


async def code_reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(build_request(endpoint, prompts.CODE_PROMPT))


async def code_events(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the events of the answer that runs code."""
    events = [frame.data for frame in (await code_reply(endpoint)).stream()]
    if events[-1].get("type") == "response.failed":
        raise NoAnswerError(f"an error came in place of an answer: {as_json(events[-1])}")
    return events


def items_of(events: Iterable[dict[str, Any]], event_type: str, item_type: str = "") -> list[Any]:
    """Return the items that are added or done in these events.

    Args:
        events: the events of an answer.
        event_type: `ITEM_ADDED` or `ITEM_DONE`.
        item_type: return items of this type only; "" for all types.
    """
    items = [object_at(event, "item") for event in events if value_at(event, "type") == event_type]
    return [item for item in items if item_type in ("", item.get("type"))]


def code_calls(items: Iterable[Any]) -> list[Any]:
    calls = [item for item in items if value_at(item, "type") == "code_interpreter_call"]
    if not calls:
        raise ViolationError("no item is a code_interpreter_call")
    return calls
