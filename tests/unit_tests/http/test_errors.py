"""What goes wrong: the right error, with what had arrived, after the right number of requests."""

from __future__ import annotations

import asyncio
import logging
import pickle
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from dashscope_streams import ONE_RUN, REQUEST_ID, STREAMS, error_frame, stream
from entry_points import every_entry_point
from langchain_core import exceptions as core
from mock_service import StreamedBody

from langchain_qwen_ci import code_executions, errors
from langchain_qwen_ci.errors import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenConnectionError,
    QwenError,
    QwenRateLimitError,
    QwenServerError,
    QwenStreamError,
    QwenTimeoutError,
)

ANSWER = STREAMS["one run"].body


pytestmark = pytest.mark.usefixtures("recorded_waits")


def refusing(status: int, code: str, message: str = "No.", **headers: str) -> Any:
    body = {"code": code, "message": message, "request_id": REQUEST_ID}
    return lambda: httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize(
    ("status", "code", "kind", "requests"),
    [
        (400, "InvalidParameter", errors.QwenInvalidRequestError, 1),
        (400, "InvalidParameter.DataInspection", errors.QwenInvalidRequestError, 1),
        (400, "DataInspectionFailed", errors.QwenInvalidRequestError, 1),
        (400, "Arrearage", errors.QwenPermissionDeniedError, 1),
        (401, "InvalidApiKey", QwenAuthenticationError, 1),
        (403, "AccessDenied.Unpurchased", errors.QwenPermissionDeniedError, 1),
        (403, "Model.AccessDenied", errors.QwenPermissionDeniedError, 1),
        (404, "ModelNotFound", errors.QwenModelNotFoundError, 1),
        (429, "Throttling", QwenRateLimitError, 3),
        (429, "Throttling.RateQuota", QwenRateLimitError, 3),
        (429, "Throttling.AllocationQuota", QwenRateLimitError, 3),
        (429, "PrepaidBillOverdue", errors.QwenPermissionDeniedError, 1),
        (429, "SomethingNew", QwenRateLimitError, 3),
        (500, "InternalError.Algo", QwenServerError, 3),
        (503, "ModelUnavailable", QwenServerError, 3),
        (418, "Teapot", errors.QwenInvalidRequestError, 1),
    ],
)
@every_entry_point
def test_http_statuses_map_to_errors(mock_service, entry_point, status, code, kind, requests):
    backend = mock_service(refusing(status, code))
    with pytest.raises(QwenAPIError) as caught:
        entry_point(backend.model())
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id) == (status, code, REQUEST_ID)
    assert error.is_retryable is (requests > 1)
    assert isinstance(error, ValueError) is (requests == 1)
    assert error.partial is None
    assert len(backend.requests) == requests


@pytest.mark.parametrize(
    ("kind", "general"),
    [
        (errors.QwenInvalidRequestError, core.ModelInvalidRequestError),
        (QwenAuthenticationError, core.ModelAuthenticationError),
        (errors.QwenPermissionDeniedError, core.ModelPermissionDeniedError),
        (errors.QwenModelNotFoundError, core.ModelNotFoundError),
        (QwenRateLimitError, core.ModelRateLimitError),
        (QwenServerError, core.ModelAPIError),
        (QwenConnectionError, core.ModelConnectionError),
        (QwenTimeoutError, core.ModelTimeoutError),
        (QwenStreamError, core.ModelAPIError),
        (errors.ToolsNotAllowedError, core.ModelInvalidRequestError),
    ],
)
def test_errors_inherit_langchain_classes(kind, general):
    assert issubclass(kind, general)
    assert issubclass(kind, QwenError)
    assert not issubclass(kind, RuntimeError | OSError)
    assert kind.is_retryable is not issubclass(kind, ValueError)


def test_errors_show_details_and_survive_a_pickle(mock_service):
    backend = mock_service(refusing(401, "InvalidApiKey", "Invalid API-key provided."))
    with pytest.raises(QwenAuthenticationError) as caught:
        backend.model().invoke("?")
    text = str(caught.value)
    for part in (
        "Invalid API-key provided.",
        "401",
        "InvalidApiKey",
        REQUEST_ID,
        "DASHSCOPE_API_KEY",
    ):
        assert part in text
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (QwenAuthenticationError, text)


@pytest.mark.parametrize(
    ("model", "text"),
    [("qwen3-max", "multimodal-generation"), ("qwen3.5-plus", "text-generation")],
)
def test_url_error_names_model_path_and_solution(mock_service, model, text):
    backend = mock_service(refusing(400, "InvalidParameter", "url error, please check url\uff01"))
    with pytest.raises(QwenAPIError) as caught:
        backend.model(model=model).invoke("?")
    assert f'"{model}"' in str(caught.value)
    assert f'endpoint="{text}"' in str(caught.value)
    assert (caught.value.code, caught.value.request_id) == ("InvalidParameter", REQUEST_ID)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":"Throttling","message":"Slow down.","request_id":"r"}',
        b'\n {"code":"Throttling","message":"Slow down.","request_id":"r"}',
        error_frame(429, "Throttling", "Slow down."),
    ],
    ids=["JSON body", "JSON body after white space", "error frame"],
)
@every_entry_point
def test_error_body_with_status_200_is_retried(mock_service, entry_point, body):
    backend = mock_service(body)
    with pytest.raises(QwenRateLimitError, match="Slow down"):
        entry_point(backend.model())
    assert len(backend.requests) == 3
    recovered = mock_service(body, ANSWER)
    assert entry_point(recovered.model())
    assert len(recovered.requests) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(429, QwenRateLimitError), (503, QwenServerError), (0, QwenAPIError)]
)
def test_status_of_an_error_frame_decides_for_unknown_codes(mock_service, status, kind):
    with pytest.raises(QwenAPIError) as caught:
        mock_service(error_frame(status, "Strange", "No.")).model().invoke("?")
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id) == (
        status or None,
        "Strange",
        REQUEST_ID,
    )


@pytest.mark.parametrize(
    ("body", "known"), [({"message": "No."}, "of the gateway"), ({"request_id": "own"}, "own")]
)
def test_request_id_is_read_from_the_header(mock_service, body, known):
    headers = {"x-request-id": "of the gateway"}
    backend = mock_service(lambda: httpx.Response(400, json=body, headers=headers))
    with pytest.raises(QwenAPIError) as caught:
        backend.model().invoke("?")
    assert caught.value.request_id == known


def test_error_body_can_be_a_frame_or_unreadable(mock_service):
    backend = mock_service(
        lambda: httpx.Response(400, content=error_frame(400, "InvalidParameter", "X"))
    )
    with pytest.raises(errors.QwenInvalidRequestError, match="X"):
        backend.model().invoke("?")
    backend = mock_service(lambda: httpx.Response(502, content=b"<html>Bad gateway</html>"))
    with pytest.raises(QwenServerError, match="Bad gateway"):
        backend.model(max_retries=0).invoke("?")


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_error_body_can_be_empty(mock_service, body):
    backend = mock_service(lambda: httpx.Response(504, content=body))
    with pytest.raises(QwenServerError, match="HTTP 504") as caught:
        backend.model(max_retries=0).invoke("?")
    assert caught.value.message == "The service gives no reason."


def test_frames_after_a_malformed_one_are_not_read(mock_service):
    text = b'data:{"output":{"choices":[{"message":{"content":"more"}}]}}'
    with pytest.raises(QwenStreamError) as caught:
        mock_service(StreamedBody(stream(*ONE_RUN[:6]), b"data:[1]\n\n" + text)).model().invoke("?")
    assert caught.value.partial.content == "7 to the power of 5 "


@pytest.mark.parametrize(
    ("body", "displayed"),
    [
        (b"x" * 200, "x" * 200),
        (b"x" * 201, "x" * 200 + "…"),
        (b"[1]", "[1]"),
        (b'["code"]', '["code"]'),
        (b"0", "0"),
        (b"data:[1]\n\n", r"data:[1]\n\n"),
    ],
)
def test_error_that_is_not_an_object_is_in_the_message(mock_service, body, displayed):
    with pytest.raises(errors.QwenInvalidRequestError) as caught:
        mock_service(lambda: httpx.Response(400, content=body)).model().invoke("?")
    assert caught.value.message == f"The service answered: {displayed}"


PARTS = {
    "an error frame": error_frame(500, "InternalError", "Broken."),
    "a frame that is no JSON": b'data:{"output":\n\n',
    "a frame that is no object": b"data:[1]\n\n",
    "content of a wrong type": b'data:{"output":{"choices":[{"message":{"content":7}}]}}\n\n',
    "usage of a wrong type": b'data:{"output":{},"usage":[1]}\n\n',
    "an entry of a wrong type": b'data:{"output":{"tool_info":[1]}}\n\n',
    "choices of a wrong type": b'data:{"output":{"choices":7}}\n\n',
    "bytes that are no UTF-8": b'data:{"output":"\xff"}\n\n',
    "the end, too early": b"",
    "the end, in the middle of a frame": b'id:6\ndata:{"output":{"choi',
}


@pytest.mark.parametrize("rest", PARTS.values(), ids=PARTS)
@every_entry_point
def test_error_has_partial(mock_service, entry_point, rest):
    backend = mock_service(stream(*ONE_RUN[:6]) + rest)
    with pytest.raises(QwenError) as caught:
        entry_point(backend.model())
    assert isinstance(caught.value, QwenStreamError | QwenServerError)
    assert len(backend.requests) == 1  # code may have run: never again by itself
    partial = caught.value.partial
    assert partial is not None
    assert partial.content == "7 to the power of 5 "
    assert partial.additional_kwargs["reasoning_content"] == "I need the exact value.It is 16807."
    assert [run["code"] for run in code_executions(partial)] == ["7**5"]
    assert partial.usage_metadata["output_tokens"] == 36
    assert "finish_reason" not in partial.response_metadata


def test_every_truncated_stream_raises_an_error(mock_service):
    """At each byte before the frame that finishes, the end is an error, never an empty success."""
    finish = ANSWER.rindex(b"id:8")
    last = len(ANSWER.rstrip(b"\n"))
    for at in range(0, last, 7):
        with pytest.raises(QwenStreamError):
            mock_service(ANSWER[:at]).model().invoke("?")
    assert finish < last
    assert mock_service(ANSWER[:last]).model().invoke("?").content


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ReadTimeout("slow"), QwenTimeoutError),
        (httpx.ReadError("reset"), QwenStreamError),
        (httpx.RemoteProtocolError("incomplete chunked read"), QwenStreamError),
    ],
)
@every_entry_point
def test_connection_error_in_the_middle(mock_service, entry_point, failure, kind):
    backend = mock_service(StreamedBody(stream(*ONE_RUN[:6]), error=failure))
    with pytest.raises(kind) as caught:
        entry_point(backend.model())
    assert caught.value.partial.usage_metadata["output_tokens"] == 36
    assert len(backend.requests) == 1


def test_failure_without_a_message_is_named(mock_service):
    for answer in (
        StreamedBody(stream(*ONE_RUN[:6]), error=httpx.ReadError("")),
        httpx.ReadError(""),
    ):
        with pytest.raises(QwenError, match="ReadError"):
            mock_service(answer).model(max_retries=0).invoke("?")
    with pytest.raises(QwenError, match="reset by peer"):
        mock_service(httpx.ReadError("reset by peer")).model(max_retries=0).invoke("?")


PAGE = "<html>" + "Sign in. " * 30


@pytest.mark.parametrize(
    ("body", "displayed"),
    [
        (PAGE, f"finished. It began with: {PAGE[:200]}…"),
        (PAGE[:200], f"finished. It began with: {PAGE[:200]}"),
        (PAGE[:201], f"finished. It began with: {PAGE[:200]}…"),
        ("", "finished."),
        (stream(*ONE_RUN[:2]).decode(), "finished."),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_non_stream_body_is_in_the_error(mock_service, body, displayed, step):
    pieces = [body.encode()[at : at + step] for at in range(0, len(body), step)]
    with pytest.raises(QwenStreamError) as caught:
        mock_service(StreamedBody(*pieces)).model().invoke("?")
    assert str(caught.value).endswith(displayed)


@every_entry_point
def test_connection_error_after_the_finish_is_ignored(mock_service, entry_point):
    assert entry_point(mock_service(StreamedBody(ANSWER, error=httpx.ReadError("reset"))).model())


@pytest.mark.parametrize(
    ("failure", "kind", "requests"),
    [
        (httpx.ConnectError("refused"), QwenConnectionError, 3),
        (httpx.ConnectTimeout("slow"), QwenTimeoutError, 3),
        (httpx.RemoteProtocolError("disconnected"), QwenConnectionError, 3),
        (httpx.PoolTimeout("slow"), QwenTimeoutError, 3),
        (httpx.ReadTimeout("slow"), QwenTimeoutError, 1),
        (httpx.WriteTimeout("slow"), QwenTimeoutError, 1),
    ],
)
@every_entry_point
def test_unreachable_service(mock_service, entry_point, failure, kind, requests):
    backend = mock_service(failure)
    with pytest.raises(kind):
        entry_point(backend.model())
    assert len(backend.requests) == requests


def caused(failure: Exception, cause: Exception) -> Exception:
    failure.__cause__ = cause
    return failure


def met(failure: Exception, context: Exception) -> Exception:
    failure.__context__ = context
    return failure


@pytest.mark.parametrize("by", [caused, met])
def test_untrusted_certificate_has_its_own_error(mock_service, by):
    untrusted = ssl.SSLCertVerificationError("self-signed certificate")
    backend = mock_service(by(httpx.ConnectError("no"), by(OSError("no"), untrusted)))
    with pytest.raises(errors.QwenCertificateError, match="nothing was sent") as caught:
        backend.model().invoke("?")
    assert not caught.value.is_retryable
    assert len(backend.requests) == 1
    backend = mock_service(by(httpx.ConnectError("no"), by(OSError("no"), ssl.SSLError("no"))))
    with pytest.raises(QwenConnectionError) as caught:
        backend.model().invoke("?")
    assert type(caught.value) is QwenConnectionError


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (httpx.ConnectTimeout("slow"), "longer connect_timeout"),
        (httpx.ReadTimeout("slow"), "longer timeout"),
        (httpx.WriteTimeout("slow"), "longer timeout"),
        (httpx.PoolTimeout("slow"), "longer timeout"),
    ],
)
def test_timeout_error_names_the_field(mock_service, failure, text):
    with pytest.raises(QwenTimeoutError, match=text):
        mock_service(failure).model().invoke("?")


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after-ms": "-7"}, 0.0),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}, 0.0),
    ],
)
@every_entry_point
def test_retry_after_header_is_respected(
    mock_service, entry_point, headers, waited, recorded_waits
):
    backend = mock_service(refusing(429, "Throttling", **headers), ANSWER)
    entry_point(backend.model())
    assert recorded_waits == [waited]


@pytest.mark.parametrize(
    "sent",
    [
        "soon",
        "Mon, 01 Jan 2024 00:00:00 -0000",  # a time without a zone
        f"Mon, 01 Jan {10**20} 00:00:00 GMT",
    ],
)
def test_invalid_retry_after_header_is_ignored(mock_service, recorded_waits, sent):
    backend = mock_service(refusing(429, "Throttling", **{"retry-after": sent}))
    with pytest.raises(QwenRateLimitError) as caught:
        backend.model().invoke("?")
    assert caught.value.retry_after is None
    assert len(recorded_waits) == 2


def test_retry_after_date_is_respected(mock_service):
    sent = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with pytest.raises(QwenRateLimitError) as caught:
        mock_service(refusing(429, "Throttling", **{"retry-after": sent})).model().invoke("?")
    assert caught.value.retry_after == pytest.approx(3600, abs=600)


def test_retry_waits_grow_with_jitter(mock_service, recorded_waits):
    backend = mock_service(refusing(503, "ModelUnavailable"))
    with pytest.raises(QwenServerError):
        backend.model(max_retries=5).invoke("?")
    assert len(recorded_waits) == 5
    assert all(0 <= wait <= min(8, 0.5 * 2**number) for number, wait in enumerate(recorded_waits))


def test_retry_is_logged(mock_service, recorded_waits, caplog):
    caplog.set_level(logging.INFO, "langchain_qwen_ci")
    refusal = refusing(429, "Throttling", "Slow\x1b[2J.", **{"retry-after": "3"})
    mock_service(refusal, ANSWER).model(api_key="sk-secret").invoke("?")
    (record,) = caplog.records
    assert record.message.startswith(r"Trying again in 3.0 s: Slow\u001b[2J. (HTTP 429, Throttling")


def test_retry_waits_double_up_to_eight_seconds(mock_service, recorded_waits, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda least, most: least + most)
    with pytest.raises(QwenServerError):
        mock_service(refusing(503, "ModelUnavailable")).model(max_retries=6).invoke("?")
    assert recorded_waits == [0.5, 1, 2, 4, 8, 8]


@pytest.mark.parametrize(("sent", "waited"), [("60", [60.0]), ("60.5", [])])
def test_retry_after_above_one_minute_is_not_waited(mock_service, recorded_waits, sent, waited):
    backend = mock_service(refusing(429, "Throttling", **{"retry-after": sent}))
    with pytest.raises(QwenRateLimitError):
        backend.model(max_retries=1).invoke("?")
    assert recorded_waits == waited


@pytest.mark.parametrize("status", [300, 399])
def test_every_redirect_status_is_a_redirect(mock_service, status):
    moved = httpx.Response(status, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(errors.QwenInvalidRequestError, match="redirects to https://elsewhere"):
        mock_service(lambda: moved).model().invoke("?")


def test_long_retry_after_raises_the_error(mock_service, recorded_waits):
    backend = mock_service(refusing(429, "Throttling", **{"retry-after": "3600"}))
    with pytest.raises(QwenRateLimitError) as caught:
        backend.model().invoke("?")
    assert caught.value.retry_after == 3600
    assert recorded_waits == []


@pytest.mark.parametrize("entry_point", ["stream", "astream"])
def test_leaving_a_stream_closes_the_connection(mock_service, entry_point):
    body = StreamedBody(*[ANSWER[at : at + 50] for at in range(0, len(ANSWER), 50)])
    model = mock_service(body).model()

    async def leave() -> None:
        chunks = model.astream("?")
        async for _ in chunks:
            break
        await chunks.aclose()

    if entry_point == "stream":
        chunks = model.stream("?")
        next(chunks)
        chunks.close()
    else:
        asyncio.run(leave())
    assert body.closed
