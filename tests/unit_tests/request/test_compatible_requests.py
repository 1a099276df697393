"""What is sent by Responses and Chat Completions, and what each refuses before sending."""

from __future__ import annotations

from typing import Any

import chat_completions_streams
import dashscope_streams
import pytest
import responses_streams
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from langchain_qwen_ci import ChatQwenCodeInterpreter, models
from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

ANSWERS = {
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}
OTHER_APIS = ["dashscope", "chat_completions"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


SEARCH = {"type": "web_search"}
EXTRACT = {"type": "web_extractor"}


def sent(service: Any, api: str, given: Any = "Hi", /, **fields: Any) -> dict[str, Any]:
    """The body that a call sends."""
    served = service(ANSWERS[api])
    call = fields.pop("call", {})
    served.model(api=api, **fields).invoke(given, **call)
    return served.bodies[0]


def test_a_responses_request(service):
    served = service(ANSWERS["responses"])
    served.model(api="responses").invoke("Hi")
    assert served.requests[0].url.path == "/compatible-mode/v1/responses"
    assert served.requests[0].headers["authorization"] == "Bearer sk-test"
    assert "x-dashscope-session-cache" not in served.requests[0].headers
    assert served.bodies[0] == {
        "model": "qwen3-max",
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "code_interpreter"}],
        "enable_thinking": True,
        "stream": True,
    }


def test_a_chat_request(service):
    served = service(ANSWERS["chat_completions"])
    served.model(api="chat_completions").invoke("Hi")
    assert served.requests[0].url.path == "/compatible-mode/v1/chat/completions"
    assert served.bodies[0] == {
        "model": "qwen3-max",
        "messages": [{"role": "user", "content": "Hi"}],
        "enable_code_interpreter": True,
        "enable_thinking": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_base_urls_of_the_compatible_mode(service):
    for api, answer in ANSWERS.items():
        served = service(answer)
        served.model(api=api, base_url="https://gate.example/compatible-mode/v1").invoke("Hi")
        assert str(served.requests[0].url).startswith("https://gate.example/compatible-mode/v1/")


def test_parameters_have_the_names_of_the_responses_api(service):
    body = sent(
        service,
        "responses",
        temperature=0.3,
        top_p=0.5,
        max_tokens=64,
        instructions="Be brief.",
        previous_response_id="resp_1",
        store=False,
        call={"reasoning_effort": "low"},
    )
    expected = {
        "temperature": 0.3,
        "top_p": 0.5,
        "max_output_tokens": 64,
        "instructions": "Be brief.",
        "previous_response_id": "resp_1",
        "store": False,
        "reasoning": {"effort": "low"},
    }
    assert {name: body[name] for name in expected} == expected
    assert "max_tokens" not in body


def test_parameters_stand_at_the_top_of_a_chat_request(service):
    parameters = {"temperature": 0.3, "max_tokens": 8, "seed": 7, "thinking_budget": 99}
    call = {"stop": ["x"], "enable_search": True}
    body = sent(service, "chat_completions", **parameters, call=call)
    assert {name: body[name] for name in parameters} == parameters
    assert body["stop"] == ["x"]
    assert body["enable_search"] is True


def test_parameters_can_be_overridden_for_a_call(service):
    override = {"previous_response_id": "resp_2", "instructions": "Be long.", "max_tokens": 99}
    body = sent(service, "responses", previous_response_id="resp_1", call=override)
    assert body["previous_response_id"] == "resp_2"
    assert body["instructions"] == "Be long."
    assert body["max_output_tokens"] == 99


def test_the_session_cache_is_a_header(service):
    served = service(ANSWERS["responses"])
    served.model(api="responses", session_cache=True).invoke("Hi")
    served.model(api="responses").invoke("Hi", session_cache=True)
    assert [request.headers["x-dashscope-session-cache"] for request in served.requests] == [
        "enable",
        "enable",
    ]
    assert all("session_cache" not in body for body in served.bodies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"instructions": "Be brief."},
        {"previous_response_id": "resp_1"},
        {"store": True},
        {"session_cache": True},
        {"builtin_tools": ["web_search"]},
    ],
)
@pytest.mark.parametrize("api", OTHER_APIS)
def test_what_only_responses_has_is_refused_elsewhere(service, api: str, wrong: dict[str, Any]):
    served = service(b"")
    with pytest.raises(ValueError, match="responses"):
        served.model(api=api, **wrong)
    with pytest.raises(QwenInputError, match="responses"):
        served.model(api=api).invoke("Hi", **wrong)
    assert served.requests == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"thinking_budget": 9}, "reasoning_effort"),
        ({"max_tokens": 15}, "16"),
        ({"builtin_tools": ["web_extractor"]}, "web_search"),
        ({"tools": [EXTRACT]}, "web_search"),
    ],
)
def test_what_responses_does_not_take_is_refused(service, wrong, said):
    served = service(b"")
    with pytest.raises(QwenInputError, match=said):
        served.model(api="responses").invoke("Hi", **wrong)
    assert served.requests == []


@pytest.mark.parametrize(
    "bound",
    [
        lambda model: model.bind_tools([SEARCH, EXTRACT]),
        lambda model: model.bind(tools=[SEARCH, EXTRACT]),
        lambda model: model.bind_tools([{"type": "code_interpreter"}, SEARCH, EXTRACT]),
        lambda model: model.bind(builtin_tools=["web_search", "web_extractor"]),
        lambda model: model.model_copy(update={"builtin_tools": ["web_search", "web_extractor"]}),
    ],
)
def test_other_tools_of_the_service_go_beside_the_interpreter(service, bound):
    served = service(ANSWERS["responses"])
    bound(served.model(api="responses")).invoke("Hi")
    assert served.bodies[0]["tools"] == [{"type": "code_interpreter"}, SEARCH, EXTRACT]


def test_options_of_a_tool_of_the_service_are_kept(service):
    server = {"type": "mcp", "server_label": "maps", "server_url": "https://maps.example/sse"}
    served = service(ANSWERS["responses"])
    model = served.model(api="responses", enable_code_interpreter=False)
    model.bind_tools([server, add], tool_choice="auto").invoke("Hi")
    mcp, function = served.bodies[0]["tools"]
    assert mcp == server
    assert (function["type"], function["name"]) == ("function", "add")
    assert served.bodies[0]["tool_choice"] == "auto"


@pytest.mark.parametrize("api", OTHER_APIS)
def test_tools_of_the_service_are_refused_where_they_are_not(service, api: str):
    served = service(b"")
    with pytest.raises(QwenInputError, match="enable_search"):
        served.model(api=api).bind_tools([SEARCH])
    with pytest.raises(QwenInputError, match="web_search"):
        served.model(api=api).bind(tools=[SEARCH]).invoke("Hi")
    assert served.requests == []


@pytest.mark.parametrize("api", ANSWERS)
def test_function_tools_are_refused_beside_the_interpreter(service, api: str):
    served = service(ANSWERS[api])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        served.model(api=api).bind_tools([add])
    with pytest.raises(ToolsNotAllowedError, match="add"):
        served.model(api=api).invoke("Hi", tools=[add])
    assert served.requests == []


def test_functions_of_the_responses_api_are_flat(service):
    served = service(ANSWERS["responses"])
    model = served.model(api="responses", enable_code_interpreter=False)
    model.bind_tools([add], tool_choice="add", parallel_tool_calls=True).invoke("Hi")
    body = served.bodies[0]
    (function,) = body["tools"]
    assert function["type"] == "function"
    assert function["name"] == "add"
    assert function["parameters"]["required"] == ["a", "b"]
    assert body["tool_choice"] == {"type": "function", "name": "add"}
    assert body["parallel_tool_calls"] is True


def test_functions_of_chat_are_wrapped(service):
    served = service(ANSWERS["chat_completions"])
    model = served.model(api="chat_completions", enable_code_interpreter=False)
    model.bind_tools([add], tool_choice="add", strict=True).invoke("Hi")
    body = served.bodies[0]
    (function,) = body["tools"]
    assert function["function"]["name"] == "add"
    assert function["function"]["strict"] is True
    assert body["tool_choice"] == {"type": "function", "function": {"name": "add"}}


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


def test_history_as_items_of_the_responses_api(service):
    items = sent(service, "responses", HISTORY)["input"]
    assert items == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "I add."},
        {"type": "function_call", "call_id": "call_a", "name": "add", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_a", "output": "2"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Thanks"},
    ]


def test_history_as_messages_of_chat(service):
    messages = sent(service, "chat_completions", HISTORY)["messages"]
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


def test_reasoning_goes_back_where_that_is_wanted(service):
    body = sent(service, "chat_completions", HISTORY, preserve_thinking=True)
    assert body["preserve_thinking"] is True
    thoughts = [message.get("reasoning_content") for message in body["messages"]]
    assert thoughts == [None, None, "Adding.", None, "Two.", None]

    served = service(ANSWERS["chat_completions"])
    served.model(api="chat_completions").invoke(HISTORY, preserve_thinking=True)
    assert served.bodies[0]["messages"] == body["messages"]

    items = sent(service, "responses", HISTORY, preserve_thinking=True)["input"]
    thoughts = [item["summary"][0]["text"] for item in items if item.get("type") == "reasoning"]
    assert thoughts == ["Adding.", "Two."]


def test_reasoning_goes_back_on_the_native_wire(service):
    served = service(dashscope_streams.STREAMS["one run"].body)
    served.model(preserve_thinking=True).invoke(HISTORY)
    messages = served.bodies[0]["input"]["messages"]
    assert served.bodies[0]["parameters"]["preserve_thinking"] is True
    assert [message.get("reasoning_content") for message in messages] == [
        None,
        None,
        "Adding.",
        None,
        "Two.",
        None,
    ]


URL = "https://example.com/a"
MEDIA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "image, by URL": (
        {"type": "image", "url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image, base64": (
        {"type": "image", "base64": "QUJD", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ),
    "image, OpenAI's": (
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image, OpenAI's, in short": (
        {"type": "image_url", "image_url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image, OpenAI's newer": (
        {"type": "input_image", "image_url": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image, Anthropic's": (
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
        },
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ),
    "image, Anthropic's, by URL": (
        {"type": "image", "source": {"type": "url", "url": f"{URL}.png"}},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "image, DashScope's": (
        {"image": f"{URL}.png"},
        {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
    ),
    "video": (
        {"type": "video", "url": f"{URL}.mp4"},
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
    ),
    "video, OpenAI's": (
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
        {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}},
    ),
    "audio, by URL": (
        {"type": "audio", "url": f"{URL}.wav?sign=1"},
        {
            "type": "input_audio",
            "input_audio": {"data": f"{URL}.wav?sign=1", "format": "wav"},
        },
    ),
    "audio, OpenAI's": (
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {
            "type": "input_audio",
            "input_audio": {"data": "data:audio/mp3;base64,QUJD", "format": "mp3"},
        },
    ),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media_on_chat(service, name: str):
    block, expected = MEDIA[name]
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    body = sent(service, "chat_completions", [message], model="qwen3.5-plus")
    assert body["messages"][0]["content"] == [{"type": "text", "text": "What is it?"}, expected]


@pytest.mark.parametrize("name", MEDIA)
def test_media_on_responses_are_images(service, name: str):
    block, expected = MEDIA[name]
    message = HumanMessage([{"type": "text", "text": "What is it?"}, block])
    if expected["type"] != "image_url":
        with pytest.raises(QwenInputError, match="dashscope"):
            sent(service, "responses", [message], model="qwen3.5-plus")
        return
    body = sent(service, "responses", [message], model="qwen3.5-plus")
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": expected["image_url"]["url"]},
    ]


@pytest.mark.parametrize("api", ["dashscope", *ANSWERS])
def test_media_are_refused_by_models_without_vision(service, api: str):
    served = service(b"")
    message = HumanMessage([{"type": "image", "url": f"{URL}.png"}])
    with pytest.raises(QwenInputError, match="takes text only"):
        served.model(api=api).invoke([message])
    assert served.requests == []


def test_formats_of_answers_have_each_apis_place(service):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    off = {"enable_code_interpreter": False, "call": {"response_format": form}}
    assert sent(service, "chat_completions", **off)["response_format"] == form
    text = sent(service, "responses", **off)["text"]
    assert text == {"format": {"type": "json_schema", "name": "sum", "schema": schema}}


@pytest.mark.filterwarnings("default:Chat Completions runs code")
def test_chat_says_once_that_it_shows_nothing(recwarn):
    models.warn_code_not_returned.cache_clear()
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk", enable_code_interpreter=False)
    assert len(recwarn) == 0
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk")
    ChatQwenCodeInterpreter(api="chat_completions", api_key="sk", temperature=1)
    (said,) = recwarn
    assert 'api="dashscope" returns both' in str(said.message)
    assert 'api="responses" also what the code printed' in str(said.message)


@pytest.mark.parametrize(("api", "warns"), [("responses", False), ("chat_completions", True)])
def test_models_that_run_code_by_some_apis_only(recwarn, api: str, warns: bool):
    ChatQwenCodeInterpreter(model="qwen3.8-flash", api=api, api_key="sk")
    said = [str(warning.message) for warning in recwarn if "qwen3.8" in str(warning.message)]
    assert bool(said) is warns
    assert all("api='responses' only" in text for text in said)


@pytest.mark.parametrize("api", ["dashscope", *ANSWERS])
def test_what_no_api_takes_is_refused(service, api: str):
    served = service(b"")
    model = served.model(api=api)
    with pytest.raises(QwenInputError, match="with_structured_output"):
        model.invoke("Hi", response_format={"type": "json_object"})
    with pytest.raises(QwenInputError, match="batch"):
        model.bind(n=2).invoke("Hi")
    assert served.requests == []


@pytest.mark.parametrize("api", ANSWERS)
def test_gateways_see_that_a_stream_is_wanted(service, api: str):
    served = service(ANSWERS[api])
    served.model(api=api).invoke("Hi")
    assert served.requests[0].headers["accept"] == "text/event-stream"


def test_what_is_not_decided_is_not_sent_to_responses(service):
    body = sent(service, "responses", enable_code_interpreter=False)
    assert body == {
        "model": "qwen3-max",
        "input": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_a_thought_is_an_item_and_a_call_without_words_no_message(service):
    calls = [{"id": "call_a", "name": "add", "args": {"a": 1, "b": 1}}]
    thought = {"reasoning_content": "Adding."}
    history = [
        HumanMessage("What is 1 + 1?"),
        AIMessage("", tool_calls=calls, additional_kwargs=thought),
        ToolMessage("2", tool_call_id="call_a"),
    ]
    assert sent(service, "responses", history, preserve_thinking=True)["input"] == [
        {"role": "user", "content": "What is 1 + 1?"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Adding."}]},
        {"type": "function_call", "call_id": "call_a", "name": "add", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_a", "output": "2"},
    ]


def test_the_fewest_tokens_of_responses_are_sixteen(service):
    assert sent(service, "responses", max_tokens=16)["max_output_tokens"] == 16
    with pytest.raises(QwenInputError, match="max_tokens is 15"):
        sent(service, "responses", max_tokens=15)


def test_what_is_given_in_the_words_of_responses_is_kept_beside_ours(service):
    form = {"type": "json_object"}
    body = sent(
        service,
        "responses",
        enable_code_interpreter=False,
        call={
            "reasoning_effort": "low",
            "reasoning": {"summary": "auto"},
            "response_format": form,
            "text": {"verbosity": "low"},
        },
    )
    assert body["reasoning"] == {"summary": "auto", "effort": "low"}
    assert body["text"] == {"verbosity": "low", "format": form}


@pytest.mark.parametrize("choice", ["auto", {"type": "allowed_tools", "tools": []}])
def test_a_choice_of_tools_in_the_words_of_responses_is_kept(service, choice):
    fields = {"enable_code_interpreter": False, "model_kwargs": {"tool_choice": choice}}
    call = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
    assert sent(service, "responses", **fields, call=call)["tool_choice"] == choice


def test_an_answer_without_words_stays_a_turn_of_responses(service):
    history = [HumanMessage("Run it."), AIMessage(""), HumanMessage("Again.")]
    assert sent(service, "responses", history)["input"] == [
        {"role": "user", "content": "Run it."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Again."},
    ]
