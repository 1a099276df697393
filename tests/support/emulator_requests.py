"""Requests to the emulator: bodies for each API, sending with plain httpx, and reading replies."""

from __future__ import annotations

import json
from typing import Any

import httpx

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer

TEXT = "/api/v1/services/aigc/text-generation/generation"
MULTIMODAL = "/api/v1/services/aigc/multimodal-generation/generation"
CHAT = "/compatible-mode/v1/chat/completions"
RESPONSES = "/compatible-mode/v1/responses"
OLDER_RESPONSES = "/api/v2/apps/protocols/compatible-mode/v1/responses"
PATHS = {"dashscope": TEXT, "chat_completions": CHAT, "responses": RESPONSES}
APIS = tuple(PATHS)
# The native API streams if this header is set; the others have a field in the body.
STREAM_HEADERS = {"X-DashScope-SSE": "enable"}
MODEL = "qwen3-max"
# A question that the planner answers with code, and the number in its answer.
QUESTION = "What is 123 to the power of 21?"
RESULT = "77269364466549865653073473388030061522211723"


def model_of(server: EmulatorServer, **fields: Any) -> ChatQwenCodeInterpreter:
    """Return a chat model that is connected to the emulator."""
    return ChatQwenCodeInterpreter(**{"base_url": server.url, "api_key": "any", **fields})


def dashscope_body(
    content: Any = "?", /, *, interpreter: bool = True, model: str = MODEL, **parameters: Any
) -> dict[str, Any]:
    parameters.pop("stream", None)  # a header on this API
    return {
        "model": model,
        "input": {"messages": [{"role": "user", "content": content}]},
        "parameters": {
            "result_format": "message",
            "incremental_output": True,
            "enable_thinking": interpreter,
            "enable_code_interpreter": interpreter,
            **parameters,
        },
    }


def chat_body(text: str = "?", /, *, interpreter: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "enable_thinking": interpreter,
        "enable_code_interpreter": interpreter,
        **fields,
    }


def responses_body(
    text: str = "?", /, *, interpreter: bool = True, **fields: Any
) -> dict[str, Any]:
    if "max_tokens" in fields:
        fields["max_output_tokens"] = fields.pop("max_tokens")
    return {
        "model": MODEL,
        "input": text,
        "stream": True,
        "enable_thinking": interpreter,
        "tools": [{"type": "code_interpreter"}] if interpreter else [],
        **fields,
    }


BODIES = {
    "dashscope": dashscope_body,
    "chat_completions": chat_body,
    "responses": responses_body,
}


def post(server: EmulatorServer, path: str, body: Any, **headers: str) -> httpx.Response:
    """Send a body with an API key."""
    return httpx.post(
        server.url + path, json=body, headers={"Authorization": "Bearer any", **headers}
    )


def post_native(
    server: EmulatorServer, body: Any, path: str = TEXT, **headers: str
) -> httpx.Response:
    """Send a body to the native API, which streams unless the headers differ."""
    return post(server, path, body, **{**STREAM_HEADERS, **headers})


def send(
    server: EmulatorServer, api: str, text: str = "?", *, stream: bool = True, **fields: Any
) -> httpx.Response:
    """Send the same request to one of the APIs."""
    body = BODIES[api](text, stream=stream, **fields)
    headers = STREAM_HEADERS if stream and api == "dashscope" else {}
    return post(server, PATHS[api], body, **headers)


def payloads(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the JSON of all data lines, without the [DONE] of Chat Completions."""
    lines = [line for line in response.text.split("\n") if line.startswith("data:")]
    return [json.loads(line[5:]) for line in lines if line != "data: [DONE]"]


def error_of(api: str, body: dict[str, Any]) -> tuple[str, str]:
    """Return code and message of an error that was sent in place of an answer."""
    error = body["error"] if api == "chat_completions" else body
    return error["code"], error["message"]


def text_of(api: str, response: httpx.Response) -> str:
    """Return the text of a streamed answer."""
    found = payloads(response)
    if api == "dashscope":
        return "".join(payload["output"]["choices"][0]["message"]["content"] for payload in found)
    if api == "chat_completions":
        deltas = [payload["choices"][0]["delta"] for payload in found if payload["choices"]]
        return "".join(delta["content"] or "" for delta in deltas)
    event = "response.output_text.delta"
    return "".join(payload["delta"] for payload in found if payload["type"] == event)


def finish_of(api: str, response: httpx.Response) -> str:
    """Return the finish reason of a streamed answer, as Chat Completions names it."""
    found = payloads(response)
    if api == "responses":
        incomplete = found[-1]["response"].get("incomplete_details", {}).get("reason", "stop")
        return {"max_output_tokens": "length"}.get(incomplete, incomplete)
    choices = [choice for payload in found for choice in payload.get("output", payload)["choices"]]
    return choices[-1]["finish_reason"]


def usage_of(api: str, response: httpx.Response) -> tuple[int, int, int]:
    """Return the input, output and reasoning tokens of a streamed answer."""
    last = payloads(response)[-1]
    usage = last["response"]["usage"] if api == "responses" else last["usage"]
    if api == "chat_completions":
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        return usage["prompt_tokens"], usage["completion_tokens"], reasoning
    reasoning = usage["output_tokens_details"]["reasoning_tokens"]
    return usage["input_tokens"], usage["output_tokens"], reasoning
