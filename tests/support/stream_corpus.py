"""All stream fixtures, by name: `CORPUS["dashscope: one run"]`."""

from __future__ import annotations

import chat_completions_streams
import dashscope_streams
import responses_streams
from stream_fixture import REQUEST_ID, Stream

CORPUS: dict[str, Stream] = {
    f"{api}: {name}": stream
    for api, streams in (
        ("dashscope", dashscope_streams.STREAMS),
        ("responses", responses_streams.STREAMS),
        ("chat_completions", chat_completions_streams.STREAMS),
    )
    for name, stream in streams.items()
}

__all__ = ["CORPUS", "REQUEST_ID", "Stream"]
