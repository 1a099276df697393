"""Requests of the native API: path, headers, parameters, messages; and rejected input."""

from __future__ import annotations

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
from langchain_qwen_ci.models import MODELS

ANSWER = STREAMS["one run"].body

# Models that the package must know, with their native paths.
ENDPOINTS = {
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


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS.items())
@pytest.mark.filterwarnings("ignore:The code interpreter of")  # unit_tests/test_models.py checks it
def test_path_and_body_of_each_model(mock_service, name: str, endpoint: str):
    backend = mock_service(ANSWER)
    model = backend.model(model=name)
    model.invoke("Hi")
    assert backend.requests[0].url.path == f"/api/v1/services/aigc/{endpoint}/generation"
    body = backend.bodies[0]
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
    assert backend.model(model=name, enable_code_interpreter=False).profile["tool_calling"] is True


def test_headers(mock_service):
    backend = mock_service(ANSWER)
    backend.model(default_headers={"X-DashScope-DataInspection": "{}"}).invoke("Hi")
    headers = backend.requests[0].headers
    assert headers["authorization"] == "Bearer sk-test"
    assert headers["x-dashscope-sse"] == "enable"
    assert headers["accept"] == "text/event-stream"
    assert headers["content-type"] == "application/json"
    assert headers["x-dashscope-datainspection"] == "{}"


def test_unknown_model_warns_once_and_works(mock_service):
    backend = mock_service(ANSWER)
    with pytest.warns(UserWarning, match="qwen9-test"):
        model = backend.model(model="qwen9-test")
    model.invoke("Hi")  # pytest turns a second warning into an error
    backend.model(model="qwen9-test").invoke("Hi")
    assert backend.bodies[0]["model"] == "qwen9-test"


def test_unknown_snapshot_uses_the_path_of_its_model(mock_service):
    backend = mock_service(ANSWER)
    backend.model(model="qwen3.5-plus-2027-01-01").invoke("Hi")
    assert "multimodal" in backend.requests[0].url.path


def test_model_that_ignores_the_interpreter_warns(mock_service):
    with pytest.warns(UserWarning, match="ignored: no code runs"):
        mock_service(ANSWER).model(model="qwen3-max-preview")


def test_endpoint_overrides_the_path(mock_service):
    backend = mock_service(ANSWER)
    backend.model(endpoint="multimodal-generation").invoke("Hi")
    backend.model().invoke("Hi", endpoint="multimodal-generation")
    assert all("multimodal" in request.url.path for request in backend.requests)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"enable_thinking": True}, True),
        ({"enable_code_interpreter": False}, None),
        ({"enable_code_interpreter": False, "enable_thinking": False}, False),
        ({"model": "qwen3.5-plus", "enable_thinking": False}, False),
    ],
)
@pytest.mark.parametrize("passed_to", ["instance", "call"])
def test_enable_thinking(mock_service, fields, expected, passed_to):
    backend = mock_service(ANSWER)
    if passed_to == "instance":
        backend.model(**fields).invoke("Hi")
    else:
        backend.model().invoke("Hi", **fields)
    assert backend.bodies[0]["parameters"].get("enable_thinking") is expected


@pytest.mark.parametrize("name", ["qwen3-max", "qwen3-max-2026-01-23"])
def test_model_that_requires_thinking_rejects_thinking_off(mock_service, name):
    with pytest.raises(ValueError, match="thinking off"):
        ChatQwenCodeInterpreter(model=name, api_key="sk", enable_thinking=False)
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="thinking off"):
        backend.model(model=name).invoke("Hi", enable_thinking=False)
    assert backend.requests == []


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


def test_parameters_of_the_model_and_of_the_call_are_sent(mock_service):
    backend = mock_service(ANSWER)
    backend.model(**PARAMETERS, stop=["a"], model_kwargs={"enable_search": True}).invoke("Hi")
    backend.model(temperature=1.9, stop="x").invoke(
        "Hi", stop=["a"], enable_search=True, **PARAMETERS
    )
    for body in backend.bodies:
        assert {name: body["parameters"][name] for name in PARAMETERS} == PARAMETERS
        assert body["parameters"]["stop"] == ["a"]
        assert body["parameters"]["enable_search"] is True


@pytest.mark.parametrize(
    "invalid",
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
def test_parameter_out_of_range_raises(mock_service, invalid):
    (name,) = invalid
    backend = mock_service(ANSWER)
    with pytest.raises(ValueError, match=name):
        backend.model(**invalid)
    with pytest.raises(ValueError, match=name):
        backend.model().invoke("Hi", **invalid)
    assert backend.requests == []


@pytest.mark.parametrize(
    "invalid", [{"temprature": 1}, {"timeout": 0}, {"max_retries": -1}, {"api": "smoke"}]
)
def test_invalid_field_raises_at_construction(invalid):
    (name,) = invalid
    with pytest.raises(ValueError, match=name):
        ChatQwenCodeInterpreter(api_key="sk", **invalid)


def test_invalid_arguments_of_a_call_raise(mock_service):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match="timeout"):
        backend.model().invoke("Hi", timeout=3)
    with pytest.raises(QwenInputError, match="takes only one"):
        backend.model().invoke("Hi", thinking_budget=3, reasoning_effort="low")
    assert backend.requests == []


def test_missing_api_key_raises_before_sending(mock_service):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenAuthenticationError, match="DASHSCOPE_API_KEY"):
        backend.model(api_key=None).invoke("Hi")
    assert backend.requests == []


def test_messages(mock_service):
    backend = mock_service(ANSWER)
    earlier = backend.model().invoke("Hi")
    backend.model().invoke(
        [
            SystemMessage("Be brief."),
            HumanMessage("Hi"),
            earlier,
            ChatMessage(role="user", content="More"),
            HumanMessage([{"type": "text", "text": "and "}, "more"]),
        ]
    )
    assert backend.bodies[1]["input"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": earlier.content},
        {"role": "user", "content": "More"},
        {"role": "user", "content": "and more"},
    ]


def test_only_text_of_assistant_content_blocks_is_sent(mock_service):
    backend = mock_service(ANSWER)
    blocks = AIMessage([{"type": "reasoning", "reasoning": "x"}, {"type": "text", "text": "5"}])
    backend.model(model="qwen3.5-plus").invoke([HumanMessage("?"), blocks, HumanMessage("?")])
    assert backend.bodies[0]["input"]["messages"][1] == {
        "role": "assistant",
        "content": [{"text": "5"}],
    }


IMAGE = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("block", "expected"),
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
def test_media_are_sent_only_to_models_with_vision(mock_service, block, expected):
    backend = mock_service(ANSWER)
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    backend.model(model="qwen3.5-plus").invoke([message])
    assert backend.bodies[0]["input"]["messages"][0]["content"] == [
        {"text": "What is it?"},
        expected,
    ]
    with pytest.raises(QwenInputError, match="qwen3-max takes text only"):
        backend.model().invoke([message])
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("messages", "error_text"),
    [
        ([], "no message"),
        ([FunctionMessage("1", name="f")], "FunctionMessage"),
        ([HumanMessage([{"type": "file", "url": "https://x/a.pdf"}])], "'file'"),
        ([HumanMessage([{"type": "video", "base64": "QUJD"}])], "mime_type"),
        ([HumanMessage("\ud800")], "JSON"),
    ],
)
def test_unsupported_messages_raise_before_sending(mock_service, messages, error_text):
    backend = mock_service(ANSWER)
    with pytest.raises(QwenInputError, match=error_text):
        backend.model().invoke(messages)
    assert backend.requests == []


SECRET = "sk-very-secret"


def test_secrets_are_not_in_repr_parameters_and_pickles(mock_service):
    backend = mock_service(ANSWER)
    model = backend.model(api_key=SECRET, default_headers={"X-Token": SECRET})
    model.invoke("Hi")
    assert SECRET not in repr(model)
    assert SECRET not in str(model._identifying_params)
    assert SECRET not in dumps(model)
    plain = ChatQwenCodeInterpreter(api_key=SECRET, default_headers={"X-Token": SECRET})
    assert SECRET.encode() not in pickle.dumps(plain)


def test_required_models_are_known():
    assert {name: MODELS[name].endpoint for name in ENDPOINTS} == ENDPOINTS
    assert [name for name in ENDPOINTS if MODELS[name].thinking == "required"] == [
        "qwen3-max",
        "qwen3-max-2026-01-23",
    ]
    assert MODELS["qwen3.5-plus-2026-02-15"].family == "qwen3.5-plus"
