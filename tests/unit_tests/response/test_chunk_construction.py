"""Chunks that are constructed without validation equal those that LangChain validates."""

from __future__ import annotations

import pickle

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_qwen_ci.response.chunk_construction import generation_chunk, message_chunk

METADATA = {"model_provider": "qwen"}
ID = "lc_run--1"
CONTENTS = pytest.mark.parametrize(
    "content",
    [
        "",
        "text",
        [{"type": "text", "text": "text", "index": 0}],
        [{"type": "reasoning", "reasoning": "Let me compute.", "index": 0}],
        [{"type": "server_tool_call_chunk", "id": "ci_1", "args": '"}', "index": 1}],
    ],
)


def validated(content):
    return AIMessageChunk(content=content, additional_kwargs={}, response_metadata=METADATA, id=ID)


@CONTENTS
def test_message_chunk_equals_a_validated_one(content):
    chunk, expected = message_chunk(content, METADATA, ID), validated(content)
    assert chunk == expected
    assert chunk.__dict__ == expected.__dict__
    assert chunk.model_fields_set == expected.model_fields_set
    assert chunk.model_extra == expected.model_extra
    assert dumpd(chunk) == dumpd(expected)
    assert pickle.loads(pickle.dumps(chunk)) == expected
    assert chunk.content_blocks == expected.content_blocks
    assert chunk + chunk == expected + expected


@CONTENTS
def test_generation_chunk_equals_a_validated_one(content):
    chunk = generation_chunk(message_chunk(content, METADATA, ID))
    expected = ChatGenerationChunk(message=validated(content))
    assert chunk == expected
    assert chunk.__dict__ == expected.__dict__
    assert chunk.model_fields_set == expected.model_fields_set
    assert dumpd(chunk) == dumpd(expected)
    assert chunk + chunk == expected + expected


def test_chunks_share_no_values():
    first, second = message_chunk("", METADATA, ID), message_chunk("", METADATA, ID)
    for name in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
        getattr(first, name).append({})
    first.additional_kwargs["added"] = first.response_metadata["added"] = True
    first.added = True
    assert second == validated("")
    assert message_chunk("", METADATA, ID) == validated("")


def test_additional_kwargs_are_those_that_were_given():
    chunk = message_chunk("", METADATA, ID, {"reasoning_content": "Let me compute."})
    assert chunk.additional_kwargs == {"reasoning_content": "Let me compute."}
