"""Responses: OpenAI's newer shape. It shows code and its output, and takes other server tools.

Facts in this module: Model Studio's reference of the Responses API, its page on the code
interpreter, and measurements published against the live service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.wire import WireRequest
from langchain_qwen_ci.wire.decoding import FramedDecoder, document, refusal
from langchain_qwen_ci.wire.encoding import content, json_body
from langchain_qwen_ci.wire.prompt import Text
from langchain_qwen_ci.wire.response_items import ResponsesReading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.errors import QwenAPIError
    from langchain_qwen_ci.wire.prompt import Media, Options, Prompt, Turn

_PATH = "/compatible-mode/v1/responses"
_FEWEST_OUTPUT_TOKENS = 16


class ResponsesWire:
    """The Responses wire; see `langchain_qwen_ci.wire.Wire`."""

    def request(self, prompt: Prompt, options: Options) -> WireRequest:
        payload: dict[str, Any] = {
            "model": options.model,
            "input": [item for turn in prompt for item in _items(turn, options)],
            "stream": True,
        }
        if tools := _tools(options):
            payload["tools"] = tools
        if options.enable_thinking is not None:
            payload["enable_thinking"] = options.enable_thinking
        return WireRequest(
            model=options.model,
            path=_PATH,
            headers={
                "Accept": "text/event-stream",
                **({"x-dashscope-session-cache": "enable"} if options.session_cache else {}),
            },
            body=json_body({**payload, **_parameters(options.parameters)}),
        )

    def decoder(self, request: WireRequest) -> FramedDecoder:
        del request
        return FramedDecoder(ResponsesReading())

    def error(self, request: WireRequest, status_code: int, body: bytes) -> QwenAPIError:
        del request
        return refusal(document(body), status_code)


def _items(turn: Turn, options: Options) -> Iterator[dict[str, Any]]:
    """A turn as input items: a message, and one item for each thought, call and result."""
    if turn.tool_call_id is not None:
        yield {
            "type": "function_call_output",
            "call_id": turn.tool_call_id,
            "output": turn.text,
        }
        return
    if turn.reasoning and options.preserve_thinking:
        summary = [{"type": "summary_text", "text": turn.reasoning}]
        yield {"type": "reasoning", "summary": summary}
    if turn.parts or not turn.calls:
        yield {"role": turn.role, "content": content(turn, _part)}
    for call in turn.calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image":
        return {"type": "input_image", "image_url": part.url}
    raise QwenInputError(
        f"The Responses API is not known to take {part.kind} input: use api='dashscope'."
    )


def _tools(options: Options) -> list[dict[str, Any]]:
    interpreter = [{"type": "code_interpreter"}] if options.enable_code_interpreter else []
    functions = [{"type": "function", **tool["function"]} for tool in options.functions]
    return [*interpreter, *map(dict, options.server_tools), *functions]


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """DashScope's names in this API's.

    Raises:
        QwenInputError: one that this API does not take.
    """
    sent = dict(parameters)
    if "thinking_budget" in sent:
        raise QwenInputError(
            "The Responses API takes no thinking_budget: pass reasoning_effort "
            '("low", "medium" or "high"), or use another api.'
        )
    if (limit := sent.pop("max_tokens", None)) is not None:
        if limit < _FEWEST_OUTPUT_TOKENS:
            raise QwenInputError(
                f"max_tokens is {limit}: the Responses API takes {_FEWEST_OUTPUT_TOKENS} or more."
            )
        sent["max_output_tokens"] = limit
    if (effort := sent.pop("reasoning_effort", None)) is not None:
        sent["reasoning"] = {**sent.get("reasoning", {}), "effort": effort}
    if (form := sent.pop("response_format", None)) is not None:
        sent["text"] = {**sent.get("text", {}), "format": _format(form)}
    if isinstance(choice := sent.get("tool_choice"), dict) and "function" in choice:
        sent["tool_choice"] = {"type": "function", **choice["function"]}
    return sent


def _format(form: Mapping[str, Any]) -> dict[str, Any]:
    """Chat Completions wraps a schema in `json_schema`; here it stands beside the type."""
    return {"type": form["type"], **form.get("json_schema", {})}
