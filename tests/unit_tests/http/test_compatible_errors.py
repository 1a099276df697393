"""What goes wrong on Responses and Chat Completions, whose errors have shapes of their own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import chat_completions_streams
import httpx
import pytest
import responses_streams
from responses_streams import (
    CREATED,
    IN_PROGRESS,
    code_interpreter_call,
    event,
    reasoning,
    response,
    usage,
)
from stream_corpus import CORPUS, REQUEST_ID

from langchain_qwen_ci import code_executions, errors, plugin_counts
from langchain_qwen_ci.errors import QwenRateLimitError, QwenServerError, QwenStreamError

pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]

RESPONSE = responses_streams.STREAMS["one run"].body
CHAT = chat_completions_streams.STREAMS["an answer"].body
ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "stream": lambda model: list(model.stream("?")),
    "v3": lambda model: model.stream_events("?", version="v3").output,
}
every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
v3 = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


def refusing(status: int, body: dict[str, Any]) -> Any:
    return lambda: httpx.Response(status, json=body)


def openai_error(code: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    inner = {"message": "No.", "type": kind, "param": None, "code": code}
    return {"error": inner, "request_id": "request-1"}


@pytest.mark.parametrize(
    ("status", "code", "kind", "requests"),
    [
        (400, "invalid_parameter_error", errors.QwenInvalidRequestError, 1),
        (400, "data_inspection_failed", errors.QwenInvalidRequestError, 1),
        (400, "Arrearage", errors.QwenPermissionDeniedError, 1),
        (401, "invalid_api_key", errors.QwenAuthenticationError, 1),
        (403, "access_denied", errors.QwenPermissionDeniedError, 1),
        (404, "model_not_found", errors.QwenModelNotFoundError, 1),
        (429, "limit_requests", QwenRateLimitError, 3),
        (429, "limit_burst_rate", QwenRateLimitError, 3),
        (429, "insufficient_quota", QwenRateLimitError, 3),
        (500, "internal_error", QwenServerError, 3),
    ],
)
@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_errors_in_openai_format(mock_service, api, status, code, kind, requests):
    backend = mock_service(refusing(status, openai_error(code)))
    with pytest.raises(kind) as caught:
        backend.model(api=api).invoke("?")
    assert len(backend.requests) == requests
    error = caught.value
    assert (error.status_code, error.code, error.request_id) == (status, code, "request-1")
    assert error.message == "No."


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_errors_in_native_format(mock_service, api):
    body = {"code": "InvalidApiKey", "message": "Wrong.", "request_id": "request-2"}
    with pytest.raises(errors.QwenAuthenticationError, match=r"Wrong\.") as caught:
        mock_service(refusing(401, body)).model(api=api).invoke("?")
    assert caught.value.request_id == "request-2"


def test_error_with_type_and_without_code(mock_service):
    body = openai_error("limit_requests", "limit_requests")
    body["error"]["code"] = None
    with pytest.raises(QwenRateLimitError):
        mock_service(refusing(200, body)).model(api="chat_completions", max_retries=0).invoke("?")


def test_request_id_in_the_older_format(mock_service):
    body = {"error": {"message": "Model not exist.", "id": "request-3", "code": "model_not_found"}}
    with pytest.raises(errors.QwenModelNotFoundError) as caught:
        mock_service(refusing(404, body)).model(api="chat_completions").invoke("?")
    assert caught.value.request_id == "request-3"


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": "Slow down."}, "Slow down.", None),
        ({"error": {"code": "Strange"}}, "The service gives no reason.", "Strange"),
        ({"error": {"type": "strange"}}, "The service gives no reason.", "strange"),
        ({"error": ["?"], "message": "No."}, "No.", None),
        ({"error": ["?"]}, "?", None),
        ({"type": "error", "message": "No."}, "No.", None),
        ({"code": 17, "message": {"a": 1}}, "{'a': 1}", "17"),
        # Servers written with FastAPI, such as `transformers serve`.
        (
            {"detail": "Unsupported fields in the request."},
            "Unsupported fields in the request.",
            None,
        ),
        (
            {"detail": [{"loc": ["body", "tools", 0], "msg": "Field required"}, {"msg": "No."}]},
            "body.tools.0: Field required; No.",
            None,
        ),
        ({"detail": {"a": 1}}, "{'a': 1}", None),
        ({"detail": ["?", {"loc": 1}]}, "?; {'loc': 1}", None),
    ],
)
@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_error_details_in_every_position(mock_service, api, body, message, code):
    with pytest.raises(errors.QwenInvalidRequestError) as caught:
        mock_service(refusing(400, body)).model(api=api).invoke("?")
    assert (caught.value.message, caught.value.code) == (message, code)
    assert caught.value.request_id is None


IN_STREAM = [
    b"data: " + json.dumps(openai_error("internal_error")).encode() + b"\n\n",
    b"event: error\ndata: " + json.dumps(openai_error("internal_error")).encode() + b"\n\n",
    b'data:{"code":"InternalError","message":"No."}\n\n',
    b'event:error\n:HTTP_STATUS/500\ndata:{"code":"InternalError","message":"No."}\n\n',
]


@v3
@every_entry_point
@pytest.mark.parametrize("error", IN_STREAM)
def test_error_inside_a_chat_stream_has_partial(mock_service, entry_point, error: bytes):
    body = chat_completions_streams.stream(
        chat_completions_streams.reasoning_chunk("Hm."),
        chat_completions_streams.text_chunk("So"),
        error,
        done=False,
    )
    backend = mock_service(body)
    with pytest.raises(QwenServerError) as caught:
        entry_point(backend.model(api="chat_completions"))
    assert len(backend.requests) == 1
    assert caught.value.partial.content == "So"
    assert caught.value.partial.additional_kwargs["reasoning_content"] == "Hm."


@pytest.mark.parametrize("error", IN_STREAM)
def test_error_before_any_output_is_retried(mock_service, error: bytes):
    backend = mock_service(error, error, CHAT)
    assert backend.model(api="chat_completions").invoke("?").content.endswith("16807.")
    assert len(backend.requests) == 3


@pytest.mark.parametrize("error", IN_STREAM)
def test_native_error_inside_a_responses_stream(mock_service, error: bytes):
    body = responses_streams.stream(CREATED, reasoning("msg_1", "Hm.")) + error
    with pytest.raises(QwenServerError, match=r"No\.") as caught:
        mock_service(body).model(api="responses").invoke("?")
    assert caught.value.partial.additional_kwargs["reasoning_content"] == "Hm."


def failed(message: str, code: str = "server_error", **fields: Any) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return event("failed", response=response("failed", error=error, **fields))


RATE = "Operation model request rate limit exceeded, please try again later."
RATE_LIMITED = {
    "stream": responses_streams.stream(CREATED, IN_PROGRESS, failed(RATE)),
    "document": json.dumps(failed(RATE)["response"]).encode(),
}


@v3
@every_entry_point
@pytest.mark.parametrize("limited", RATE_LIMITED.values(), ids=RATE_LIMITED)
def test_rate_limit_with_status_200_is_retried(mock_service, entry_point, limited: bytes):
    backend = mock_service(limited, limited, RESPONSE)
    entry_point(backend.model(api="responses"))
    assert len(backend.requests) == 3

    backend = mock_service(limited)
    with pytest.raises(QwenRateLimitError, match="rate limit exceeded") as caught:
        entry_point(backend.model(api="responses"))
    assert len(backend.requests) == 3
    assert caught.value.partial is None


def test_server_error_with_status_200_is_retried(mock_service):
    broken = responses_streams.stream(
        CREATED, IN_PROGRESS, failed("An internal error has occurred.")
    )
    backend = mock_service(broken, broken, RESPONSE)
    assert backend.model(api="responses").invoke("?").content.endswith("16807.")
    assert len(backend.requests) == 3

    with pytest.raises(errors.QwenServerError, match="internal error") as caught:
        mock_service(broken).model(api="responses").invoke("?")
    assert caught.value.code == "server_error"


def test_failed_response_has_status_and_code(mock_service):
    message = (
        "<400> InternalError.Algo.InvalidParameter: Normal mode does not support Code "
        "interpreter. Please set enable_thinking to true."
    )
    backend = mock_service(responses_streams.stream(CREATED, failed(message, "invalid_request")))
    with pytest.raises(errors.QwenInvalidRequestError, match="enable_thinking") as caught:
        backend.model(api="responses").invoke("?")
    assert caught.value.status_code == 400
    assert caught.value.code == "InternalError.Algo.InvalidParameter"
    assert not caught.value.is_retryable
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("error", "kind", "message", "code"),
    [
        (None, errors.QwenAPIError, "The service gives no reason.", None),
        ({"message": None}, errors.QwenAPIError, "The service gives no reason.", None),
        ({"message": {"a": 1}, "code": 7}, errors.QwenAPIError, "{'a': 1}", "7"),
        ({"message": "<503> X.Y: Gone.", "code": "z"}, QwenServerError, "<503> X.Y: Gone.", "X.Y"),
        (
            {"message": "Rate Limit!", "code": "a\x1b"},
            QwenRateLimitError,
            "Rate Limit!",
            r"a\u001b",
        ),
        ({"message": ["rate limit"], "code": 7}, QwenRateLimitError, "['rate limit']", "7"),
        ({"message": "rate limit\n", "code": None}, QwenRateLimitError, r"rate limit\n", None),
    ],
)
def test_failed_response_details(mock_service, error, kind, message, code):
    body = responses_streams.stream(event("failed", response=response("failed", error=error)))
    with pytest.raises(errors.QwenAPIError) as caught:
        mock_service(body).model(api="responses", max_retries=0).invoke("?")
    result = caught.value
    assert (type(result), result.message, result.code) == (kind, message, code)
    assert result.request_id == REQUEST_ID


def test_id_of_a_failed_response_is_a_string(mock_service):
    for message in (RATE, "Gone."):
        body = responses_streams.stream(failed(message, id=7))
        with pytest.raises(errors.QwenAPIError) as caught:
            mock_service(body).model(api="responses", max_retries=0).invoke("?")
        assert caught.value.request_id == "7"


@v3
@every_entry_point
def test_failed_response_has_partial(mock_service, entry_point):
    body = responses_streams.stream(
        CREATED,
        reasoning("msg_1", "Hm."),
        code_interpreter_call("msg_2", "6*7", "```\n42\n```"),
        failed("The model is gone.", usage=usage(300, 9, code_interpreter=1)),
    )
    backend = mock_service(body)
    with pytest.raises(errors.QwenAPIError, match="gone") as caught:
        entry_point(backend.model(api="responses"))
    assert len(backend.requests) == 1
    partial = caught.value.partial
    (run,) = code_executions(partial)
    assert (run["code"], run["output"], run["status"]) == ("6*7", "42", "completed")
    assert plugin_counts(partial) == {"code_interpreter": 1}
    assert partial.usage_metadata["total_tokens"] == 309
    assert partial.additional_kwargs["reasoning_content"] == "Hm."


@v3
@every_entry_point
def test_rate_limit_after_output_is_not_retried(mock_service, entry_point):
    body = responses_streams.stream(
        CREATED, code_interpreter_call("msg_1", "6*7", "```\n42\n```"), failed(RATE)
    )
    backend = mock_service(body, RESPONSE)
    with pytest.raises(QwenRateLimitError) as caught:
        entry_point(backend.model(api="responses"))
    assert len(backend.requests) == 1
    assert [run["output"] for run in code_executions(caught.value.partial)] == ["42"]


FRAMED = [name for name, stream in CORPUS.items() if "document" not in name]


def outcome(model: Any) -> Any:
    try:
        return model.invoke("?")
    except QwenStreamError as error:
        return error


@pytest.mark.parametrize("name", FRAMED)
def test_answer_without_terminal_event_raises_an_error(mock_service, name: str):
    """Cut at every frame: an error with what had arrived, up to the one that says it is done."""
    stream = CORPUS[name]
    frames = stream.body.replace(b"\r\n", b"\n").split(b"\n\n")
    bodies = [b"".join(frame + b"\n\n" for frame in frames[:at]) for at in range(len(frames))]
    outcomes = [outcome(mock_service(body).model(api=stream.api)) for body in bodies]
    kinds = [type(one) for one in outcomes]
    assert kinds == sorted(kinds, key=lambda kind: kind is not QwenStreamError)
    for one in outcomes:
        if isinstance(one, QwenStreamError):
            assert stream.content.startswith(one.partial.content if one.partial else "")
            displayed = code_executions(one.partial) if one.partial else []
            assert [run["code"] for run in displayed] <= stream.codes
        else:
            assert one.content == stream.content
            assert one.response_metadata["finish_reason"] == stream.finish_reason


@pytest.mark.parametrize(
    "broken",
    [
        b'data:{"type":"response.output_text.delta","delta":5}\n\n',
        b'data:{"type":"response.output_item.added"}\n\n',
        b"data:[1]\n\n",
        b"data:{\n\n",
        b"data:\xff\n\n",
    ],
)
def test_malformed_responses_frame_is_in_the_error(mock_service, broken: bytes):
    body = responses_streams.stream(CREATED, reasoning("msg_1", "Hm.")) + broken
    with pytest.raises(QwenStreamError, match=r"Frame 6 of the answer") as caught:
        mock_service(body).model(api="responses").invoke("?")
    assert caught.value.partial.additional_kwargs["reasoning_content"] == "Hm."


@pytest.mark.parametrize("garbage", [b"data: {\n\n", b"data: [1]\n\n", b"data: [DO\n\n"])
def test_malformed_frame_after_the_finish_is_ignored(mock_service, garbage):
    answer = CORPUS["chat_completions: an answer"]
    before, usage, after = answer.body.partition(b'data: {"choices": []')
    result = mock_service(before + garbage + usage + after).model(api=answer.api).invoke("?")
    assert (result.content, result.usage_metadata["total_tokens"]) == (
        answer.content,
        answer.usage[2],
    )
    assert result.response_metadata["finish_reason"] == "stop"
