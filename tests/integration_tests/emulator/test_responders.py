"""Scripts and responders of the user: their steps, results and errors."""

from __future__ import annotations

import pytest
from emulator_requests import STREAM_HEADERS, TEXT, dashscope_body, model_of, post, send

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import Call, EmulatorServer, Finish, Run, Say, Script, Think
from langchain_qwen_ci.errors import QwenServerError


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
    with EmulatorServer(
        responder=Script(turn, lambda request: [Say(request.text[::-1])])
    ) as server:
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
    with EmulatorServer(responder=Script(turn)) as server:
        message = model_of(server, enable_code_interpreter=False).invoke("?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [
        ("a", {"x": 1}),
        ("b", {"y": "é"}),
    ]
    assert message.tool_calls[0]["id"] == "call_1"


def fail_at_once(request):
    raise KeyError("my mistake")


def fail_after_text(request):
    yield Say("one two")
    raise KeyError("my mistake")


def test_responder_error_at_the_start_is_a_500():
    with EmulatorServer(responder=Script(fail_at_once)) as server:
        response = send(server, "dashscope")
    assert response.status_code == 500
    assert response.json()["message"] == "KeyError: 'my mistake'"


def test_responder_error_after_the_start_is_an_error_frame():
    with EmulatorServer(responder=Script(fail_after_text)) as server:
        response = send(server, "dashscope")
    last = response.text.removesuffix("\n\n").split("\n\n")[-1]
    assert last.startswith("id:3\nevent:error\n:HTTP_STATUS/500\ndata:")
    assert "KeyError: 'my mistake'" in last


def test_run_step_requires_the_interpreter():
    body = dashscope_body(enable_code_interpreter=False)
    with EmulatorServer(responder=Script([Run("1")])) as server:
        response = post(server, TEXT, body, **STREAM_HEADERS)
    assert response.status_code == 500
    assert "interpreter is off" in response.json()["message"]
