"""For each check of Responses: a change that violates it, and a part of the detail."""

from __future__ import annotations

from violations.changes import (
    Change,
    accept_request,
    change_code_calls,
    change_each_payload,
    change_frames,
    is_method,
    make_unique,
    only_if,
    remove_field,
    remove_frames_with,
    replace_text,
    set_field,
    set_status,
)
from violations.several_apis import ANY_API, DASHSCOPE_AND_RESPONSES

VIOLATIONS: dict[str, tuple[Change, str]] = {
    **ANY_API,
    **DASHSCOPE_AND_RESPONSES,
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
    "response-id-starts-with-resp": (replace_text('"resp_', '"msg_'), 'the id is "msg_'),
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
    "stored-response-is-returned": (
        only_if(is_method("GET"), replace_text('"completed"', '"queued"')),
        'status is "queued" and not "completed"',
    ),
    "input-items-are-listed": (
        only_if(is_method("GET"), set_field("data", [])),
        "there is no data.0.role",
    ),
    "deleted-response-is-not-found": (
        only_if(is_method("GET"), set_status(200)),
        "the request was accepted",
    ),
    "allowed-tools-are-accepted": (set_status(400), "HTTP status is 400"),
    "required-choice-calls-the-tool": (set_field("output", []), "no function is called"),
    "interpreter-accepts-functions": (set_status(400), "HTTP status is 400"),
    "parallel-tool-calls-is-ignored": (
        change_each_payload(lambda document: document.update(output=document["output"][:1])),
        'the functions that are called are ["look_up"]',
    ),
    "text-format-is-ignored": (set_field("text", '{"a": "b"}'), 'the answer is {"a": "b"}'),
    "unknown-fields-are-ignored": (set_status(400), "HTTP status is 400"),
    "conversation-excludes-previous-response": (
        only_if(lambda reply: "conversation" in reply.request_json, accept_request),
        "the request was accepted",
    ),
    "reasoning-item-requires-id": (accept_request, "the request was accepted"),
    "unknown-effort-is-rejected": (replace_text("medium", "middle"), "the message is"),
    "background-is-rejected": (replace_text("support background", "work"), "the message is"),
    "unknown-model-is-rejected": (set_status(500), "HTTP 500"),
}
