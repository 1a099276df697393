"""Errors say where and why: the host, the URL that was not found, and the server's own reason."""

from __future__ import annotations

import json
import pickle
import traceback
from typing import Any

import httpx
import pytest
from dashscope_streams import STREAMS
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenConnectionError,
    QwenError,
    QwenInvalidRequestError,
    QwenModelNotFoundError,
)

pytestmark = [
    pytest.mark.usefixtures("recorded_waits"),
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
]
APIS = pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
FIELD_MISSING = {
    "type": "missing",
    "loc": ["body", "messages", 0, "content"],
    "msg": "Field required",
    "input": {"role": "user", "content": "sk-secret"},
}
PROBLEM = {
    "type": "https://gate.example/problems/credit",
    "title": "No credit left.",
    "status": 403,
    "detail": "The balance is 30, the cost 50.",
    "instance": "/accounts/12345",
}


def refusing(mock_service: Any, status: int, body: object) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return mock_service(lambda: httpx.Response(status, content=content))


def error_of(model: ChatQwenCodeInterpreter) -> QwenAPIError:
    with pytest.raises(QwenAPIError) as caught:
        model.invoke("Hi")
    return caught.value


@APIS
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": [FIELD_MISSING]}, "body.messages.0.content: Field required"),
        (
            {"detail": [FIELD_MISSING, {"loc": ["query"], "msg": "Too long"}]},
            "body.messages.0.content: Field required; query: Too long",
        ),
        ({"detail": "Not Found"}, "Not Found"),
        ({"message": "No such route."}, "No such route."),
        ({"msg": "busy"}, "busy"),
        ({"error": "text"}, "text"),
        ({"error": {"detail": "inner"}}, "inner"),
        ({"error": {"message": "", "code": "x"}, "detail": "outer"}, "outer"),
        ({"error": "invalid_token", "error_description": "It is expired."}, "It is expired."),
        ({"errors": [{"code": 10000, "message": "Wrong."}, {"message": "Bad."}]}, "Wrong.; Bad."),
        ({"errors": ["Wrong.", "Bad."]}, "Wrong.; Bad."),
        (PROBLEM, "No credit left.: The balance is 30, the cost 50."),
        ({"title": "Gone", "status": 400}, "Gone"),
        ({"timestamp": 1, "status": 400, "error": "Bad Request", "path": "/v1"}, "Bad Request"),
        ({"reason": "quota", "hint": "pay"}, "quota"),
        ({"info": "quota"}, 'The service answered: {"info": "quota"}'),
        ({"error": {"info": "quota"}}, 'The service answered: {"error": {"info": "quota"}}'),
        (b"upstream is down\x1b[31m", "The service answered: upstream is down\\u001b[31m"),
        (b'"a string"', 'The service answered: "a string"'),
        ({}, "The service gives no reason."),
        ({"detail": None, "code": "x", "status": 400}, "The service gives no reason."),
        ({"status": 400, "success": False}, "The service gives no reason."),
        (b"", "The service gives no reason."),
    ],
)
def test_reason_is_shown_whatever_its_shape(mock_service, api, body, message):
    backend = refusing(mock_service, 400, body)
    error = error_of(backend.model(api=api))
    assert isinstance(error, QwenInvalidRequestError)
    assert error.message.startswith(message)
    assert "sk-secret" not in str(error)


def test_not_found_on_another_host_names_the_url_and_the_path(mock_service):
    backend = refusing(mock_service, 404, {"detail": "Not Found"})
    model = backend.model(
        api="responses", base_url="https://gate.example:8443/qwen", api_key="sk-1"
    )
    error = error_of(model)
    assert isinstance(error, QwenModelNotFoundError)
    assert str(error) == (
        "Not Found (HTTP 404, https://gate.example:8443/qwen/compatible-mode/v1/responses) Check "
        "the model's name and base_url: the path may be wrong, and not the model. Most servers "
        "have the API below /v1."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_not_found_at_alibaba_names_the_url_and_the_model(mock_service):
    backend = refusing(mock_service, 404, {"code": "ModelNotFound", "message": "No."})
    error = error_of(backend.model())
    assert "https://dashscope.aliyuncs.com/api/v1/services/aigc/" in str(error)
    assert str(error).endswith("Check the model's name, and that the region offers it.")


def test_workspace_is_masked_in_hosts(mock_service):
    backend = refusing(mock_service, 404, {})
    fields = {"base_url": None, "region": "eu-central-1", "workspace": "WS-secret"}
    error = error_of(backend.model(**fields))
    assert "https://***.eu-central-1.maas.aliyuncs.com/api/v1" in str(error)
    assert "secret" not in str(error).lower()
    model = mock_service(httpx.ConnectError("refused")).model(**fields)
    with pytest.raises(QwenConnectionError, match=r"https://\*\*\*\.eu-central-1") as caught:
        model.invoke("Hi")
    assert "secret" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Set DASHSCOPE_API_KEY to a key of this server, or pass api_key."),
        (403, "Check what the key of this server permits."),
        (500, "Try again later, or look into the log of the server."),
    ],
)
def test_advice_on_another_host_is_not_about_alibaba(mock_service, status, advice):
    backend = refusing(mock_service, status, {"message": "No."})
    model = backend.model(base_url="https://gate.example", max_retries=0)
    assert str(error_of(model)).endswith(advice)
    assert not str(error_of(backend.model(max_retries=0))).endswith(advice)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (
            httpx.ConnectError("[Errno 111] Connection refused"),
            r"could not be reached \(.*refused\)",
        ),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "could not be reached"),
        (httpx.ConnectTimeout(""), "could not be connected to in time"),
        (httpx.ReadTimeout(""), "did not answer in time"),
    ],
)
def test_host_that_does_not_answer_is_named(mock_service, failure, text):
    model = mock_service(failure).model(base_url="https://gate.example:8443/secret", max_retries=0)
    with pytest.raises(QwenConnectionError, match=f"^https://gate.example:8443 {text}") as caught:
        model.invoke("Hi")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://other.example/x", "http://other.example:8080"])
def test_redirect_to_plain_http_is_not_advised(mock_service, location):
    backend = mock_service(lambda: httpx.Response(302, headers={"location": location}))
    error = error_of(backend.model())
    assert "redirects to http://other.example" in str(error)
    assert "check base_url" in str(error)
    assert "set base_url to it" not in str(error)
    with pytest.raises(ValueError, match="plain http"):
        ChatQwenCodeInterpreter(base_url=location, api_key="k")


def test_advice_to_pass_a_key_is_accepted_over_plain_http(mock_service):
    backend = refusing(mock_service, 401, {"detail": "Unauthorized"})
    fields = {"api": "responses", "base_url": "http://10.0.0.7/v1"}
    assert "allow_plain_http=True" in str(error_of(backend.model(api_key="", **fields)))
    backend = mock_service(STREAMS["one run"].body)
    with pytest.raises(ValueError, match="plain http"):
        backend.model(api_key="sk-1", **fields)
    backend.model(api_key="sk-1", allow_plain_http=True, **fields)
    local = refusing(mock_service, 401, {}).model(base_url="http://127.0.0.1:9")
    assert "plain http" not in str(error_of(local))


def test_redirect_that_is_advised_is_accepted(mock_service):
    location = "https://other.example/x"
    backend = mock_service(
        lambda: httpx.Response(302, headers={"location": location}), STREAMS["one run"].body
    )
    assert "set base_url to it" in str(error_of(backend.model()))
    backend.model(base_url="https://other.example").invoke("Hi")


@APIS
@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("text", ["{}", "Received={}, which is no key.", "<html>{}"])
def test_secret_that_a_server_repeats_is_masked(mock_service, api, status, text):
    headers = {"Authorization": "Bearer token-12345678", "X-Gate": "gate-12345678"}
    repeated = text.format("sk-12345678 token-12345678 gate-12345678 Bearer")
    for body in ({"error": {"message": repeated, "code": repeated}}, repeated.encode()):
        backend = refusing(mock_service, status, body)
        fields = {"api_key": " sk-12345678\n", "default_headers": headers, "max_retries": 0}
        error = error_of(backend.model(api=api, **fields))
        assert "12345678" not in f"{error} {error.code}" + repr(error)
        assert "*** *** *** Bearer" in str(error)


IN_A_STREAM = {
    "dashscope": 'data:{{"code":"{0}","message":"{0} is no key","request_id":"{0}"}}\n\n',
    "chat_completions": 'data: {{"error":{{"code":"{0}","message":"{0} is no key"}}}}\n\n',
    "responses": 'data: {{"type":"error","code":"{0}","message":"{0} is no key"}}\n\n',
}


@APIS
@pytest.mark.parametrize(
    "text",
    ["{stream}", '{{"code":"a","message":"{0}","error":{{"message":"{0}"}}}}', "data:{{{0}\n\n",
     "data:{{{filler}{0}\n\n"],
    ids=["event", "body", "malformed frame", "cut quotation"],
)  # fmt: skip
def test_secret_is_masked_in_errors_of_a_response_with_status_200(mock_service, api, text, caplog):
    caplog.set_level("DEBUG")
    stream = IN_A_STREAM[api]
    for secret in ("sk-12345678", "token-12345678", "mcp-12345678", "workspace-12345678"):
        body = text.format(secret, stream=stream.format(secret), filler="x" * 188)
        model = mock_service(body.encode()).model(
            api=api,
            api_key="sk-12345678",
            workspace="workspace-12345678",
            default_headers={"X-Gate": "Bearer token-12345678"},
            max_retries=1,
        )
        tool = {"type": "mcp", "server_label": "a", "headers": {"X-Key": "Bearer mcp-12345678"}}
        with pytest.raises(QwenError) as caught:
            model.invoke("?", **({"tools": [tool]} if api == "responses" else {}))
        error = caught.value
        shown = f"{error!r} {error} {vars(error)}" + "".join(traceback.format_exception(error))
        if secret != "mcp-12345678" or api == "responses":
            assert "***" in str(error)
            assert secret[:7] not in shown + caplog.text


def test_secret_is_masked_in_the_causes_of_an_error(mock_service):
    key = "sk-" + "12345678"  # a traceback shows the lines of this test

    def fail() -> httpx.Response:
        text = f"illegal status line: {key}"
        raise httpx.RemoteProtocolError(text) from ValueError(text)

    for transient in (fail, httpx.ConnectError("refused")):
        with pytest.raises(QwenConnectionError) as caught:
            mock_service(transient).model(api_key=key, max_retries=0).invoke("?")
        assert key not in "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def unpickled(model: ChatQwenCodeInterpreter) -> ChatQwenCodeInterpreter:
    return pickle.loads(pickle.dumps(model))


def test_unpickled_model_without_a_key_says_what_was_lost(mock_service, monkeypatch):
    backend = mock_service(STREAMS["one run"].body)
    headers = {"X-Gate": "sk-secret"}
    model = unpickled(backend.model(workspace="ws", default_headers=headers))
    clients = {"http_client": backend.model().http_client}
    with pytest.raises(QwenAuthenticationError, match="The model was unpickled") as caught:
        model.model_copy(update=clients).invoke("Hi")
    text = str(caught.value)
    assert "contain api_key, workspace, default_headers, http_async_client: create" in text
    assert "DASHSCOPE_API_KEY" in text
    assert "sk-secret" not in text
    assert backend.requests == []
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-worker")
    for worker_model in (unpickled(model), model.model_copy(update={"api_key": SecretStr("k")})):
        worker_model.model_copy(update=clients).invoke("Hi")
    keys = [request.headers["authorization"] for request in backend.requests]
    assert keys == ["Bearer sk-worker", "Bearer k"]


def test_rejected_key_of_an_unpickled_model_says_what_was_lost(mock_service, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-worker")
    backend = refusing(mock_service, 401, {"message": "No."})
    model = unpickled(backend.model(default_headers={"X-Gate": "sk-secret"}))
    model.http_client = backend.model().http_client
    error = error_of(model)
    assert "unpickled, and pickles do not contain default_headers, http_async_client" in str(error)
    assert "unpickled" not in str(error_of(backend.model()))


def test_missing_key_of_a_model_that_was_not_pickled_does_not_mention_pickles(mock_service):
    with pytest.raises(QwenAuthenticationError, match="Set DASHSCOPE_API_KEY") as caught:
        mock_service(b"").model(api_key=None).invoke("Hi")
    assert "pickle" not in str(caught.value)


def test_key_can_be_given_after_the_model_was_made(mock_service):
    backend = mock_service(STREAMS["one run"].body)
    model = backend.model(api_key=None)
    configurable = model.configurable_fields(api_key=ConfigurableField(id="key"))
    configurable.invoke("Hi", {"configurable": {"key": "sk-later"}})
    assert backend.requests[0].headers["authorization"] == "Bearer sk-later"
    with pytest.raises(QwenAuthenticationError, match="There is no API key"):
        configurable.invoke("Hi")
