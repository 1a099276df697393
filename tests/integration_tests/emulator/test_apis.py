"""What is the same on every wire of the emulator: meaning, limits, faults."""

from __future__ import annotations

import json

import httpx
import pytest
from request_helpers import WIRES, ask, data, error_of, finish_of, text_of, usage_of

from langchain_qwen_ci.emulator import (
    Cut,
    EmulatorServer,
    ErrorBody,
    ErrorFrame,
    Extract,
    FailedResponse,
    Finish,
    Garbage,
    Reset,
    Run,
    Say,
    Script,
    Search,
    Stall,
    Status,
    Think,
)

ANSWER = [
    Think("Let me see."),
    Run("x = 12\nx**3"),
    Think("Once more."),
    Run("1/0"),
    Say("It is "),
    Say("1728."),
]


def test_script_gives_the_same_answer_on_every_api():
    with EmulatorServer(responder=Script(*[ANSWER] * 3)) as server:
        read = {}
        for wire in WIRES:
            response = ask(server, wire)
            read[wire] = (
                text_of(wire, response),
                finish_of(wire, response),
                usage_of(wire, response),
            )
    assert read["dashscope"] == read["chat_completions"] == read["responses"]
    text, finish, (result, written, reasoning) = read["responses"]
    assert (text, finish) == ("It is 1728.", "stop")
    assert reasoning == 5
    assert written > reasoning + 3  # code counts, too
    assert result > 3 * 270  # three inferences


def test_input_tokens_grow_after_a_run():
    turns = [Run("1")], [Think("a b c"), Run("1")], [Run("'" + "x" * 18 + "'")]
    with EmulatorServer(responder=Script(*turns)) as server:
        plain, reasoning, printed = (usage_of("responses", ask(server, "responses")) for _ in turns)
    assert reasoning[0] - plain[0] == 3
    # Five tokens more of code, and five of the output.
    assert (printed[1] - plain[1], printed[0] - plain[0]) == (5, 10)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("turn", "more", "text", "finish"),
    [
        ([Say("one two three")], {"stop": ["two"]}, "one ", "stop"),
        ([Say("one two three")], {"stop": ["three", "two"]}, "one ", "stop"),
        ([Say("one t"), Say("wo three")], {"stop": "two"}, "one ", "stop"),
        ([Say("one t"), Say("en three")], {"stop": ["two"]}, "one ten three", "stop"),
        ([Say("one tw")], {"stop": ["x", "two"]}, "one tw", "stop"),
        ([Say("a b"), Run("1"), Say("c d")], {"stop": ["b"]}, "a ", "stop"),
    ],
)
def test_stop_sequence_ends_the_text(wire, turn, more, text, finish):
    if wire == "responses":  # it has no stop sequences: what is sent is ignored
        text = "".join(step.text for step in turn if isinstance(step, Say))
    with EmulatorServer(responder=Script(turn)) as server:
        response = ask(server, wire, **more)
    assert text_of(wire, response) == text
    assert finish_of(wire, response) == finish


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("words", "text", "finish"), [(16, " w" * 16, "stop"), (17, " w" * 16, "length")]
)
def test_max_tokens_limits_the_text(wire, words, text, finish):
    turn = [Think("w " * 40), Run("1"), *[Say(" w")] * words]
    with EmulatorServer(responder=Script(turn)) as server:
        response = ask(server, wire, max_tokens=16)
    assert text_of(wire, response) == text
    assert finish_of(wire, response) == finish


@pytest.mark.parametrize("wire", ["dashscope", "chat_completions"])
def test_thinking_budget_limits_the_reasoning(wire):
    turn = [Think("a b c d"), Think(" e"), Say("Yes.")]
    with EmulatorServer(responder=Script(turn)) as server:
        response = ask(server, wire, thinking_budget=3)
    assert usage_of(wire, response)[2] == 3
    assert text_of(wire, response) == "Yes."


@pytest.mark.parametrize("wire", WIRES)
def test_responder_error_after_the_start_is_an_error(wire):
    def fails(question):
        yield Say("one two")
        raise KeyError("mine")

    with EmulatorServer(responder=Script(fails)) as server:
        last = data(ask(server, wire))[-1]
    error = last["response"]["error"] if wire == "responses" else last.get("error", last)
    assert error["message"] == "KeyError: 'mine'"
    assert error["code"] in ("InternalError", "internal_error", "server_error")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_steps_that_the_request_does_not_allow_are_errors(wire, stream):
    steps = [Run("1"), Search("?"), Extract(("u",), "g", "o")]
    with EmulatorServer(responder=Script(*[[step] for step in steps])) as server:
        for name in ("runs code", "web_search", "web_extractor"):
            response = ask(server, wire, interpreter=False, stream=stream)
            assert response.status_code == 500
            assert name in error_of(wire, response.json())[1]


def test_search_on_the_native_api_has_sources_and_a_count():
    turn = [Search("?", ("https://a/",)), Say("Found.")]
    with EmulatorServer(responder=Script(turn)) as server:
        last = data(ask(server, "dashscope", enable_search=True))[-1]
    (found,) = last["output"]["search_info"]["search_results"]
    assert found["url"] == "https://a/"
    assert last["usage"]["plugins"] == {"search": {"count": 1, "strategy": "turbo"}}


CODES = {"dashscope": "Throttling", "responses": "Throttling", "chat_completions": "limit_requests"}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_status_fault(wire, stream):
    fault = Status(429, "Throttling", "Slow.", {"retry-after": "7"})
    with EmulatorServer(faults=(fault,)) as server:
        response = ask(server, wire, stream=stream)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert error_of(wire, response.json()) == (CODES[wire], "Slow.")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_error_body_fault(wire, stream):
    fault = ErrorBody("InvalidParameter", "Bad.")
    with EmulatorServer(faults=(fault,)) as server:
        response = ask(server, wire, stream=stream, interpreter=False)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    result = response.json()
    if wire == "responses":
        assert result["status"] == "failed"
    error = result if wire == "dashscope" else result["error"]
    assert error["message"] == "Bad."
    assert error["code"] in ("InvalidParameter", "invalid_parameter_error")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "fault", [ErrorFrame(4, 500, "InternalError", "Broken."), FailedResponse()]
)
def test_error_frame_fault(wire, fault):
    with EmulatorServer(responder=Script(ANSWER), faults=(fault,)) as server:
        response = ask(server, wire)
    assert response.status_code == 200
    found = data(response)
    if isinstance(fault, ErrorFrame):
        assert len(found) == fault.after + 1
    last = found[-1]["response"] if wire == "responses" else found[-1]
    error = last if wire == "dashscope" else last["error"]
    assert error["message"] == fault.message
    assert "[DONE]" not in response.text
    if wire == "dashscope":
        assert f"event:error\n:HTTP_STATUS/{fault.status}\n" in response.text


@pytest.mark.parametrize("wire", WIRES)
def test_error_frame_fault_of_an_unstreamed_answer(wire):
    fault = ErrorFrame(after=3, status=503, code="InternalError", message="Broken.")
    with EmulatorServer(responder=Script([Say("Yes.")]), faults=(fault,)) as server:
        response = ask(server, wire, stream=False, interpreter=False)
    assert response.status_code == 503
    assert error_of(wire, response.json())[1] == "Broken."


@pytest.mark.parametrize("wire", WIRES)
def test_cut_fault(wire):
    with EmulatorServer(
        responder=Script(ANSWER), faults=(Cut(after=4, bytes_into_next=9),)
    ) as server:
        response = ask(server, wire)
    whole, _, rest = response.text.rpartition("\n\n")
    assert whole.count("\n\n") == 3
    assert len(rest) == 9
    assert "[DONE]" not in whole


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_reset_fault(wire, stream):
    with (
        EmulatorServer(responder=Script([Say("a b c")]), faults=(Reset(after=2),)) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        ask(server, wire, stream=stream, interpreter=False)


@pytest.mark.parametrize("wire", WIRES)
def test_faults_apply_to_unstreamed_answers(wire):
    turns = [[Say("Yes, it is.")]] * 4
    faults = (Cut(after=3, bytes_into_next=9), Garbage(after=3, data=b"<html>"), Stall(3, 0.0))
    with EmulatorServer(responder=Script(*turns), faults=faults) as server:
        cut, garbage, stalled, whole = (
            ask(server, wire, stream=False, interpreter=False) for _ in turns
        )
    assert len(cut.content) == 9
    assert whole.content.startswith(cut.content[:2])
    assert garbage.content.strip() == b"<html>"
    assert "Yes, it is." in stalled.text
    with pytest.raises(json.JSONDecodeError):
        cut.json()


@pytest.mark.parametrize("wire", WIRES)
def test_garbage_fault(wire):
    with EmulatorServer(responder=Script(ANSWER), faults=(Garbage(after=2),)) as server:
        frames = ask(server, wire).text.rstrip("\n").split("\n\n")
    assert len(frames) == 3
    assert frames[-1] == 'data:{"output":'


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_follows_a_finish_step(wire):
    turn = [Say("Cut"), Finish("length"), Say(" off"), Run("1")]
    with EmulatorServer(responder=Script(turn)) as server:
        response = ask(server, wire)
    assert (text_of(wire, response), finish_of(wire, response)) == ("Cut", "length")
