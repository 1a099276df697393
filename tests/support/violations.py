"""Changes to the emulator's replies: for each conformance check, one that violates it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx


@dataclass(frozen=True)
class RecordedReply:
    """A reply of the emulator, and the request that it answers."""

    request: httpx.Request
    status: int
    headers: dict[str, str]
    body: str

    @property
    def request_json(self) -> dict[str, Any]:
        return json.loads(self.request.content)


Change = Callable[[RecordedReply], RecordedReply]


# Changes to the whole reply.


def set_status(status: int) -> Change:
    return lambda reply: replace(reply, status=status)


def replace_text(pattern: str, new: str) -> Change:
    """Replace every match of a regular expression in the body."""
    return lambda reply: replace(reply, body=re.sub(pattern, new, reply.body))


def accept_request(reply: RecordedReply) -> RecordedReply:
    """Answer a request that should be rejected."""
    body = '{"output":{"choices":[]},"choices":[],"output_text":""}'
    return replace(reply, status=200, body=body)


def remove_headers(reply: RecordedReply) -> RecordedReply:
    return replace(reply, headers={})


def only_if(condition: Callable[[RecordedReply], bool], change: Change) -> Change:
    return lambda reply: change(reply) if condition(reply) else reply


# Changes to frames.


def change_frames(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the list of frames of a stream."""

    def apply(reply: RecordedReply) -> RecordedReply:
        frames = change(reply.body.removesuffix("\n\n").split("\n\n"))
        return replace(reply, body="".join(f"{frame}\n\n" for frame in frames))

    return apply


def remove_frames_with(text: str) -> Change:
    return change_frames(lambda frames: [frame for frame in frames if text not in frame])


# Changes to JSON.


def change_payloads(change: Callable[[list[Any]], Any]) -> Change:
    """Change in place the JSON objects of all frames, or that of a reply without frames."""

    def apply(reply: RecordedReply) -> RecordedReply:
        lines = reply.body.split("\n")
        numbers = [n for n, line in enumerate(lines) if re.match(r"(data: ?)?\{", line)]
        prefixes = [lines[n][: lines[n].index("{")] for n in numbers]
        payloads = [
            json.loads(lines[n].removeprefix(prefix))
            for n, prefix in zip(numbers, prefixes, strict=True)
        ]
        change(payloads)
        for n, prefix, payload in zip(numbers, prefixes, payloads, strict=True):
            lines[n] = prefix + json.dumps(payload, ensure_ascii=False)
        return replace(reply, body="\n".join(lines))

    return apply


def change_each_payload(change: Callable[[Any], Any]) -> Change:
    return change_payloads(lambda payloads: [change(payload) for payload in payloads])


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from objects_in(part)


def set_field(name: str, new: Any) -> Change:
    """Replace the value of every field with this name."""

    def change(payload: Any) -> None:
        for found in list(objects_in(payload)):
            if name in found:
                found[name] = new

    return change_each_payload(change)


def remove_field(name: str) -> Change:
    def change(payload: Any) -> None:
        for found in list(objects_in(payload)):
            found.pop(name, None)

    return change_each_payload(change)


def make_cumulative(name: str) -> Change:
    """Repeat in every frame the text that the earlier frames have in this field."""

    def change(payloads: list[Any]) -> None:
        text = ""
        for payload in payloads:
            for found in objects_in(payload):
                if isinstance(found.get(name), str):
                    text += found[name]
                    found[name] = text

    return change_payloads(change)


def make_unique(name: str) -> Change:
    """Give the field a different value in every frame."""

    def change(payloads: list[Any]) -> None:
        for number, payload in enumerate(payloads):
            found = payload.get("response", payload)
            if name in found:
                found[name] = f"{number}"

    return change_payloads(change)


def set_in_last_frame(name: str, new: Any) -> Change:
    return change_payloads(
        lambda payloads: [
            found.update({name: new}) for found in objects_in(payloads[-1]) if name in found
        ]
    )


def keep_last_program(payload: Any) -> None:
    output = payload["output"]
    if "tool_info" in output:
        output["tool_info"] = output["tool_info"][-1:]


def change_code_calls(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change every code_interpreter_call item of Responses."""

    def change_payload(payload: Any) -> None:
        for found in objects_in(payload):
            if found.get("type") == "code_interpreter_call":
                change(found)

    return change_each_payload(change_payload)


# For each check: a change that violates it, and a part of the detail that is then reported.

_ANY_API = {
    "request-id-header-is-sent": (remove_headers, "the header is missing"),
    "wrong-key-is-rejected": (set_status(403), "HTTP 403"),
    "reasoning-tokens-are-reported": (remove_field("reasoning_tokens"), "there is no"),
}
_DASHSCOPE_AND_CHAT_COMPLETIONS = {
    "interpreter-excludes-functions": (accept_request, "the request was accepted"),
    "interpreter-requires-streaming": (accept_request, "the request was accepted"),
    "max-tokens-ends-answer": (replace_text('"length"', '"stop"'), 'is "stop" and not "length"'),
    "stop-sequence-ends-text": (replace_text(r'"content":"', '"content":"e'), "e is in"),
    "unknown-model-is-rejected": (set_status(400), "HTTP 400"),
}
_DASHSCOPE_AND_RESPONSES = {
    "frame-ids-count-from-one": (replace_text(r"(?m)^id:2$", "id:7"), "the list of ids"),
    "no-space-follows-colon": (replace_text(r"(?m)^data:", "data: "), "there is a space"),
    "errors-have-code-and-request-id": (remove_field("request_id"), "there is no request_id"),
}
VIOLATIONS: dict[str, dict[str, tuple[Change, str]]] = {
    "dashscope": {
        "interpreter-requires-thinking": (accept_request, "the request was accepted"),
        **_ANY_API,
        **_DASHSCOPE_AND_CHAT_COMPLETIONS,
        **_DASHSCOPE_AND_RESPONSES,
        "frames-use-sse-fields": (
            replace_text(r":HTTP_STATUS/200\n", ""),
            "no comment with its status",
        ),
        "stream-ends-without-done": (
            change_frames(lambda frames: [*frames, "data:[DONE]"]),
            "there is a [DONE]",
        ),
        "finish-reason-comes-last": (set_field("finish_reason", None), "before the end is null"),
        "deltas-are-increments": (make_cumulative("reasoning_content"), "pieces repeat"),
        "text-and-reasoning-are-streamed": (
            set_field("reasoning_content", ""),
            "no frame has reasoning_content",
        ),
        "text-fields-are-strings": (remove_field("reasoning_content"), "there is no"),
        "last-frame-has-no-text": (set_in_last_frame("content", "42"), 'is ["42", ""]'),
        "tool-info-has-code": (set_field("code", ""), "has no code"),
        "code-never-changes": (change_each_payload(keep_last_program), "the code changes from"),
        "tool-info-has-no-output": (
            replace_text(r'"code":("[^"]*")', r'"code":\1,"output":"42"'),
            'is ["code", "output"] and not ["code"]',
        ),
        "count-comes-with-code": (remove_field("plugins"), "the count is 0 and the code is"),
        "count-is-number-of-programs": (set_field("count", 9), "the count is 9 and not 2"),
        "usage-is-cumulative": (set_in_last_frame("output_tokens", 1), "output_tokens decreases"),
        "usage-includes-every-inference": (
            set_field("input_tokens", 10),
            "10 in the first frame and 10 in the last",
        ),
        "frames-share-request-id": (make_unique("request_id"), "the number of request_ids"),
        "conversation-is-accepted": (
            replace_text('"stop"', '"length"'),
            'is "length" and not "stop"',
        ),
        "streaming-is-optional-without-interpreter": (
            remove_field("request_id"),
            "there is no request_id",
        ),
        "accept-header-starts-stream": (
            only_if(
                lambda reply: "x-dashscope-sse" not in reply.request.headers,
                accept_request,
            ),
            "this is not a stream",
        ),
        "thinking-requires-incremental-output": (accept_request, "the request was accepted"),
        "thinking-requires-message-format": (
            replace_text("InvalidParameter", "Other"),
            "400, Other and not 400",
        ),
        "wrong-path-is-rejected": (replace_text("url error", "error"), "the message is"),
        "text-path-rejects-list-content": (accept_request, "the request was accepted"),
    },
    "responses": {
        **_ANY_API,
        **_DASHSCOPE_AND_RESPONSES,
        "frames-use-sse-fields": (replace_text(r"(?m)^event:.*\n", ""), "0 lines of"),
        "stream-ends-with-terminal-event": (
            change_frames(lambda frames: [*frames, "data:[DONE]"]),
            "there is a [DONE]",
        ),
        "stream-starts-with-created": (
            replace_text('"queued"', '"completed"'),
            "the start of the stream is",
        ),
        "sequence-number-increases": (
            set_field("sequence_number", 1),
            "the list of sequence_numbers",
        ),
        "events-share-response-id": (make_unique("id"), "the number of ids"),
        "items-are-added-and-done-once": (
            change_frames(lambda frames: [*frames[:-2], frames[-1]]),
            "the list of items that are done",
        ),
        "item-id-refers-to-open-item": (
            set_field("item_id", "msg_of_another"),
            "no open item has the item_id",
        ),
        "message-has-all-events": (
            remove_frames_with("event:response.content_part.done"),
            "events of a message",
        ),
        "reasoning-has-all-events": (
            remove_frames_with("event:response.reasoning_text.done"),
            "events of a reasoning",
        ),
        "code-call-has-all-events": (
            remove_frames_with("call.interpreting"),
            "events of a code_interpreter_call",
        ),
        "deltas-are-increments": (set_field("delta", "1"), "pieces repeat"),
        "message-text-is-in-parts": (
            replace_text('"type":"output_text"', '"type":"blob"'),
            'a part is "blob"',
        ),
        "reasoning-text-is-in-summary": (set_field("summary", []), "there is no summary.0.text"),
        "done-call-has-code-and-output": (
            change_code_calls(lambda call: call.update(outputs=[])),
            "there is no outputs.0.logs",
        ),
        "added-call-has-complete-code": (
            change_code_calls(
                lambda call: call.update(code="" if call["status"] == "in_progress" else "1")
            ),
            'the code is "" and not "1"',
        ),
        "output-is-fenced": (set_field("logs", "42"), 'the logs are "42"'),
        "final-response-repeats-items": (set_field("output", []), "the list of items is []"),
        "usage-adds-up": (set_field("total_tokens", 0), "total_tokens is 0"),
        "count-is-number-of-programs": (set_field("count", 9), "the count is 9 and not 2"),
        "x-details-repeats-counts": (
            remove_field("plugins"),
            "there is no x_details.-1.plugins",
        ),
        "count-is-absent-without-programs": (
            replace_text('"usage":{', '"usage":{"x_tools":{},'),
            "usage has x_tools",
        ),
        "interpreter-works-without-streaming": (
            change_code_calls(lambda call: call.pop("outputs")),
            "there is no outputs",
        ),
        "conversation-is-accepted": (
            replace_text('"completed"', '"incomplete"'),
            'status is "incomplete"',
        ),
        "previous-response-id-is-accepted": (
            only_if(lambda reply: "previous_response_id" in reply.request_json, set_status(400)),
            "HTTP 400",
        ),
        "older-path-is-served": (set_status(404), "HTTP status is 404"),
        "max-tokens-ends-answer": (
            replace_text("response.incomplete", "response.completed"),
            "the last event is",
        ),
        "max-tokens-below-16-is-rejected": (accept_request, "the request was accepted"),
        "interpreter-requires-thinking": (replace_text("enable_thinking", "it"), "the error is"),
        "web-extractor-requires-web-search": (
            replace_text("response.failed", "response.completed"),
            "the last event is",
        ),
        "unknown-model-is-rejected": (set_status(500), "HTTP 500"),
    },
    "chat_completions": {
        **_ANY_API,
        **_DASHSCOPE_AND_CHAT_COMPLETIONS,
        "frames-have-one-data-line": (
            replace_text(r"(?m)^data:", "id:1\ndata:"),
            "the number of a frame's lines is 2",
        ),
        "space-follows-colon": (
            replace_text(r"(?m)^data: ", "data:"),
            "a frame begins with data:{",
        ),
        "stream-ends-with-done": (
            remove_frames_with("[DONE]"),
            "the number of [DONE] frames is 0",
        ),
        "chunks-share-id-and-model": (make_unique("id"), "the number of ids"),
        "deltas-have-one-kind-of-text": (
            replace_text('"content":null', '"content":""'),
            "a delta is",
        ),
        "first-delta-has-role": (set_field("role", "user"), 'the role is "user"'),
        "finish-reason-comes-last": (
            replace_text('"finish_reason":null', '"finish_reason":"null"'),
            "before the end",
        ),
        "deltas-are-increments": (make_cumulative("content"), "pieces repeat"),
        "text-and-reasoning-are-streamed": (
            set_field("reasoning_content", None),
            "no delta has reasoning_content",
        ),
        "usage-comes-in-last-chunk": (
            remove_frames_with('"choices":[]'),
            "choices of the last chunk",
        ),
        "usage-requires-include-usage": (
            only_if(
                lambda reply: "stream_options" not in reply.request_json, set_field("usage", {})
            ),
            "usage is {}",
        ),
        "usage-adds-up": (set_field("total_tokens", 0), "total_tokens is 0"),
        "code-is-not-returned": (
            replace_text('"content":', '"tool_info":[],"content":'),
            "a chunk has tool_info",
        ),
        "conversation-is-accepted": (
            replace_text('"stop"', '"length"'),
            'is ["length"] and not ["stop"]',
        ),
        "streaming-is-optional-without-interpreter": (
            set_field("object", "other"),
            'the object is "other"',
        ),
        "rejections-have-service-texts": (replace_text("Agent mode", "It"), "the message is"),
        "tools-must-be-functions": (accept_request, "the request was accepted"),
        "errors-have-message-type-and-code": (remove_field("type"), "there is no error.type"),
    },
}
VIOLATION_CASES = [
    (f"{api}/{name}", change, detail)
    for api, violations in VIOLATIONS.items()
    for name, (change, detail) in violations.items()
]
