"""Violations of checks that several APIs have: a change, and a part of the reported detail."""

from __future__ import annotations

from violations.changes import (
    Change,
    accept_request,
    remove_field,
    remove_headers,
    replace_text,
    set_status,
)

ANY_API: dict[str, tuple[Change, str]] = {
    "request-id-header-is-sent": (remove_headers, "the header is missing"),
    "wrong-key-is-rejected": (set_status(403), "HTTP 403"),
    "reasoning-tokens-are-reported": (remove_field("reasoning_tokens"), "there is no"),
}
DASHSCOPE_AND_CHAT_COMPLETIONS: dict[str, tuple[Change, str]] = {
    "interpreter-excludes-functions": (accept_request, "the request was accepted"),
    "forced-call-excludes-thinking": (replace_text("tool_choice", "it"), "the message is"),
    "interpreter-requires-streaming": (accept_request, "the request was accepted"),
    "max-tokens-ends-answer": (replace_text('"length"', '"stop"'), 'is "stop" and not "length"'),
    "stop-sequence-ends-text": (replace_text(r'"content":"', '"content":"e'), "e is in"),
    "unknown-model-is-rejected": (set_status(400), "HTTP 400"),
}
DASHSCOPE_AND_RESPONSES: dict[str, tuple[Change, str]] = {
    "frame-ids-count-from-one": (replace_text(r"(?m)^id:2$", "id:7"), "the list of ids"),
    "no-space-follows-colon": (replace_text(r"(?m)^data:", "data: "), "there is a space"),
    "errors-have-code-and-request-id": (remove_field("request_id"), "there is no request_id"),
}
