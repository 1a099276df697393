"""`merge_message_runs` and other functions of LangChain keep the data of two answers apart."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    merge_message_runs,
    message_chunk_to_message,
    message_to_dict,
)
from langgraph.graph import add_messages

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer, Run, Say, Script, Think

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

FIRST = [Think("Compute it."), Run("6 * 7"), Think("Again."), Run("6 * 8"), Say("42 and 48")]
SECOND = [Think("Another product, and a longer thought."), Run("7 * 8"), Think("So."), Say("56")]


def sum_of(chunks: Iterator[Any]) -> AIMessage:
    return message_chunk_to_message(functools.reduce(operator.add, chunks))


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "stream": lambda model: sum_of(model.stream("?")),
    "stream_events": lambda model: model.stream_events("?", version="v3").output,
}
every_api = pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS)


def answers_of(
    turns: list[Any], api: Any, version: str | None, entry_point: str
) -> list[AIMessage]:
    with EmulatorServer(responder=Script(*turns)) as server:
        model = ChatQwenCodeInterpreter(
            base_url=server.url,
            api_key="any",
            api=api,
            output_version=version,
            enable_thinking=True,
        )
        return [ENTRY_POINTS[entry_point](model) for _ in turns]


@every_api
@every_entry_point
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_merged_answers_have_the_records_of_both(api, version, entry_point):
    answers = answers_of([FIRST, SECOND], api, version, entry_point)
    (merged,) = merge_message_runs(answers)
    assert code_executions(merged) == code_executions(answers)
    assert code_executions(message_to_dict(merged)) == code_executions(merged)
    assert plugin_counts(merged) == plugin_counts(answers)


@every_api
@every_entry_point
def test_merged_v1_answers_have_the_blocks_of_both(api, entry_point):
    first, second = answers_of([FIRST, SECOND], api, "v1", entry_point)
    (merged,) = merge_message_runs([first, second])
    assert merged.content == [*first.content, *second.content]
    indexes = [block["index"] for block in merged.content]
    assert len(set(indexes)) == len(indexes)


def texts_and_codes(message: AIMessage) -> list[str]:
    """Return the text of each block, with the code of programs and the output of results."""
    return [
        block.get("reasoning") or block.get("text") or block.get("output") or block["args"]["code"]
        for block in message.content_blocks
    ]


PLAIN = [Think("No code is needed."), Say("You are welcome.")]
TURNS = {
    "two with programs": [FIRST, SECOND],
    "three": [FIRST, SECOND, FIRST],
    "without program first": [PLAIN, FIRST, SECOND],
    "without program last": [FIRST, SECOND, PLAIN],
    "program and no reasoning": [[Run("1 + 1"), Say("2")], SECOND],
}


@pytest.mark.parametrize("entry_point", ["invoke", "stream"])
@pytest.mark.parametrize("api", ["dashscope", "responses"])
@pytest.mark.parametrize("turns", TURNS)
def test_blocks_of_merged_answers_are_in_order(turns, api, entry_point):
    answers = answers_of(TURNS[turns], api, None, entry_point)
    (merged,) = merge_message_runs(answers)
    expected = [text for answer in answers for text in texts_and_codes(answer)]
    # LangChain adds a line break between the texts.
    assert [text.removesuffix("\n") for text in texts_and_codes(merged)] == expected
    texts = [block["text"] for block in merged.content_blocks if block["type"] == "text"]
    assert "".join(texts) == merged.text


@every_api
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_added_answers_stay_two_messages(api, version):
    answers = answers_of([FIRST, SECOND], api, version, "invoke")
    assert add_messages([answers[0]], [answers[1]]) == answers


@pytest.mark.parametrize("api", ["dashscope", "responses"])
def test_first_v1_chunks_have_the_executions_so_far(api):
    with EmulatorServer(responder=Script(FIRST)) as server:
        model = ChatQwenCodeInterpreter(
            base_url=server.url, api_key="any", api=api, output_version="v1"
        )
        *chunks, _ = model.stream("?")
    sums = list(itertools.accumulate(chunks, operator.add))
    assert [run["code"] for run in code_executions(sums[-1])] == ["6 * 7", "6 * 8"]
    assert code_executions(sums[0]) == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_call", "name": "code_interpreter", "id": 1, "args": {"code": "x"}},
        {"type": "server_tool_call", "name": "code_interpreter", "id": "a", "args": {"code": 1}},
        {"type": "server_tool_call", "name": "code_interpreter", "id": "a", "args": None},
        {"type": "server_tool_call", "name": "code_interpreter", "id": "a", "args": "\\x"},
        {"type": "server_tool_call_chunk", "name": "code_interpreter", "id": "a", "args": "\\x"},
        {"type": "server_tool_call", "name": "web_search", "id": "a", "args": {"code": "x"}},
        {"type": "server_tool_result", "tool_call_id": "a", "output": "x", "extras": 5},
        {"type": "server_tool_result", "tool_call_id": "a", "output": "x", "extras": {"images": 5}},
        "text",
    ],
)
def test_blocks_of_another_shape_are_no_executions(block):
    metadata = {"model_provider": "qwen"}
    assert code_executions(AIMessage([block], response_metadata=metadata)) == []
