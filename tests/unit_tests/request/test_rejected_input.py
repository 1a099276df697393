"""Input that cannot be sent: an error that names the place is raised before a request is sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from dashscope_streams import STREAMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenError, QwenInputError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")
ANSWER = STREAMS["one run"].body


def answer_with_call(**args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": args, "id": "1"}])


circular: dict[str, Any] = {}
circular["self"] = circular

REJECTED_MESSAGES = {
    "no message": ([], "no message"),
    "empty message": ([HumanMessage("Hi"), HumanMessage("")], r"messages\[1\].*without text"),
    "empty parts": ([HumanMessage([{"type": "text", "text": ""}])], "without text or media"),
    "half of a surrogate pair": (
        [HumanMessage("a\ud83d")],
        r"messages\[0\].content contains a lone surrogate",
    ),
    "arguments that are not JSON": (
        [answer_with_call(when=object())],
        r"messages\[0\].*call of look",
    ),
    "circular arguments": ([answer_with_call(c=circular)], "call of look are no JSON"),
    "block without a type": ([HumanMessage([{"colour": "red"}])], r"messages\[0\]"),
    "file": ([HumanMessage([{"type": "file", "url": "https://x/a.pdf"}])], "'file'"),
    "image that is a path": (
        [HumanMessage([{"type": "image", "url": "charts/a.png"}])],
        r"messages\[0\].*neither an http, https or oss URL.*'charts/a.png'.*base64",
    ),
    "image that is a file URL": (
        [HumanMessage([{"type": "image_url", "image_url": {"url": "file:///a.png"}}])],
        "file:///a.png",
    ),
    "image that is base64 without a media type": (
        [HumanMessage([{"image": "data:;base64,QUJD"}])],
        "a data URL with a media type",
    ),
    "image that is base64 only": (
        [HumanMessage([{"type": "input_image", "image_url": "QUJD" * 1000}])],
        r"'(QUJD){20}…'",
    ),
    "cache_control that is no object": (
        [SystemMessage([{"type": "text", "text": "a", "cache_control": "ephemeral"}])],
        r"messages\[0\].*cache_control must be like",
    ),
    "unknown role": ([ChatMessage("Hi", role="narrator")], "ChatMessage"),
}


@pytest.mark.parametrize(
    ("messages", "error_text"), REJECTED_MESSAGES.values(), ids=REJECTED_MESSAGES
)
def test_message_that_cannot_be_sent_raises(mock_service, messages, error_text):
    backend = mock_service(ANSWER)
    model = backend.model()
    with pytest.raises(QwenInputError, match=error_text):
        model.invoke(messages)
    with pytest.raises(QwenInputError, match=error_text):
        list(model.stream(messages))
    assert backend.requests == []


@pytest.mark.parametrize("url", ["HTTPS://x.y/a", "http://x", "oss://dashscope/a.png"])
@pytest.mark.parametrize("base_url", ["https://dashscope.aliyuncs.com", "https://gate.example"])
def test_image_url_is_sent_on_every_host(mock_service, url, base_url):
    backend = mock_service(ANSWER)
    model = backend.model(model="qwen3.5-plus", base_url=base_url)
    model.invoke([HumanMessage([{"type": "image", "url": url}])])
    assert backend.bodies[0]["input"]["messages"][0]["content"] == [{"image": url}]
    with pytest.raises(QwenInputError, match="neither an http"):
        model.invoke([HumanMessage([{"type": "image", "url": "a.png"}])])
    assert len(backend.requests) == 1


def test_request_over_max_request_bytes_raises(mock_service):
    backend = mock_service(ANSWER)
    model = backend.model(max_request_bytes=2000)
    model.invoke("short")
    with pytest.raises(QwenInputError, match=r"max_request_bytes \(2000\).*trim_messages"):
        model.invoke("long " * 500)
    assert len(backend.requests) == 1


@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_control_characters_are_sent_unchanged(mock_service, api):
    backend = mock_service(ANSWER)
    with suppress(QwenError):  # ANSWER is a native stream, which the other APIs cannot decode
        backend.model(api=api).invoke("\0\x1b[31m\x7f\u202e")
    assert b"\\u0000\\u001b[31m" in backend.requests[0].content


LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("fields", "error_class", "error_text"),
    [
        ({"api_key": f"sk-{LONG}"}, QwenAuthenticationError, "10003 characters"),
        ({"default_headers": {"X-Long": LONG}}, QwenInputError, "X-Long.*10000 characters"),
        ({"default_headers": {"X Y": "1"}}, QwenInputError, "'X Y'"),
        ({"default_headers": {"X\n": "1"}}, QwenInputError, "cannot be sent"),
        ({"default_headers": {"": "1"}}, QwenInputError, "cannot be sent"),
    ],
)
def test_header_that_cannot_be_sent_raises(mock_service, fields, error_class, error_text):
    backend = mock_service(ANSWER)
    with pytest.raises(error_class, match=error_text) as caught:
        backend.model(**fields).invoke("Hi")
    assert LONG not in str(caught.value)
    assert backend.requests == []


def test_default_headers_replace_others_regardless_of_case(mock_service):
    backend = mock_service(ANSWER)
    headers = {"authorization": "Gate 1", "content-type": "application/json; v=2"}
    backend.model(default_headers=headers).invoke("Hi")
    sent = backend.requests[0].headers
    assert sent.get_list("authorization") == ["Gate 1"]
    assert sent.get_list("content-type") == ["application/json; v=2"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "https://",
        "https://ho st",
        "https://host\n",
        "https://host\0/x",
        "https://host\x1b[31m",
        "host",
        "https://host?x=1",
    ],
)
def test_invalid_base_url_raises(url):
    if url == "https://host\n":  # white space around a URL is removed
        assert ChatQwenCodeInterpreter(base_url=url, api_key="k")
        return
    with pytest.raises(ValueError, match="base_url") as caught:
        ChatQwenCodeInterpreter(base_url=url, api_key="k")
    assert "\x1b" not in str(caught.value)


SECRET = "sk-secret"


@pytest.mark.parametrize(
    ("url", "error_text"),
    [
        (f"https://host:{SECRET}", "port"),
        (f"https://host/#{SECRET}", "fragment"),
        (f"https://host/?key={SECRET}", "query"),
        (f"https://{SECRET}@host", "user or password.*default_headers"),
        (f"https://me:{SECRET}@host/v1", "user or password"),
        (SECRET, "http://"),
        (f"https://host {SECRET}", "white space"),
        (f"https://host/{SECRET * 1000}", "too long"),
        (f"https://{SECRET}:port", "port"),
        (f"https://{SECRET}:0x50", "port"),
        (f"https://{SECRET}:99999", "from 1 to 65535"),
        (f"https://{SECRET}:0", "port"),
        (f"https://{SECRET}:", "port"),
        (f"https://{SECRET}:-1", "port"),
        (f"https://{SECRET}:\u0663", "port"),  # a digit, but not of ASCII
        (f"https://{SECRET}..example", "host"),
        (f"https://{SECRET * 8}", "host"),  # a label of more than 63 characters
        (f"https://{SECRET}.\u00fc.example", "xn--"),
        (f"https://{SECRET}\\.example", "host"),
        (f"https://{SECRET}%2e.example", "host"),
        ("https://xn--a.example", "host"),
        ("https://\uff4cocalhost", "ASCII"),
        ("https://\uff11\uff12\uff17.0.0.1", "ASCII"),
        ("https://127.1", "four decimal numbers"),
        ("https://2130706433", "four decimal numbers"),
        ("https://0x7f.0.0.1", "four decimal numbers"),
        ("https://127.0.0.0x1", "four decimal numbers"),
        ("https://127.0.0.01", "four decimal numbers"),
        ("https://127.0.0.256", "four decimal numbers"),
        ("https://127.0.0.1.", "four decimal numbers"),
        ("https://[::1", "host"),
        ("https://[127.0.0.1]", "host"),
        ("https://[host]", "host"),
        ("https://::1", "host"),
        ("https://:443", "host"),
        ("https:///v1", "host"),
    ],
)
@pytest.mark.parametrize("variable", [None, "DASHSCOPE_BASE_URL"])
def test_base_url_with_what_does_not_belong_in_it_is_not_shown(
    monkeypatch, url, error_text, variable
):
    if variable:
        monkeypatch.setenv(variable, url)
    with pytest.raises(ValueError, match=f"(?s){variable or 'base_url'}.*{error_text}") as caught:
        ChatQwenCodeInterpreter(base_url=None if variable else url, api_key="k")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.:443/v1",
        "https://xn--bcher-kva.example",
        "https://a_b.example:00443",
        "https://1password.example",
        "https://[fe80::1%eth0]:8000/v1",
        "https://[2001:db8::1]",
        "https://host/a/\u00fc/v1",
    ],
)
def test_unusual_base_url_is_accepted(mock_service, url):
    backend = mock_service(ANSWER)
    with suppress(QwenError):  # ANSWER is a native stream
        backend.model(base_url=url, api="responses").invoke("Hi")
    assert len(backend.requests) == 1


def test_base_url_that_is_set_later_is_checked_by_the_call(mock_service):
    model = mock_service(ANSWER).model()
    model.base_url = f"https://host:{SECRET}"
    with pytest.raises(QwenInputError, match="port") as caught:
        model.invoke("Hi")
    assert SECRET not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda values: (
        st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2)
    ),
    max_leaves=4,
)
BLOCK_KEYS = (
    "text url base64 mime_type cache_control extras image_url input_audio audio file source "
    "reasoning value index id"
)
BLOCK_TYPES = (
    "text image image_url input_text reasoning server_tool_call server_tool_result tool_use "
    "non_standard input_audio audio file video video_url tool_call invalid_tool_call thinking"
)
BLOCK = st.builds(
    lambda block_type, fields: {"type": block_type, **fields},
    st.sampled_from(BLOCK_TYPES.split()),
    st.dictionaries(st.sampled_from(BLOCK_KEYS.split()), JSON, max_size=3),
)
CONTENT = st.text(st.characters(), max_size=4) | st.lists(st.text(max_size=3) | BLOCK, max_size=3)
METADATA = st.sampled_from([{}, {"model_provider": "openai"}, {"output_version": "v1"}])


def _message_or_none(message_class: type, **fields: Any) -> Any:
    try:
        return message_class(**fields)
    except ValueError:
        return None  # rejected by LangChain


MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda content: _message_or_none(HumanMessage, content=content), CONTENT),
        st.builds(lambda content: _message_or_none(SystemMessage, content=content), CONTENT),
        st.builds(
            lambda content, args, metadata: _message_or_none(
                AIMessage,
                content=content,
                tool_calls=[{"name": "f", "args": args, "id": None}],
                response_metadata=metadata,
            ),
            CONTENT,
            st.dictionaries(st.text(max_size=3), JSON, max_size=2),
            METADATA,
        ),
        st.builds(
            lambda content: _message_or_none(ToolMessage, content=content, tool_call_id="1"),
            CONTENT,
        ),
    ).filter(lambda message: message is not None),
    max_size=3,
)


@pytest.mark.filterwarnings("ignore:The (image|video|audio) of an answer is not sent")
@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=MESSAGES, model=st.sampled_from(["qwen3-max", "qwen3.5-plus"]))
def test_any_messages_are_sent_or_raise_qwen_error(api, messages, model):
    # `_generate` receives the messages after LangChain has accepted them.
    chat = ChatQwenCodeInterpreter(
        api=api,
        model=model,
        base_url="http://127.0.0.1:9",
        max_retries=0,
        http_client=RejectingClient(),
    )
    with pytest.raises(QwenError):
        chat._generate(messages)


class RejectingClient:
    """A client that raises a `QwenError` when a request would be sent."""

    def build_request(self, *_: Any, **__: Any) -> Any:
        raise QwenAuthenticationError("The request would be sent now.")
