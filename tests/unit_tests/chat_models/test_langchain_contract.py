"""Features that LangChain documents for every chat model and its standard suites do not test."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import operator
import pickle
from typing import Any

import chat_completions_streams as chat_completions
import dashscope_streams as dashscope
import httpx
import pytest
import responses_streams as responses
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from secret_values import MCP_SECRET, MCP_SERVER, SECRET

import langchain_qwen_ci
from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, errors
from langchain_qwen_ci.errors import (
    QwenError,
    QwenInputError,
    QwenRateLimitError,
    QwenServerError,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

ANSWERS = {
    "dashscope": dashscope.STREAMS["one run"].body,
    "responses": responses.STREAMS["one run"].body,
    "chat_completions": chat_completions.STREAMS["an answer"].body,
}
every_api = pytest.mark.parametrize("api", ANSWERS)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def error_response(status: int, code: str) -> Any:
    return lambda: httpx.Response(status, json={"code": code, "message": "No."})


def parameters_of(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request, which the native API has in an object of their own."""
    return {**body, **body.get("parameters", {})}


@every_api
def test_call_arguments_override_model_and_interpreter(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api)
    bound = {"model": "qwen3.5-plus", "enable_code_interpreter": False, "enable_thinking": False}
    message = model.bind(**bound).invoke("Hi", temperature=0.5, top_p=0.5, seed=3)
    sent = parameters_of(backend.bodies[0])
    assert sent["model"] == message.response_metadata["model_name"] == "qwen3.5-plus"
    assert sent["enable_thinking"] is False
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.5, 0.5, 3)
    assert not {"enable_code_interpreter", "tools"} & sent.keys()
    model.invoke("Hi")
    assert parameters_of(backend.bodies[1])["model"] == "qwen3-max"


@pytest.mark.parametrize(
    ("name", "value"),
    [("api", "responses"), ("api_key", "x"), ("base_url", "x"), ("max_retries", 3)],
)
def test_fields_that_a_call_cannot_set_raise_an_error(mock_service, name: str, value: Any):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.raises(QwenInputError, match=f"{name} belongs to the model"):
        backend.model().invoke("Hi", **{name: value})
    assert backend.requests == []


def test_configurable_fields(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    model = backend.model().configurable_fields(
        model=ConfigurableField(id="model"), temperature=ConfigurableField(id="temperature")
    )
    model.invoke("Hi", {"configurable": {"model": "qwen3.5-plus", "temperature": 0.25}})
    model.invoke("Hi")
    first, second = map(parameters_of, backend.bodies)
    assert (first["model"], first["temperature"]) == ("qwen3.5-plus", 0.25)
    assert (second["model"], second.get("temperature")) == ("qwen3-max", None)


@pytest.mark.filterwarnings("ignore:The code interpreter of qwen3.5-flash")
def test_configurable_alternatives(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    model = backend.model().configurable_alternatives(
        ConfigurableField(id="which"), fast=backend.model(model="qwen3.5-flash")
    )
    model.invoke("Hi", {"configurable": {"which": "fast"}})
    assert backend.bodies[0]["model"] == "qwen3.5-flash"


def test_with_retry_and_with_fallbacks(mock_service):
    backend = mock_service(error_response(503, "ModelUnavailable"), ANSWERS["dashscope"])
    retrying = backend.model(max_retries=0).with_retry(
        retry_if_exception_type=(QwenServerError,), wait_exponential_jitter=False
    )
    assert code_executions(retrying.invoke("Hi"))
    assert len(backend.requests) == 2

    limited = mock_service(error_response(429, "Throttling"))
    fallback = mock_service(ANSWERS["responses"])
    chain = limited.model(max_retries=0).with_fallbacks(
        [fallback.model(api="responses")], exceptions_to_handle=(QwenRateLimitError,)
    )
    assert chain.invoke("Hi").text.endswith("16807.")
    chunks = list(chain.stream("Hi"))
    assert "".join(chunk.text for chunk in chunks).endswith("16807.")
    assert (len(limited.requests), len(fallback.requests)) == (2, 2)


@every_api
def test_llm_cache_returns_the_stored_message(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api, cache=InMemoryCache())
    first, second = model.invoke("Hi"), model.invoke("Hi")
    assert len(backend.requests) == 1
    assert second.content == first.content
    assert second.content_blocks == first.content_blocks
    assert second.response_metadata == first.response_metadata
    model.invoke("Hi", temperature=0.5)
    model.invoke("Ho")
    assert len(backend.requests) == 3


def test_llm_cache_distinguishes_models(mock_service):
    cache = InMemoryCache()
    backend = mock_service(ANSWERS["dashscope"])
    backend.model(cache=cache).invoke("Hi")
    backend.model(cache=cache, model="qwen3.5-plus").invoke("Hi")
    backend.model(cache=cache, enable_code_interpreter=False).invoke("Hi")
    backend.model(cache=cache, output_version="v1").invoke("Hi")
    assert len(backend.requests) == 4


class CountingRateLimiter(BaseRateLimiter):
    """Counts the requests and delays none."""

    def __init__(self) -> None:
        self.count = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


def test_rate_limiter_is_used(mock_service):
    rate_limiter = CountingRateLimiter()
    model = mock_service(ANSWERS["dashscope"]).model(rate_limiter=rate_limiter)
    model.invoke("Hi")
    list(model.stream("Hi"))
    asyncio.run(model.ainvoke("Hi"))
    assert model.stream_events("Hi", version="v3").output.text
    assert rate_limiter.count == 4


def test_token_counts():
    model = ChatQwenCodeInterpreter(api_key="sk")
    assert model.get_num_tokens("") == 0
    assert model.get_num_tokens("four") == 1
    assert model.get_num_tokens("12345") == 5  # each digit is a token
    short = [SystemMessage("four"), HumanMessage("four")]
    assert model.get_num_tokens_from_messages(short) == 2 + 8  # four more for each message
    call = {"id": "call_a", "name": "add", "args": {"a": 1}}
    with_call = [*short, AIMessage("", tool_calls=[call]), ToolMessage("3", tool_call_id="call_a")]
    assert model.get_num_tokens_from_messages(with_call) > 10 + 8
    with_tools = model.get_num_tokens_from_messages(short, tools=[add])
    assert with_tools > model.get_num_tokens_from_messages(short) + 10
    image = HumanMessage([{"type": "image", "base64": "QUJD" * 999, "mime_type": "image/png"}])
    assert model.get_num_tokens_from_messages([image]) == 4


@every_api
def test_model_survives_dumps_and_loads(mock_service, monkeypatch, api: str):
    fields = {"api": api, "model": "qwen3.5-plus", "temperature": 0.5, "top_k": 3}
    model = ChatQwenCodeInterpreter(
        api_key=SECRET,
        default_headers={"X-Token": SECRET},
        base_url="https://gate.example",
        **fields,
    )
    serialized = dumps(model)
    assert SECRET not in serialized
    restored = loads(
        serialized,
        secrets_map={"DASHSCOPE_API_KEY": "sk-other"},
        valid_namespaces=["langchain_qwen_ci"],
        allowed_objects=[ChatQwenCodeInterpreter],
    )
    assert {name: getattr(restored, name) for name in fields} == fields
    assert restored.base_url == "https://gate.example"
    assert restored.api_key.get_secret_value() == "sk-other"


@every_api
def test_pickled_and_copied_models_work(mock_service, monkeypatch, api: str):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-environment")
    model = ChatQwenCodeInterpreter(api=api, api_key=SECRET, temperature=0.5)
    pickled = pickle.dumps(model)
    assert SECRET.encode() not in pickled
    backend = mock_service(ANSWERS[api])
    for copied in (pickle.loads(pickled), copy.copy(model), copy.deepcopy(model)):
        copied.base_url = "http://127.0.0.1:9"
        copied.http_client = httpx.Client(transport=httpx.MockTransport(backend))
        copied.invoke("Hi")
    keys = [request.headers["authorization"] for request in backend.requests]
    assert keys == ["Bearer sk-from-environment", f"Bearer {SECRET}", f"Bearer {SECRET}"]
    assert all(parameters_of(body)["temperature"] == 0.5 for body in backend.bodies)


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


class StartRecorder(BaseCallbackHandler):
    """Records the data that tracers receive at the start of a model's run."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.serialized: Any = None
        self.invocation_params: dict[str, Any] = {}

    def on_chat_model_start(self, serialized, messages, *, metadata=None, **kwargs):
        self.serialized = serialized
        self.metadata = metadata
        self.invocation_params = kwargs["invocation_params"]

    def as_text(self) -> str:
        return json.dumps([self.serialized, self.metadata, self.invocation_params], default=str)


@every_api
def test_langsmith_parameters(mock_service, api: str):
    recorder = StartRecorder()
    model = mock_service(ANSWERS[api]).model(
        api=api,
        temperature=0.5,
        max_tokens=64,
        api_key=SECRET,
        default_headers={"X-Token": SECRET},
    )
    model.bind(model="qwen3.5-plus").invoke("Hi", {"callbacks": [recorder]}, stop=["x"])
    assert recorder.metadata["ls_provider"] == "qwen"
    assert recorder.metadata["ls_model_type"] == "chat"
    assert recorder.metadata["ls_model_name"] == "qwen3.5-plus"
    assert recorder.metadata["ls_temperature"] == 0.5
    assert recorder.metadata["ls_max_tokens"] == 64
    assert recorder.metadata["ls_stop"] == ["x"]
    assert SECRET not in recorder.as_text()


def test_mcp_secrets_are_sent_but_not_traced(mock_service):
    recorder = StartRecorder()
    backend = mock_service(ANSWERS["responses"])
    backend.model(api="responses").bind_tools([MCP_SERVER]).invoke("Hi", {"callbacks": [recorder]})
    assert MCP_SERVER in backend.bodies[0]["tools"]
    assert "maps.example" in recorder.as_text()
    assert MCP_SECRET not in recorder.as_text()


@every_api
@pytest.mark.parametrize("version", [None, "v1"])
def test_usage_callback_counts_once(mock_service, api: str, version: str | None):
    model = mock_service(ANSWERS[api]).model(api=api, output_version=version)
    expected = model.invoke("Hi").usage_metadata
    with get_usage_metadata_callback() as callback:
        model.invoke("Hi")
    assert callback.usage_metadata == {"qwen3-max": expected}
    with get_usage_metadata_callback() as callback:
        list(model.stream("Hi"))
    assert callback.usage_metadata == {"qwen3-max": expected}
    with get_usage_metadata_callback() as callback:
        asyncio.run(model.abatch(["Hi", "Ho"]))
    total = callback.usage_metadata["qwen3-max"]["total_tokens"]
    assert total == 2 * expected["total_tokens"]


def test_streaming_field_does_not_change_the_request(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    backend.model().invoke("Hi", stream=True)
    assert "stream" not in parameters_of(backend.bodies[0])
    assert len(list(backend.model(streaming=True).stream("Hi"))) > 1
    with pytest.raises(ValueError, match="disable_streaming=True"):
        backend.model(streaming=False)
    (chunk,) = backend.model(disable_streaming=True).stream("Hi")
    assert chunk.content.endswith("16807.")


LOGPROBS = [{"token": "16", "logprob": -0.1}, {"token": "807", "logprob": -0.2}]


def logprobs_in_chat_completions() -> bytes:
    chunks = [chat_completions.text_chunk(logprob["token"]) for logprob in LOGPROBS]
    for chunk, logprob in zip(chunks, LOGPROBS, strict=True):
        chunk["choices"][0]["logprobs"] = {"content": [logprob]}
    end = chat_completions.chunk("stop", content="")
    return chat_completions.stream(*chunks, end, chat_completions.usage_chunk(9, 2))


def logprobs_in_dashscope() -> bytes:
    frames = [
        dashscope.frame(content=logprob["token"], usage=dashscope.usage(9, 1))
        for logprob in LOGPROBS
    ]
    for frame, logprob in zip(frames, LOGPROBS, strict=True):
        frame["output"]["choices"][0]["logprobs"] = {"content": [logprob]}
    end = dashscope.frame(finish_reason="stop", usage=dashscope.usage(9, 2))
    return dashscope.stream(*frames, end)


@pytest.mark.parametrize(
    ("api", "body"),
    [("chat_completions", logprobs_in_chat_completions()), ("dashscope", logprobs_in_dashscope())],
    ids=["chat_completions", "dashscope"],
)
def test_log_probabilities_are_returned(mock_service, api: str, body: bytes):
    model = mock_service(body).model(api=api)
    message = model.invoke("Hi", logprobs=True)
    assert message.content == "16807"
    assert message.response_metadata["logprobs"] == {"content": LOGPROBS}
    total = functools.reduce(operator.add, model.stream("Hi"))
    assert total.response_metadata["logprobs"] == {"content": LOGPROBS}


def test_every_field_of_this_package_has_a_description():
    own = set(ChatQwenCodeInterpreter.model_fields) - set(BaseChatModel.model_fields)
    assert {"temperature", "api", "base_url", "trace_code_executions"} <= own
    missing = [name for name in own if not ChatQwenCodeInterpreter.model_fields[name].description]
    assert missing == []


def test_every_error_can_be_imported_from_the_package():
    for name in errors.__all__:
        if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), QwenError):
            assert getattr(langchain_qwen_ci, name) is getattr(errors, name)
