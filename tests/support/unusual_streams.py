"""Streams that mean no message of the corpus: all that may stand beside an answer, and errors."""

from __future__ import annotations

import chat_completions_streams
import dashscope_streams
import responses_streams

_FAILED = {"code": "server_error", "message": "<400> InvalidParameter: No."}
_PROBABLE = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}
_FOUND = {"search_results": [{"index": 1, "title": "Qwen", "url": "https://qwen.example"}]}
_BESIDE = {"search_info": _FOUND, "system_fingerprint": "fp", "logprobs": _PROBABLE}
_COUNTED = {
    "output_tokens_details": {"reasoning_tokens": 1},
    "prompt_tokens_details": {"cached_tokens": 1},
    "plugins": {"search": {"count": 1, "strategy": "turbo"}},
}
ERRORS = {
    "dashscope": dashscope_streams.error_frame(429, "Throttling.RateQuota", "Too many."),
    "responses": responses_streams.stream(
        responses_streams.event(
            "failed", response=responses_streams.response("failed", error=_FAILED)
        )
    ),
    "chat_completions": chat_completions_streams.stream(
        {"error": {"code": "limit_requests", "type": "limit_requests", "message": "Too many."}},
        done=False,
    ),
}
RICH = {
    "dashscope": dashscope_streams.stream(
        {
            "output": {
                "choices": [{"message": {"content": "a"}, "logprobs": _PROBABLE}],
                "search_info": _FOUND,
            },
            "usage": dashscope_streams.usage(9, 1, **_COUNTED),
            "request_id": dashscope_streams.REQUEST_ID,
        },
        dashscope_streams.frame(finish_reason="stop", search_info=_FOUND),
    ),
    "responses": responses_streams.complete_stream(
        responses_streams.code_interpreter_call(
            "msg_1", "plot()", None, outputs=[{"type": "image", "url": "https://oss.example/a.png"}]
        ),
        responses_streams.function_call("msg_2", "call_a", "add", "{}"),
        usage={**responses_streams.usage(9, 1, code_interpreter=1), **_COUNTED},
    ),
    "chat_completions": chat_completions_streams.stream(
        {
            **chat_completions_streams.text_chunk("a"),
            **_BESIDE,
            "choices": [{"delta": {"content": "a"}, "logprobs": _PROBABLE}],
        },
        chat_completions_streams.chunk("stop"),
        chat_completions_streams.usage_chunk(9, 1, **_COUNTED),
    ),
}
