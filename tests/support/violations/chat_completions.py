"""For each check of Chat Completions: a change that violates it, and a part of the detail."""

from __future__ import annotations

from violations.changes import (
    Change,
    accept_request,
    make_cumulative,
    make_unique,
    only_if,
    remove_field,
    remove_frames_with,
    replace_text,
    set_field,
)
from violations.several_apis import ANY_API, DASHSCOPE_AND_CHAT_COMPLETIONS

VIOLATIONS: dict[str, tuple[Change, str]] = {
    **ANY_API,
    **DASHSCOPE_AND_CHAT_COMPLETIONS,
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
        only_if(lambda reply: "stream_options" not in reply.request_json, set_field("usage", {})),
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
}
