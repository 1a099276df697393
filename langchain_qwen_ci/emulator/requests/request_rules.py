"""The rules by which the service rejects requests, with its own texts where they are known.

A rule is a function `check_…` that returns the error of a request that violates it, otherwise None.
Error codes are those of the native API; the other APIs translate them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.requests.parsed_request import as_object, media_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_qwen_ci.emulator.requests.parsed_request import ParsedRequest

DETAILS = "For details, see: https://help.aliyun.com/zh/model-studio/error-code"
# New models appear every month, so every model of these families is accepted.
_KNOWN_PREFIXES = ("qwen", "qvq", "deepseek")
_ROLES = ("system", "user", "assistant", "tool")
_MAX_STOP_SEQUENCES = 16

# The ranges of the API reference.
_RANGES: dict[str, Callable[[float], bool]] = {
    "temperature": lambda value: 0 <= value < 2,  # noqa: PLR2004
    "top_p": lambda value: 0 < value <= 1,
    "top_k": lambda value: value >= 0,
    "presence_penalty": lambda value: -2 <= value <= 2,  # noqa: PLR2004
    "repetition_penalty": lambda value: value > 0,
    "max_tokens": lambda value: value >= 1 and value == int(value),
    "thinking_budget": lambda value: value >= 0 and value == int(value),
    "seed": lambda value: value >= 0 and value == int(value),
}


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error of the service.

    Attributes:
        status: the HTTP status, also of an error that is reported in a stream.
        code: the code of the native API.
        message: the text for users.
    """

    status: int
    code: str
    message: str


def invalid(message: str) -> ServiceError:
    """Return the error for a request with a wrong value."""
    return ServiceError(400, "InvalidParameter", message)


def first_error(
    parsed: ParsedRequest, rules: Iterable[Callable[[ParsedRequest], ServiceError | None]]
) -> ServiceError | None:
    """Return the error of the first rule that a request violates; None if it violates none."""
    return next(filter(None, (rule(parsed) for rule in rules)), None)


def check_model_exists(parsed: ParsedRequest) -> ServiceError | None:
    if not isinstance(parsed.model, str) or not parsed.model:
        return invalid("[400] missing_required_parameter: Missing required parameter: 'model'.")
    if not parsed.model.startswith(_KNOWN_PREFIXES):
        return ServiceError(404, "ModelNotFound", f"Model not exist. {DETAILS}")
    return None


def check_messages(parsed: ParsedRequest) -> ServiceError | None:
    if not isinstance(parsed.messages, list) or not parsed.messages:
        return invalid("Field required: messages")
    for message in parsed.messages:
        role = as_object(message).get("role")
        if role not in _ROLES or (role == "user" and not message.get("content")):
            return invalid(
                "Role must be user or assistant and Content length must be greater than 0"
            )
    return None


def check_media(parsed: ParsedRequest) -> ServiceError | None:
    for message in parsed.messages:
        if media_kinds(message.get("content")) and not parsed.has_vision:
            return invalid(f"{parsed.model} takes text only.")
    return None


def check_tool_messages(parsed: ParsedRequest) -> ServiceError | None:
    """Check that each tool message follows a message with its call."""
    called: set[Any] = set()
    for message in parsed.messages:
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list) or not all(map(_is_tool_call, calls)):
            return invalid("tool_calls must be a list of calls with id and function.")
        called.update(call["id"] for call in calls)
        if message["role"] == "tool" and str(message.get("tool_call_id")) not in called:
            return invalid(
                'messages with role "tool" must be a response to a preceeding message with '
                '"tool_calls".'
            )
    return None


def check_tool_results(parsed: ParsedRequest) -> ServiceError | None:
    """Check that a message with calls is followed by their results."""
    missing: list[Any] = []
    for message in [*parsed.messages, {"role": "end"}]:
        if message["role"] == "tool":
            missing = [called for called in missing if called != message.get("tool_call_id")]
        elif missing:
            return invalid(
                'An assistant message with "tool_calls" must be followed by tool messages '
                'responding to each "tool_call_id". The following tool_call_ids did not have '
                f"response messages: {', '.join(missing)}"
            )
        else:
            missing = [call["id"] for call in message.get("tool_calls") or []]
    return None


def check_user_message(parsed: ParsedRequest) -> ServiceError | None:
    if any(message["role"] == "user" for message in parsed.messages):
        return None
    return invalid("The input messages do not contain elements with the role of user")


def _is_tool_call(call: object) -> bool:
    function = as_object(as_object(call).get("function"))
    texts = (as_object(call).get("id"), function.get("name"), function.get("arguments"))
    return all(isinstance(text, str) for text in texts)


def check_tools(parsed: ParsedRequest) -> ServiceError | None:
    if not isinstance(parsed.tools, list | tuple):
        return invalid("tools must be a list.")
    for tool in parsed.tools:
        if "function" not in as_object(tool):
            return invalid("'function' is a required property")
        function = as_object(tool["function"])
        if not isinstance(function.get("name"), str):
            return invalid("'name' is a required property")
        if not isinstance(function.get("parameters") or {}, dict):
            return invalid("The parameters of a function must be an object.")
    return None


def check_tool_choice(parsed: ParsedRequest) -> ServiceError | None:
    # "required" is not documented for the native API and Chat Completions, but the text below names
    # it.
    if parsed.tool_choice not in ("auto", "none", "required") and parsed.forced_tool is None:
        return invalid(f"tool_choice has no value {str(parsed.tool_choice)[:80]}.")
    names = [tool["function"]["name"] for tool in parsed.tools]
    if parsed.forced_tool is not None and parsed.forced_tool not in names:
        return invalid(f"tool_choice names {parsed.forced_tool}, which is none of the tools.")
    return None


def check_forced_tool_choice_without_thinking(parsed: ParsedRequest) -> ServiceError | None:
    # Reported for the native API and Chat Completions (cloudwego/eino#994, QwenLM/qwen-code#7659).
    forced = parsed.tool_choice == "required" or isinstance(parsed.tool_choice, dict)
    if parsed.tools and forced and parsed.thinking_enabled:
        return invalid(
            "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support "
            "being set to required or object in thinking mode"
        )
    return None


def check_interpreter_streams(parsed: ParsedRequest) -> ServiceError | None:
    if parsed.interpreter and not parsed.streams:
        return invalid("Non-streaming mode does not support Code interpreter.")
    return None


def check_interpreter_without_functions(parsed: ParsedRequest) -> ServiceError | None:
    if parsed.interpreter and parsed.tools:
        return invalid(
            "Agent mode does not support tools. You need to either avoid using "
            "enable_code_interpreter or avoid using the agent mode with enable_search."
        )
    return None


def check_interpreter_thinks(parsed: ParsedRequest) -> ServiceError | None:
    # Measured: on Responses every model requires it. Chat Completions has no such rule.
    required = parsed.api == "responses" or (
        parsed.spec is not None and parsed.spec.thinking == "required"
    )
    if parsed.interpreter and required and not parsed.thinking_enabled:
        return invalid(
            "Normal mode does not support Code interpreter. Please set enable_thinking to true."
        )
    return None


def check_values(parsed: ParsedRequest) -> ServiceError | None:
    for name, is_in_range in _RANGES.items():
        value = parsed.parameters.get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Python parses the JSON number 1e999 as infinity.
        if not is_number or not abs(value) < math.inf or not is_in_range(value):
            return invalid(f"Range of {name} is wrong: {value!r}. {DETAILS}")
    stop = parsed.parameters.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stops, list)
        or len(stops) > _MAX_STOP_SEQUENCES
        or not all(isinstance(sequence, str) and sequence for sequence in stops)
    ):
        return invalid("stop must be a string or a list of strings.")
    return None


def check_response_format(parsed: ParsedRequest) -> ServiceError | None:
    """Check that the format is known, and that JSON is not combined with other features.

    JSON is not available while thinking or with the interpreter (documented; the text is ours).
    """
    if parsed.format == "text":
        return None
    if parsed.format not in ("json_object", "json_schema"):
        return invalid(f"response_format must not be {parsed.format!r}.")
    for name, on in (
        ("enable_code_interpreter", parsed.interpreter),
        ("enable_thinking", parsed.thinking_enabled),
    ):
        if on:
            return invalid(f"Json mode response is not supported when {name} is true")
    described = as_object(as_object(parsed.response_format).get("json_schema"))
    if parsed.format == "json_schema" and not isinstance(described.get("schema"), dict):
        return invalid("response_format of type json_schema needs a schema.")
    return None


RULES_OF_ALL_APIS = (
    check_model_exists,
    check_messages,
    check_media,
    check_tools,
    check_tool_choice,
    check_tool_messages,
    check_values,
)
# The reported rules are known of these two APIs; nothing is known about Responses.
RULES_OF_DASHSCOPE_AND_CHAT_COMPLETIONS = (
    check_forced_tool_choice_without_thinking,
    *RULES_OF_ALL_APIS,
    check_user_message,
    check_tool_results,
    check_interpreter_without_functions,
    check_response_format,
    check_interpreter_streams,
)
