"""The Responses API from the side of the service: its requests and stored conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator import request_rules
from langchain_qwen_ci.emulator.parsed_request import ParsedRequest, as_object
from langchain_qwen_ci.emulator.request_rules import ServiceError, invalid
from langchain_qwen_ci.emulator.wires.interface import compact_json
from langchain_qwen_ci.emulator.wires.responses_encoder import ResponsesEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_qwen_ci.emulator.wires.responses_encoder import ReasoningEvents

_PATH = "/compatible-mode/v1/responses"
_OLDER_PATH = f"/api/v2/apps/protocols{_PATH}"
_SERVER_TOOLS = frozenset(
    ("web_search", "web_extractor", "web_search_image", "image_search", "file_search", "mcp")
)
# Items of an answer that the next request may send back; they are ignored.
_SENT_BACK = ("reasoning", "code_interpreter_call", "web_search_call", "web_extractor_call")
_FEWEST_TOKENS = 16


class Responses:
    """The Responses API of the emulator; implements `Wire`."""

    paths = (_PATH, _OLDER_PATH)

    def __init__(self, reasoning_events: ReasoningEvents) -> None:
        self._reasoning_events = reasoning_events
        self._conversations: dict[str, list[Any]] = {}

    def request(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> ResponsesRequest:
        del path, headers
        return ResponsesRequest(body, self._conversations, self._reasoning_events)

    def error_body(self, request_error: ServiceError, request_id: str) -> bytes:
        # Errors in place of an answer have the native format on this API as well.
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
        before = conversations.get(str(body.get("previous_response_id")), [])
        self._conversation = [*before, *_messages(body.get("input"))]
        # Instructions apply to one request and are not stored with the response.
        text = body.get("instructions")
        instructions = [{"role": "system", "content": text}] if text else []
        tools = body.get("tools") or []
        types = [as_object(tool).get("type") for tool in tools] if isinstance(tools, list) else []
        self.parsed = ParsedRequest(
            api="responses",
            model=body.get("model"),
            messages=[*instructions, *self._conversation],
            streams=bool(body.get("stream")),
            interpreter_requested="code_interpreter" in types,
            thinking=_thinking(body),
            tools=_functions(tools),
            tool_choice=_tool_choice(body.get("tool_choice") or "auto"),
            response_format=_format(as_object(body.get("text")).get("format")),
            parameters={
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "max_tokens": body.get("max_output_tokens"),
            },
            server_tools=_SERVER_TOOLS.intersection(filter(_is_text, types)),
        )

    def request_error(self) -> ServiceError | None:
        own = (self._check_input, self._check_tool_types, self._check_previous)
        last = (self._check_tokens, _model_is_supported)
        return request_rules.first_error(
            self.parsed, (request_rules.model_exists, *own, *request_rules.EVERYWHERE, *last)
        )

    def response_error(self) -> ServiceError | None:
        """Measured: these errors are reported in a failed response with HTTP status 200."""
        if refused := request_rules.interpreter_requires_thinking(self.parsed):
            text = f"<400> InternalError.Algo.InvalidParameter: {refused.message}"
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
            if _message(item) is None and as_object(item).get("type") not in _SENT_BACK:
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

    def _check_previous(self, _: ParsedRequest) -> ServiceError | None:
        previous = self._body.get("previous_response_id")
        if previous is None or str(previous) in self._conversations:
            return None
        return invalid(f"Previous response with id '{previous}' not found.")

    def _check_tokens(self, parsed: ParsedRequest) -> ServiceError | None:
        most = parsed.parameters["max_tokens"]
        if most is not None and most < _FEWEST_TOKENS:
            return invalid(f"max_output_tokens must be at least {_FEWEST_TOKENS}, not {most}.")
        return None


def _model_is_supported(parsed: ParsedRequest) -> ServiceError | None:
    # The service's message for older models with vision, which Responses does not serve, and for
    # some others.
    rejected = (
        parsed.interpreter and parsed.spec is not None and parsed.spec.responses == "rejected"
    )
    if rejected or "-vl" in parsed.model or parsed.model.startswith("qvq"):
        return invalid(f"Unsupported model: '{parsed.model}'")
    return None


def _thinking(body: Mapping[str, Any]) -> bool | None:
    # `reasoning.effort` takes precedence over `enable_thinking`.
    effort = as_object(body.get("reasoning")).get("effort")
    text: bool | None = body.get("enable_thinking")
    return text if effort is None else effort != "none"


def _messages(given: object) -> list[dict[str, Any]]:
    """Convert input items to messages of Chat Completions."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    items = given if isinstance(given, list) else []
    return [message for item in items if (message := _message(item)) is not None]


def _message(item: object) -> dict[str, Any] | None:
    """Convert an item to a message; None if it is not a message."""
    match item:
        case {"type": "function_call", "call_id": identity}:
            function = {name: as_object(item).get(name) for name in ("name", "arguments")}
            call = {"id": identity, "type": "function", "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
        case {"type": "function_call_output", "call_id": identity, "output": output}:
            return {"role": "tool", "tool_call_id": identity, "content": output}
        case {"role": role} if as_object(item).get("type", "message") == "message":
            # OpenAI's newer name for the system's role.
            named = "system" if role == "developer" else role
            return {"role": named, "content": as_object(item).get("content")}
    return None


def _functions(tools: object) -> list[dict[str, Any]]:
    """Convert function tools, which are not nested here, to the format of Chat Completions."""
    return [
        {"type": "function", "function": tool}
        for tool in (tools if isinstance(tools, list) else [])
        if as_object(tool).get("type") == "function"
    ]


def _tool_choice(choice: object) -> object:
    if as_object(choice).get("type") != "function":
        return choice
    return {"type": "function", "function": {"name": as_object(choice).get("name")}}


def _format(given: object) -> dict[str, Any] | None:
    kind = as_object(given).get("type")
    return {"type": kind, "json_schema": as_object(given)} if kind else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
