"""Answers are data: their code is not executed, and their URLs are not fetched.

A socket cannot be opened in the unit tests, so any other request than the call's own would fail.
"""

from __future__ import annotations

import asyncio

import pytest
from chat_completions_streams import chunk, text_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import frame, tool_info
from dashscope_streams import stream as native_stream
from responses_streams import code_interpreter_call, complete_stream, message
from responses_streams import usage as responses_usage

from langchain_qwen_ci import code_executions

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

LINKS = "![plot](https://thief.example/a.png) <img src='https://thief.example/b.png'>"
OUTPUT_IMAGE = {"type": "image", "url": "https://thief.example/c.png"}


def answers(code: str) -> dict[str, bytes]:
    return {
        "dashscope": native_stream(
            frame(tool_info=tool_info(code)),
            frame(content=LINKS, finish_reason="stop", tool_info=tool_info(code)),
        ),
        "responses": complete_stream(
            code_interpreter_call("ci_1", code, LINKS, outputs=[OUTPUT_IMAGE]),
            message("msg_1", LINKS),
            usage=responses_usage(1, 1),
        ),
        "chat_completions": chat_stream(text_chunk(LINKS), chunk("stop")),
    }


@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_code_is_not_executed_and_urls_are_not_fetched(mock_service, tmp_path, api: str):
    proof = tmp_path / "executed"
    code = f"open({str(proof)!r}, 'w').close()"
    backend = mock_service(answers(code)[api])
    model = backend.model(api=api)
    messages = [model.invoke("?"), asyncio.run(model.ainvoke("?"))]
    for answer in messages:
        assert "thief.example" in answer.text
        assert [execution["code"] for execution in code_executions(answer)] == (
            [] if api == "chat_completions" else [code]
        )
        assert answer.content_blocks
        model.invoke(["?", answer, "And now?"])
    assert "".join(str(piece.text) for piece in model.stream("?")) == LINKS
    assert not proof.exists()
    assert len(backend.requests) == 5
