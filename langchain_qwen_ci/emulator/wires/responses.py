"""The Responses API from the side of the service: its requests.

The service ignores some fields that it accepts (measured): `text.format`, `parallel_tool_calls` and
unknown fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests import request_rules
from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.requests.request_rules import ServiceError, invalid
from langchain_qwen_ci.emulator.wires.encoding import compact_json
from langchain_qwen_ci.emulator.wires.responses_encoder import ResponsesEncoder
from langchain_qwen_ci.emulator.wires.responses_tools import (
    SERVER_TOOLS,
    nested_functions,
    tools_and_choice,
)
from langchain_qwen_ci.emulator.wires.stored_responses import (
    OLDER_PATH,
    OPENAI_PATH,
    PATH,
    StoredResponse,
    conversation_id,
    input_items,
)
from langchain_qwen_ci.models import REASONING_EFFORTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_qwen_ci.emulator.wires.interface import Payload
    from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents
    from langchain_qwen_ci.emulator.wires.stored_responses import ResponseStore

# Items of an answer that the next request may send back. They do not become messages.
_IGNORED_ITEMS = ("reasoning", "code_interpreter_call", "web_search_call", "web_extractor_call")
_MIN_TOKENS = 16


class Responses:
    """The Responses API of the emulator; implements `Wire`."""

    paths = (PATH, OLDER_PATH, OPENAI_PATH)

    def __init__(self, reasoning_events: ReasoningEvents, store: ResponseStore) -> None:
        self._reasoning_events = reasoning_events
        self._store = store

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> ResponsesRequest:
        del path, headers
        return ResponsesRequest(body, self._store, self._reasoning_events)

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        # Errors in place of an answer have the native format on this API too.
        body = {
            "request_id": request_id,
            "code": request_error.code,
            "message": request_error.message,
        }
        return compact_json(body)


class ResponsesRequest:
    """A request for a response; implements `WireRequest`.

    Args:
        store: the responses and conversations that the request can continue.
    """

    def __init__(
        self, body: Mapping[str, Any], store: ResponseStore, reasoning_events: ReasoningEvents
    ) -> None:
        self._body = body
        self._store = store
        self._reasoning_events = reasoning_events
        self._conversation_id = conversation_id(body.get("conversation"))
        earlier = store.earlier_messages(
            str(body.get("previous_response_id")), self._conversation_id
        )
        self._conversation = [*earlier, *_input_messages(body.get("input"))]
        # Instructions apply to one request and are not stored with the response.
        text = body.get("instructions")
        instructions = [{"role": "system", "content": text}] if text else []
        tools, tool_choice = tools_and_choice(body)
        types = {tool["type"] for tool in tools}
        # It takes precedence over `enable_thinking`.
        self._effort = as_object(body.get("reasoning")).get("effort")
        self.parsed = ParsedRequest(
            api="responses",
            model=body.get("model"),
            messages=[*instructions, *self._conversation],
            streams=bool(body.get("stream")),
            interpreter_requested="code_interpreter" in types,
            thinking=(
                body.get("enable_thinking") if self._effort is None else self._effort != "none"
            ),
            tools=nested_functions(tools),
            tool_choice=tool_choice,
            parameters={
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "max_tokens": body.get("max_output_tokens"),
            },
            server_tools=SERVER_TOOLS & types,
        )

    def request_error(self) -> ServiceError | None:
        own = (
            self._check_background,
            self._check_input,
            self._check_tool_types,
            self._check_earlier_turns,
            self._check_effort,
        )
        last = (self._check_max_tokens, _check_model_is_served)
        return request_rules.first_error(
            self.parsed,
            (request_rules.check_model_exists, *own, *request_rules.RULES_OF_ALL_APIS, *last),
        )

    def response_error(self) -> ServiceError | None:
        """Return the errors that the service reports in a failed response (measured)."""
        if rejection := request_rules.check_interpreter_thinks(self.parsed):
            text = f"<400> InternalError.Algo.InvalidParameter: {rejection.message}"
            return ServiceError(400, "InternalError.Algo.InvalidParameter", text)
        spec = self.parsed.spec
        if self.parsed.interpreter and spec is not None and spec.responses == "fails":
            text = f"{self.parsed.model} does not support the code_interpreter tool"
            return ServiceError(400, "InvalidParameter", text)
        if self.parsed.server_tools & {"web_extractor", "web_search"} == {"web_extractor"}:
            text = "The web_extractor tool must be executed with web_search tool."
            return ServiceError(400, "InvalidParameter", text)
        return None

    def create_encoder(self, request_id: str) -> ResponsesEncoder:
        def store(document: Payload, answer: Sequence[Payload]) -> None:
            messages = [*self._conversation, *answer]
            if self._body.get("store") is not False:
                items = input_items(self._body["input"])
                self._store.add(StoredResponse(document, items, messages))
            if self._conversation_id:
                self._store.continue_conversation(self._conversation_id, messages)

        echoed: Payload = {
            "tools": self._body.get("tools") or [],
            "tool_choice": self._body.get("tool_choice") or "auto",
        }
        if self._conversation_id:
            echoed["conversation"] = {"id": self._conversation_id}
        return ResponsesEncoder(
            request_id,
            self.parsed,
            echoed=echoed,
            reasoning_events=self._reasoning_events,
            store=store,
        )

    def _check_background(self, _: ParsedRequest) -> ServiceError | None:
        if self._body.get("background"):
            return invalid("Currently not support background.")  # measured
        return None

    def _check_input(self, _: ParsedRequest) -> ServiceError | None:
        given = self._body.get("input")
        if not given:
            return invalid("[400] missing_required_parameter: Missing required parameter: 'input'.")
        if not isinstance(given, str | list):
            return invalid("input must be a string or a list of items.")
        for position, item in enumerate(given if isinstance(given, list) else ()):
            kind = as_object(item).get("type")
            if _message(item) is None and kind not in _IGNORED_ITEMS:
                return invalid(f"input has an item of an unknown type: {str(item)[:80]}")
            if kind == "reasoning" and not isinstance(item.get("id"), str):
                return invalid(f"Missing required parameter: 'input[{position}].id'.")
        return None

    def _check_tool_types(self, _: ParsedRequest) -> ServiceError | None:
        tools = self._body.get("tools") or []
        if not isinstance(tools, list):
            return invalid("tools must be a list.")
        for tool in tools:
            kind = as_object(tool).get("type")
            if kind not in ("function", "code_interpreter", *SERVER_TOOLS):
                return invalid(f"There is no tool of type {kind!r}.")
        return None

    def _check_earlier_turns(self, _: ParsedRequest) -> ServiceError | None:
        previous, conversation = map(self._body.get, ("previous_response_id", "conversation"))
        if conversation is not None and not self._conversation_id:
            return invalid("conversation must be an id or an object with an id.")
        if previous is None:
            return None
        if conversation is not None:
            return invalid("conversation and previous_response_id must not be set together.")
        if str(previous) not in self._store:
            return invalid(f"Previous response with id '{previous}' not found.")
        return None

    def _check_effort(self, _: ParsedRequest) -> ServiceError | None:
        if self._effort is None or self._effort in REASONING_EFFORTS:
            return None
        efforts = ", ".join(REASONING_EFFORTS)
        return invalid(f"reasoning.effort must be one of {efforts}, not {self._effort!r}.")

    def _check_max_tokens(self, parsed: ParsedRequest) -> ServiceError | None:
        limit = parsed.parameters["max_tokens"]
        if limit is not None and limit < _MIN_TOKENS:
            return invalid(f"max_output_tokens must be at least {_MIN_TOKENS}, not {limit}.")
        return None


def _check_model_is_served(parsed: ParsedRequest) -> ServiceError | None:
    # Responses does not serve the older models with vision, and runs no code for some others. The
    # text is the service's.
    is_rejected = (
        parsed.interpreter and parsed.spec is not None and parsed.spec.responses == "rejected"
    )
    if is_rejected or "-vl" in parsed.model or parsed.model.startswith("qvq"):
        return invalid(f"Unsupported model: '{parsed.model}'")
    return None


def _input_messages(given: object) -> list[dict[str, Any]]:
    """Convert input items to messages of Chat Completions."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    items = given if isinstance(given, list) else []
    return [message for item in items if (message := _message(item)) is not None]


def _message(item: object) -> dict[str, Any] | None:
    """Convert an item to a message; None if it is not a message."""
    match item:
        case {"type": "function_call", "call_id": call_id}:
            function = {name: as_object(item).get(name) for name in ("name", "arguments")}
            call = {"id": call_id, "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
        case {"type": "function_call_output", "call_id": call_id, "output": output}:
            return {"role": "tool", "tool_call_id": call_id, "content": output}
        case {"role": role} if as_object(item).get("type", "message") == "message":
            # "developer" is OpenAI's newer name of the system role.
            chat_role = "system" if role == "developer" else role
            return {"role": chat_role, "content": as_object(item).get("content")}
    return None
