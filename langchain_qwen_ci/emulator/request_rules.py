"""The rules by which the service rejects requests, with its own messages where they are known.

A rule returns a `ServiceError` or None. Error codes are those of the native API; the other APIs
translate them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.parsed_request import as_object, media_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_qwen_ci.emulator.parsed_request import ParsedRequest

DETAILS = "For details, see: https://help.aliyun.com/zh/model-studio/error-code"
THINKING_NEEDED = (
    "Normal mode does not support Code interpreter. Please set enable_thinking to true."
)
_KNOWN_PREFIXES = ("qwen", "qvq", "deepseek")
_ROLES = ("system", "user", "assistant", "tool")
_MOST_STOPS = 16

_RANGES: dict[str, Callable[[float], bool]] = {
    "temperature": lambda value: 0 <= value < 2,  # noqa: PLR2004  # the API reference's bounds
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
    """An error in place of an answer. With status 200 it is reported inside the answer."""

    status: int
    code: str
    message: str


def invalid(message: str) -> ServiceError:
    return ServiceError(400, "InvalidParameter", message)


def first_error(
    parsed: ParsedRequest, request_rules: Iterable[Callable[[ParsedRequest], ServiceError | None]]
) -> ServiceError | None:
    """Return the error of the first rule that a request violates; None if it violates none."""
    return next(filter(None, (rule(parsed) for rule in request_rules)), None)


def model_exists(parsed: ParsedRequest) -> ServiceError | None:
    if not isinstance(parsed.model, str) or not parsed.model:
        return invalid("[400] missing_required_parameter: Missing required parameter: 'model'.")
    if not parsed.model.startswith(_KNOWN_PREFIXES):
        return ServiceError(404, "ModelNotFound", f"Model not exist. {DETAILS}")
    return None


def messages_have_roles(parsed: ParsedRequest) -> ServiceError | None:
    if not isinstance(parsed.messages, list) or not parsed.messages:
        return invalid("Field required: messages")
    for message in parsed.messages:
        role = as_object(message).get("role")
        if role not in _ROLES or (role == "user" and not message.get("content")):
            return invalid(
                "Role must be user or assistant and Content length must be greater than 0"
            )
    return None


def media_can_be_seen(parsed: ParsedRequest) -> ServiceError | None:
    for message in parsed.messages:
        if media_kinds(message.get("content")) and not parsed.has_vision:
            return invalid(f"{parsed.model} takes text only.")
    return None


def tools_answer_calls(parsed: ParsedRequest) -> ServiceError | None:
    """A tool message must follow a message with its call."""
    called: set[Any] = set()
    for message in parsed.messages:
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list) or not all(map(_is_call, calls)):
            return invalid("tool_calls must be a list of calls with id and function.")
        called.update(call["id"] for call in calls)
        if message["role"] == "tool" and str(message.get("tool_call_id")) not in called:
            return invalid(
                'messages with role "tool" must be a response to a preceeding message with '
                '"tool_calls".'
            )
    return None


def _is_call(call: object) -> bool:
    function = as_object(as_object(call).get("function"))
    texts = (as_object(call).get("id"), function.get("name"), function.get("arguments"))
    return all(isinstance(text, str) for text in texts)


def tools_are_functions(parsed: ParsedRequest) -> ServiceError | None:
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
    if parsed.tool_choice not in ("auto", "none") and parsed.forced_tool is None:
        return invalid("tool_choice must be auto, none or a function.")
    names = [tool["function"]["name"] for tool in parsed.tools]
    if parsed.forced_tool is not None and parsed.forced_tool not in names:
        return invalid(f"tool_choice names {parsed.forced_tool}, which is none of the tools.")
    return None


def interpreter_requires_streaming(parsed: ParsedRequest) -> ServiceError | None:
    if parsed.interpreter and not parsed.streams:
        return invalid("Non-streaming mode does not support Code interpreter.")
    return None


def interpreter_excludes_functions(parsed: ParsedRequest) -> ServiceError | None:
    if parsed.interpreter and parsed.tools:
        return invalid(
            "Agent mode does not support tools. You need to either avoid using "
            "enable_code_interpreter or avoid using the agent mode with enable_search."
        )
    return None


def interpreter_requires_thinking(parsed: ParsedRequest) -> ServiceError | None:
    # Measured: on Responses every model requires it. Chat Completions has no such rule.
    required = parsed.api == "responses" or (
        parsed.spec is not None and parsed.spec.thinking == "required"
    )
    if parsed.interpreter and required and not parsed.thinking_enabled:
        return invalid(THINKING_NEEDED)
    return None


def values_in_range(parsed: ParsedRequest) -> ServiceError | None:
    for name, fits in _RANGES.items():
        value = parsed.parameters.get(name)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # Python parses JSON's 1e999 as infinity.
        if not number or not abs(value) < math.inf or not fits(value):
            return invalid(f"Range of {name} is wrong: {value!r}. {DETAILS}")
    stop = parsed.parameters.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(map(_is_text, stops)):
        return invalid("stop must be a string or a list of strings.")
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def format_is_known(parsed: ParsedRequest) -> ServiceError | None:
    """JSON formats are not available while thinking or with the interpreter (documented; the text
    is ours).
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


EVERYWHERE = (
    model_exists,
    messages_have_roles,
    media_can_be_seen,
    tools_are_functions,
    tools_answer_calls,
    interpreter_excludes_functions,
    values_in_range,
    format_is_known,
)
