"""Keys, headers, workspaces and MCP credentials are sent, but never shown or serialized."""

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
from secret_values import MCP_SECRET, MCP_SERVER, SECRET

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.errors import (
    QwenAPIError,
    QwenAuthenticationError,
    QwenError,
    QwenInputError,
)

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

ANSWER = dashscope_streams.STREAMS["one run"].body


def full_text(error: BaseException) -> str:
    return f"{error!r} {''.join(traceback.format_exception(error))}"


def test_whitespace_around_a_key_is_removed(mock_service):
    backend = mock_service(ANSWER)
    backend.model(api_key=f" {SECRET}\n").invoke("Hi")
    assert backend.requests[0].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("between", ["\n", "\r\n", "\0", "…"])
def test_invalid_key_is_not_shown(mock_service, between: str):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenAuthenticationError) as caught:
        backend.model(api_key=f"{SECRET}{between}{SECRET}").invoke("Hi")
    assert SECRET not in full_text(caught.value)
    assert backend.requests == []


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}…"])
def test_invalid_header_is_named_but_not_shown(mock_service, value: str):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="X-Token") as caught:
        backend.model(default_headers={"X-Token": value}).invoke("Hi")
    assert SECRET not in full_text(caught.value)
    assert backend.requests == []


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
    assert SECRET not in full_text(caught.value)


def test_mcp_secrets_are_sent_but_not_shown(mock_service):
    backend = mock_service(responses_streams.STREAMS["one run"].body)
    bound = backend.model(api="responses").bind_tools([MCP_SERVER])
    for one in (bound, bound.bind(temperature=0.5), copy.copy(bound), bound.with_retry()):
        displayed = [repr(one), str(one), dumps(one)]
        assert all("maps.example" in text for text in displayed)
        assert not any(MCP_SECRET in text for text in displayed)
        one.invoke("Hi")
    assert all(MCP_SERVER in body["tools"] for body in backend.bodies)
    assert MCP_SERVER["authorization"] == MCP_SECRET  # the caller's dict is unchanged


def test_pickled_mcp_secrets_are_lost_with_an_error(mock_service):
    backend = mock_service(responses_streams.STREAMS["one run"].body)
    pickled = pickle.dumps(ChatQwenCodeInterpreter(api="responses").bind_tools([MCP_SERVER]))
    assert b"maps.example" in pickled
    assert MCP_SECRET.encode() not in pickled
    bound = pickle.loads(pickled)
    bound.bound.http_client = backend.model().http_client
    with pytest.raises(QwenInputError, match="bind the tool again"):
        bound.invoke("Hi")
    assert backend.requests == []


def test_workspace_is_sent_but_not_shown(mock_service, monkeypatch):
    backend = mock_service(ANSWER)
    model = backend.model(workspace="ws-secret")
    model.invoke("Hi")
    assert backend.requests[0].headers["x-dashscope-workspace"] == "ws-secret"
    assert "ws-secret" not in repr(model) + str(model) + dumps(model)
    assert b"ws-secret" not in pickle.dumps(model)
    read = loads(
        dumps(model),
        secrets_map={"DASHSCOPE_API_KEY": "sk-other", "DASHSCOPE_WORKSPACE": "ws-other"},
        valid_namespaces=["langchain_qwen_ci"],
        allowed_objects=[ChatQwenCodeInterpreter],
    )
    assert read.workspace == "ws-other"
    model.http_client = model.http_async_client = None  # clients cannot be copied
    assert copy.deepcopy(model).workspace == copy.copy(model).workspace == "ws-secret"


OTHER_MACHINES = [
    "http://10.0.0.1",
    "http://gate.example:8000",
    "http://127.0.0.1.example",
    "http://[fe80::1]",
]
THIS_MACHINE = [
    "http://127.0.0.1:1",
    "http://127.8.8.8",
    "http://localhost:8000/api/v1",
    "http://[::1]:1",
]


@pytest.mark.parametrize("url", OTHER_MACHINES)
def test_plain_http_to_other_machines_is_rejected(mock_service, url, monkeypatch):
    with pytest.raises(ValueError, match="allow_plain_http") as caught:
        ChatQwenCodeInterpreter(base_url=url, api_key=SECRET)
    assert SECRET not in full_text(caught.value)
    backend = mock_service(ANSWER)
    model = backend.model()
    model.base_url = url
    with pytest.raises(ValueError, match="allow_plain_http"):
        model.invoke("Hi")
    assert backend.requests == []
    backend.model(base_url=url, allow_plain_http=True).invoke("Hi")
    assert len(backend.requests) == 1
    monkeypatch.setenv("DASHSCOPE_BASE_URL", url)
    with pytest.raises(ValueError, match="allow_plain_http"):
        ChatQwenCodeInterpreter(api_key=SECRET)


@pytest.mark.parametrize("url", THIS_MACHINE)
def test_plain_http_to_this_machine_is_allowed(mock_service, url):
    backend = mock_service(ANSWER)
    backend.model(base_url=url).invoke("Hi")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "text"),
    [
        (f"https://thief.example/{SECRET}", "redirects to https://thief.example, which"),
        ("/elsewhere", "check base_url"),
        (None, "check base_url"),
    ],
)
def test_redirects_are_not_followed(mock_service, status, location, text):
    headers = {"location": location} if location else {}
    backend = mock_service(lambda: httpx.Response(status, headers=headers, content=b"moved"))
    client = httpx.Client(transport=httpx.MockTransport(backend), follow_redirects=True)
    with pytest.raises(QwenAPIError, match=text) as caught:
        backend.model(base_url="http://127.0.0.1:9", http_client=client, api_key=SECRET).invoke(
            "Hi"
        )
    assert [request.url.host for request in backend.requests] == ["127.0.0.1"]
    assert caught.value.status_code == status
    assert not caught.value.is_retryable
    assert SECRET not in full_text(caught.value)


def test_loopback_requests_use_no_proxy(monkeypatch):
    """A proxy would see the key, and 127.0.0.1 would be the proxy's machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with EmulatorServer() as server:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key=SECRET)
        assert "42" in model.invoke("What is 6 * 7?").content
        assert "42" in asyncio.run(model.ainvoke("What is 6 * 7?")).content


CONTROL_CHARACTERS = "\x1b]0;owned\x07 \x9b31m \u202e \r\x08"


def test_service_messages_are_escaped(mock_service):
    refusal = {
        "code": f"Bad{CONTROL_CHARACTERS}",
        "message": f"No.{CONTROL_CHARACTERS}\nReally.",
        "request_id": "\x1b",
    }
    answers = [
        lambda: httpx.Response(400, json=refusal),
        lambda: httpx.Response(502, content=f"<html>{CONTROL_CHARACTERS}".encode()),
        f"data:{CONTROL_CHARACTERS}\n\n".encode(),
    ]
    for answer in answers:
        with pytest.raises(QwenError) as caught:
            mock_service(answer).model(max_retries=0).invoke("Hi")
        displayed = "".join(traceback.format_exception_only(caught.value))
        assert not {"\x1b", "\x9b", "\u202e", "\r", "\x08", "\x07"} & set(displayed)
        assert "owned" in displayed
    assert caught.value.partial is None
