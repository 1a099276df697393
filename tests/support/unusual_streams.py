"""Streams that the corpus lacks: errors, and answers with optional fields, such as logprobs.

They have no expected message; tests corrupt them and check that the decoders handle the result.
"""

from __future__ import annotations

import chat_completions_streams
import dashscope_streams
import responses_streams

_LOGPROBS = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}
_SEARCH_INFO = {"search_results": [{"index": 1, "title": "Qwen", "url": "https://qwen.example"}]}
_EXTRA_USAGE = {
    "output_tokens_details": {"reasoning_tokens": 1},
    "prompt_tokens_details": {"cached_tokens": 1},
    "plugins": {"search": {"count": 1, "strategy": "turbo"}},
}

ERROR_STREAMS = {
    "dashscope": dashscope_streams.error_frame(429, "Throttling.RateQuota", "Too many."),
    "responses": responses_streams.stream(
        responses_streams.event(
            "failed",
            response=responses_streams.response(
                "failed",
                error={"code": "server_error", "message": "<400> InvalidParameter: No."},
            ),
        )
    ),
    "chat_completions": chat_completions_streams.stream(
        {"error": {"code": "limit_requests", "type": "limit_requests", "message": "Too many."}},
        done=False,
    ),
}

STREAMS_WITH_OPTIONAL_FIELDS = {
    "dashscope": dashscope_streams.stream(
        {
            "output": {
                "choices": [{"message": {"content": "a"}, "logprobs": _LOGPROBS}],
                "search_info": _SEARCH_INFO,
            },
            "usage": dashscope_streams.usage(9, 1, **_EXTRA_USAGE),
            "request_id": dashscope_streams.REQUEST_ID,
        },
        dashscope_streams.frame(finish_reason="stop", search_info=_SEARCH_INFO),
    ),
    "responses": responses_streams.complete_stream(
        responses_streams.code_interpreter_call(
            "msg_1", "plot()", None, outputs=[{"type": "image", "url": "https://oss.example/a.png"}]
        ),
        responses_streams.function_call("msg_2", "call_a", "add", "{}"),
        usage={**responses_streams.usage(9, 1, code_interpreter=1), **_EXTRA_USAGE},
    ),
    "chat_completions": chat_completions_streams.stream(
        {
            **chat_completions_streams.text_chunk("a"),
            "search_info": _SEARCH_INFO,
            "system_fingerprint": "fp",
            "logprobs": _LOGPROBS,
            "choices": [{"delta": {"content": "a"}, "logprobs": _LOGPROBS}],
        },
        chat_completions_streams.chunk("stop"),
        chat_completions_streams.usage_chunk(9, 1, **_EXTRA_USAGE),
    ),
}
