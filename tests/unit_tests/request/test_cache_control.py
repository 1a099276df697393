"""Markers of the explicit context cache, on blocks of each kind of message, on each API."""

from __future__ import annotations

from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel
from request_bodies import APIS, api_body

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.wire.responses import request as responses_request

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

MARKER = {"type": "ephemeral"}
CHAT_APIS = ("dashscope", "chat_completions")


def marked(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": MARKER}


def in_extras(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "extras": {"cache_control": MARKER}}


HISTORY = [
    SystemMessage([{"type": "text", "text": "Rules. "}, marked("Book.")]),
    HumanMessage([in_extras("Question?")]),
    AIMessage([marked("I add.")], tool_calls=[{"id": "c", "name": "add", "args": {}}]),
    ToolMessage([marked("3")], tool_call_id="c"),
    AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "3"}]),
    HumanMessage("Thanks"),
]
SENT = [
    [{"type": "text", "text": "Rules. "}, marked("Book.")],
    [marked("Question?")],
    [marked("I add.")],
    [marked("3")],
    "3",
    "Thanks",
]


def contents(mock_service, api: str, messages: Any, **fields: Any) -> list[Any]:
    body = api_body(mock_service, api, messages, **fields)
    return [message["content"] for message in body.get("input", body)["messages"]]


@pytest.mark.parametrize("api", CHAT_APIS)
def test_markers_of_all_messages_are_sent(mock_service, api: str):
    assert contents(mock_service, api, HISTORY) == SENT


def test_markers_are_sent_to_multimodal_generation(mock_service):
    image = {"type": "image", "url": "https://x.y/a.png", "cache_control": MARKER}
    message = HumanMessage([{"type": "text", "text": "What is it? "}, marked("This:"), image])
    assert contents(mock_service, "dashscope", [message], model="qwen3.5-plus") == [
        [
            {"text": "What is it? "},
            marked("This:"),
            {"image": "https://x.y/a.png", "cache_control": MARKER},
        ]
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://x.y/a.png", "cache_control": MARKER},
        {"type": "image", "url": "https://x.y/a.png", "extras": {"cache_control": MARKER}},
        {
            "type": "image_url",
            "image_url": {"url": "https://x.y/a.png"},
            "cache_control": MARKER,
        },
        {"image": "https://x.y/a.png", "cache_control": MARKER},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://x.y/a.png"},
            "cache_control": MARKER,
        },
    ],
    ids=["standard", "extras", "OpenAI", "DashScope", "Anthropic"],
)
def test_markers_of_images_are_sent(mock_service, block):
    expected = {
        "type": "image_url",
        "image_url": {"url": "https://x.y/a.png"},
        "cache_control": MARKER,
    }
    message = HumanMessage([block])
    assert contents(mock_service, "chat_completions", [message], model="qwen3.5-plus") == [
        [expected]
    ]


def test_other_fields_of_a_marker_are_sent(mock_service):
    marker = {"type": "ephemeral", "ttl": "5m"}
    message = HumanMessage([{"type": "text", "text": "?", "cache_control": marker}])
    (content,) = contents(mock_service, "dashscope", [message])
    assert content[0]["cache_control"] == marker


@pytest.mark.parametrize("api", CHAT_APIS)
def test_more_than_four_markers_raise_before_sending(mock_service, api: str):
    four = [HumanMessage([marked("a"), marked("b")]), HumanMessage([marked("c"), in_extras("d")])]
    assert len(contents(mock_service, api, four)) == 2
    backend = mock_service(b"")
    with pytest.raises(QwenInputError, match=r"5 content blocks have cache_control.*takes 4"):
        backend.model(api=api).invoke([SystemMessage([marked("e")]), *four])
    assert backend.requests == []
    # The limit is known of Alibaba's hosts only.
    five = [SystemMessage([marked("e")]), *four]
    assert len(contents(mock_service, api, five, base_url="https://gate.example")) == 3


def test_responses_warns_once_and_sends_no_markers(mock_service, recwarn):
    responses_request.warn_cache_control_not_sent.cache_clear()
    for _ in range(2):
        body = api_body(mock_service, "responses", HISTORY)
        assert "cache_control" not in str(body)
        assert body["input"][0] == {"role": "system", "content": "Rules. Book."}
        assert body["input"][2] == {"role": "assistant", "content": "I add."}
    (warning,) = recwarn
    assert "session_cache=True" in str(warning.message)


def test_responses_with_session_cache_does_not_warn(mock_service, recwarn):
    responses_request.warn_cache_control_not_sent.cache_clear()
    assert api_body(mock_service, "responses", HISTORY, session_cache=True)
    assert len(recwarn) == 0


class Answer(BaseModel):
    """An answer."""

    value: int


def test_structured_output_keeps_the_marker_of_the_system_message(mock_service):
    backend = mock_service(STREAMS["one run"].body)
    model = backend.model().with_structured_output(Answer, include_raw=True)
    model.invoke([SystemMessage([marked("Book.")]), HumanMessage("?")])
    system = backend.bodies[0]["input"]["messages"][0]["content"]
    assert system[0] == marked("Book.")
    assert system[1]["text"].startswith("\n\nAnswer with one JSON object")


@pytest.mark.parametrize("api", APIS)
def test_text_without_markers_stays_a_string(mock_service, api: str):
    body = api_body(mock_service, api, [HumanMessage([{"type": "text", "text": "a"}, "b"])])
    sent = body["input"] if api == "responses" else body.get("input", body)["messages"]
    assert sent == [{"role": "user", "content": "ab"}]
