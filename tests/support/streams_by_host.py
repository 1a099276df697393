"""Streams of Alibaba, of self-hosted servers and of gateways, each as that kind of server sends it.

Written by hand after the servers' source (vLLM, SGLang) and after what was received from them
(LiteLLM 1.108.7). Each runs `CODES`, or calls two functions where the API does not return code.
"""

from __future__ import annotations

from typing import Any

from chat_completions_streams import chunk, reasoning_chunk, text_chunk, tool_call_chunk
from chat_completions_streams import stream as chat_stream
from chat_completions_streams import usage_chunk as chat_usage
from responses_streams import (
    CREATED,
    code_interpreter_call,
    complete_stream,
    event,
    message,
    reasoning,
    response,
    stream,
    usage,
)

CODES = ["7**5", "7**6"]
REASONING = "I compute."
TEXT = "16807 and 117649."
URL = "https://news.example"
_CODE_EVENT = "code_interpreter_call_code"
_CITATION = {"type": "url_citation", "url": URL, "title": "News"}
_FENCED_LOGS = "```\n16807\n```"


def _text_item(item_id: str, text: str) -> dict[str, Any]:
    return {"type": "message", "id": item_id, "content": [{"type": "output_text", "text": text}]}


def _reasoning_item(item_id: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": REASONING}]
    return {"type": "reasoning", "id": item_id, "summary": [], "content": content}


def _execution(item_id: str, index: int, code: str) -> list[dict[str, Any]]:
    """An execution of vLLM and SGLang: no output, and the code complete in an event of its own."""
    item = {"type": "code_interpreter_call", "id": item_id, "container_id": "auto", "outputs": []}
    place = {"item_id": item_id, "output_index": index}
    return [
        event("output_item.added", output_index=index, item={**item, "code": None}),
        event(f"{_CODE_EVENT}.done", code=code, **place),
        event("output_item.done", output_index=index, item={**item, "code": code}),
    ]


def _completed(output: list[dict[str, Any]], **counts: int) -> dict[str, Any]:
    fields = {"output": output, "usage": usage(300, 60, **counts)}
    return event("completed", response=response("completed", **fields))


def _vllm_responses() -> bytes:
    """The last frame has other ids, and executions as calls of an MCP server."""
    server = {"type": "mcp_call", "server_label": "code_interpreter", "name": "python"}
    output = [
        _reasoning_item("rs_1"),
        *({**server, "id": f"mcp_{code}", "arguments": code, "output": None} for code in CODES),
        _text_item("msg_3", TEXT),
    ]
    return stream(
        CREATED,
        reasoning("a", REASONING),
        *(_execution(f"tool_{number}", number, code) for number, code in enumerate(CODES, 1)),
        message("c", TEXT),
        _completed(output),
    )


def _sglang_responses() -> bytes:
    """All items have one id, and the last frame leaves the executions out."""
    output = [_reasoning_item("rs_a"), _text_item("msg_z", TEXT)]
    return stream(
        CREATED,
        reasoning("item_1", REASONING),
        *(_execution("item_1", number, code) for number, code in enumerate(CODES, 1)),
        message("item_1", TEXT),
        _completed(output),
    )


def _gateway_responses() -> bytes:
    """LiteLLM before Alibaba's API: new ids for the response and the container, nothing removed."""
    *streamed, done = message("msg_4", TEXT)
    done["item"]["content"][0]["annotations"] = [_CITATION]
    runs = [
        code_interpreter_call(f"msg_{number}", code, _FENCED_LOGS, container_id="cntr_bGl0ZQ==")
        for number, code in enumerate(CODES, 1)
    ]
    summary = reasoning("msg_0", REASONING, kind="reasoning_summary_text")
    output = [summary[-1]["item"], *(run[-1]["item"] for run in runs), done["item"]]
    body = stream(
        CREATED, summary, *runs, [*streamed, done], _completed(output, code_interpreter=len(CODES))
    )
    return body + b"data: [DONE]\n\n"


def _alibaba_responses() -> bytes:
    return complete_stream(
        reasoning("msg_0", REASONING),
        *(
            code_interpreter_call(f"msg_{number}", code, _FENCED_LOGS)
            for number, code in enumerate(CODES, 1)
        ),
        message("msg_4", TEXT),
        usage=usage(300, 60, code_interpreter=len(CODES)),
    )


def _chat(*chunks: dict[str, Any]) -> bytes:
    return chat_stream(*chunks, chunk("tool_calls"), chat_usage(300, 60))


_CALLS = [("call_a", "add", '{"a": 1}'), ("call_b", "add", '{"a": 2}')]
_COMPLETE_CALLS = [tool_call_chunk(index, *call) for index, call in enumerate(_CALLS)]


STREAMS: dict[str, dict[str, list[bytes]]] = {
    "responses": {
        "Alibaba": [_alibaba_responses()],
        "vLLM, SGLang": [_vllm_responses(), _sglang_responses()],
        "gateways": [_gateway_responses()],
    },
    "chat_completions": {
        "Alibaba": [_chat(reasoning_chunk(REASONING), text_chunk(TEXT), *_COMPLETE_CALLS)],
        "vLLM, SGLang": [
            # vLLM: another name of reasoning; pieces of a call that have another index.
            _chat(
                chunk(reasoning=REASONING),
                text_chunk(TEXT),
                tool_call_chunk(1, "call_a", "add", ""),
                tool_call_chunk(0, "", None, '{"a": 1}'),
                tool_call_chunk(2, "call_b", "add", ""),
                tool_call_chunk(1, "", None, '{"a": 2}'),
            ),
            # SGLang: index 0 for every call. No ids.
            _chat(
                reasoning_chunk(REASONING),
                text_chunk(TEXT),
                *(tool_call_chunk(0, "", name, arguments) for _, name, arguments in _CALLS),
            ),
            # Either without a reasoning parser.
            _chat(text_chunk(f"<think>\n{REASONING}\n</think>\n\n{TEXT}"), *_COMPLETE_CALLS),
        ],
        "gateways": [
            # OpenRouter: both names of reasoning, citations.
            _chat(
                chunk(reasoning=REASONING, reasoning_content=REASONING),
                text_chunk(TEXT),
                chunk(annotations=[{"type": "url_citation", "url_citation": _CITATION}]),
                *_COMPLETE_CALLS,
            ),
        ],
    },
}
