"""What cannot be sent is refused before anything is, and the error says what and where."""

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


def called(**args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": args, "id": "1"}])


circle: dict[str, Any] = {}
circle["self"] = circle

WRONG = {
    "no message": ([], "no message"),
    "an empty one": ([HumanMessage("Hi"), HumanMessage("")], r"messages\[1\].*without text"),
    "one of empty parts": ([HumanMessage([{"type": "text", "text": ""}])], "without text or media"),
    "half a character": (
        [HumanMessage("a\ud83d")],
        r"messages\[0\].content contains a lone surrogate",
    ),
    "arguments that are no JSON": ([called(when=object())], r"messages\[0\].*call of look"),
    "arguments in a circle": ([called(c=circle)], "call of look are no JSON"),
    "a block without a type": ([HumanMessage([{"colour": "red"}])], r"messages\[0\]"),
    "a file": ([HumanMessage([{"type": "file", "url": "https://x/a.pdf"}])], "'file'"),
    "a role": ([ChatMessage("Hi", role="judge")], "ChatMessage"),
}


@pytest.mark.parametrize(("messages", "said"), WRONG.values(), ids=WRONG)
def test_messages_that_cannot_be_sent(service, messages, said):
    served = service(ANSWER)
    for way in (served.model().invoke, lambda given: list(served.model().stream(given))):
        with pytest.raises(QwenInputError, match=said):
            way(messages)
    assert served.requests == []


def test_a_request_that_is_too_large(service):
    served = service(ANSWER)
    model = served.model(max_request_bytes=2000)
    model.invoke("short")
    with pytest.raises(QwenInputError, match=r"max_request_bytes \(2000\).*trim_messages"):
        model.invoke("long " * 500)
    assert len(served.requests) == 1


@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
def test_control_characters_in_a_text_are_sent_as_they_are(service, api):
    served = service(ANSWER)
    with suppress(QwenError):  # the answer is that of one API
        served.model(api=api).invoke("\0\x1b[31m\x7f\u202e")
    assert b"\\u0000\\u001b[31m" in served.requests[0].content


LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"api_key": f"sk-{LONG}"}, QwenAuthenticationError, "10003 characters"),
        ({"default_headers": {"X-Long": LONG}}, QwenInputError, "X-Long.*10000 characters"),
        ({"default_headers": {"X Y": "1"}}, QwenInputError, "'X Y'"),
        ({"default_headers": {"X\n": "1"}}, QwenInputError, "cannot be sent"),
        ({"default_headers": {"": "1"}}, QwenInputError, "cannot be sent"),
    ],
)
def test_headers_that_cannot_be_sent(service, fields, kind, said):
    served = service(ANSWER)
    with pytest.raises(kind, match=said) as caught:
        served.model(**fields).invoke("Hi")
    assert LONG not in str(caught.value)
    assert served.requests == []


def test_own_headers_go_before_others_whatever_their_case(service):
    served = service(ANSWER)
    headers = {"authorization": "Gate 1", "content-type": "application/json; v=2"}
    served.model(default_headers=headers).invoke("Hi")
    sent = served.requests[0].headers
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
def test_urls_that_cannot_be_used(url):
    if url == "https://host\n":  # white space around it is nobody's intention
        assert ChatQwenCodeInterpreter(base_url=url, api_key="k")
        return
    with pytest.raises(ValueError, match="base_url") as caught:
        ChatQwenCodeInterpreter(base_url=url, api_key="k")
    assert "\x1b" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=3), one, max_size=2),
    max_leaves=4,
)
KEYS = "text url base64 mime_type image_url input_audio audio file source reasoning value index id"
KINDS = (
    "text image image_url input_text reasoning server_tool_call server_tool_result tool_use "
    "non_standard input_audio audio file video video_url tool_call invalid_tool_call thinking"
)
BLOCK = st.builds(
    lambda kind, more: {"type": kind, **more},
    st.sampled_from(KINDS.split()),
    st.dictionaries(st.sampled_from(KEYS.split()), JSON, max_size=3),
)
CONTENT = st.text(st.characters(), max_size=4) | st.lists(st.text(max_size=3) | BLOCK, max_size=3)
PROVIDER = st.sampled_from([{}, {"model_provider": "openai"}, {"output_version": "v1"}])


def _message(kind: type, **fields: Any) -> Any:
    try:
        return kind(**fields)
    except ValueError:
        return None  # LangChain does not take it, either


MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda said: _message(HumanMessage, content=said), CONTENT),
        st.builds(lambda said: _message(SystemMessage, content=said), CONTENT),
        st.builds(
            lambda said, args, by: _message(
                AIMessage,
                content=said,
                tool_calls=[{"name": "f", "args": args, "id": None}],
                response_metadata=by,
            ),
            CONTENT,
            st.dictionaries(st.text(max_size=3), JSON, max_size=2),
            PROVIDER,
        ),
        st.builds(lambda said: _message(ToolMessage, content=said, tool_call_id="1"), CONTENT),
    ).filter(lambda message: message is not None),
    max_size=3,
)


@pytest.mark.parametrize("api", ["dashscope", "responses", "chat_completions"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=MESSAGES, model=st.sampled_from(["qwen3-max", "qwen3.5-plus"]))
def test_any_messages_are_sent_or_refused(api, messages, model):
    """`_generate` is where they arrive when LangChain has taken them."""
    chat = ChatQwenCodeInterpreter(
        api=api, model=model, base_url="http://127.0.0.1:9", max_retries=0, http_client=Nobody()
    )
    with pytest.raises(QwenError):
        chat._generate(messages)


class Nobody:
    """A client that has reached nobody."""

    def build_request(self, *_: Any, **__: Any) -> Any:
        raise QwenAuthenticationError("as far as it goes")
