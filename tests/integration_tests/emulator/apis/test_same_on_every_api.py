"""The answers, limits and faults that all APIs of the emulator share."""

from __future__ import annotations

import json

import httpx
import pytest
from emulator_requests import APIS, error_of, finish_of, payloads, send, text_of, usage_of

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
        answers = {}
        for api in APIS:
            response = send(server, api)
            answers[api] = (
                text_of(api, response),
                finish_of(api, response),
                usage_of(api, response),
            )
    assert answers["dashscope"] == answers["chat_completions"] == answers["responses"]
    text, finish, (input_tokens, output_tokens, reasoning) = answers["responses"]
    assert (text, finish) == ("It is 1728.", "stop")
    assert reasoning == 5
    assert output_tokens > reasoning + 3  # code counts, too
    assert input_tokens > 3 * 270  # three inferences


def test_input_tokens_grow_after_a_run():
    turns = [Run("1")], [Think("a b c"), Run("1")], [Run("'" + "x" * 18 + "'")]
    with EmulatorServer(responder=Script(*turns)) as server:
        plain, reasoning, printed = (
            usage_of("responses", send(server, "responses")) for _ in turns
        )
    assert reasoning[0] - plain[0] == 3
    # Five tokens more of code, and five of the output.
    assert (printed[1] - plain[1], printed[0] - plain[0]) == (5, 10)


@pytest.mark.parametrize("api", APIS)
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
def test_stop_sequence_ends_the_text(api, turn, more, text, finish):
    if api == "responses":  # it has no stop sequences and ignores them
        text = "".join(step.text for step in turn if isinstance(step, Say))
    with EmulatorServer(responder=Script(turn)) as server:
        response = send(server, api, **more)
    assert text_of(api, response) == text
    assert finish_of(api, response) == finish


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("words", "text", "finish"), [(16, " w" * 16, "stop"), (17, " w" * 16, "length")]
)
def test_max_tokens_limits_the_text(api, words, text, finish):
    turn = [Think("w " * 40), Run("1"), *[Say(" w")] * words]
    with EmulatorServer(responder=Script(turn)) as server:
        response = send(server, api, max_tokens=16)
    assert text_of(api, response) == text
    assert finish_of(api, response) == finish


@pytest.mark.parametrize("api", ["dashscope", "chat_completions"])
def test_thinking_budget_limits_the_reasoning(api):
    turn = [Think("a b c d"), Think(" e"), Say("Yes.")]
    with EmulatorServer(responder=Script(turn)) as server:
        response = send(server, api, thinking_budget=3)
    assert usage_of(api, response)[2] == 3
    assert text_of(api, response) == "Yes."


@pytest.mark.parametrize("api", APIS)
def test_responder_error_after_the_start_is_an_error(api):
    def fails(request):
        yield Say("one two")
        raise KeyError("mine")

    with EmulatorServer(responder=Script(fails)) as server:
        last = payloads(send(server, api))[-1]
    error = last["response"]["error"] if api == "responses" else last.get("error", last)
    assert error["message"] == "KeyError: 'mine'"
    assert error["code"] in ("InternalError", "internal_error", "server_error")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_steps_that_the_request_does_not_allow_are_errors(api, stream):
    steps = [Run("1"), Search("?"), Extract(("u",), "g", "o")]
    with EmulatorServer(responder=Script(*[[step] for step in steps])) as server:
        for name in ("runs code", "web_search", "web_extractor"):
            response = send(server, api, interpreter=False, stream=stream)
            assert response.status_code == 500
            assert name in error_of(api, response.json())[1]


def test_search_on_the_native_api_has_sources_and_a_count():
    turn = [Search("?", ("https://a/",)), Say("Found.")]
    with EmulatorServer(responder=Script(turn)) as server:
        last = payloads(send(server, "dashscope", enable_search=True))[-1]
    (found,) = last["output"]["search_info"]["search_results"]
    assert found["url"] == "https://a/"
    assert last["usage"]["plugins"] == {"search": {"count": 1, "strategy": "turbo"}}


CODES = {"dashscope": "Throttling", "responses": "Throttling", "chat_completions": "limit_requests"}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_status_fault(api, stream):
    fault = Status(429, "Throttling", "Slow.", {"retry-after": "7"})
    with EmulatorServer(faults=(fault,)) as server:
        response = send(server, api, stream=stream)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert error_of(api, response.json()) == (CODES[api], "Slow.")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_error_body_fault(api, stream):
    fault = ErrorBody("InvalidParameter", "Bad.")
    with EmulatorServer(faults=(fault,)) as server:
        response = send(server, api, stream=stream, interpreter=False)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    result = response.json()
    if api == "responses":
        assert result["status"] == "failed"
    error = result if api == "dashscope" else result["error"]
    assert error["message"] == "Bad."
    assert error["code"] in ("InvalidParameter", "invalid_parameter_error")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "fault", [ErrorFrame(4, 500, "InternalError", "Broken."), FailedResponse()]
)
def test_error_frame_fault(api, fault):
    with EmulatorServer(responder=Script(ANSWER), faults=(fault,)) as server:
        response = send(server, api)
    assert response.status_code == 200
    found = payloads(response)
    if isinstance(fault, ErrorFrame):
        assert len(found) == fault.after + 1
    last = found[-1]["response"] if api == "responses" else found[-1]
    error = last if api == "dashscope" else last["error"]
    assert error["message"] == fault.message
    assert "[DONE]" not in response.text
    if api == "dashscope":
        assert f"event:error\n:HTTP_STATUS/{fault.status}\n" in response.text


@pytest.mark.parametrize("api", APIS)
def test_error_frame_fault_of_an_unstreamed_answer(api):
    fault = ErrorFrame(after=3, status=503, code="InternalError", message="Broken.")
    with EmulatorServer(responder=Script([Say("Yes.")]), faults=(fault,)) as server:
        response = send(server, api, stream=False, interpreter=False)
    assert response.status_code == 503
    assert error_of(api, response.json())[1] == "Broken."


@pytest.mark.parametrize("api", APIS)
def test_cut_fault(api):
    with EmulatorServer(
        responder=Script(ANSWER), faults=(Cut(after=4, bytes_into_next=9),)
    ) as server:
        response = send(server, api)
    frames, _, rest = response.text.rpartition("\n\n")
    assert frames.count("\n\n") == 3
    assert len(rest) == 9
    assert "[DONE]" not in frames


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_reset_fault(api, stream):
    with (
        EmulatorServer(responder=Script([Say("a b c")]), faults=(Reset(after=2),)) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        send(server, api, stream=stream, interpreter=False)


@pytest.mark.parametrize("api", APIS)
def test_faults_apply_to_unstreamed_answers(api):
    turns = [[Say("Yes, it is.")]] * 4
    faults = (Cut(after=3, bytes_into_next=9), Garbage(after=3, data=b"<html>"), Stall(3, 0.0))
    with EmulatorServer(responder=Script(*turns), faults=faults) as server:
        cut, garbage, stalled, complete = (
            send(server, api, stream=False, interpreter=False) for _ in turns
        )
    assert len(cut.content) == 9
    assert complete.content.startswith(cut.content[:2])
    assert garbage.content.strip() == b"<html>"
    assert "Yes, it is." in stalled.text
    with pytest.raises(json.JSONDecodeError):
        cut.json()


@pytest.mark.parametrize("api", APIS)
def test_garbage_fault(api):
    with EmulatorServer(responder=Script(ANSWER), faults=(Garbage(after=2),)) as server:
        frames = send(server, api).text.rstrip("\n").split("\n\n")
    assert len(frames) == 3
    assert frames[-1] == 'data:{"output":'


@pytest.mark.parametrize("api", APIS)
def test_nothing_follows_a_finish_step(api):
    turn = [Say("Cut"), Finish("length"), Say(" off"), Run("1")]
    with EmulatorServer(responder=Script(turn)) as server:
        response = send(server, api)
    assert (text_of(api, response), finish_of(api, response)) == ("Cut", "length")
