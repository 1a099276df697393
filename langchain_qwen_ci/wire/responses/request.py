"""Encodes a request of the Responses API."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.prompt import Text
from langchain_qwen_ci.wire.encoding import json_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.request.prompt import Media, Prompt, PromptMessage, RequestOptions

_MIN_OUTPUT_TOKENS = 16


def encode_request(prompt: Prompt, options: RequestOptions) -> bytes:
    """Encode the body of a request.

    Raises:
        QwenInputError: the API does not support a part of the prompt or a parameter.
    """
    payload: dict[str, Any] = {
        "model": options.model,
        "input": [
            item
            for position, message in enumerate(prompt)
            for item in _input_items(position, message, options)
        ],
        "stream": True,
    }
    if tools := _tools(options):
        payload["tools"] = tools
    if options.enable_thinking is not None:
        payload["enable_thinking"] = options.enable_thinking
    if options.preserve_thinking is not None:
        payload["preserve_thinking"] = options.preserve_thinking
    if not options.session_cache and any(message.cache_markers for message in prompt):
        warn_cache_control_not_sent()
    return json_body({**payload, **_parameters(options.parameters)})


@cache
def warn_cache_control_not_sent() -> None:
    """Warn once that this API has another parameter in place of `cache_control`."""
    warnings.warn(
        "The Responses API takes no cache_control, so it is left out: pass session_cache=True "
        "there to cache the conversation.",
        stacklevel=2,
    )


def _input_items(
    position: int, message: PromptMessage, options: RequestOptions
) -> Iterator[dict[str, Any]]:
    """Encode a message as input items: reasoning, content, function calls or a call's result."""
    if message.tool_call_id is not None:
        yield {
            "type": "function_call_output",
            "call_id": message.tool_call_id,
            "output": _encode_content(message),
        }
        return
    if message.reasoning and options.send_reasoning:
        summary = [{"type": "summary_text", "text": message.reasoning}]
        # An id is required (documented). The ids of the answers are not kept; this one is the same
        # in every request, which caches of the service need.
        yield {"type": "reasoning", "id": f"rs_{position}", "summary": summary}
    if message.parts or not message.calls:
        yield {"role": message.role, "content": _encode_content(message)}
    for call in message.calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _encode_content(message: PromptMessage) -> str | list[dict[str, Any]]:
    if not message.has_media:
        return message.text
    if message.role == "assistant":
        # A list of an assistant message has output_text parts only (documented).
        raise QwenInputError("The Responses API takes no media in an assistant message.")
    return [_encode_part(part) for part in message.parts]


def _encode_part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image":
        if unknown := part.options.keys() - {"detail"}:
            raise QwenInputError(
                f"The Responses API is not known to take {', '.join(sorted(unknown))} of an image: "
                "use api='dashscope'."
            )
        return {"type": "input_image", "image_url": part.url, **part.options}
    raise QwenInputError(
        f"The Responses API is not known to take {part.kind} input: use api='dashscope'."
    )


def _tools(options: RequestOptions) -> list[dict[str, Any]]:
    interpreter = [dict(options.interpreter_tool)] if options.enable_code_interpreter else []
    # Chat Completions nests a function under "function"; Responses does not.
    functions = [{"type": "function", **tool["function"]} for tool in options.functions]
    return [*interpreter, *map(dict, options.server_tools), *functions]


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters under DashScope's names to those of this API.

    Raises:
        QwenInputError: this API does not accept a parameter or its value.
    """
    sent = dict(parameters)
    if "thinking_budget" in sent:
        raise QwenInputError(
            "The Responses API takes no thinking_budget: pass reasoning_effort "
            '("low", "medium" or "high"), or use another api.'
        )
    for name in sent.keys() & {"max_tokens", "max_completion_tokens"}:  # at most one of them is set
        sent["max_output_tokens"] = limit = sent.pop(name)
        if limit < _MIN_OUTPUT_TOKENS:
            raise QwenInputError(
                f"{name} is {limit}: the Responses API takes {_MIN_OUTPUT_TOKENS} or more."
            )
    if (effort := sent.pop("reasoning_effort", None)) is not None:
        sent["reasoning"] = {**_object(sent, "reasoning"), "effort": effort}
    if "response_format" in sent:
        # Chat Completions nests a schema under "json_schema"; Responses does not.
        response_format = _object(sent, "response_format")
        flat = {"type": response_format.get("type"), **_object(response_format, "json_schema")}
        del sent["response_format"]
        sent["text"] = {**_object(sent, "text"), "format": flat}
    if isinstance(choice := sent.get("tool_choice"), dict) and "function" in choice:
        sent["tool_choice"] = {"type": "function", **_object(choice, "function")}
    return sent


def _object(parameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a parameter that is an object; an empty one if it is not given.

    Raises:
        QwenInputError: it is of another type.
    """
    value = parameters.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise QwenInputError(f"{name} takes a dictionary, not {type(value).__name__}.")
    return value
