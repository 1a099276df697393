"""The host of a request: region, workspace, base URL, environment variables."""

from __future__ import annotations

import copy

import pytest
from dashscope_streams import STREAMS

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.http.hosts import REGIONS

ANSWER = STREAMS["one run"].body


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
def test_host_of_region_workspace_and_base_url(service, monkeypatch, fields, environment, host):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    served = service(ANSWER)
    served.model(**{"base_url": None, **fields}).invoke("Hi")
    url = served.requests[0].url
    assert (url.scheme, url.host) == ("https", host)
    assert url.path == "/api/v1/services/aigc/text-generation/generation"
    workspace = fields.get("workspace") or environment.get("DASHSCOPE_WORKSPACE")
    assert served.requests[0].headers.get("x-dashscope-workspace") == workspace


def test_path_prefix_of_base_url_is_kept(service):
    served = service(ANSWER)
    served.model(base_url="https://gate.example/qwen/api/v1").invoke("Hi")
    assert served.requests[0].url.path.startswith("/qwen/api/v1/services/")


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


def test_every_region_has_a_workspace_host(service):
    for region in REGIONS:
        served = service(ANSWER)
        served.model(base_url=None, region=region, workspace="ws").invoke("Hi")
        assert served.requests[0].url.host == f"ws.{region}.maas.aliyuncs.com"


def test_copies_and_changed_fields_use_their_own_host(service):
    served = service(ANSWER)
    model = served.model(base_url="http://127.0.0.1:9")
    model.invoke("Hi")
    elsewhere = model.model_copy(update={"base_url": "https://gate.example"})
    elsewhere.invoke("Hi")
    model.region, model.base_url = "ap-southeast-1", None
    model.invoke("Hi")
    copy.deepcopy(ChatQwenCodeInterpreter(api_key="sk"))  # does not raise
    hosts = [request.url.host for request in served.requests]
    assert hosts == ["127.0.0.1", "gate.example", "dashscope-intl.aliyuncs.com"]
