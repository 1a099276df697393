"""What the service refuses on every wire, with its own texts where they are known.

A rule looks at a request and returns a `Refusal` or None. Codes are the native ones; a wire
that has others translates them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.asked import as_object, media_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_qwen_ci.emulator.asked import Asked

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
class Refusal:
    """An error before anything runs. With status 200 the answer itself says that it failed."""

    status: int
    code: str
    message: str


def invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidParameter", message)


def first_refusal(
    asked: Asked, rules: Iterable[Callable[[Asked], Refusal | None]]
) -> Refusal | None:
    """What the first rule that a request breaks says about it; None if it keeps them all."""
    return next(filter(None, (rule(asked) for rule in rules)), None)


def model_exists(asked: Asked) -> Refusal | None:
    if not isinstance(asked.model, str) or not asked.model:
        return invalid("[400] missing_required_parameter: Missing required parameter: 'model'.")
    if not asked.model.startswith(_KNOWN_PREFIXES):
        return Refusal(404, "ModelNotFound", f"Model not exist. {DETAILS}")
    return None


def messages_have_roles(asked: Asked) -> Refusal | None:
    if not isinstance(asked.messages, list) or not asked.messages:
        return invalid("Field required: messages")
    for message in asked.messages:
        role = as_object(message).get("role")
        if role not in _ROLES or (role == "user" and not message.get("content")):
            return invalid(
                "Role must be user or assistant and Content length must be greater than 0"
            )
    return None


def media_can_be_seen(asked: Asked) -> Refusal | None:
    for message in asked.messages:
        if media_of(message.get("content")) and not asked.sees:
            return invalid(f"{asked.model} takes text only.")
    return None


def tools_answer_calls(asked: Asked) -> Refusal | None:
    """A message of a tool belongs to a call that stands before it."""
    called: set[Any] = set()
    for message in asked.messages:
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


def tools_are_functions(asked: Asked) -> Refusal | None:
    if not isinstance(asked.tools, list | tuple):
        return invalid("tools must be a list.")
    for tool in asked.tools:
        if "function" not in as_object(tool):
            return invalid("'function' is a required property")
        function = as_object(tool["function"])
        if not isinstance(function.get("name"), str):
            return invalid("'name' is a required property")
        if not isinstance(function.get("parameters") or {}, dict):
            return invalid("The parameters of a function must be an object.")
    if asked.tool_choice not in ("auto", "none") and asked.forced_tool is None:
        return invalid("tool_choice must be auto, none or a function.")
    names = [tool["function"]["name"] for tool in asked.tools]
    if asked.forced_tool is not None and asked.forced_tool not in names:
        return invalid(f"tool_choice names {asked.forced_tool}, which is none of the tools.")
    return None


def interpreter_streams(asked: Asked) -> Refusal | None:
    if asked.interpreter and not asked.streams:
        return invalid("Non-streaming mode does not support Code interpreter.")
    return None


def interpreter_stands_alone(asked: Asked) -> Refusal | None:
    if asked.interpreter and asked.tools:
        return invalid(
            "Agent mode does not support tools. You need to either avoid using "
            "enable_code_interpreter or avoid using the agent mode with enable_search."
        )
    return None


def interpreter_thinks(asked: Asked) -> Refusal | None:
    required = asked.row is not None and asked.row.thinking == "required"
    if asked.interpreter and required and not asked.thinks:
        return invalid(THINKING_NEEDED)
    return None


def values_in_range(asked: Asked) -> Refusal | None:
    for name, fits in _RANGES.items():
        value = asked.parameters.get(name)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # JSON's 1e999 is infinite to Python.
        if not number or not abs(value) < math.inf or not fits(value):
            return invalid(f"Range of {name} is wrong: {value!r}. {DETAILS}")
    stop = asked.parameters.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(map(_is_text, stops)):
        return invalid("stop must be a string or a list of strings.")
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def format_is_known(asked: Asked) -> Refusal | None:
    """JSON is not to be had from a model that thinks or runs code (documented; text ours)."""
    if asked.format == "text":
        return None
    if asked.format not in ("json_object", "json_schema"):
        return invalid(f"response_format must not be {asked.format!r}.")
    for name, on in (
        ("enable_code_interpreter", asked.interpreter),
        ("enable_thinking", asked.thinks),
    ):
        if on:
            return invalid(f"Json mode response is not supported when {name} is true")
    described = as_object(as_object(asked.response_format).get("json_schema"))
    if asked.format == "json_schema" and not isinstance(described.get("schema"), dict):
        return invalid("response_format of type json_schema needs a schema.")
    return None


EVERYWHERE = (
    model_exists,
    messages_have_roles,
    media_can_be_seen,
    tools_are_functions,
    tools_answer_calls,
    interpreter_stands_alone,
    values_in_range,
    format_is_known,
)
