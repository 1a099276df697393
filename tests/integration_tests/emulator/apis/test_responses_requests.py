"""Requests for responses to the emulator: rejections, conversations and options."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_requests import RESPONSES, payloads, post, responses_body

from langchain_qwen_ci.emulator import EmulatorServer, FailedResponse, Say, Script, Think

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
OFF = {"interpreter": False}


def event_types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


REJECTIONS = {
    "no model": (responses_body(model=None), "missing_required_parameter"),
    "no input": (responses_body(input=None), "Missing required parameter: 'input'."),
    "input of a wrong type": (responses_body(input=5), "input must be"),
    "unknown item type": (responses_body(input=[{"type": "hologram"}]), "unknown type"),
    "item of a wrong type": (responses_body(input=["?"]), "unknown type"),
    "unknown role": (responses_body(input=[{"role": "x", "content": "?"}]), "Role must be"),
    "result without a call": (
        responses_body(input=[{"type": "function_call_output", "call_id": "c", "output": "1"}]),
        "must be a response to a preceeding message",
    ),
    "unknown tool type": (responses_body(tools=[{"type": "hammer"}]), "no tool of type 'hammer'"),
    "function without a name": (
        responses_body(tools=[{"type": "function"}]),
        "'name' is a required",
    ),
    "tools are not a list": (responses_body(tools=5), "tools must be a list"),
    "reasoning item without an id": (
        responses_body(input=[{"type": "reasoning", "summary": []}, {"role": "user"}]),
        "Missing required parameter: 'input[0].id'.",
    ),
    "background": (responses_body(background=True), "Currently not support background."),
    "unknown effort": (
        responses_body(reasoning={"effort": "extreme"}),
        "one of none, minimal, low, medium, high, xhigh, max, not 'extreme'",
    ),
    "effort of a wrong type": (responses_body(reasoning={"effort": []}), "one of none, minimal"),
    "unknown tool choice": (responses_body(tool_choice="any"), "tool_choice has no value any"),
    "choice of a function that is not there": (
        responses_body(tools=[FUNCTION], tool_choice={"type": "function", "name": "g"}),
        "tool_choice names g",
    ),
    "allowed tools without a mode": (
        responses_body(tools=[FUNCTION], tool_choice={"type": "allowed_tools", "tools": []}),
        "tool_choice has no value {'type': 'allowed_tools'",
    ),
    "conversation of a wrong type": (responses_body(conversation=5), "conversation must be an id"),
    "conversation and previous response": (
        responses_body(conversation="conv_1", previous_response_id="resp_1"),
        "conversation and previous_response_id must not be set together",
    ),
    "too few tokens": (responses_body(max_output_tokens=15), "at least 16"),
    "token limit is not a number": (responses_body(max_output_tokens="x"), "max_tokens"),
    "temperature too high": (responses_body(temperature=2), "temperature"),
    "unknown previous response": (responses_body(previous_response_id="x"), "'x' not found"),
    "unsupported model": (
        responses_body(model="qwen3.6-27b"),
        "Unsupported model: 'qwen3.6-27b'",
    ),
    "unsupported vision model": (
        responses_body(model="qwen3-vl-plus"),
        "Unsupported model: 'qwen3-vl-plus'",
    ),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_errors_have_the_native_format(qwen_emulator, name):
    body, text = REJECTIONS[name]
    response = post(qwen_emulator, RESPONSES, body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "request_id"}
    assert response.json()["code"] == "InvalidParameter"
    assert text in response.json()["message"]


def test_unknown_keys_and_models():
    with EmulatorServer(api_key="right") as server:
        wrong = post(server, RESPONSES, responses_body())
        unknown = post(
            server, RESPONSES, responses_body(model="gpt-x"), Authorization="Bearer right"
        )
    assert (wrong.status_code, wrong.json()["code"]) == (401, "InvalidApiKey")
    assert wrong.json()["message"] == "Invalid API-key provided."
    assert (unknown.status_code, unknown.json()["code"]) == (404, "ModelNotFound")


THINKING_NEEDED = (
    "<400> InternalError.Algo.InvalidParameter: Normal mode does not support Code "
    "interpreter. Please set enable_thinking to true."
)
FAILURES = {
    "thinking off": (
        {"enable_thinking": False},
        THINKING_NEEDED,
    ),
    "reasoning effort none": (
        {"reasoning": {"effort": "none"}},
        THINKING_NEEDED,
    ),
    "thinking off for a model that thinks by default": (
        {"model": "qwen3.5-plus", "enable_thinking": False},
        THINKING_NEEDED,
    ),
    "model without the interpreter": (
        {"model": "qwen3-max-preview"},
        "qwen3-max-preview does not support the code_interpreter tool",
    ),
    "web_extractor without web_search": (
        {"tools": [{"type": "web_extractor"}]},
        "The web_extractor tool must be executed with web_search tool.",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FAILURES)
def test_some_errors_are_failed_responses(qwen_emulator, name, stream):
    more, message = FAILURES[name]
    response = post(qwen_emulator, RESPONSES, responses_body(stream=stream, **more))
    assert response.status_code == 200
    if stream:
        found = payloads(response)
        assert event_types(found) == ["created", "in_progress", "failed"]
        assert [event["sequence_number"] for event in found] == [0, 1, 2]
    failed = found[-1]["response"] if stream else response.json()
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert failed["error"]["message"] == message


@pytest.mark.parametrize("stream", [True, False])
def test_rate_limit_is_a_failed_response(stream):
    with EmulatorServer(faults=(FailedResponse(),)) as server:
        response = post(server, RESPONSES, responses_body(stream=stream))
    assert response.status_code == 200
    failed = payloads(response)[-1]["response"] if stream else response.json()
    assert failed["status"] == "failed"
    assert failed["error"] == {
        "code": "server_error",
        "message": "Operation model request rate limit exceeded, please try again later.",
    }


def repeat_messages(request):
    return [Say(" | ".join(f"{message.role}: {message.text}" for message in request.messages))]


def id_and_text(server: EmulatorServer, **more: Any) -> tuple[str, str]:
    answer = post(server, RESPONSES, responses_body(stream=False, **more)).json()
    return answer["id"], answer["output"][-1]["content"][0]["text"]


def test_every_kind_of_input_item_is_accepted():
    items = [
        {"role": "developer", "content": "Be exact."},
        {"role": "user", "content": [{"type": "input_text", "text": "One?"}]},
        {"type": "reasoning", "id": "msg_1", "summary": []},
        {"type": "code_interpreter_call", "id": "msg_2", "code": "1", "outputs": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "1."}],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"role": "user", "content": "Two?"},
    ]
    with EmulatorServer(responder=Script(repeat_messages)) as server:
        _, text = id_and_text(server, input=items)
    assert text == (
        "system: Be exact. | user: One? | assistant: 1. | assistant:  | tool: 42 | user: Two?"
    )


def test_media_are_passed_to_models_with_vision(qwen_emulator):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    sent = [{"role": "user", "content": [{"type": "input_text", "text": "What?"}, image]}]
    _, text = id_and_text(qwen_emulator, model="qwen3.5-plus", input=sent, **OFF)
    assert "1 image." in text
    rejected = post(qwen_emulator, RESPONSES, responses_body(input=sent))
    assert "takes text only" in rejected.json()["message"]


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_text_format_is_ignored(qwen_emulator, kind):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"format": {"type": kind, "name": "a", "schema": schema, "strict": True}}
    plain = id_and_text(qwen_emulator, input="The number is 7.", **OFF)[1]
    assert id_and_text(qwen_emulator, input="The number is 7.", text=wanted, **OFF)[1] == plain
    body = responses_body("6 * 7", text=wanted)  # with the interpreter on, too
    assert payloads(post(qwen_emulator, RESPONSES, body))[-1]["response"]["status"] == "completed"


def test_unknown_fields_are_ignored(qwen_emulator):
    assert id_and_text(qwen_emulator, input="6 * 7", flavour={"a": 1})[1] == "6 * 7 = 42."


def test_every_server_tool_is_accepted(qwen_emulator):
    names = ("web_search", "web_extractor", "web_search_image", "image_search", "file_search")
    tools = [{"type": name} for name in (*names, "mcp", "code_interpreter")]
    found = payloads(post(qwen_emulator, RESPONSES, responses_body("6 * 7", tools=tools)))
    assert found[-1]["response"]["tools"] == tools
    assert found[-1]["response"]["usage"]["x_tools"] == {"code_interpreter": {"count": 1}}


def test_effort_takes_precedence_over_enable_thinking():
    with EmulatorServer(responder=Script([Think("Hm."), Say("Yes.")])) as server:
        body = responses_body(
            stream=False, enable_thinking=False, reasoning={"effort": "high"}, tools=[]
        )
        output = post(server, RESPONSES, body).json()["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]
