"""The traces in docs/langsmith.md are real; `UPDATE_DOCS=1` writes them to the page."""

from __future__ import annotations

import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langsmith_server import LangSmithServer, Run, langsmith_server

from langchain_qwen_ci import (
    ChatQwenCodeInterpreter,
    CodeInterpreterState,
    QwenCodeInterpreterNode,
)
from langchain_qwen_ci.emulator import Cut, EmulatorServer, Say, Script, Think
from langchain_qwen_ci.emulator import Run as Code
from langchain_qwen_ci.errors import QwenStreamError

__all__ = ["langsmith_server"]  # a fixture

PAGE = Path(__file__).parents[3] / "docs" / "langsmith.md"
QUESTION = "What is the mean of 3, 4 and 8?"
TURN = [
    Think("I compute the mean."),
    Code("sum(prices) / len(prices)"),
    Think("The prices are not there yet."),
    Code("prices = [3, 4, 8]\nprint(sum(prices) / len(prices))"),
    Say("The mean is 5."),
]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_METADATA = (
    "ls_provider",
    "ls_model_type",
    "ls_model_name",
    "ls_temperature",
    "plugins",
    "inference_usage",
    "usage_metadata",
)


def tree_text(run: Run) -> str:
    """Return a run tree as text, with the tokens of model runs and the code of tool runs."""
    lines = [f"{run.run_type}  {run.name}{_tokens(run)}"]
    if run.run_type == "tool":
        details = {"code": run.inputs["code"], **((run.outputs or {}).get("output") or {})}
        details |= {"error": run.error} if run.error else {}
        lines += [_labelled(name, value) for name, value in details.items()]
    lines += [textwrap.indent(tree_text(child), "    ") for child in run.children]
    return "\n".join(lines)


def _tokens(run: Run) -> str:
    if not run.usage:
        return ""
    tokens = f"{run.usage['input_tokens']} input tokens, {run.usage['output_tokens']} output tokens"
    return f"  {run.metadata['ls_model_name']}, {tokens}"


def _labelled(name: str, value: str) -> str:
    first, *others = value.splitlines()
    return "\n".join([f"  {name + ':':8}{first}", *(f"{'':10}{line}".rstrip() for line in others)])


def to_json(value: Any) -> str:
    """Return indented JSON with "…" in place of request ids."""
    return _ID.sub("…", json.dumps(value, indent=2, ensure_ascii=False))


def make_model(url: str, api: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(base_url=url, api_key="any", api=api, temperature=0.2)


def tree(server: LangSmithServer, url: str) -> str:
    builder = StateGraph(CodeInterpreterState)
    builder.add_node(QwenCodeInterpreterNode(make_model(url, "responses")))
    builder.add_edge(START, "code_interpreter")
    builder.compile().invoke({"messages": [("user", QUESTION)]})
    return tree_text(server.root())


def metadata(server: LangSmithServer, url: str) -> str:
    make_model(url, "dashscope").invoke(QUESTION)
    run = server.root()
    return to_json({name: run.metadata[name] for name in _METADATA})


def response_metadata(server: LangSmithServer, url: str) -> str:
    make_model(url, "dashscope").invoke(QUESTION)
    return to_json(server.root().message["response_metadata"])


def interrupted(server: LangSmithServer, url: str) -> str:
    with pytest.raises(QwenStreamError):
        make_model(url, "dashscope").invoke(QUESTION)
    (*_, ((generation,))) = server.root().outputs["generations"]
    return to_json(generation["message"]["kwargs"]["response_metadata"]["body"])


BLOCKS = {
    "tree": tree,
    "metadata": metadata,
    "response_metadata": response_metadata,
    "interrupted": interrupted,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_page_matches_the_captured_trace(langsmith_server: LangSmithServer, name: str):
    faults = (Cut(after=12),) if name == "interrupted" else ()
    with EmulatorServer(responder=Script(TURN), faults=faults) as server:
        captured = BLOCKS[name](langsmith_server, server.url) + "\n"
    page = PAGE.read_text()
    block = re.compile(rf"(<!-- captured: {name} -->\n```\w+\n)(.*?)(```\n)", re.DOTALL)
    assert block.search(page), f"the page has no block {name!r}"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(block.sub(lambda match: match[1] + captured + match[3], page))
    else:
        assert block.search(page)[2] == captured
