"""Messages in the format of each OpenAI-compatible API: history, reasoning, and media."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from request_bodies import ANSWERS, APIS, api_body, request_body

from langchain_qwen_ci.errors import QwenInputError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

HISTORY = [
    SystemMessage("Be brief."),
    HumanMessage("What is 1 + 1?"),
    AIMessage(
        "I add.",
        tool_calls=[{"id": "call_a", "name": "add", "args": {"a": 1, "b": 1}}],
        additional_kwargs={"reasoning_content": "Adding."},
    ),
    ToolMessage("2", tool_call_id="call_a"),
    AIMessage([{"type": "reasoning", "reasoning": "Two."}, {"type": "text", "text": "2"}]),
    HumanMessage("Thanks"),
]
ARGUMENTS = '{"a": 1, "b": 1}'


def test_history_is_sent_as_items_to_responses(mock_service):
    items = request_body(mock_service, "responses", HISTORY)["input"]
    assert items == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "I add."},
        {"type": "function_call", "call_id": "call_a", "name": "add", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_a", "output": "2"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Thanks"},
    ]


def test_history_is_sent_as_messages_to_chat_completions(mock_service):
    messages = request_body(mock_service, "chat_completions", HISTORY)["messages"]
    function = {"name": "add", "arguments": ARGUMENTS}
    call = {"id": "call_a", "type": "function", "index": 0, "function": function}
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "I add.", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "call_a"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Thanks"},
    ]


def test_preserve_thinking_sends_reasoning(mock_service):
    body = request_body(mock_service, "chat_completions", HISTORY, preserve_thinking=True)
    assert body["preserve_thinking"] is True
    reasoning = [message.get("reasoning_content") for message in body["messages"]]
    assert reasoning == [None, None, "Adding.", None, "Two.", None]

    backend = mock_service(ANSWERS["chat_completions"])
    backend.model(api="chat_completions").invoke(HISTORY, preserve_thinking=True)
    assert backend.bodies[0]["messages"] == body["messages"]

    items = request_body(mock_service, "responses", HISTORY, preserve_thinking=True)["input"]
    reasoning = [item["summary"][0]["text"] for item in items if item.get("type") == "reasoning"]
    assert reasoning == ["Adding.", "Two."]


def test_preserve_thinking_sends_reasoning_to_the_native_api(mock_service):
    backend = mock_service(STREAMS["one run"].body)
    backend.model(preserve_thinking=True).invoke(HISTORY)
    messages = backend.bodies[0]["input"]["messages"]
    assert backend.bodies[0]["parameters"]["preserve_thinking"] is True
    assert [message.get("reasoning_content") for message in messages] == [
        None,
        None,
        "Adding.",
        None,
        "Two.",
        None,
    ]


def test_reasoning_and_calls_are_items_of_responses(mock_service):
    calls = [{"id": "call_a", "name": "add", "args": {"a": 1, "b": 1}}]
    reasoning = {"reasoning_content": "Adding."}
    history = [
        HumanMessage("What is 1 + 1?"),
        AIMessage("", tool_calls=calls, additional_kwargs=reasoning),
        ToolMessage("2", tool_call_id="call_a"),
    ]
    assert request_body(mock_service, "responses", history, preserve_thinking=True)["input"] == [
        {"role": "user", "content": "What is 1 + 1?"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Adding."}],
        },
        {"type": "function_call", "call_id": "call_a", "name": "add", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_a", "output": "2"},
    ]


def reasoning_items(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (item["id"], item["summary"][0]["text"])
        for item in body["input"]
        if item.get("type") == "reasoning"
    ]


@pytest.mark.parametrize("name", ["qwen3.8-max", "qwen3.8-max-0902", "qwen3.8-flash"])
def test_models_that_expect_reasoning_on_responses_receive_it(mock_service, name: str):
    body = request_body(mock_service, "responses", HISTORY, model=name)
    assert reasoning_items(body) == [("rs_2", "Adding."), ("rs_4", "Two.")]
    assert "preserve_thinking" not in body
    body = request_body(mock_service, "responses", HISTORY, model=name, preserve_thinking=False)
    assert reasoning_items(body) == []
    assert body["preserve_thinking"] is False


def test_other_models_on_responses_receive_no_reasoning(mock_service):
    body = request_body(mock_service, "responses", HISTORY, model="qwen3.5-plus")
    assert reasoning_items(body) == []
    body = request_body(mock_service, "responses", HISTORY, preserve_thinking=True)
    assert body["preserve_thinking"] is True


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1,', {"invalid_json": '{"a": 1,'}),
        ("add 1 und 2 für mich", {"invalid_json": "add 1 und 2 für mich"}),
        ("[1, 2]", {"invalid_json": "[1, 2]"}),
        ('{"a": NaN}', {"invalid_json": '{"a": NaN}'}),
        ('{"a": 1, "c": 3}', {"a": 1, "c": 3}),
        ("", {}),
        (None, {}),
    ],
)
@pytest.mark.parametrize("api", APIS)
def test_arguments_of_an_invalid_call_are_sent_as_a_json_object(
    mock_service, api: str, arguments, expected
):
    call = {"type": "invalid_tool_call", "id": "c", "name": "add", "args": arguments, "error": "?"}
    history = [
        HumanMessage("?"),
        AIMessage("", invalid_tool_calls=[call]),
        ToolMessage("These are no arguments.", tool_call_id="c"),
    ]
    body = api_body(mock_service, api, history)
    if api == "responses":
        sent = body["input"][1]["arguments"]
    else:
        (call,) = body.get("input", body)["messages"][1]["tool_calls"]
        sent = call["function"]["arguments"]
    assert json.loads(sent) == expected


IMAGE_RESULT = [
    HumanMessage("Draw it."),
    AIMessage("", tool_calls=[{"id": "c", "name": "draw", "args": {}}]),
    ToolMessage(
        [
            {"type": "text", "text": "Drawn:"},
            {"type": "image", "url": "https://example.com/a.png"},
        ],
        tool_call_id="c",
    ),
]


def test_image_in_a_tool_message_is_sent(mock_service):
    output, native, chat = (
        api_body(mock_service, api, IMAGE_RESULT, model="qwen3.5-plus")
        for api in ("responses", "dashscope", "chat_completions")
    )
    assert output["input"][2] == {
        "type": "function_call_output",
        "call_id": "c",
        "output": [
            {"type": "input_text", "text": "Drawn:"},
            {"type": "input_image", "image_url": "https://example.com/a.png"},
        ],
    }
    assert native["input"]["messages"][2] == {
        "role": "tool",
        "content": [{"text": "Drawn:"}, {"image": "https://example.com/a.png"}],
        "tool_call_id": "c",
    }
    assert chat["messages"][2] == {
        "role": "tool",
        "content": [
            {"type": "text", "text": "Drawn:"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ],
        "tool_call_id": "c",
    }


@pytest.mark.parametrize("api", APIS)
def test_image_in_a_tool_message_raises_for_models_without_vision(mock_service, api: str):
    with pytest.raises(QwenInputError, match="a tool message holds image input"):
        api_body(mock_service, api, IMAGE_RESULT)


def test_video_in_a_tool_message_raises_on_responses(mock_service):
    result = ToolMessage([{"type": "video", "url": "https://x.y/a.mp4"}], tool_call_id="c")
    with pytest.raises(QwenInputError, match="not known to take video"):
        api_body(mock_service, "responses", [*IMAGE_RESULT[:2], result], model="qwen3.5-plus")


def test_image_in_an_assistant_message_raises_on_responses(mock_service):
    answer = ChatMessage([{"type": "image", "url": "https://x.y/a.png"}], role="assistant")
    with pytest.raises(QwenInputError, match="no media in an assistant message"):
        api_body(mock_service, "responses", ["Hi", answer, "Hm"], model="qwen3.5-plus")


def test_empty_answer_is_sent_to_responses(mock_service):
    history = [HumanMessage("Run it."), AIMessage(""), HumanMessage("Again.")]
    assert request_body(mock_service, "responses", history)["input"] == [
        {"role": "user", "content": "Run it."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Again."},
    ]


URL = "https://example.com/a"
MEDIA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "image URL": (
        {"type": "image", "url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image in base64": (
        {"type": "image", "base64": "QUJD", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ),
    "OpenAI image_url": (
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "OpenAI image_url that is a string": (
        {"type": "image_url", "image_url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "OpenAI input_image": (
        {"type": "input_image", "image_url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "Anthropic image in base64": (
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
        },
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ),
    "Anthropic image URL": (
        {"type": "image", "source": {"type": "url", "url": f"{URL}.png"}},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "DashScope image": (
        {"image": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "video URL": (
        {"type": "video", "url": f"{URL}.mp4"},
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
    ),
    "OpenAI video_url": (
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
    ),
    "audio URL": (
        {"type": "audio", "url": f"{URL}.wav?sign=1"},
        {
            "type": "input_audio",
            "input_audio": {"data": f"{URL}.wav?sign=1", "format": "wav"},
        },
    ),
    "OpenAI input_audio": (
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {
            "type": "input_audio",
            "input_audio": {"data": "data:audio/mp3;base64,QUJD", "format": "mp3"},
        },
    ),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media_are_sent_to_chat_completions(mock_service, name: str):
    block, expected = MEDIA[name]
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    body = request_body(mock_service, "chat_completions", [message], model="qwen3.5-plus")
    assert body["messages"][0]["content"] == [{"type": "text", "text": "What is it?"}, expected]


@pytest.mark.parametrize("name", MEDIA)
def test_only_images_are_sent_to_responses(mock_service, name: str):
    block, expected = MEDIA[name]
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    if expected["type"] != "image_url":
        with pytest.raises(QwenInputError, match="dashscope"):
            request_body(mock_service, "responses", [message], model="qwen3.5-plus")
        return
    body = request_body(mock_service, "responses", [message], model="qwen3.5-plus")
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": expected["image_url"]["url"]},
    ]


IMAGE = f"{URL}.png"
# Blocks with Qwen's own keys, at each place where people write them.
WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "standard block": {"type": "image", "url": IMAGE, "min_pixels": 3136, "max_pixels": 12544},
    "extras": {"type": "image", "url": IMAGE, "extras": {"min_pixels": 3136, "max_pixels": 12544}},
    "beside image_url": {
        "type": "image_url",
        "image_url": {"url": IMAGE},
        "min_pixels": 3136,
        "max_pixels": 12544,
    },
    "inside image_url": {
        "type": "image_url",
        "image_url": {"url": IMAGE, "min_pixels": 3136, "max_pixels": 12544},
    },
    "DashScope": {"image": IMAGE, "min_pixels": 3136, "max_pixels": 12544},
}


@pytest.mark.parametrize("place", WITH_OPTIONS)
def test_limits_on_pixels_are_sent_or_named(mock_service, place: str):
    def body(api: str) -> Any:
        message = HumanMessage([WITH_OPTIONS[place]])
        return api_body(mock_service, api, [message], model="qwen3.5-plus")

    limits = {"min_pixels": 3136, "max_pixels": 12544}
    assert body("dashscope")["input"]["messages"][0]["content"] == [{"image": IMAGE, **limits}]
    assert body("chat_completions")["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": IMAGE}, **limits}
    ]
    with pytest.raises(QwenInputError, match="take max_pixels, min_pixels of an image"):
        body("responses")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}},
        {"type": "input_image", "image_url": IMAGE, "detail": "high"},
        {"type": "image", "url": IMAGE, "extras": {"detail": "high"}},
    ],
)
def test_detail_is_sent_to_openais_apis_and_named_for_the_native_one(mock_service, block: Any):
    def body(api: str) -> Any:
        return api_body(mock_service, api, [HumanMessage([block])], model="qwen3.5-plus")

    assert body("chat_completions")["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}}
    ]
    assert body("responses")["input"][0]["content"] == [
        {"type": "input_image", "image_url": IMAGE, "detail": "high"}
    ]
    with pytest.raises(QwenInputError, match="detail is a parameter of OpenAI's APIs"):
        body("dashscope")


def test_detail_that_is_the_default_is_accepted_everywhere(mock_service):
    block = {"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}}
    body = api_body(mock_service, "dashscope", [HumanMessage([block])], model="qwen3.5-plus")
    assert body["input"]["messages"][0]["content"] == [{"image": IMAGE}]


@pytest.mark.parametrize("block", [{"type": "video"}, {}])
def test_video_of_frames_is_sent_or_named(mock_service, block: Any):
    frames = [f"{URL}1.png", f"{URL}2.png"]

    def body(api: str, frames: Any = frames) -> Any:
        message = HumanMessage([{**block, "video": frames, "fps": 2}])
        return api_body(mock_service, api, [message], model="qwen3.5-plus")

    assert body("dashscope")["input"]["messages"][0]["content"] == [{"video": frames, "fps": 2}]
    assert body("chat_completions")["messages"][0]["content"] == [
        {"type": "video", "video": frames, "fps": 2}
    ]
    with pytest.raises(QwenInputError, match="video input: use api='dashscope'"):
        body("responses")
    with pytest.raises(QwenInputError, match="neither an http, https or oss URL"):
        body("dashscope", ["frame.png"])


def test_frames_per_second_of_a_video_are_sent(mock_service):
    block = {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}, "fps": 2}

    def body(api: str) -> Any:
        return api_body(mock_service, api, [HumanMessage([block])], model="qwen3.5-plus")

    assert body("dashscope")["input"]["messages"][0]["content"] == [
        {"video": f"{URL}.mp4", "fps": 2}
    ]
    assert body("chat_completions")["messages"][0]["content"] == [block]


@pytest.mark.parametrize("api", ["dashscope", *ANSWERS])
def test_image_in_an_answer_of_the_history_is_named(mock_service, api: str):
    answer = AIMessage([{"type": "text", "text": "Here."}, {"type": "image", "url": IMAGE}])
    history = [HumanMessage("Draw."), answer, HumanMessage("Thanks.")]
    with pytest.warns(UserWarning, match="The image of an answer is not sent"):
        api_body(mock_service, api, history, model="qwen3.5-plus")


@pytest.mark.parametrize("api", ["dashscope", *ANSWERS])
def test_media_raise_for_models_without_vision(mock_service, api: str):
    backend = mock_service(b"")
    message = HumanMessage([{"type": "image", "url": f"{URL}.png"}])
    with pytest.raises(QwenInputError, match="takes text only"):
        backend.model(api=api).invoke([message])
    assert backend.requests == []
