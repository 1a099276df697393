"""The load test, small, so that it stays alive; and that it sees what is wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import plan
import pytest
import service
from strict_python import STRICT_PYTHON

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.errors import QwenError

_LOAD = Path(__file__).parent / "load" / "load.py"
_SMALL = (
    *("--streams=60", "--threads=8", "--calls=4", "--rounds=4"),
    *("--pace=0.03", "--silence=5", "--seconds=90"),
)

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_small_load_is_borne():
    done = subprocess.run(
        [*STRICT_PYTHON, _LOAD, *_SMALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Everything is as it must be.\n")
    assert done.stderr == ""


@pytest.fixture
def mind():
    return service.Mind()


@pytest.fixture
def server(mind):
    with EmulatorServer(mind=mind, faults=service.Spoiler(mind)) as server:
        yield server


async def outcome(model: ChatQwenCodeInterpreter, number: int) -> Any:
    try:
        return await model.ainvoke(plan.asked(number))
    except QwenError as error:
        return error


@pytest.mark.parametrize("api", plan.APIS)
async def test_every_spoilt_and_every_healthy_answer_is_as_planned(server, mind, api):
    model = ChatQwenCodeInterpreter(
        api=api, base_url=server.url, api_key="any", stream_chunk_timeout=1.0
    )
    spoilt = [plan.SPOILT + plan.ONE_OF * kind for kind in range(len(plan.SPOILINGS))]
    assert {plan.spoiling(number) for number in spoilt} == set(plan.SPOILINGS)
    numbers = [*spoilt, *range(10)]
    outcomes = await asyncio.gather(*(outcome(model, number) for number in numbers))
    requests = mind.seen().requests
    for number, seen in zip(numbers, outcomes, strict=True):
        assert plan.wrong(api, number, seen, requests[number]) == []


@pytest.mark.parametrize("api", plan.APIS)
async def test_answers_that_are_not_as_planned_are_found(server, api):
    model = ChatQwenCodeInterpreter(api=api, base_url=server.url, api_key="any")
    right = await outcome(model, 5)
    assert plan.wrong(api, 5, right, 1) == []
    assert found(api, 5, right, requests=2) == {"2"}
    seen = {"text", "reasoning", "usage"} | ({"code"} if api != "chat_completions" else set())
    assert found(api, 8, right) >= seen - {"usage"}
    assert found(api, 6, right) >= seen
    right.response_metadata.pop("plugins", None)
    assert ("counts" in found(api, 5, right)) is (api != "chat_completions")
    assert "in place of a message" in plan.wrong(api, 5, QwenError("no"), 1)[0]


async def test_errors_that_are_not_as_planned_are_found(server):
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    numbers = {
        plan.SPOILINGS[kind].name: plan.SPOILT + plan.ONE_OF * kind
        for kind in range(len(plan.SPOILINGS))
    }
    cut = await outcome(model, numbers["cut early"])
    assert plan.wrong("dashscope", numbers["cut early"], cut, 1) == []
    assert found("dashscope", numbers["cut inside"], cut) == {"partial:"}
    assert "in place of" in plan.wrong("dashscope", numbers["error early"], cut, 1)[0]
    assert "a partial" in plan.wrong("dashscope", numbers["reset at once"], cut, 1)[0]
    cut.partial = None
    assert "in place of" in plan.wrong("dashscope", numbers["cut early"], cut, 1)[0]


def found(api: str, number: int, seen: Any, *, requests: int = 1) -> set[str]:
    """What differs, by the first word of each difference."""
    differences = plan.wrong(api, number, seen, requests)
    return {difference.partition("): ")[2].split()[0] for difference in differences}
