"""The emulator speaks as the service does: raw bytes, refusals, faults, sandbox, lifetime."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import threading
import time
from http import HTTPStatus
from typing import Any

import dashscope
import httpx
import pytest
from dashscope import Generation, MultiModalConversation
from dashscope.api_entities.http_request import close_shared_sync_session
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import (
    Call,
    Cut,
    EmulatorServer,
    ErrorBody,
    ErrorFrame,
    Finish,
    Garbage,
    Limits,
    RecordedRequest,
    Reset,
    Run,
    Say,
    Script,
    Stall,
    Status,
    Think,
)
from langchain_qwen_ci.errors import (
    QwenAuthenticationError,
    QwenError,
    QwenInvalidRequestError,
    QwenModelNotFoundError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
)

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

TEXT = "/api/v1/services/aigc/text-generation/generation"
MULTIMODAL = "/api/v1/services/aigc/multimodal-generation/generation"
QUESTION = "What is 123 to the power of 21?"
RESULT = "77269364466549865653073473388030061522211723"


def model_of(server: EmulatorServer, **fields: Any) -> ChatQwenCodeInterpreter:
    return ChatQwenCodeInterpreter(**{"base_url": server.url, "api_key": "any", **fields})


def payload(content: Any = QUESTION, model: str = "qwen3-max", **parameters: Any) -> dict[str, Any]:
    return {
        "model": model,
        "input": {"messages": [{"role": "user", "content": content}]},
        "parameters": {
            "result_format": "message",
            "incremental_output": True,
            "enable_thinking": True,
            "enable_code_interpreter": True,
            **parameters,
        },
    }


def post(server: EmulatorServer, body: Any, path: str = TEXT, **headers: str) -> httpx.Response:
    sent = {"Authorization": "Bearer any", "X-DashScope-SSE": "enable", **headers}
    return httpx.post(server.url + path, json=body, headers=sent)


def payloads(response: httpx.Response) -> list[dict[str, Any]]:
    """Read the frames as their description says, not as our client does."""
    frame = re.compile(r"id:(\d+)\nevent:result\n:HTTP_STATUS/200\ndata:(\{.*\})")
    found = [frame.fullmatch(text) for text in response.text.removesuffix("\n\n").split("\n\n")]
    assert all(found)
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    return [json.loads(match[2]) for match in found]


def test_text_generation_frames(qwen_emulator):
    response = post(qwen_emulator, payload())
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = payloads(response)
    ids = {frame["request_id"] for frame in frames}
    assert ids == {response.headers["x-request-id"]}
    choices = [frame["output"]["choices"][0] for frame in frames]
    assert [choice["finish_reason"] for choice in choices] == [
        *["null"] * (len(frames) - 1),
        "stop",
    ]
    messages = [choice["message"] for choice in choices]
    assert all(isinstance(message["content"], str) for message in messages)
    assert all(isinstance(message["reasoning_content"], str) for message in messages)
    assert messages[-1] == {"content": "", "reasoning_content": "", "role": "assistant"}
    assert RESULT in "".join(message["content"] for message in messages)


def test_tool_info_and_usage_are_cumulative(qwen_emulator):
    frames = payloads(post(qwen_emulator, payload("first 2**5, then divide that by 7")))
    displayed = [frame["output"].get("tool_info") for frame in frames]
    entry = {"code_interpreter": {"code": "2**5"}, "type": "code_interpreter"}
    second = {"code_interpreter": {"code": "2**5 / 7"}, "type": "code_interpreter"}
    steps = [next(iter(group)) for _, group in itertools.groupby(displayed)]
    assert steps == [None, [entry], [entry, second]]
    counts = [frame["usage"].get("plugins") for frame in frames]
    expected = {
        None: None,
        1: {"code_interpreter": {"count": 1}},
        2: {"code_interpreter": {"count": 2}},
    }
    assert counts == [expected[len(info) if info else None] for info in displayed]
    inputs = [frame["usage"]["input_tokens"] for frame in frames]
    assert inputs == sorted(inputs)
    assert len(set(inputs)) == 3
    outputs = [frame["usage"]["output_tokens"] for frame in frames]
    assert outputs == sorted(outputs)
    empty_before_code = frames[displayed.index([entry]) - 1]["output"]["choices"][0]["message"]
    assert empty_before_code["content"] == empty_before_code["reasoning_content"] == ""


def test_multimodal_generation_frames(qwen_emulator):
    body = payload([{"text": QUESTION}], "qwen3.5-plus")
    frames = payloads(post(qwen_emulator, body, MULTIMODAL))
    messages = [frame["output"]["choices"][0]["message"] for frame in frames]
    thinking = [message for message in messages if message["content"] == []]
    speaking = messages[len(thinking) :]
    assert all("reasoning_content" in message for message in thinking)
    assert all(list(message) == ["content", "role"] for message in speaking)
    assert all(list(message["content"][0]) == ["text"] for message in speaking)
    assert frames[-1]["output"]["choices"][0]["finish_reason"] == "stop"
    assert speaking[-1]["content"][0]["text"]


def test_accept_header_alone_streams(qwen_emulator):
    response = post(
        qwen_emulator, payload(), **{"X-DashScope-SSE": "", "Accept": "text/event-stream"}
    )
    assert payloads(response)


def test_unstreamed_answer_without_the_interpreter(qwen_emulator):
    body = payload("Hello", enable_code_interpreter=False, enable_thinking=False)
    response = post(qwen_emulator, body, **{"X-DashScope-SSE": ""})
    choice = response.json()["output"]["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "off" in choice["message"]["content"]


REFUSALS = {
    "no streaming": (payload(), {"X-DashScope-SSE": ""}, "Non-streaming mode does not support"),
    "tools": (payload(tools=[{"type": "function", "function": {"name": "f"}}]), {}, "Agent mode"),
    "thinking off": (payload(enable_thinking=False), {}, "Please set enable_thinking to true"),
    "not incremental": (payload(incremental_output=False), {}, "incremental_output"),
    "no message format": (payload(result_format="text"), {}, "result_format"),
    "list content": (payload([{"text": "x"}]), {}, "input content must be a string."),
    "wrong path": (payload(model="qwen3.5-plus"), {}, "url error, please check url\uff01"),
    "no model": (payload(model=""), {}, "model"),
    "no messages": ({"model": "qwen3-max", "input": {"messages": []}}, {}, "messages"),
    "a strange role": (
        {"model": "qwen3-max", "input": {"messages": [{"role": "x", "content": ""}]}},
        {},
        "Role must be",
    ),
    "too warm": (payload(temperature=2), {}, "temperature"),
    "no object": ([1], {}, "JSON object"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_error_messages(qwen_emulator, name):
    body, headers, text = REFUSALS[name]
    response = post(qwen_emulator, body, **headers)
    assert response.status_code == 400
    assert text in response.json()["message"]
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.json()["code"] in ("InvalidParameter", "BadRequest")


def test_unknown_models_paths_and_keys():
    with EmulatorServer(api_key="right") as server:
        assert post(server, payload()).json()["code"] == "InvalidApiKey"
        with pytest.raises(QwenAuthenticationError, match="Invalid API-key"):
            model_of(server).invoke("?")
        right = {"Authorization": "Bearer right"}
        assert post(server, payload(model="gpt-x"), **right).json()["code"] == "ModelNotFound"
        assert post(server, payload(), "/api/v1/nothing", **right).status_code == 404
        assert httpx.post(server.url + TEXT, json=payload()).status_code == 401
        assert server.requests[0].headers["authorization"] == "***"
        assert server.requests[0].body == payload()


def test_unknown_model_is_an_error(qwen_emulator):
    # Without a warning, which is an error in these tests: the host is not Alibaba's.
    model = model_of(qwen_emulator, model="gpt-y")
    with pytest.raises(QwenModelNotFoundError, match="Model not exist"):
        model.invoke("?")


def test_wrong_path_error_is_explained(qwen_emulator):
    model = model_of(qwen_emulator, model="qwen3.5-plus", endpoint="text-generation")
    with pytest.raises(QwenInvalidRequestError, match='endpoint="multimodal-generation"'):
        model.invoke("?")


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3.5-plus", "qwen3.6-plus-2026-04-02"])
def test_model_answers_with_executed_code(qwen_emulator, name):
    model = model_of(qwen_emulator, model=name)
    message = model.invoke(QUESTION)
    assert RESULT in message.content
    (run,) = code_executions(message)
    assert (run["code"], run["status"]) == ("123**21", "completed")
    assert plugin_counts(message) == {"code_interpreter": 1}
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds == ["reasoning", "server_tool_call", "reasoning", "text"]
    assert message.response_metadata["request_id"]
    model.close()


PLANS = {
    QUESTION: ["123**21"],
    "run the interpreter twice: first 123 to the power of 23, then divide that by 5": [
        "123**23",
        "123**23 / 5",
    ],
    "What is 12 squared plus 5?": ["12**2 + 5"],
    "the square root of 2": ["import math\nmath.sqrt(2)"],
    "17 plus 4 times 3": ["17 + 4 * 3"],
    "divide 10 by 4": ["10 / 4"],
    "multiply 6 by 7": ["6 * 7"],
    "add 3 to 4": ["4 + 3"],
    "subtract 3 from 10": ["10 - 3"],
    "15 percent of 80": ["80 * 15 / 100"],
    "factorial of 20": ["import math\nmath.factorial(20)"],
    "sum of the numbers from 1 to 100": ["sum(range(1, 100 + 1))"],
    "What is 1,234 times 2?": ["1234 * 2"],
    "5^3": ["5**3"],
    "3 x 4": ["3 * 4"],
    "(3+4)*5/7 =": ["(3 + 4) * 5 / 7"],
    "Please run this:\n```python\nx = 6\nprint(x * 7)\n```": ["x = 6\nprint(x * 7)"],
    "first 12 squared, then minus 5": ["12**2", "12**2 - 5"],
    "2 plus 3, then square it, then divide the result by 5": [
        "2 + 3",
        "(2 + 3)**2",
        "(2 + 3)**2 / 5",
    ],
    "(" * 5000 + "1 + 1": [],
    "Who are you?": [],
    "Call me on 555 or 666.": [],
}


@pytest.mark.parametrize("question", PLANS)
def test_planner_converts_questions_to_code(question):
    with EmulatorServer() as server:
        message = model_of(server).invoke(question)
    assert [run["code"] for run in code_executions(message)] == PLANS[question]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 12 cubed?", "1728"),
        ("first 123 to the power of 23, then divide that by 5", "2.338016430028866e+47"),
        ("```python\nprint('a' * 3)\n```", "aaa"),
        ("```python\n1/0\n```", "ZeroDivisionError"),
        ("```python\ndef f(:\n```", "SyntaxError"),
        ("Who are you?", "planner"),
    ],
)
def test_code_is_executed(qwen_emulator, question, answer):
    assert answer in model_of(qwen_emulator).invoke(question).content


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def test_planner_calls_functions_without_the_interpreter(qwen_emulator):
    model = model_of(qwen_emulator, enable_code_interpreter=False).bind_tools([multiply])
    sent = model.invoke("multiply 6 by 7")
    (call,) = sent.tool_calls
    assert (call["name"], call["args"]) == ("multiply", {"a": 6, "b": 7})
    assert sent.response_metadata["finish_reason"] == "tool_calls"
    assert code_executions(sent) == []
    answer = model.invoke(["multiply 6 by 7", sent, multiply.invoke(call)])
    assert "42" in answer.content


def scripted(*turns: Any, **options: Any) -> EmulatorServer:
    return EmulatorServer(responder=Script(*turns), **options)


def test_script_answers_in_order():
    turn = [
        Think("A."),
        Run("x = 20", appears_empty=True),
        Say("So "),
        Run("x + 1"),
        Think("B."),
        Say("it is 21."),
        Finish("length"),
    ]
    with scripted(turn, lambda question: [Say(question.text[::-1])]) as server:
        message = model_of(server).invoke("?")
        assert [run["code"] for run in code_executions(message)] == ["x = 20", "x + 1"]
        assert [block["type"] for block in message.content_blocks] == [
            "reasoning",
            "server_tool_call",
            "text",
            "server_tool_call",
            "reasoning",
            "text",
        ]
        assert message.response_metadata["finish_reason"] == "length"
        assert model_of(server).invoke("abc").content == "cba"
        with pytest.raises(QwenServerError, match="2 turns"):
            model_of(server, max_retries=0).invoke("abc")


def test_responder_receives_the_result_of_a_run():
    class Doubter:
        def respond(self, request):
            first = yield Run("6 * 7")
            second = yield Run("1/0")
            yield Say(f"{first.output} {second.failed} {second.output.splitlines()[-1]}")

    with EmulatorServer(responder=Doubter()) as server:
        answer = model_of(server).invoke("?").content
    assert answer == "42 True ZeroDivisionError: division by zero"


def test_parallel_calls():
    turn = [Call("a", {"x": 1}, id="call_1"), Call("b", {"y": "é"})]
    with scripted(turn) as server:
        message = model_of(server, enable_code_interpreter=False).invoke("?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [
        ("a", {"x": 1}),
        ("b", {"y": "é"}),
    ]
    assert message.tool_calls[0]["id"] == "call_1"


ATTACKS = {
    "files": "open('/etc/passwd').read()",
    "network": "import socket",
    "processes": "import subprocess",
    "environment": "import os\nos.environ['PATH']",
    "time": "while True: pass",
    "memory": "[0] * 10**9",
    "recursion": "def f(): f()\nf()",
    "a number too long to print": "10**5000",
    "a number too large to compute": "10**10**9",
    "output without end": "while True: print('x' * 100_000)",
    "nesting": "x = []\nfor _ in range(10**6): x = [x]\nx",
    "source": "(" * 100_000,
    "imports by another door": "__import__('os').system('id')",
    "classes": "().__class__.__bases__[0].__subclasses__()",
    "the interpreter": "import sys\nsys.modules",
    "paths": "from pathlib import Path\nPath('/etc/passwd').read_text()",
    "its standard input": "input()",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_sandbox_limits_code(name):
    outcome: list[Any] = []

    class Attacker:
        def respond(self, request):
            outcome.append((yield Run(ATTACKS[name])))
            yield Say("still here")

    limits = Limits(seconds=0.3, memory=32 * 1024 * 1024)
    with EmulatorServer(responder=Attacker(), limits=limits) as server:
        message = model_of(server, api="responses").invoke("?")
        assert message.content == "still here"
    assert outcome[0].failed
    assert len(outcome[0].output) < 2**20
    assert code_executions(message)[0]["status"] == "failed"  # which its traceback says


def test_long_output_is_truncated():
    limits = Limits(output=100)
    with EmulatorServer(
        responder=Script([Run("'x' * 10**6"), Say("done")]), limits=limits
    ) as server:
        message = model_of(server, api="responses").invoke("?")
    assert code_executions(message)[0]["output"] == f"'{'x' * 99}… (999902 more)"


ANSWER = [Think("Let me compute it."), Run("6 * 7"), Say("It is 42, I am sure of that.")]


@pytest.mark.parametrize(
    ("fault", "kind", "partial"),
    [
        (Status(429, "Throttling", "Slow.", {"retry-after": "0"}), QwenRateLimitError, False),
        (Status(500), QwenServerError, False),
        (ErrorBody("InvalidParameter", "Bad."), QwenInvalidRequestError, False),
        (ErrorFrame(after=9, status=500), QwenServerError, True),
        (Garbage(after=9), QwenStreamError, True),
        (Cut(after=9), QwenStreamError, True),
        (Cut(after=9, bytes_into_next=40), QwenStreamError, True),
        (Reset(after=9), QwenStreamError, True),
    ],
)
def test_injected_faults(fault, kind, partial):
    with scripted(ANSWER, ANSWER, faults=(fault, None)) as server:
        model = model_of(server, max_retries=0)
        with pytest.raises(kind) as caught:
            model.invoke("?")
        assert (caught.value.partial is not None) is partial
        if partial:
            assert [run["code"] for run in code_executions(caught.value.partial)] == ["6 * 7"]
            assert caught.value.partial.usage_metadata["input_tokens"] > 0
        assert model.invoke("?").content == "It is 42, I am sure of that."
        model.close()


def test_temporary_fault_is_retried():
    with EmulatorServer() as server:
        server.inject_fault(
            Status(429, "Throttling", "Slow.", {"retry-after-ms": "1"}), Status(503)
        )
        assert RESULT in model_of(server).invoke(QUESTION).content
        assert len(server.requests) == 3


def test_faults_can_be_a_function_of_the_request():
    def fault(received: RecordedRequest) -> Status | None:
        return Status(400, "InvalidParameter") if "spoil" in str(received.body) else None

    with EmulatorServer(responder=Script(*[[Say("Yes.")]] * 3), faults=fault) as server:
        model = model_of(server, max_retries=0)
        for _ in range(2):
            with pytest.raises(QwenInvalidRequestError):
                model.invoke("spoil this")
            assert model.invoke("?").content == "Yes."
        server.inject_fault(Status(503))  # what is ordered goes before
        with pytest.raises(QwenServerError):
            model.invoke("?")
        assert model.invoke("?").content == "Yes."


def test_stall_is_a_timeout_with_partial():
    with scripted(ANSWER, faults=(Stall(after=9, seconds=30),)) as server:
        started = time.monotonic()
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout") as caught:
            model_of(server, stream_chunk_timeout=0.2).invoke("?")
        assert code_executions(caught.value.partial)
    assert time.monotonic() - started < 10  # neither client nor server waits for the stall


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.4])
def test_server_stops_while_code_runs(after):
    endless = [Run("while True: pass")]
    server = scripted(endless, limits=Limits(seconds=30)).start()
    started = threading.Event()

    def ask() -> None:
        started.set()
        with contextlib.suppress(QwenError):
            model_of(server, max_retries=0).invoke("?")

    thread = threading.Thread(target=ask)
    thread.start()
    started.wait()
    time.sleep(after)
    before = time.monotonic()
    server.stop()
    assert time.monotonic() - before < 5
    thread.join()


def test_disconnect_ends_a_run():
    endless, short = [Think("Hm."), Run("while True: pass")], [Run("1"), Say("done")]
    with scripted(*[endless] * 20, short, limits=Limits(seconds=60)) as server:
        impatient = model_of(server, stream_chunk_timeout=0.3)

        async def ask() -> None:
            with contextlib.suppress(QwenTimeoutError):
                await impatient.ainvoke("?")

        async def many() -> None:
            await asyncio.gather(*(ask() for _ in range(20)))

        asyncio.run(many())
        # More runs than there are workers have been left: one must be free again.
        assert model_of(server, stream_chunk_timeout=20).invoke("?").content == "done"


def test_stopped_server_leaves_nothing_behind():
    before = threading.active_count()
    servers = [EmulatorServer().start() for _ in range(3)]
    assert len({server.url for server in servers}) == 3
    for server in servers:
        assert RESULT in model_of(server).invoke(QUESTION).content
        server.stop()
        server.stop()
    assert threading.active_count() == before
    with pytest.raises(QwenError):
        model_of(servers[0], max_retries=0).invoke("?")


def test_used_port_raises_an_error(qwen_emulator):
    port = int(qwen_emulator.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        EmulatorServer(port=port).start()


async def test_server_works_inside_a_running_loop(qwen_emulator):
    model = model_of(qwen_emulator)
    answers = await asyncio.gather(*(model.ainvoke(f"What is {n} squared?") for n in range(20)))
    assert [f"= {n * n}." in answer.content for n, answer in enumerate(answers)] == [True] * 20
    await model.aclose()


def test_one_model_works_in_successive_loops(qwen_emulator):
    model = model_of(qwen_emulator)
    for _ in range(3):
        assert RESULT in asyncio.run(model.ainvoke(QUESTION)).content


def test_connections_are_reused(qwen_emulator):
    model = model_of(qwen_emulator)
    ports = set()

    async def many() -> None:
        for _ in range(3):
            await model.ainvoke(QUESTION)

    for _ in range(3):
        model.invoke(QUESTION)
    pool = model._cached_transport._client.get()._transport._pool
    ports |= {str(connection) for connection in pool.connections}
    assert len(ports) == 1
    asyncio.run(many())
    model.close()


CHAIN_INPUT = {"base": 123, "exponent": 21}


def test_chain_with_prompt_and_parser(qwen_emulator):
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be exact."), ("user", "What is {base} to the power of {exponent}?")]
    )
    chain = prompt | model_of(qwen_emulator) | StrOutputParser()
    whole = chain.invoke(CHAIN_INPUT)
    assert RESULT in whole
    assert "".join(chain.stream(CHAIN_INPUT)) == whole
    assert chain.batch([CHAIN_INPUT] * 3) == [whole] * 3

    async def asynchronously() -> None:
        assert await chain.ainvoke(CHAIN_INPUT) == whole
        assert "".join([piece async for piece in chain.astream(CHAIN_INPUT)]) == whole
        assert await chain.abatch([CHAIN_INPUT] * 3) == [whole] * 3

    asyncio.run(asynchronously())


@pytest.fixture
def sdk(qwen_emulator, monkeypatch):
    """The official SDK, pointed at the emulator."""
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{qwen_emulator.url}/api/v1")
    yield qwen_emulator
    close_shared_sync_session()


SDK_OPTIONS: dict[str, Any] = {
    "api_key": "any",
    "stream": True,
    "incremental_output": True,
    "result_format": "message",
    "enable_thinking": True,
    "enable_code_interpreter": True,
}


def test_dashscope_sdk_reads_text_generation(sdk):
    messages = [{"role": "user", "content": QUESTION}]
    *_, last = responses = list(
        Generation.call(model="qwen3-max", messages=messages, **SDK_OPTIONS)
    )
    ours = model_of(sdk).invoke(QUESTION)
    assert {response.status_code for response in responses} == {HTTPStatus.OK}
    text = [response.output.choices[0].message for response in responses]
    assert "".join(message.content for message in text) == ours.content
    reasoning = "".join(message.reasoning_content for message in text)
    assert reasoning == ours.additional_kwargs["reasoning_content"]
    codes = [entry["code_interpreter"]["code"] for entry in last.output["tool_info"]]
    assert codes == [run["code"] for run in code_executions(ours)]
    assert last.usage["plugins"] == ours.response_metadata["plugins"]
    assert last.usage["input_tokens"] == ours.usage_metadata["input_tokens"]
    assert last.usage["output_tokens"] == ours.usage_metadata["output_tokens"]


def test_dashscope_sdk_reads_multimodal_generation(sdk):
    messages = [{"role": "user", "content": [{"text": QUESTION}]}]
    *_, last = responses = list(
        MultiModalConversation.call(model="qwen3.5-plus", messages=messages, **SDK_OPTIONS)
    )
    ours = model_of(sdk, model="qwen3.5-plus").invoke(QUESTION)
    parts = [
        part for response in responses for part in response.output.choices[0].message.content or []
    ]
    assert "".join(part["text"] for part in parts) == ours.content
    codes = [entry["code_interpreter"]["code"] for entry in last.output["tool_info"]]
    assert codes == [run["code"] for run in code_executions(ours)]
    assert last.usage["plugins"] == ours.response_metadata["plugins"]


def test_dashscope_sdk_raises_the_same_errors(sdk):
    messages = [{"role": "user", "content": QUESTION}]
    (refused,) = Generation.call(model="qwen3.5-plus", messages=messages, **SDK_OPTIONS)
    assert (refused.status_code, refused.code) == (400, "InvalidParameter")
    assert refused.message.startswith("url error")
    sdk.inject_fault(ErrorFrame(after=3, status=500, code="InternalError", message="Broken."))
    *_, broken = Generation.call(model="qwen3-max", messages=messages, **SDK_OPTIONS)
    assert (broken.code, broken.message) == ("InternalError", "Broken.")
