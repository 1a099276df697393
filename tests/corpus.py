"""Every stream of every wire, by a name that says which."""

from __future__ import annotations

import chat_wire
import native
import responses_wire
from streams import REQUEST_ID, Stream

CORPUS: dict[str, Stream] = {
    f"{api}: {name}": stream
    for api, streams in (
        ("dashscope", native.STREAMS),
        ("responses", responses_wire.STREAMS),
        ("chat_completions", chat_wire.STREAMS),
    )
    for name, stream in streams.items()
}

__all__ = ["CORPUS", "REQUEST_ID", "Stream"]
