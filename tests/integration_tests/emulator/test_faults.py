"""Injected faults, as the chat model reports them."""

from __future__ import annotations

import time

import pytest
from emulator_requests import APIS, QUESTION, RESULT, model_of

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import (
    Cut,
    EmulatorServer,
    ErrorBody,
    ErrorFrame,
    Garbage,
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
    QwenInvalidRequestError,
    QwenModelNotFoundError,
    QwenPermissionDeniedError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
)

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
    with EmulatorServer(responder=Script(ANSWER, ANSWER), faults=(fault, None)) as server:
        model = model_of(server, max_retries=0)
        with pytest.raises(kind) as caught:
            model.invoke("?")
        assert (caught.value.partial is not None) is partial
        if partial:
            assert [run["code"] for run in code_executions(caught.value.partial)] == ["6 * 7"]
            assert caught.value.partial.usage_metadata["input_tokens"] > 0
        assert model.invoke("?").content == "It is 42, I am sure of that."
        model.close()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "kind", "attempts"),
    [
        (400, QwenInvalidRequestError, 1),
        (401, QwenAuthenticationError, 1),
        (403, QwenPermissionDeniedError, 1),
        (404, QwenModelNotFoundError, 1),
        (422, QwenInvalidRequestError, 1),
        (429, QwenRateLimitError, 3),
        (500, QwenServerError, 3),
        (502, QwenServerError, 3),
        (503, QwenServerError, 3),
        (504, QwenServerError, 3),
    ],
)
def test_status_has_the_code_of_the_service(api, status, kind, attempts):
    fault = Status(status, headers={"retry-after-ms": "1"})
    with EmulatorServer(faults=[fault] * attempts) as server:
        with pytest.raises(kind) as caught:
            model_of(server, api=api, enable_code_interpreter=False).invoke("?")
        assert len(server.requests) == attempts
    assert caught.value.status_code == status


def test_temporary_fault_is_retried():
    with EmulatorServer() as server:
        server.inject_fault(
            Status(429, "Throttling", "Slow.", {"retry-after-ms": "1"}), Status(503)
        )
        assert RESULT in model_of(server).invoke(QUESTION).content
        assert len(server.requests) == 3


def test_faults_can_be_a_function_of_the_request():
    def fault(received: RecordedRequest) -> Status | None:
        return Status(400, "InvalidParameter") if "fail" in str(received.body) else None

    with EmulatorServer(responder=Script(*[[Say("Yes.")]] * 3), faults=fault) as server:
        model = model_of(server, max_retries=0)
        for _ in range(2):
            with pytest.raises(QwenInvalidRequestError):
                model.invoke("fail this")
            assert model.invoke("?").content == "Yes."
        server.inject_fault(Status(503))  # it precedes the function
        with pytest.raises(QwenServerError):
            model.invoke("?")
        assert model.invoke("?").content == "Yes."


def test_stall_is_a_timeout_with_partial():
    with EmulatorServer(responder=Script(ANSWER), faults=(Stall(after=9, seconds=30),)) as server:
        started = time.monotonic()
        with pytest.raises(QwenTimeoutError, match="stream_chunk_timeout") as caught:
            model_of(server, stream_chunk_timeout=0.2).invoke("?")
        assert code_executions(caught.value.partial)
    assert time.monotonic() - started < 10  # neither client nor server waits for the stall
