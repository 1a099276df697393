"""The stored responses and conversations of the Responses API, in memory.

The paths of a stored response and the shapes of their documents are those of OpenAI's reference,
to which the service's documentation refers.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests.parsed_request import as_object
from langchain_qwen_ci.emulator.requests.request_rules import ServiceError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.emulator.wires.interface import Payload

PATH = "/compatible-mode/v1/responses"
OLDER_PATH = f"/api/v2/apps/protocols{PATH}"
OPENAI_PATH = "/v1/responses"  # as on other OpenAI-compatible servers
_ITEMS = "/input_items"
_STORED_PATH = re.compile(rf"(?:{PATH}|{OLDER_PATH}|{OPENAI_PATH})/[^/]+(?P<items>{_ITEMS})?")
_METHODS = {True: ("GET",), False: ("DELETE", "GET")}  # by whether the path is that of the items
_DEFAULT_PAGE, _MAX_PAGE = 20, 100  # items of a page


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that later requests can refer to.

    Attributes:
        document: the response, as the request for it was answered.
        input_items: the items of the request's input, each with an id.
        messages: the conversation up to and including the answer, in the format of Chat
            Completions.
    """

    document: Payload
    input_items: Sequence[Payload]
    messages: Sequence[Payload]


class ResponseStore:
    """The responses and conversations that the service has stored."""

    def __init__(self) -> None:
        self._responses: dict[str, StoredResponse] = {}
        self._conversations: dict[str, Sequence[Payload]] = {}

    def __contains__(self, response_id: object) -> bool:
        return response_id in self._responses

    def add(self, stored: StoredResponse) -> None:
        self._responses[stored.document["id"]] = stored

    def earlier_messages(self, response_id: str, conversation_id: str) -> Sequence[Payload]:
        """Return the messages that precede a request; "" for an id that it does not have."""
        if stored := self._responses.get(response_id):
            return stored.messages
        # A conversation begins with the first request that names it.
        return self._conversations.get(conversation_id, ())

    def continue_conversation(self, conversation_id: str, messages: Sequence[Payload]) -> None:
        self._conversations[conversation_id] = messages

    def is_path(self, method: str, path: str) -> bool:
        """Return whether a request is for a stored response."""
        match = _STORED_PATH.fullmatch(path)
        return match is not None and method in _METHODS[bool(match["items"])]

    def document(self, method: str, path: str, query: Mapping[str, str]) -> Payload | ServiceError:
        """Return the answer to a request for a stored response, and delete it if requested."""
        *_, response_id = path.removesuffix(_ITEMS).split("/")
        stored = self._responses.get(response_id)
        if stored is None:
            return ServiceError(404, "NotFound", f"Response with id '{response_id}' not found.")
        if path.endswith(_ITEMS):
            return _page(stored.input_items, query)
        if method == "DELETE":
            del self._responses[response_id]
            return {"id": response_id, "object": "response", "deleted": True}
        return stored.document


def input_items(given: str | list[Any]) -> list[Payload]:
    """Return the items of an input that passed the checks, in their full form and with ids."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_complete_item(item) for item in items]


def conversation_id(given: object) -> str:
    """Return the id of the parameter `conversation`, which is a string or an object."""
    found = as_object(given).get("id", given)
    return found if isinstance(found, str) else ""


def _complete_item(item: Mapping[str, Any]) -> Payload:
    complete = {"id": f"msg_{uuid.uuid4()}", "type": "message", **item}
    if isinstance(text := complete.get("content"), str):
        kind = "output_text" if complete.get("role") == "assistant" else "input_text"
        complete["content"] = [{"type": kind, "text": text}]
    return complete


def _page(items: Sequence[Payload], query: Mapping[str, str]) -> Payload | ServiceError:
    """Return a page of a list; the newest item comes first unless the query differs."""
    limit = query.get("limit", str(_DEFAULT_PAGE))
    if limit not in map(str, range(1, _MAX_PAGE + 1)):
        return invalid(f"limit must be a number from 1 to {_MAX_PAGE}, not {limit!r}.")
    ordered = list(items) if query.get("order") == "asc" else list(items)[::-1]
    ids = [item["id"] for item in ordered]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    page = ordered[start : start + int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + len(page) < len(ordered),
    }
