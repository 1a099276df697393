"""Sends the same request to each API of the emulator with plain httpx, and reads the response."""

from __future__ import annotations

import json
from typing import Any

import httpx

from langchain_qwen_ci.emulator import EmulatorServer

TEXT = "/api/v1/services/aigc/text-generation/generation"
MULTIMODAL = "/api/v1/services/aigc/multimodal-generation/generation"
CHAT = "/compatible-mode/v1/chat/completions"
RESPONSES = "/compatible-mode/v1/responses"
OLDER_RESPONSES = "/api/v2/apps/protocols/compatible-mode/v1/responses"
PATHS = {"dashscope": TEXT, "chat_completions": CHAT, "responses": RESPONSES}
WIRES = tuple(PATHS)
QWEN = "qwen3-max"


def dashscope(text: str = "?", /, *, interpreter: bool = True, **parameters: Any) -> dict[str, Any]:
    parameters.pop("stream", None)  # DashScope streams if the X-DashScope-SSE header is set
    return {
        "model": QWEN,
        "input": {"messages": [{"role": "user", "content": text}]},
        "parameters": {
            "result_format": "message",
            "incremental_output": True,
            "enable_thinking": interpreter,
            "enable_code_interpreter": interpreter,
            **parameters,
        },
    }


def chat(text: str = "?", /, *, interpreter: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "model": QWEN,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "enable_thinking": interpreter,
        "enable_code_interpreter": interpreter,
        **more,
    }


def responses(text: str = "?", /, *, interpreter: bool = True, **more: Any) -> dict[str, Any]:
    if "max_tokens" in more:
        more["max_output_tokens"] = more.pop("max_tokens")
    return {
        "model": QWEN,
        "input": text,
        "stream": True,
        "enable_thinking": interpreter,
        "tools": [{"type": "code_interpreter"}] if interpreter else [],
        **more,
    }


BODIES = {"dashscope": dashscope, "chat_completions": chat, "responses": responses}


def post(server: EmulatorServer, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    sent = {"Authorization": "Bearer any", **headers}
    return httpx.post(server.url + path, json=body, headers=sent)


def ask(
    server: EmulatorServer, wire: str, text: str = "?", *, stream: bool = True, **more: Any
) -> httpx.Response:
    """Send one user message to an API, streamed or not."""
    body = BODIES[wire](text, stream=stream, **more)
    headers = {"X-DashScope-SSE": "enable"} if stream and wire == "dashscope" else {}
    return post(server, PATHS[wire], body, **headers)


def data(response: httpx.Response) -> list[dict[str, Any]]:
    """Parse the data lines of a stream, without the final `[DONE]`."""
    lines = [line for line in response.text.split("\n") if line.startswith("data:")]
    return [json.loads(line[5:]) for line in lines if line != "data: [DONE]"]


def error_of(wire: str, body: dict[str, Any]) -> tuple[str, str]:
    """Return code and message of the JSON body of an HTTP error."""
    error = body["error"] if wire == "chat_completions" else body
    return error["code"], error["message"]


def text_of(wire: str, response: httpx.Response) -> str:
    """Join the text deltas of a stream."""
    if wire == "dashscope":
        return "".join(d["output"]["choices"][0]["message"]["content"] for d in data(response))
    if wire == "chat_completions":
        deltas = [d["choices"][0]["delta"] for d in data(response) if d["choices"]]
        return "".join(delta["content"] or "" for delta in deltas)
    kind = "response.output_text.delta"
    return "".join(d["delta"] for d in data(response) if d["type"] == kind)


def finish_of(wire: str, response: httpx.Response) -> str:
    """Return the finish reason of a stream, with the values of Chat Completions."""
    if wire == "responses":
        last = data(response)[-1]["response"]
        incomplete = last.get("incomplete_details", {}).get("reason", "stop")
        return {"max_output_tokens": "length"}.get(incomplete, incomplete)
    choices = [c for d in data(response) for c in d.get("output", d)["choices"]]
    return choices[-1]["finish_reason"]


def usage_of(wire: str, response: httpx.Response) -> tuple[int, int, int]:
    """Return the input, output and reasoning tokens of a stream."""
    last = data(response)[-1]
    usage = last["response"]["usage"] if wire == "responses" else last["usage"]
    if wire == "chat_completions":
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        return usage["prompt_tokens"], usage["completion_tokens"], reasoning
    reasoning = usage["output_tokens_details"]["reasoning_tokens"]
    return usage["input_tokens"], usage["output_tokens"], reasoning
