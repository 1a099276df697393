"""What is sent: paths, hosts, headers, parameters, content; and what is refused before sending."""

from __future__ import annotations

import copy
import pickle

import pytest
from dashscope_streams import STREAMS
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
)

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError
from langchain_qwen_ci.http.hosts import REGIONS
from langchain_qwen_ci.models import MODELS

ANSWER = STREAMS["one run"].body

SEED = {
    "qwen3-max": "text-generation",
    "qwen3-max-2026-01-23": "text-generation",
    "qwen3.6-plus": "multimodal-generation",
    "qwen3.6-plus-2026-04-02": "multimodal-generation",
    "qwen3.5-plus": "multimodal-generation",
    "qwen3.5-plus-2026-02-15": "multimodal-generation",
    "qwen3.5-flash": "multimodal-generation",
    "qwen3.5-flash-2026-02-23": "multimodal-generation",
    "qwen3.5-397b-a17b": "multimodal-generation",
    "qwen3.5-122b-a10b": "multimodal-generation",
    "qwen3.5-27b": "multimodal-generation",
    "qwen3.5-35b-a3b": "multimodal-generation",
}


@pytest.mark.parametrize(("name", "endpoint"), SEED.items())
def test_each_model_goes_to_its_path(service, name: str, endpoint: str):
    served = service(ANSWER)
    model = served.model(model=name)
    model.invoke("Hi")
    assert served.requests[0].url.path == f"/api/v1/services/aigc/{endpoint}/generation"
    body = served.bodies[0]
    expected = "Hi" if endpoint == "text-generation" else [{"text": "Hi"}]
    assert body["model"] == name
    assert body["input"]["messages"] == [{"role": "user", "content": expected}]
    assert body["parameters"] == {
        "result_format": "message",
        "incremental_output": True,
        "enable_code_interpreter": True,
        "enable_thinking": True,
    }
    assert model.profile is not None
    assert model.profile["tool_calling"] is False
    assert model.profile["image_inputs"] is (endpoint == "multimodal-generation")
    assert served.model(model=name, enable_code_interpreter=False).profile["tool_calling"] is True


def test_the_headers_that_make_the_service_stream(service):
    served = service(ANSWER)
    served.model(default_headers={"X-DashScope-DataInspection": "{}"}).invoke("Hi")
    headers = served.requests[0].headers
    assert headers["authorization"] == "Bearer sk-test"
    assert headers["x-dashscope-sse"] == "enable"
    assert headers["accept"] == "text/event-stream"
    assert headers["content-type"] == "application/json"
    assert headers["x-dashscope-datainspection"] == "{}"


def test_an_unknown_model_warns_once_and_works(service):
    served = service(ANSWER)
    with pytest.warns(UserWarning, match="qwen9-test"):
        model = served.model(model="qwen9-test")
    model.invoke("Hi")  # a second warning would be an error here
    served.model(model="qwen9-test").invoke("Hi")
    assert served.bodies[0]["model"] == "qwen9-test"


def test_a_new_snapshot_of_a_known_model_is_known(service):
    served = service(ANSWER)
    served.model(model="qwen3.5-plus-2027-01-01").invoke("Hi")
    assert "multimodal" in served.requests[0].url.path


def test_a_model_that_ignores_the_interpreter_warns(service):
    with pytest.warns(UserWarning, match="ignores the code interpreter"):
        service(ANSWER).model(model="qwen-max")


def test_the_path_can_be_overridden(service):
    served = service(ANSWER)
    served.model(endpoint="multimodal-generation").invoke("Hi")
    served.model().invoke("Hi", endpoint="multimodal-generation")
    assert all("multimodal" in request.url.path for request in served.requests)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, True),
        ({"enable_thinking": True}, True),
        ({"enable_code_interpreter": False}, None),
        ({"enable_code_interpreter": False, "enable_thinking": False}, False),
        ({"model": "qwen3.5-plus", "enable_thinking": False}, False),
    ],
)
@pytest.mark.parametrize("how", ["instance", "call"])
def test_thinking(service, fields, sent, how):
    served = service(ANSWER)
    if how == "instance":
        served.model(**fields).invoke("Hi")
    else:
        served.model().invoke("Hi", **fields)
    assert served.bodies[0]["parameters"].get("enable_thinking") is sent


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3-max-2026-01-23"])
def test_a_model_that_must_think_says_so_at_construction(service, name):
    with pytest.raises(ValueError, match="thinking off"):
        ChatQwenCodeInterpreter(model=name, api_key="sk", enable_thinking=False)
    served = service(ANSWER)
    with pytest.raises(QwenInputError, match="thinking off"):
        served.model(model=name).invoke("Hi", enable_thinking=False)
    assert served.requests == []


PARAMETERS = {
    "thinking_budget": 500,
    "temperature": 0.3,
    "top_p": 0.9,
    "top_k": 20,
    "presence_penalty": -1.5,
    "repetition_penalty": 1.1,
    "max_tokens": 64,
    "seed": 7,
}


def test_parameters_are_sent_from_the_instance_and_from_the_call(service):
    served = service(ANSWER)
    served.model(**PARAMETERS, stop=["a"], model_kwargs={"enable_search": True}).invoke("Hi")
    served.model(temperature=1.9, stop="x").invoke(
        "Hi", stop=["a"], enable_search=True, **PARAMETERS
    )
    for body in served.bodies:
        sent = {name: body["parameters"][name] for name in PARAMETERS}
        assert sent == PARAMETERS
        assert body["parameters"]["stop"] == ["a"]
        assert body["parameters"]["enable_search"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 2},
        {"temperature": -0.1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"presence_penalty": 2.1},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"thinking_budget": -1},
        {"seed": -1},
        {"model": ""},
        {"endpoint": "audio"},
        {"temperature": "warm"},
    ],
)
def test_what_is_out_of_range_is_refused(service, wrong):
    (name,) = wrong
    served = service(ANSWER)
    with pytest.raises(ValueError, match=name):
        served.model(**wrong)
    with pytest.raises(ValueError, match=name):
        served.model().invoke("Hi", **wrong)
    assert served.requests == []


@pytest.mark.parametrize(
    "wrong", [{"temprature": 1}, {"timeout": 0}, {"max_retries": -1}, {"api": "smoke"}]
)
def test_wrong_fields_are_refused_at_construction(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        ChatQwenCodeInterpreter(api_key="sk", **wrong)


def test_what_belongs_to_the_model_cannot_be_set_for_one_call(service):
    served = service(ANSWER)
    with pytest.raises(QwenInputError, match="timeout"):
        served.model().invoke("Hi", timeout=3)
    with pytest.raises(QwenInputError, match="takes only one"):
        served.model().invoke("Hi", thinking_budget=3, reasoning_effort="low")
    assert served.requests == []


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
def test_hosts(service, monkeypatch, fields, environment, host):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    served = service(ANSWER)
    served.model(**{"base_url": None, **fields}).invoke("Hi")
    url = served.requests[0].url
    assert (url.scheme, url.host) == ("https", host)
    assert url.path == "/api/v1/services/aigc/text-generation/generation"
    workspace = fields.get("workspace") or environment.get("DASHSCOPE_WORKSPACE")
    assert served.requests[0].headers.get("x-dashscope-workspace") == workspace


def test_a_path_prefix_of_a_gateway_is_kept(service):
    served = service(ANSWER)
    served.model(base_url="https://gate.example/qwen/api/v1").invoke("Hi")
    assert served.requests[0].url.path.startswith("/qwen/api/v1/services/")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"region": "mars"}, "cn-beijing"),
        ({"region": "eu-central-1"}, "workspace"),
        ({"workspace": "a.b/c"}, "workspace id"),
        ({"base_url": "gate.example"}, "https://host"),
        ({"base_url": "https://me:secret@gate.example"}, "default_headers"),
    ],
)
def test_wrong_destinations_are_refused_at_construction(wrong, said):
    with pytest.raises(ValueError, match=said) as caught:
        ChatQwenCodeInterpreter(api_key="sk", **wrong)
    assert "Destination(" not in str(caught.value)


def test_every_region_has_an_address(service):
    for region in REGIONS:
        served = service(ANSWER)
        served.model(base_url=None, region=region, workspace="ws").invoke("Hi")
        assert served.requests[0].url.host == f"ws.{region}.maas.aliyuncs.com"


def test_a_missing_key_is_said_before_anything_is_sent(service):
    served = service(ANSWER)
    with pytest.raises(QwenAuthenticationError, match="DASHSCOPE_API_KEY"):
        served.model(api_key=None).invoke("Hi")
    assert served.requests == []


def test_messages_become_turns(service):
    served = service(ANSWER)
    earlier = served.model().invoke("Hi")
    served.model().invoke(
        [
            SystemMessage("Be brief."),
            HumanMessage("Hi"),
            earlier,
            ChatMessage(role="user", content="More"),
            HumanMessage([{"type": "text", "text": "and "}, "more"]),
        ]
    )
    assert served.bodies[1]["input"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": earlier.content},
        {"role": "user", "content": "More"},
        {"role": "user", "content": "and more"},
    ]


def test_messages_of_other_shapes_become_text(service):
    served = service(ANSWER)
    blocks = AIMessage([{"type": "reasoning", "reasoning": "x"}, {"type": "text", "text": "5"}])
    served.model(model="qwen3.5-plus").invoke([HumanMessage("?"), blocks, HumanMessage("?")])
    assert served.bodies[0]["input"]["messages"][1] == {
        "role": "assistant",
        "content": [{"text": "5"}],
    }


IMAGE = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("block", "sent"),
    [
        ({"type": "image", "url": IMAGE}, {"image": IMAGE}),
        ({"type": "image_url", "image_url": {"url": IMAGE}}, {"image": IMAGE}),
        (
            {"type": "image", "base64": "QUJD", "mime_type": "image/png"},
            {"image": "data:image/png;base64,QUJD"},
        ),
        (
            {"type": "video", "url": "https://example.com/a.mp4"},
            {"video": "https://example.com/a.mp4"},
        ),
        (
            {"type": "audio", "url": "https://example.com/a.wav"},
            {"audio": "https://example.com/a.wav"},
        ),
    ],
)
def test_media_go_to_models_with_vision_and_to_no_others(service, block, sent):
    served = service(ANSWER)
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    served.model(model="qwen3.5-plus").invoke([message])
    assert served.bodies[0]["input"]["messages"][0]["content"] == [{"text": "What is it?"}, sent]
    with pytest.raises(QwenInputError, match="qwen3-max takes text only"):
        served.model().invoke([message])
    assert len(served.requests) == 1


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "no message"),
        ([FunctionMessage("1", name="f")], "FunctionMessage"),
        ([HumanMessage([{"type": "file", "url": "https://x/a.pdf"}])], "'file'"),
        ([HumanMessage([{"type": "video", "base64": "QUJD"}])], "mime_type"),
        ([HumanMessage("\ud800")], "JSON"),
    ],
)
def test_what_cannot_be_sent_is_said_before_sending(service, messages, said):
    served = service(ANSWER)
    with pytest.raises(QwenInputError, match=said):
        served.model().invoke(messages)
    assert served.requests == []


SECRET = "sk-very-secret"


def test_secrets_are_not_shown(service):
    served = service(ANSWER)
    model = served.model(api_key=SECRET, default_headers={"X-Token": SECRET})
    model.invoke("Hi")
    assert SECRET not in repr(model)
    assert SECRET not in str(model._identifying_params)
    assert SECRET not in dumps(model)
    plain = ChatQwenCodeInterpreter(api_key=SECRET, default_headers={"X-Token": SECRET})
    assert SECRET.encode() not in pickle.dumps(plain)


def test_copies_and_changed_fields_lead_where_they_point(service):
    served = service(ANSWER)
    model = served.model()
    model.invoke("Hi")
    elsewhere = model.model_copy(update={"base_url": "https://gate.example"})
    elsewhere.invoke("Hi")
    model.region, model.base_url = "ap-southeast-1", None
    model.invoke("Hi")
    copy.deepcopy(ChatQwenCodeInterpreter(api_key="sk"))
    hosts = [request.url.host for request in served.requests]
    assert hosts == ["127.0.0.1", "gate.example", "dashscope-intl.aliyuncs.com"]


def test_the_catalogue_holds_the_seed_table():
    assert {name: MODELS[name].endpoint for name in SEED} == SEED
    assert [name for name in SEED if MODELS[name].thinking == "required"] == [
        "qwen3-max",
        "qwen3-max-2026-01-23",
    ]
    assert MODELS["qwen3.5-plus-2026-02-15"].family == "qwen3.5-plus"
