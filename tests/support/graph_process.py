"""A process that runs threads of a graph and prints their progress, one line for each step.

Its argument is JSON: the place of the checkpoints, the emulator's URL, and the runs. It prints
"runs code" when a program starts, and the final state of each run as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strict_python import STRICT_PYTHON


@contextmanager
def start_graph_process(**task: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the process in LangGraph's strict mode, with warnings as errors; kill it at the end."""
    process = subprocess.Popen(
        [*STRICT_PYTHON, Path(__file__), json.dumps(task)],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _run(task: dict[str, Any]) -> None:
    # Imported here because the test that starts the process does not need them.
    from checkpointers import comparable, saver  # noqa: PLC0415
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: PLC0415

    with saver(task["place"], JsonPlusSerializer()) as checkpointer:
        for run in task["runs"]:
            graph = _builder(task["url"], run).compile(checkpointer)
            config = {"configurable": {"thread_id": run["thread"]}}
            options = {"stream_mode": "custom", "durability": run.get("durability", "async")}
            for event in graph.stream(_input(run), config, **options):
                if event["event"] == "started":
                    print("runs code", flush=True)
            print(json.dumps(comparable(graph.get_state(config).values)), flush=True)


def _builder(url: str, run: dict[str, Any]) -> Any:
    from conversation_graphs import conversation, parallel_questions  # noqa: PLC0415

    from langchain_qwen_ci import ChatQwenCodeInterpreter  # noqa: PLC0415

    if run.get("parallel_questions"):
        return parallel_questions(ChatQwenCodeInterpreter(base_url=url, api_key="any"))
    return conversation(url, run.get("version"), run.get("question_node", "alone"))


def _input(run: dict[str, Any]) -> Any:
    from langgraph.types import Command  # noqa: PLC0415

    return Command(resume=run["resume"]) if "resume" in run else run.get("input")


if __name__ == "__main__":
    _run(json.loads(sys.argv[1]))
