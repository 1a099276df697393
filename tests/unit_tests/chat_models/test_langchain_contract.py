"""What LangChain promises of every chat model, besides what its own suites hold us to."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import operator
import pickle
from typing import Any

import chat_completions_streams
import dashscope_streams
import httpx
import pytest
import responses_streams
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions
from langchain_qwen_ci.errors import QwenInputError, QwenRateLimitError, QwenServerError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

ANSWERS = {
    "dashscope": dashscope_streams.STREAMS["one run"].body,
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}
every_api = pytest.mark.parametrize("api", ANSWERS)
SECRET = "sk-very-secret"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def refusing(status: int, code: str) -> Any:
    return lambda: httpx.Response(status, json={"code": code, "message": "No."})


def parameters(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, **body.get("parameters", {})}


@every_api
def test_call_arguments_override_model_and_interpreter(service, api: str):
    served = service(ANSWERS[api])
    model = served.model(api=api)
    other = {"model": "qwen3.5-plus", "enable_code_interpreter": False, "enable_thinking": False}
    message = model.bind(**other).invoke("Hi", temperature=0.5, top_p=0.5, seed=3)
    sent = parameters(served.bodies[0])
    assert sent["model"] == message.response_metadata["model_name"] == "qwen3.5-plus"
    assert sent["enable_thinking"] is False
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.5, 0.5, 3)
    assert not {"enable_code_interpreter", "tools"} & sent.keys()
    model.invoke("Hi")
    assert parameters(served.bodies[1])["model"] == "qwen3-max"


@pytest.mark.parametrize(
    ("name", "value"),
    [("api", "responses"), ("api_key", "x"), ("base_url", "x"), ("max_retries", 3)],
)
def test_fields_that_a_call_cannot_set_raise_an_error(service, name: str, value: Any):
    served = service(ANSWERS["dashscope"])
    with pytest.raises(QwenInputError, match=f"{name} belongs to the model"):
        served.model().invoke("Hi", **{name: value})
    assert served.requests == []


def test_configurable_fields(service):
    served = service(ANSWERS["dashscope"])
    model = served.model().configurable_fields(
        model=ConfigurableField(id="model"), temperature=ConfigurableField(id="temperature")
    )
    model.invoke("Hi", {"configurable": {"model": "qwen3.5-plus", "temperature": 0.25}})
    model.invoke("Hi")
    first, second = map(parameters, served.bodies)
    assert (first["model"], first["temperature"]) == ("qwen3.5-plus", 0.25)
    assert (second["model"], second.get("temperature")) == ("qwen3-max", None)


def test_configurable_alternatives(service):
    served = service(ANSWERS["dashscope"])
    model = served.model().configurable_alternatives(
        ConfigurableField(id="which"), fast=served.model(model="qwen3.5-flash")
    )
    model.invoke("Hi", {"configurable": {"which": "fast"}})
    assert served.bodies[0]["model"] == "qwen3.5-flash"


def test_with_retry_and_with_fallbacks(service):
    served = service(refusing(503, "ModelUnavailable"), ANSWERS["dashscope"])
    patient = served.model(max_retries=0).with_retry(
        retry_if_exception_type=(QwenServerError,), wait_exponential_jitter=False
    )
    assert code_executions(patient.invoke("Hi"))
    assert len(served.requests) == 2

    limited = service(refusing(429, "Throttling"))
    other = service(ANSWERS["responses"])
    chain = limited.model(max_retries=0).with_fallbacks(
        [other.model(api="responses")], exceptions_to_handle=(QwenRateLimitError,)
    )
    assert chain.invoke("Hi").text.endswith("16807.")
    streamed = list(chain.stream("Hi"))
    assert "".join(chunk.text for chunk in streamed).endswith("16807.")
    assert (len(limited.requests), len(other.requests)) == (2, 2)


@every_api
def test_llm_cache_returns_the_stored_message(service, api: str):
    served = service(ANSWERS[api])
    model = served.model(api=api, cache=InMemoryCache())
    first, second = model.invoke("Hi"), model.invoke("Hi")
    assert len(served.requests) == 1
    assert second.content == first.content
    assert second.content_blocks == first.content_blocks
    assert second.response_metadata == first.response_metadata
    model.invoke("Hi", temperature=0.5)
    model.invoke("Ho")
    assert len(served.requests) == 3


def test_llm_cache_distinguishes_models(service):
    cache = InMemoryCache()
    served = service(ANSWERS["dashscope"])
    served.model(cache=cache).invoke("Hi")
    served.model(cache=cache, model="qwen3.5-plus").invoke("Hi")
    served.model(cache=cache, enable_code_interpreter=False).invoke("Hi")
    served.model(cache=cache, output_version="v1").invoke("Hi")
    assert len(served.requests) == 4


class Turnstile(BaseRateLimiter):
    """Lets everybody through, and counts them."""

    def __init__(self) -> None:
        self.passed = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.passed += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


def test_rate_limiter_is_used(service):
    turnstile = Turnstile()
    model = service(ANSWERS["dashscope"]).model(rate_limiter=turnstile)
    model.invoke("Hi")
    list(model.stream("Hi"))
    asyncio.run(model.ainvoke("Hi"))
    assert model.stream_events("Hi", version="v3").output.text
    assert turnstile.passed == 4


def test_token_estimates():
    model = ChatQwenCodeInterpreter(api_key="sk")
    assert model.get_num_tokens("") == 0
    assert model.get_num_tokens("four") == 1
    assert model.get_num_tokens("fours") == 2
    assert model.get_num_tokens("人工智能") == 3  # twelve bytes
    short = [SystemMessage("four"), HumanMessage("four")]
    assert model.get_num_tokens_from_messages(short) == 2 + 8
    call = {"id": "call_a", "name": "add", "args": {"a": 1}}
    longer = [*short, AIMessage("", tool_calls=[call]), ToolMessage("3", tool_call_id="call_a")]
    assert model.get_num_tokens_from_messages(longer) > 10 + 8
    with_tools = model.get_num_tokens_from_messages(short, tools=[add])
    assert with_tools > model.get_num_tokens_from_messages(short) + 10
    picture = HumanMessage([{"type": "image", "base64": "QUJD" * 999, "mime_type": "image/png"}])
    assert model.get_num_tokens_from_messages([picture]) == 4


@every_api
def test_model_survives_dumps_and_loads(service, monkeypatch, api: str):
    fields = {"api": api, "model": "qwen3.5-plus", "temperature": 0.5, "top_k": 3}
    model = ChatQwenCodeInterpreter(
        api_key=SECRET,
        default_headers={"X-Token": SECRET},
        base_url="https://gate.example",
        **fields,
    )
    written = dumps(model)
    assert SECRET not in written
    read = loads(
        written,
        secrets_map={"DASHSCOPE_API_KEY": "sk-other"},
        valid_namespaces=["langchain_qwen_ci"],
        allowed_objects=[ChatQwenCodeInterpreter],
    )
    assert {name: getattr(read, name) for name in fields} == fields
    assert read.base_url == "https://gate.example"
    assert read.api_key.get_secret_value() == "sk-other"


@every_api
def test_pickled_and_copied_models_work(service, monkeypatch, api: str):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-environment")
    model = ChatQwenCodeInterpreter(api=api, api_key=SECRET, temperature=0.5)
    pickled = pickle.dumps(model)
    assert SECRET.encode() not in pickled
    served = service(ANSWERS[api])
    for twin in (pickle.loads(pickled), copy.copy(model), copy.deepcopy(model)):
        twin.base_url = "http://127.0.0.1:9"
        twin.http_client = httpx.Client(transport=httpx.MockTransport(served))
        twin.invoke("Hi")
    keys = [request.headers["authorization"] for request in served.requests]
    assert keys == ["Bearer sk-from-environment", f"Bearer {SECRET}", f"Bearer {SECRET}"]
    assert all(parameters(body)["temperature"] == 0.5 for body in served.bodies)


def test_model_profiles():
    def profile(**fields: Any) -> dict[str, Any]:
        return dict(ChatQwenCodeInterpreter(api_key="sk", **fields).profile or {})

    on, off = profile(), profile(enable_code_interpreter=False)
    assert on["tool_calling"] is False
    assert off["tool_calling"] is True
    assert on["reasoning_output"] is True
    assert on["image_inputs"] is False
    assert profile(model="qwen3.5-plus")["image_inputs"] is True
    assert profile(profile={"max_input_tokens": 9}) == {"max_input_tokens": 9}


class Ear(BaseCallbackHandler):
    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.serialized: Any = None
        self.params: dict[str, Any] = {}

    def on_chat_model_start(self, serialized, messages, *, metadata=None, **kwargs):
        self.serialized = serialized
        self.metadata = metadata
        self.params = kwargs["invocation_params"]


@every_api
def test_langsmith_parameters(service, api: str):
    ear = Ear()
    model = service(ANSWERS[api]).model(
        api=api,
        temperature=0.5,
        max_tokens=64,
        api_key=SECRET,
        default_headers={"X-Token": SECRET},
    )
    model.bind(model="qwen3.5-plus").invoke("Hi", {"callbacks": [ear]}, stop=["x"])
    assert ear.metadata["ls_provider"] == "qwen"
    assert ear.metadata["ls_model_type"] == "chat"
    assert ear.metadata["ls_model_name"] == "qwen3.5-plus"
    assert ear.metadata["ls_temperature"] == 0.5
    assert ear.metadata["ls_max_tokens"] == 64
    assert ear.metadata["ls_stop"] == ["x"]
    assert SECRET not in json.dumps([ear.serialized, ear.metadata, ear.params], default=str)


def test_mcp_secrets_are_sent_but_not_traced(service):
    ear = Ear()
    served = service(ANSWERS["responses"])
    server = {
        "type": "mcp",
        "server_label": "maps",
        "server_url": "https://maps.example",
        "headers": {"Authorization": SECRET},
        "authorization": SECRET,
    }
    served.model(api="responses").bind_tools([server]).invoke("Hi", {"callbacks": [ear]})
    assert server in served.bodies[0]["tools"]
    displayed = json.dumps([ear.serialized, ear.metadata, ear.params], default=str)
    assert "maps.example" in displayed
    assert SECRET not in displayed


@every_api
@pytest.mark.parametrize("version", [None, "v1"])
def test_usage_callback_counts_once(service, api: str, version: str | None):
    model = service(ANSWERS[api]).model(api=api, output_version=version)
    expected = model.invoke("Hi").usage_metadata
    with get_usage_metadata_callback() as counted:
        model.invoke("Hi")
    assert counted.usage_metadata == {"qwen3-max": expected}
    with get_usage_metadata_callback() as counted:
        list(model.stream("Hi"))
    assert counted.usage_metadata == {"qwen3-max": expected}
    with get_usage_metadata_callback() as counted:
        asyncio.run(model.abatch(["Hi", "Ho"]))
    total = counted.usage_metadata["qwen3-max"]["total_tokens"]
    assert total == 2 * expected["total_tokens"]


def test_streaming_field_does_not_change_the_request(service):
    served = service(ANSWERS["dashscope"])
    served.model().invoke("Hi", stream=True)
    assert "stream" not in parameters(served.bodies[0])
    assert len(list(served.model(streaming=True).stream("Hi"))) > 1
    with pytest.raises(ValueError, match="disable_streaming=True"):
        served.model(streaming=False)
    (whole,) = served.model(disable_streaming=True).stream("Hi")
    assert whole.content.endswith("16807.")


LOGPROBS = [{"token": "16", "logprob": -0.1}, {"token": "807", "logprob": -0.2}]


def test_log_probabilities_are_returned(service):
    chunks = [
        {**payload, "choices": [{**payload["choices"][0], "logprobs": {"content": [result]}}]}
        for result, payload in zip(
            LOGPROBS, map(chat_completions_streams.text_chunk, ["16", "807"]), strict=True
        )
    ]
    end = [
        chat_completions_streams.chunk("stop", content=""),
        chat_completions_streams.usage_chunk(9, 2),
    ]
    chat = service(chat_completions_streams.stream(*chunks, *end)).model(api="chat_completions")
    frames = [
        dashscope_streams.frame(content=result["token"], usage=dashscope_streams.usage(9, 1))
        for result in LOGPROBS
    ]
    for payload, result in zip(frames, LOGPROBS, strict=True):
        payload["output"]["choices"][0]["logprobs"] = {"content": [result]}
    last = dashscope_streams.frame(finish_reason="stop", usage=dashscope_streams.usage(9, 2))
    dashscope = service(dashscope_streams.stream(*frames, last)).model()
    for model in (chat, dashscope):
        message = model.invoke("Hi", logprobs=True)
        assert message.content == "16807"
        assert message.response_metadata["logprobs"] == {"content": LOGPROBS}
        whole = functools.reduce(operator.add, model.stream("Hi"))
        assert whole.response_metadata["logprobs"] == {"content": LOGPROBS}
