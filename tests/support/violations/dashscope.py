"""For each check of the native API: a change that violates it, and a part of the detail."""

from __future__ import annotations

from violations.changes import (
    Change,
    accept_request,
    change_each_payload,
    change_frames,
    keep_last_program,
    make_cumulative,
    make_unique,
    only_if,
    remove_field,
    replace_text,
    set_field,
    set_in_last_frame,
)
from violations.several_apis import ANY_API, DASHSCOPE_AND_CHAT_COMPLETIONS, DASHSCOPE_AND_RESPONSES

VIOLATIONS: dict[str, tuple[Change, str]] = {
    "interpreter-requires-thinking": (accept_request, "the request was accepted"),
    **ANY_API,
    **DASHSCOPE_AND_CHAT_COMPLETIONS,
    **DASHSCOPE_AND_RESPONSES,
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
}
