"""Only data restarts `stream_chunk_timeout`: comments do not keep a call alive."""

from __future__ import annotations

import time

import pytest
from entry_points import every_entry_point
from fault_server import Drip, FaultServer, head
from stream_corpus import CORPUS

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenTimeoutError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

ANSWERS = {
    api: CORPUS[name]
    for api, name in {
        "dashscope": "dashscope: one run",
        "responses": "responses: one run",
        "chat_completions": "chat_completions: an answer",
    }.items()
}
HEAD = head(content_type="text/event-stream", connection="close")


@pytest.mark.parametrize("line", [b": keep-alive\n\n", b"event: ping\n\n", b":HTTP_STATUS/200\n"])
@pytest.mark.parametrize("api", ANSWERS)
@every_entry_point
def test_lines_without_data_do_not_keep_a_call_alive(entry_point, api, line):
    body = ANSWERS[api].body
    start = body[: body.index(b"\n\n") + 2]
    play = (HEAD, start, Drip(line * 1_000, 0.01))
    with FaultServer(play) as server:
        model = ChatQwenCodeInterpreter(
            api=api, base_url=server.url, api_key="any", stream_chunk_timeout=0.3
        )
        began = time.monotonic()
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout"):
            entry_point(model)
        assert 0.3 <= time.monotonic() - began < 3


@every_entry_point
def test_silence_after_a_comment_is_limited_as_well(entry_point):
    body = ANSWERS["dashscope"].body
    start = body[: body.index(b"\n\n") + 2]
    play = (HEAD, start, Drip(b": keep-alive\n\n", 0.015), Drip(b"\n", 5.0))
    with FaultServer(play) as server:
        model = ChatQwenCodeInterpreter(
            base_url=server.url, api_key="any", stream_chunk_timeout=0.5
        )
        began = time.monotonic()
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout"):
            entry_point(model)
        assert 0.5 <= time.monotonic() - began < 0.9


@every_entry_point
def test_growing_data_keeps_a_call_alive(entry_point):
    body = ANSWERS["dashscope"].body
    data = slice(body.index(b"data:"), body.index(b"\n\n"))
    play = (HEAD, body[: data.start], Drip(body[data], 0.01), body[data.stop :])
    with FaultServer(play) as server:
        model = ChatQwenCodeInterpreter(
            base_url=server.url, api_key="any", stream_chunk_timeout=1.0
        )
        began = time.monotonic()
        assert entry_point(model)
        assert time.monotonic() - began > 1.5
