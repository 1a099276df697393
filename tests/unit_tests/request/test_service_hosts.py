"""The host of a request: region, workspace, base URL, environment variables."""

from __future__ import annotations

import copy

import pytest
from chat_completions_streams import chunk, text_chunk
from chat_completions_streams import stream as chat_stream
from dashscope_streams import STREAMS
from responses_streams import STREAMS as RESPONSES_STREAMS

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError
from langchain_qwen_ci.http.hosts import REGIONS

# Chat Completions warns that it does not return code.
pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

ANSWER = STREAMS["one run"].body
ANSWERS = {
    "dashscope": ANSWER,
    "responses": RESPONSES_STREAMS["one run"].body,
    "chat_completions": chat_stream(text_chunk("Hi"), chunk("stop")),
}


@pytest.mark.parametrize(
    ("fields", "environment", "host"),
    [
        ({}, {}, "dashscope.aliyuncs.com"),
        ({"region": "ap-southeast-1"}, {}, "dashscope-intl.aliyuncs.com"),
        ({}, {"DASHSCOPE_REGION": "us-east-1"}, "dashscope-us.aliyuncs.com"),
        (
            {"region": "eu-central-1", "workspace": "ws-1"},
            {},
            "ws-1.eu-central-1.maas.aliyuncs.com",
        ),
        (
            {"region": "ap-southeast-1"},
            {"DASHSCOPE_WORKSPACE": "ws-2"},
            "ws-2.ap-southeast-1.maas.aliyuncs.com",
        ),
        ({"workspace": "ws-1"}, {}, "dashscope.aliyuncs.com"),
        ({"base_url": "https://gate.example"}, {}, "gate.example"),
        ({"base_url": "https://gate.example/"}, {}, "gate.example"),
        ({"base_url": "https://gate.example/api/v1"}, {}, "gate.example"),
        ({"base_url": "https://gate.example/api/v1/"}, {}, "gate.example"),
        ({"base_url": "https://gate.example/compatible-mode/v1"}, {}, "gate.example"),
        ({}, {"DASHSCOPE_BASE_URL": "https://gate.example/api/v1"}, "gate.example"),
        (
            {"region": "cn-hongkong"},
            {"DASHSCOPE_BASE_URL": "https://gate.example"},
            "cn-hongkong.dashscope.aliyuncs.com",
        ),
    ],
)
def test_host_of_region_workspace_and_base_url(
    mock_service, monkeypatch, fields, environment, host
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    backend = mock_service(ANSWER)
    backend.model(**{"base_url": None, **fields}).invoke("Hi")
    url = backend.requests[0].url
    assert (url.scheme, url.host) == ("https", host)
    assert url.path == "/api/v1/services/aigc/text-generation/generation"
    workspace = fields.get("workspace") or environment.get("DASHSCOPE_WORKSPACE")
    assert backend.requests[0].headers.get("x-dashscope-workspace") == workspace


VLLM = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://gate.example/qwen/v1", "https://gate.example/qwen/v1"),
        ("https://gate.example/v1/chat/completions", "https://gate.example/v1"),
        ("https://gate.example/v1/responses/", "https://gate.example/v1"),
        ("https://gate.example/api/v1/chat/completions", "https://gate.example/api/v1"),
        ("https://gate.example/responses", "https://gate.example"),
        ("https://gate.example", "https://gate.example/compatible-mode/v1"),
        ("https://gate.example/api/v1", "https://gate.example/compatible-mode/v1"),
        ("https://gate.example/qwen", "https://gate.example/qwen/compatible-mode/v1"),
        (
            "https://gate.example/v1/compatible-mode/v1",
            "https://gate.example/v1/compatible-mode/v1",
        ),
        (
            "https://gate.example/compatible-mode/v1/chat/completions",
            "https://gate.example/compatible-mode/v1",
        ),
    ],
)
def test_compatible_apis_are_below_v1_as_people_write_it(mock_service, api, base_url, root):
    backend = mock_service(ANSWERS[api])
    backend.model(api=api, base_url=base_url).invoke("Hi")
    path = {"responses": "/responses", "chat_completions": "/chat/completions"}[api]
    assert str(backend.requests[0].url) == root + path


def test_native_api_on_an_openai_compatible_server_says_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match='api="responses" or api="chat_completions"'):
        ChatQwenCodeInterpreter(api_key="sk", base_url=VLLM)
    with pytest.raises(ValueError, match="in the path of another API"):
        ChatQwenCodeInterpreter(api_key="sk", base_url="https://gate.example/chat/completions")
    monkeypatch.setenv("DASHSCOPE_COMPATIBLE_BASE_URL", "https://gate.example/v1")
    with pytest.raises(ValueError, match="DASHSCOPE_COMPATIBLE_BASE_URL ends in /v1"):
        ChatQwenCodeInterpreter(api_key="sk")


SDK_NATIVE, SDK_COMPATIBLE = "DASHSCOPE_HTTP_BASE_URL", "DASHSCOPE_COMPATIBLE_BASE_URL"


@pytest.mark.parametrize(
    ("api", "environment", "host"),
    [
        ("dashscope", {SDK_NATIVE: "https://a.example/api/v1"}, "a.example"),
        ("responses", {SDK_NATIVE: "https://a.example/api/v1"}, "a.example"),
        ("dashscope", {SDK_COMPATIBLE: "https://b.example/compatible-mode/v1"}, "b.example"),
        (
            "dashscope",
            {SDK_NATIVE: "https://a.example", SDK_COMPATIBLE: "https://b.example"},
            "a.example",
        ),
        (
            "chat_completions",
            {SDK_NATIVE: "https://a.example", SDK_COMPATIBLE: "https://b.example"},
            "b.example",
        ),
        (
            "dashscope",
            {SDK_NATIVE: "https://a.example", "DASHSCOPE_BASE_URL": "https://c.example"},
            "c.example",
        ),
        (
            "dashscope",
            {SDK_NATIVE: "https://a.example", "DASHSCOPE_REGION": "us-east-1"},
            "a.example",
        ),
        ("dashscope", {"DASHSCOPE_API_REGION": "us-east-1"}, "dashscope-us.aliyuncs.com"),
        (
            "dashscope",
            {"DASHSCOPE_API_REGION": "us-east-1", "DASHSCOPE_REGION": "ap-southeast-1"},
            "dashscope-intl.aliyuncs.com",
        ),
    ],
)
def test_order_of_the_environment_variables(mock_service, monkeypatch, api, environment, host):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    backend = mock_service(ANSWERS[api])
    backend.model(api=api, base_url=None).invoke("Hi")
    assert backend.requests[0].url.host == host


def test_no_key_is_needed_where_the_host_is_not_alibabas(mock_service):
    backend = mock_service(ANSWERS["responses"])
    backend.model(api="responses", api_key="", base_url=VLLM).invoke("Hi")
    assert "authorization" not in backend.requests[0].headers
    with pytest.raises(QwenAuthenticationError, match="DASHSCOPE_API_KEY"):
        mock_service(ANSWER).model(api_key="", base_url=None).invoke("Hi")


PRIVATE_ADDRESSES = [
    "http://192.168.0.7/v1",
    "http://10.1.2.3:8000/v1",
    "http://vllm:8000/v1",
    "http://[fd00::1]/v1",
]
SECRETS = {
    "the API key": {"api_key": "sk-secret"},
    "the workspace": {"workspace": "ws-secret"},
    "default_headers['Authorization']": {"default_headers": {"Authorization": "sk-secret"}},
    "default_headers['X-Api-Key']": {"default_headers": {"X-Api-Key": "sk-secret"}},
    "default_headers['Cookie']": {"default_headers": {"Cookie": "sk-secret"}},
    "default_headers['X-Gate']": {"default_headers": {"X-Gate": "sk-secret"}},
}


@pytest.mark.parametrize("base_url", PRIVATE_ADDRESSES)
def test_plain_http_to_a_private_address_needs_no_permission_without_secrets(
    mock_service, base_url, monkeypatch
):
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", "ws-secret")
    backend = mock_service(ANSWERS["responses"])
    model = backend.model(api="responses", api_key="", workspace="", base_url=base_url)
    model.invoke("Hi", tools=[{"type": "mcp", "server_label": "a", "headers": {}}])
    sent = backend.requests[0].headers
    assert not {"authorization", "x-dashscope-workspace"} & set(sent)


@pytest.mark.parametrize("base_url", PRIVATE_ADDRESSES)
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_sent_in_plain_http_to_a_private_address(mock_service, base_url, name):
    fields = {"api": "responses", "base_url": base_url, "api_key": "", **SECRETS[name]}
    with pytest.raises(ValueError, match="plain http") as caught:
        ChatQwenCodeInterpreter(**fields)
    assert f"so that {name} and all messages" in str(caught.value)
    assert "-secret" not in str(caught.value)
    backend = mock_service(ANSWERS["responses"])
    backend.model(**fields, allow_plain_http=True).invoke("Hi")
    assert len(backend.requests) == 1


def test_workspace_of_the_environment_is_not_sent_in_plain_http(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", "ws-secret")
    with pytest.raises(ValueError, match=r'the workspace .* workspace=""'):
        ChatQwenCodeInterpreter(api="responses", api_key="", base_url=PRIVATE_ADDRESSES[0])


def test_empty_workspace_is_none(mock_service, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", "ws-other")
    backend = mock_service(ANSWER)
    backend.model(base_url=None, region="ap-southeast-1", workspace="").invoke("Hi")
    assert backend.requests[0].url.host == "dashscope-intl.aliyuncs.com"
    assert "x-dashscope-workspace" not in backend.requests[0].headers


@pytest.mark.parametrize(
    "credentials", [{"headers": {"X-Key": "sk-secret"}}, {"authorization": "sk-secret"}]
)
@pytest.mark.parametrize("way", ["bind_tools", "bind", "argument"])
def test_credentials_of_tools_are_not_sent_in_plain_http(mock_service, credentials, way):
    tool = {"type": "mcp", "server_label": "a", "server_url": "https://mcp.example", **credentials}
    backend = mock_service(ANSWERS["responses"])

    def ask(**fields):
        fields |= {"api": "responses", "base_url": PRIVATE_ADDRESSES[0], "api_key": ""}
        model = backend.model(**fields)
        if way == "bind_tools":
            return model.bind_tools([tool]).invoke("Hi")
        if way == "bind":
            return model.bind(tools=[tool]).invoke("Hi")
        return model.invoke("Hi", tools=[tool])

    with pytest.raises(QwenInputError, match="of the tool 'mcp' and all messages") as caught:
        ask()
    assert "sk-secret" not in str(caught.value)
    assert backend.requests == []
    ask(allow_plain_http=True)
    assert len(backend.requests) == 1


@pytest.mark.parametrize("base_url", ["http://8.8.8.8/v1", "http://gate.example/v1"])
def test_plain_http_to_a_public_address_is_rejected_without_a_key_too(base_url):
    with pytest.raises(ValueError, match="plain http"):
        ChatQwenCodeInterpreter(api="responses", api_key="", base_url=base_url)


def test_path_prefix_of_base_url_is_kept(mock_service):
    backend = mock_service(ANSWER)
    backend.model(base_url="https://gate.example/qwen/api/v1").invoke("Hi")
    assert backend.requests[0].url.path.startswith("/qwen/api/v1/services/")


@pytest.mark.parametrize(
    ("invalid", "error_text"),
    [
        ({"region": "mars"}, "cn-beijing"),
        ({"region": "eu-central-1"}, "workspace"),
        ({"workspace": "a.b/c"}, "workspace id"),
        ({"base_url": "gate.example"}, "https://host"),
        ({"base_url": "https://me:secret@gate.example"}, "default_headers"),
    ],
)
def test_invalid_region_workspace_or_base_url_raises_at_construction(invalid, error_text):
    with pytest.raises(ValueError, match=error_text) as caught:
        ChatQwenCodeInterpreter(api_key="sk", **invalid)
    assert "ServiceAddress(" not in str(caught.value)


def test_every_region_has_a_workspace_host(mock_service):
    for region in REGIONS:
        backend = mock_service(ANSWER)
        backend.model(base_url=None, region=region, workspace="ws").invoke("Hi")
        assert backend.requests[0].url.host == f"ws.{region}.maas.aliyuncs.com"


def test_copies_and_changed_fields_use_their_own_host(mock_service):
    backend = mock_service(ANSWER)
    model = backend.model(base_url="http://127.0.0.1:9")
    model.invoke("Hi")
    elsewhere = model.model_copy(update={"base_url": "https://gate.example"})
    elsewhere.invoke("Hi")
    model.region, model.base_url = "ap-southeast-1", None
    model.invoke("Hi")
    copy.deepcopy(ChatQwenCodeInterpreter(api_key="sk"))  # does not raise
    hosts = [request.url.host for request in backend.requests]
    assert hosts == ["127.0.0.1", "gate.example", "dashscope-intl.aliyuncs.com"]
