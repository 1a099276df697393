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

_LOAD = Path(__file__).parents[2] / "load" / "load.py"
_SMALL = (
    *("--streams=60", "--threads=8", "--calls=4", "--rounds=4"),
    *("--pace=0.03", "--silence=5", "--seconds=90"),
)

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_small_load_test_passes(transport):
    done = subprocess.run(
        [*STRICT_PYTHON, _LOAD, *_SMALL, f"--transport={transport}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Everything is as it must be.\n")
    assert done.stderr == ""


@pytest.fixture
def responder():
    return service.Responder()


@pytest.fixture
def server(responder):
    with EmulatorServer(responder=responder, faults=service.FaultInjector(responder)) as server:
        yield server


async def outcome(model: ChatQwenCodeInterpreter, number: int) -> Any:
    try:
        return await model.ainvoke(plan.prompt(number))
    except QwenError as error:
        return error


@pytest.mark.parametrize("api", plan.APIS)
async def test_answers_with_and_without_faults_are_as_expected(server, responder, api):
    model = ChatQwenCodeInterpreter(
        api=api, base_url=server.url, api_key="any", stream_chunk_timeout=1.0
    )
    with_fault = [
        plan.WITH_FAULT + plan.FAULT_INTERVAL * kind for kind in range(len(plan.PLANNED_FAULTS))
    ]
    assert {plan.fault_plan(number) for number in with_fault} == set(plan.PLANNED_FAULTS)
    numbers = [*with_fault, *range(10)]
    outcomes = await asyncio.gather(*(outcome(model, number) for number in numbers))
    requests = responder.observed().requests
    for number, observed in zip(numbers, outcomes, strict=True):
        assert plan.wrong(api, number, observed, requests[number]) == []


@pytest.mark.parametrize("api", plan.APIS)
async def test_unexpected_answers_are_detected(server, api):
    model = ChatQwenCodeInterpreter(api=api, base_url=server.url, api_key="any")
    right = await outcome(model, 5)
    assert plan.wrong(api, 5, right, 1) == []
    assert found(api, 5, right, requests=2) == {"2"}
    observed = {"text", "reasoning", "usage"} | ({"code"} if api != "chat_completions" else set())
    assert found(api, 8, right) >= observed - {"usage"}
    assert found(api, 6, right) >= observed
    right.response_metadata["plugins"] = {"code_interpreter": {"count": 7}}
    assert "counts" in found(api, 5, right)
    assert "in place of a message" in plan.wrong(api, 5, QwenError("no"), 1)[0]


async def test_unexpected_errors_are_detected(server):
    model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any")
    numbers = {
        plan.PLANNED_FAULTS[kind].name: plan.WITH_FAULT + plan.FAULT_INTERVAL * kind
        for kind in range(len(plan.PLANNED_FAULTS))
    }
    cut = await outcome(model, numbers["cut early"])
    assert plan.wrong("dashscope", numbers["cut early"], cut, 1) == []
    assert found("dashscope", numbers["cut inside"], cut) == {"partial:"}
    assert "in place of" in plan.wrong("dashscope", numbers["error early"], cut, 1)[0]
    assert "a partial" in plan.wrong("dashscope", numbers["reset at once"], cut, 1)[0]
    cut.partial = None
    assert "in place of" in plan.wrong("dashscope", numbers["cut early"], cut, 1)[0]


def found(api: str, number: int, observed: Any, *, requests: int = 1) -> set[str]:
    """What differs, by the first word of each difference."""
    differences = plan.wrong(api, number, observed, requests)
    return {difference.partition("): ")[2].split()[0] for difference in differences}
