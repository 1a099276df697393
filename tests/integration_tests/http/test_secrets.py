"""What is secret is sent to the service, and shown nowhere."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback

import dashscope_streams
import httpx
import pytest
import responses_streams
from langchain_core.load import dumps, loads

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.errors import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenError,
    QwenInputError,
)

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

SECRET = "sk-very-secret"
ANSWER = dashscope_streams.STREAMS["one run"].body


def everything_of(error: BaseException) -> str:
    return f"{error!r} {''.join(traceback.format_exception(error))}"


def test_whitespace_around_a_key_is_removed(service):
    served = service(ANSWER)
    served.model(api_key=f" {SECRET}\n").invoke("Hi")
    assert served.requests[0].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("between", ["\n", "\r\n", "\0", "…"])
def test_invalid_key_is_not_shown(service, between: str):
    served = service(ANSWER)
    with pytest.raises(QwenAuthenticationError) as caught:
        served.model(api_key=f"{SECRET}{between}{SECRET}").invoke("Hi")
    assert SECRET not in everything_of(caught.value)
    assert served.requests == []


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}…"])
def test_invalid_header_is_named_but_not_shown(service, value: str):
    served = service(ANSWER)
    with pytest.raises(QwenInputError, match="X-Token") as caught:
        served.model(default_headers={"X-Token": value}).invoke("Hi")
    assert SECRET not in everything_of(caught.value)
    assert served.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "nowhere"},
        {"temperature": "hot"},
        {"model": "qwen3-max", "enable_thinking": False},
        {"base_url": f"https://gate.example?key={SECRET}"},
        {"base_url": f"https://user:{SECRET}@gate.example"},
    ],
)
def test_validation_errors_do_not_show_the_key(wrong):
    with pytest.raises(ValueError, match="error") as caught:
        ChatQwenCodeInterpreter(**wrong, api_key=SECRET)
    assert SECRET not in everything_of(caught.value)


MCP = {
    "type": "mcp",
    "server_label": "maps",
    "server_url": "https://maps.example",
    "headers": {"Authorization": SECRET},
    "authorization": SECRET,
}


def test_mcp_secrets_are_sent_but_not_shown(service):
    served = service(responses_streams.STREAMS["one run"].body)
    bound = served.model(api="responses").bind_tools([MCP])
    for one in (bound, bound.bind(temperature=0.5), copy.copy(bound), bound.with_retry()):
        displayed = [repr(one), str(one), dumps(one)]
        assert all("maps.example" in text for text in displayed)
        assert not any(SECRET in text for text in displayed)
        one.invoke("Hi")
    assert all(MCP in body["tools"] for body in served.bodies)
    assert MCP["authorization"] == SECRET  # the caller's own is as it was


def test_pickled_mcp_secrets_are_lost_with_an_error(service):
    served = service(responses_streams.STREAMS["one run"].body)
    pickled = pickle.dumps(ChatQwenCodeInterpreter(api="responses").bind_tools([MCP]))
    assert b"maps.example" in pickled
    assert SECRET.encode() not in pickled
    bound = pickle.loads(pickled)
    bound.bound.http_client = served.model().http_client
    with pytest.raises(QwenInputError, match="bind the tool again"):
        bound.invoke("Hi")
    assert served.requests == []


def test_workspace_is_sent_but_not_shown(service, monkeypatch):
    served = service(ANSWER)
    model = served.model(workspace="ws-secret")
    model.invoke("Hi")
    assert served.requests[0].headers["x-dashscope-workspace"] == "ws-secret"
    assert "ws-secret" not in repr(model) + str(model) + dumps(model)
    assert b"ws-secret" not in pickle.dumps(model)
    read = loads(
        dumps(model),
        secrets_map={"DASHSCOPE_API_KEY": "sk-other", "DASHSCOPE_WORKSPACE": "ws-other"},
        valid_namespaces=["langchain_qwen_ci"],
        allowed_objects=[ChatQwenCodeInterpreter],
    )
    assert read.workspace == "ws-other"
    model.http_client = model.http_async_client = None  # which cannot be copied
    assert copy.deepcopy(model).workspace == copy.copy(model).workspace == "ws-secret"


FAR = [
    "http://10.0.0.1",
    "http://gate.example:8000",
    "http://127.0.0.1.example",
    "http://[fe80::1]",
]
HERE = ["http://127.0.0.1:1", "http://127.8.8.8", "http://localhost:8000/api/v1", "http://[::1]:1"]


@pytest.mark.parametrize("url", FAR)
def test_plain_http_to_other_machines_is_rejected(service, url, monkeypatch):
    with pytest.raises(ValueError, match="allow_plain_http") as caught:
        ChatQwenCodeInterpreter(base_url=url, api_key=SECRET)
    assert SECRET not in everything_of(caught.value)
    served = service(ANSWER)
    model = served.model()
    model.base_url = url
    with pytest.raises(ValueError, match="allow_plain_http"):
        model.invoke("Hi")
    assert served.requests == []
    served.model(base_url=url, allow_plain_http=True).invoke("Hi")
    assert len(served.requests) == 1
    monkeypatch.setenv("DASHSCOPE_BASE_URL", url)
    with pytest.raises(ValueError, match="allow_plain_http"):
        ChatQwenCodeInterpreter(api_key=SECRET)


@pytest.mark.parametrize("url", HERE)
def test_plain_http_to_this_machine_is_allowed(service, url):
    served = service(ANSWER)
    served.model(base_url=url).invoke("Hi")
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "text"),
    [
        (f"https://thief.example/{SECRET}", "redirects to https://thief.example, which"),
        ("/elsewhere", "check base_url"),
        (None, "check base_url"),
    ],
)
def test_redirects_are_not_followed(service, status, location, text):
    headers = {"location": location} if location else {}
    served = service(lambda: httpx.Response(status, headers=headers, content=b"moved"))
    client = httpx.Client(transport=httpx.MockTransport(served), follow_redirects=True)
    with pytest.raises(QwenAPIError, match=text) as caught:
        served.model(base_url="http://127.0.0.1:9", http_client=client, api_key=SECRET).invoke("Hi")
    assert [request.url.host for request in served.requests] == ["127.0.0.1"]
    assert caught.value.status_code == status
    assert not caught.value.is_retryable
    assert SECRET not in everything_of(caught.value)


def test_loopback_requests_use_no_proxy(monkeypatch):
    """It would see the key, and reach another machine's port."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with EmulatorServer() as server:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key=SECRET)
        assert "42" in model.invoke("What is 6 * 7?").content
        assert "42" in asyncio.run(model.ainvoke("What is 6 * 7?")).content


STEERING = "\x1b]0;owned\x07 \x9b31m \u202e \r\x08"


def test_service_messages_are_escaped(service):
    refusal = {"code": f"Bad{STEERING}", "message": f"No.{STEERING}\nReally.", "request_id": "\x1b"}
    answers = [
        lambda: httpx.Response(400, json=refusal),
        lambda: httpx.Response(502, content=f"<html>{STEERING}".encode()),
        f"data:{STEERING}\n\n".encode(),
    ]
    for answer in answers:
        with pytest.raises(QwenError) as caught:
            service(answer).model(max_retries=0).invoke("Hi")
        displayed = "".join(traceback.format_exception_only(caught.value))
        assert not {"\x1b", "\x9b", "\u202e", "\r", "\x08", "\x07"} & set(displayed)
        assert "owned" in displayed
    assert caught.value.partial is None
