"""The Responses API from the side of the service: its requests and stored conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests import request_rules
from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.requests.request_rules import ServiceError, invalid
from langchain_qwen_ci.emulator.wires.encoding import compact_json
from langchain_qwen_ci.emulator.wires.responses_encoder import ResponsesEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents

_PATH = "/compatible-mode/v1/responses"
_OPENAI_PATH = "/v1/responses"  # as on other OpenAI-compatible servers
_OLDER_PATH = f"/api/v2/apps/protocols{_PATH}"
_SERVER_TOOLS = frozenset(
    ("web_search", "web_extractor", "web_search_image", "image_search", "file_search", "mcp")
)
# Items of an answer that the next request may send back. They do not become messages.
_IGNORED_ITEMS = ("reasoning", "code_interpreter_call", "web_search_call", "web_extractor_call")
_MIN_TOKENS = 16


class Responses:
    """The Responses API of the emulator; implements `Wire`."""

    paths = (_PATH, _OLDER_PATH, _OPENAI_PATH)

    def __init__(self, reasoning_events: ReasoningEvents) -> None:
        self._reasoning_events = reasoning_events
        self._conversations: dict[str, list[Any]] = {}

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> ResponsesRequest:
        del path, headers
        return ResponsesRequest(body, self._conversations, self._reasoning_events)

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
        conversations: the messages up to each stored response, by the response's id.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        conversations: dict[str, list[Any]],
        reasoning_events: ReasoningEvents,
    ) -> None:
        self._body = body
        self._conversations = conversations
        self._reasoning_events = reasoning_events
        earlier = conversations.get(str(body.get("previous_response_id")), [])
        self._conversation = [*earlier, *_input_messages(body.get("input"))]
        # Instructions apply to one request and are not stored with the response.
        text = body.get("instructions")
        instructions = [{"role": "system", "content": text}] if text else []
        tools = body.get("tools") or []
        types = [as_object(tool).get("type") for tool in tools] if isinstance(tools, list) else []
        # It takes precedence over `enable_thinking`.
        effort = as_object(body.get("reasoning")).get("effort")
        self.parsed = ParsedRequest(
            api="responses",
            model=body.get("model"),
            messages=[*instructions, *self._conversation],
            streams=bool(body.get("stream")),
            interpreter_requested="code_interpreter" in types,
            thinking=body.get("enable_thinking") if effort is None else effort != "none",
            tools=_nested_functions(tools),
            tool_choice=_nested_tool_choice(body.get("tool_choice") or "auto"),
            response_format=_response_format(as_object(body.get("text")).get("format")),
            parameters={
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "max_tokens": body.get("max_output_tokens"),
            },
            # A type that is not a string may not be hashable.
            server_tools=_SERVER_TOOLS.intersection(
                kind for kind in types if isinstance(kind, str)
            ),
        )

    def request_error(self) -> ServiceError | None:
        own = (self._check_input, self._check_tool_types, self._check_previous_response)
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
        def store(messages: list[Any]) -> None:
            if self._body.get("store") is not False:
                self._conversations[request_id] = [*self._conversation, *messages]

        return ResponsesEncoder(
            request_id,
            self.parsed,
            echoed={
                "tools": self._body.get("tools") or [],
                "tool_choice": self._body.get("tool_choice") or "auto",
            },
            reasoning_events=self._reasoning_events,
            store=store,
        )

    def _check_input(self, _: ParsedRequest) -> ServiceError | None:
        given = self._body.get("input")
        if not given:
            return invalid("[400] missing_required_parameter: Missing required parameter: 'input'.")
        if not isinstance(given, str | list):
            return invalid("input must be a string or a list of items.")
        for item in given if isinstance(given, list) else ():
            if _message(item) is None and as_object(item).get("type") not in _IGNORED_ITEMS:
                return invalid(f"input has an item of an unknown type: {str(item)[:80]}")
        return None

    def _check_tool_types(self, _: ParsedRequest) -> ServiceError | None:
        tools = self._body.get("tools") or []
        if not isinstance(tools, list):
            return invalid("tools must be a list.")
        for tool in tools:
            kind = as_object(tool).get("type")
            if kind not in ("function", "code_interpreter", *_SERVER_TOOLS):
                return invalid(f"There is no tool of type {kind!r}.")
        return None

    def _check_previous_response(self, _: ParsedRequest) -> ServiceError | None:
        previous = self._body.get("previous_response_id")
        if previous is None or str(previous) in self._conversations:
            return None
        return invalid(f"Previous response with id '{previous}' not found.")

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


def _nested_functions(tools: object) -> list[dict[str, Any]]:
    """Convert function tools to the format of Chat Completions, which nests each in "function"."""
    return [
        {"type": "function", "function": tool}
        for tool in (tools if isinstance(tools, list) else [])
        if as_object(tool).get("type") == "function"
    ]


def _nested_tool_choice(choice: object) -> object:
    """Convert the choice of a function to the format of Chat Completions."""
    if as_object(choice).get("type") != "function":
        return choice
    return {"type": "function", "function": {"name": as_object(choice).get("name")}}


def _response_format(given: object) -> dict[str, Any] | None:
    """Convert the value of text.format to the format of Chat Completions."""
    kind = as_object(given).get("type")
    return {"type": kind, "json_schema": as_object(given)} if kind else None
