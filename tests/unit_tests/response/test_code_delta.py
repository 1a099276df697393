"""`code_delta`: the code of streamed blocks, whole or in pieces, in each output version."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from dashscope_streams import STREAMS, frame, stream, tool_info
from langchain_core.messages import AIMessageChunk
from mock_service import MockService
from stream_corpus import CORPUS

from langchain_qwen_ci import code_delta, code_executions

STREAMING_PAGE = Path(__file__).parents[3] / "docs" / "streaming.md"
every_version = pytest.mark.parametrize("version", [None, "v1"])
# Code with everything that JSON escapes, and with text that looks like the JSON around it.
ESCAPED = 'print({"a"})\n\tx = "{\\"code\\": \\"" + "\\\\"  # π \U0001f600 "}'
PIECES = [ESCAPED[:end] for end in range(len(ESCAPED) + 1)]


def chunks_of(body: bytes, **fields: Any) -> list[AIMessageChunk]:
    return list(MockService([body]).model(**fields).stream("?"))


def blocks_of(chunks: list[AIMessageChunk]) -> list[Any]:
    return [block for chunk in chunks for block in chunk.content_blocks]


def codes_by_id(blocks: list[Any]) -> dict[str, str]:
    codes: dict[str, str] = {}
    for block in blocks:
        if "server_tool_call" in block["type"]:
            codes[block["id"]] = codes.get(block["id"], "") + code_delta(block)
    return {call_id: code for call_id, code in codes.items() if code}


@every_version
@pytest.mark.parametrize("name", [name for name, expected in CORPUS.items() if expected.codes])
def test_deltas_of_a_stream_are_its_code(name, version):
    expected = CORPUS[name]
    chunks = chunks_of(expected.body, api=expected.api, output_version=version)
    records = code_executions(sum(chunks[1:], chunks[0]))
    assert codes_by_id(blocks_of(chunks)) == {
        record["id"]: record["code"] for record in records if record["code"]
    }


@every_version
def test_pieces_are_not_escaped(version):
    frames = [frame(tool_info=tool_info(code)) for code in PIECES]
    body = stream(*frames, frame(content="x", finish_reason="stop"))
    chunks = chunks_of(body, output_version=version)
    assert [delta for block in blocks_of(chunks) if (delta := code_delta(block))] == list(ESCAPED)
    message = chunks[0]
    for chunk, code in zip(chunks[1:], PIECES[1:], strict=False):
        message += chunk
        assert "".join(map(code_delta, message.content_blocks)) == code


@every_version
def test_blocks_of_one_program_have_its_id_and_index(version):
    first, second = tool_info("1"), tool_info("1", "2")
    body = stream(
        frame(tool_info=tool_info("")),
        frame(tool_info=first),
        frame(tool_info=tool_info("1", "")),
        frame(tool_info=second),
        frame(content="x", tool_info=second, finish_reason="stop"),
    )
    chunks = chunks_of(body, output_version=version)
    keys = [
        (block["id"], block["index"])
        for block in blocks_of(chunks)
        if "server_tool_call" in block["type"]
    ]
    one, two = dict.fromkeys(keys)
    assert one[0] != two[0]
    assert one[1] != two[1]
    assert keys[:4] == [one, one, two, two]
    message = sum(chunks[1:], chunks[0])
    assert [block["id"] for block in message.content_blocks[:2]] == [one[0], two[0]]


def test_chunk_with_more_code_is_no_execution_of_its_own():
    chunks = chunks_of(STREAMS["code that is empty at first, then grows"].body)
    assert [[run["code"] for run in code_executions(chunk)] for chunk in chunks[1:4]] == [
        [""],
        [],
        [],
    ]


def test_other_blocks_have_no_code():
    search = {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {"q": "x"}}
    result = {"type": "server_tool_result", "tool_call_id": "1", "output": "x"}
    for block in (search, result, {"type": "text", "text": "x"}):
        assert code_delta(block) == ""


def printed_by_documented_loop(chunks: list[AIMessageChunk], capsys: Any) -> str:
    page = STREAMING_PAGE.read_text()
    loop = re.search(r"^    for block in .*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"code_delta": code_delta, "printed": None}
    capsys.readouterr()
    for names["chunk"] in chunks:
        exec(textwrap.dedent(loop[0]), names)
    return capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Chat Completions runs code")
@pytest.mark.parametrize("name", CORPUS)
def test_documented_loop_prints_the_same_in_every_version(name, capsys):
    expected = CORPUS[name]
    outputs = []
    for version in (None, "v1"):
        chunks = chunks_of(expected.body, api=expected.api, output_version=version)
        outputs.append(printed_by_documented_loop(chunks, capsys))
    assert outputs[0] == outputs[1]


@every_version
def test_documented_loop_prints_no_blank_lines_between_programs(version, capsys):
    both = tool_info("1 + 1", "2 + 2")
    body = stream(
        frame(reasoning="Think."),
        frame(tool_info=tool_info("")),
        frame(tool_info=tool_info("1 +")),
        frame(tool_info=tool_info("1 + 1")),
        frame(tool_info=tool_info("1 + 1", "")),
        frame(tool_info=both),
        frame(content="2 and 4", tool_info=both, finish_reason="stop"),
    )
    printed = printed_by_documented_loop(chunks_of(body, output_version=version), capsys)
    assert printed == "\nThink.\n1 + 1\n2 + 2\n2 and 4"
