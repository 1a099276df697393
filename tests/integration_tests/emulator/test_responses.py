"""Responses from the emulator: raw bytes, refusals and state, read with plain httpx."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from request_helpers import OLDER_RESPONSES, RESPONSES, data, post, responses

from langchain_qwen_ci.emulator import (
    Call,
    EmulatorServer,
    Extract,
    FailedResponse,
    Finish,
    Run,
    Say,
    Script,
    Search,
    Think,
)

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

ANSWER = [Think("Let me see."), Run("12**3"), Think("So."), Say("It is 1728.")]
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
WEB = [{"type": "web_search"}, {"type": "web_extractor"}]
OFF = {"interpreter": False}


def events(*turn: Any, **more: Any) -> list[dict[str, Any]]:
    with EmulatorServer(responder=Script(turn)) as server:
        return data(post(server, RESPONSES, responses(**more)))


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


@pytest.mark.parametrize("path", [RESPONSES, OLDER_RESPONSES])
def test_stream_bytes(path):
    with EmulatorServer(responder=Script(ANSWER)) as server:
        response = post(server, path, responses())
    assert response.headers["content-type"].startswith("text/event-stream")
    frame = re.compile(r"id:(\d+)\nevent:(response\.\S+)\n:HTTP_STATUS/200\ndata:(\{.*\})")
    found = [frame.fullmatch(text) for text in response.text.removesuffix("\n\n").split("\n\n")]
    assert all(found)
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    bodies = [json.loads(match[3]) for match in found]
    assert [body["type"] for body in bodies] == [match[2] for match in found]
    assert [body["sequence_number"] for body in bodies] == list(range(len(found)))
    assert bodies[-1]["response"]["id"] == response.headers["x-request-id"]


def test_order_of_events():
    found = events(*ANSWER)
    reasoning = ["reasoning_text.delta"], ["reasoning_text.done", "output_item.done"]
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        *reasoning[0] * 3,
        *reasoning[1],
        "output_item.added",
        "code_interpreter_call.in_progress",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
        "output_item.done",
        "output_item.added",
        *reasoning[0],
        *reasoning[1],
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    created, in_progress = (event["response"] for event in found[:2])
    assert (created["status"], created["model"], created["output"]) == ("queued", "", [])
    assert in_progress["status"] == "in_progress"


def test_items_have_consistent_ids():
    found = events(*ANSWER)
    added = [event["item"] for event in found if event["type"].endswith("item.added")]
    done = [event["item"] for event in found if event["type"].endswith("item.done")]
    ids = [item["id"] for item in added]
    assert len(set(ids)) == 4
    assert all(identity.startswith("msg_") for identity in ids)
    assert [item["id"] for item in done] == ids
    inner = {event["item_id"] for event in found if "item_id" in event}
    assert inner == set(ids)
    last = found[-1]["response"]
    assert last["output"] == done
    assert (last["status"], last["model"]) == ("completed", "qwen3-max")
    assert last["tools"] == [{"type": "code_interpreter"}]


def test_code_is_complete_when_added_and_has_outputs_when_done():
    found = events(*ANSWER)
    added = next(event["item"] for event in found if "code" in event.get("item", {}))
    assert {name: added[name] for name in added if name != "id"} == {
        "type": "code_interpreter_call",
        "code": "12**3",
        "container_id": "",
        "status": "in_progress",
    }
    (done,) = [item for item in found[-1]["response"]["output"] if "code" in item]
    assert done == {
        **added,
        "status": "completed",
        "outputs": [{"type": "logs", "logs": "```\n1728\n```"}],
    }
    others = [event for event in found if "interpreter_call." in event["type"]]
    assert not any("code" in event for event in others)


@pytest.mark.parametrize(
    ("run", "logs"),
    [
        (Run("print('a')\nprint('b')"), "```\na\nb\n```"),
        (Run("x = 1"), "```\n\n```"),
        (Run("x = 1", images=("https://x/y.png",)), "```\n![image](https://x/y.png)\n```"),
        (Run("6 * 7", images=("u", "v")), "```\n42\n![image](u)\n![image](v)\n```"),
    ],
)
def test_log_outputs(run, logs):
    (item,) = events(run)[-1]["response"]["output"]
    assert item["outputs"] == [{"type": "logs", "logs": logs}]


def test_exception_is_an_output_of_a_completed_run():
    (item,) = events(Run("1/0"))[-1]["response"]["output"]
    assert item["status"] == "completed"
    (output,) = item["outputs"]
    assert output["logs"].startswith("```\nTraceback (most recent call last):")
    assert output["logs"].endswith("ZeroDivisionError: division by zero\n```")


def test_usage_counts():
    usage = events(*ANSWER)[-1]["response"]["usage"]
    assert usage["x_tools"] == {"code_interpreter": {"count": 1}}
    (detail,) = usage["x_details"]
    assert detail["plugins"] == usage["x_tools"]
    assert detail["x_billing_type"] == "response_api"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 4}
    assert "x_tools" not in events(Say("No."))[-1]["response"]["usage"]


def test_older_reasoning_events():
    server = EmulatorServer(responder=Script(ANSWER), reasoning_events="reasoning_summary_text")
    with server:
        found = data(post(server, RESPONSES, responses()))
    reasoning = [event for event in found if "reasoning" in event["type"]]
    assert {event["type"] for event in reasoning} == {
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
    }
    assert {event["summary_index"] for event in reasoning} == {0}
    text = [event["text"] for event in reasoning if "text" in event]
    assert text == ["Let me see.", "So."]


def test_unknown_reasoning_events_raise_an_error():
    with pytest.raises(ValueError, match="'thoughts' is none"):
        EmulatorServer(reasoning_events="thoughts")


def test_function_calls():
    found = events(
        Call("f", {"x": "é"}, id="call_1"), Call("g", {}), tools=[FUNCTION], interpreter=False
    )
    assert kinds(found)[2:8] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
    ]
    deltas = "".join(event["delta"] for event in found[3:5])
    assert json.loads(deltas) == {"x": "é"}
    first, second = found[-1]["response"]["output"]
    assert (first["type"], first["call_id"], first["name"]) == ("function_call", "call_1", "f")
    assert first["arguments"] == found[5]["arguments"] == deltas
    assert second["call_id"] != first["call_id"]
    assert found[2]["item"]["arguments"] == ""


def test_search_and_extract_steps():
    turn = [
        Search("weather", ("https://a/", "https://b/")),
        Extract(("https://a/",), "the weather", "Sunny."),
        Say("It is sunny."),
    ]
    found = events(*turn, tools=WEB)
    assert kinds(found)[2:9] == [
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
        "output_item.added",
        "output_item.done",
    ]
    search, extraction, _ = found[-1]["response"]["output"]
    assert search["action"] == {
        "type": "search",
        "query": "weather",
        "sources": [{"type": "url", "url": "https://a/"}, {"type": "url", "url": "https://b/"}],
    }
    assert extraction["type"] == "web_extractor_call"
    assert (extraction["urls"], extraction["output"]) == (["https://a/"], "Sunny.")
    assert found[-1]["response"]["usage"]["x_tools"] == {
        "web_search": {"count": 1},
        "web_extractor": {"count": 1},
    }


def test_limited_answer_is_incomplete():
    last = events(Say("Cut"), Finish("length"))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_unstreamed_response_equals_the_streamed_one():
    with EmulatorServer(responder=Script(ANSWER, ANSWER)) as server:
        streamed = data(post(server, RESPONSES, responses()))[-1]["response"]
        document = post(server, RESPONSES, responses(stream=False)).json()
    for name in ("status", "usage", "model", "object", "tools"):
        assert document[name] == streamed[name]
    without_ids = [
        [{k: v for k, v in item.items() if k != "id"} for item in response["output"]]
        for response in (document, streamed)
    ]
    assert without_ids[0] == without_ids[1]


REFUSALS = {
    "no model": (responses(model=None), "missing_required_parameter"),
    "no input": (responses(input=None), "Missing required parameter: 'input'."),
    "input that is none": (responses(input=5), "input must be"),
    "a strange item": (responses(input=[{"type": "hologram"}]), "unknown type"),
    "an item that is none": (responses(input=["?"]), "unknown type"),
    "a strange role": (responses(input=[{"role": "x", "content": "?"}]), "Role must be"),
    "a result without a call": (
        responses(input=[{"type": "function_call_output", "call_id": "c", "output": "1"}]),
        "must be a response to a preceeding message",
    ),
    "a strange tool": (responses(tools=[{"type": "hammer"}]), "no tool of type 'hammer'"),
    "a function without a name": (responses(tools=[{"type": "function"}]), "'name' is a required"),
    "tools that are no list": (responses(tools=5), "tools must be a list"),
    "functions beside the interpreter": (
        responses(tools=[{"type": "code_interpreter"}, FUNCTION]),
        "Agent mode does not support tools.",
    ),
    "too few tokens": (responses(max_output_tokens=15), "at least 16"),
    "no number of tokens": (responses(max_output_tokens="x"), "max_tokens"),
    "too warm": (responses(temperature=2), "temperature"),
    "an unknown response": (responses(previous_response_id="x"), "'x' not found"),
    "a model that is not served": (
        responses(model="qwen3.6-27b"),
        "Unsupported model: 'qwen3.6-27b'",
    ),
    "a model with vision of its own kind": (
        responses(model="qwen3-vl-plus"),
        "Unsupported model: 'qwen3-vl-plus'",
    ),
    "JSON from the interpreter": (
        responses(text={"format": {"type": "json_object"}}),
        "Json mode response is not supported when enable_code_interpreter is true",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_errors_have_the_native_format(qwen_emulator, name):
    body, text = REFUSALS[name]
    response = post(qwen_emulator, RESPONSES, body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "request_id"}
    assert response.json()["code"] == "InvalidParameter"
    assert text in response.json()["message"]


def test_unknown_keys_and_models():
    with EmulatorServer(api_key="right") as server:
        wrong = post(server, RESPONSES, responses())
        unknown = post(server, RESPONSES, responses(model="gpt-x"), Authorization="Bearer right")
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
    "no effort": (
        {"reasoning": {"effort": "none"}},
        THINKING_NEEDED,
    ),
    "thinking off for a model that thinks by default": (
        {"model": "qwen3.5-plus", "enable_thinking": False},
        THINKING_NEEDED,
    ),
    "a model without the interpreter": (
        {"model": "qwen3-max-preview"},
        "qwen3-max-preview does not support the code_interpreter tool",
    ),
    "an extractor alone": (
        {"tools": [{"type": "web_extractor"}]},
        "The web_extractor tool must be executed with web_search tool.",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FAILURES)
def test_some_errors_are_failed_responses(qwen_emulator, name, stream):
    more, message = FAILURES[name]
    response = post(qwen_emulator, RESPONSES, responses(stream=stream, **more))
    assert response.status_code == 200
    if stream:
        found = data(response)
        assert kinds(found) == ["created", "in_progress", "failed"]
        assert [event["sequence_number"] for event in found] == [0, 1, 2]
    failed = found[-1]["response"] if stream else response.json()
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert failed["error"]["message"] == message


@pytest.mark.parametrize("stream", [True, False])
def test_rate_limit_is_a_failed_response(stream):
    with EmulatorServer(faults=(FailedResponse(),)) as server:
        response = post(server, RESPONSES, responses(stream=stream))
    assert response.status_code == 200
    failed = data(response)[-1]["response"] if stream else response.json()
    assert failed["status"] == "failed"
    assert failed["error"] == {
        "code": "server_error",
        "message": "Operation model request rate limit exceeded, please try again later.",
    }


def said_by(question):
    return [Say(" | ".join(f"{text.role}: {text.text}" for text in question.messages))]


def received(server: EmulatorServer, **more: Any) -> tuple[str, str]:
    answer = post(server, RESPONSES, responses(stream=False, **more)).json()
    return answer["id"], answer["output"][-1]["content"][0]["text"]


def test_conversation_is_stored_without_instructions():
    with EmulatorServer(responder=Script(*[said_by] * 3)) as server:
        first, _ = received(server, input="One?", instructions="Be brief.")
        second, text = received(server, input="Two?", previous_response_id=first)
        assert text == "user: One? | assistant: system: Be brief. | user: One? | user: Two?"
        _, third = received(
            server, input="Three?", previous_response_id=second, instructions="Be long."
        )
        assert third.startswith("system: Be long. | user: One? |")
        assert third.endswith("| user: Three?")


def test_conversation_is_not_stored_with_store_false():
    with EmulatorServer(responder=Script(said_by)) as server:
        first, _ = received(server, input="One?", store=False)
        refused = post(server, RESPONSES, responses(previous_response_id=first))
    assert refused.status_code == 400


def test_stored_call_can_be_answered():
    with EmulatorServer(responder=Script([Call("f", {}, id="c")], said_by)) as server:
        off = {"interpreter": False, "tools": [FUNCTION]}
        first = post(server, RESPONSES, responses(stream=False, **off)).json()["id"]
        result = {"type": "function_call_output", "call_id": "c", "output": "42"}
        _, text = received(server, input=[result], previous_response_id=first, **off)
    assert text == "user: ? | assistant:  | tool: 42"


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
    with EmulatorServer(responder=Script(said_by)) as server:
        _, text = received(server, input=items)
    assert text == (
        "system: Be exact. | user: One? | assistant: 1. | assistant:  | tool: 42 | user: Two?"
    )


def test_media_are_passed_to_models_with_vision(qwen_emulator):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    sent = [{"role": "user", "content": [{"type": "input_text", "text": "What?"}, image]}]
    _, text = received(qwen_emulator, model="qwen3.5-plus", input=sent, **OFF)
    assert "1 image." in text
    refused = post(qwen_emulator, RESPONSES, responses(input=sent))
    assert "takes text only" in refused.json()["message"]


@pytest.mark.parametrize("choice", ["none", "auto", {"type": "function", "name": "f"}])
def test_tool_choice_is_respected(qwen_emulator, choice):
    body = responses("Hello", tools=[FUNCTION], tool_choice=choice, stream=False, **OFF)
    (item,) = post(qwen_emulator, RESPONSES, body).json()["output"]
    assert (item["type"] == "function_call") is isinstance(choice, dict)


def test_json_response_format(qwen_emulator):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}
    _, text = received(qwen_emulator, input="The number is 7.", text=wanted, **OFF)
    assert json.loads(text) == {"n": 7}


def test_every_server_tool_is_accepted(qwen_emulator):
    names = ("web_search", "web_extractor", "web_search_image", "image_search", "file_search")
    tools = [{"type": name} for name in (*names, "mcp", "code_interpreter")]
    found = data(post(qwen_emulator, RESPONSES, responses("6 * 7", tools=tools)))
    assert found[-1]["response"]["tools"] == tools
    assert found[-1]["response"]["usage"]["x_tools"] == {"code_interpreter": {"count": 1}}


def test_effort_takes_precedence_over_enable_thinking():
    with EmulatorServer(responder=Script([Think("Hm."), Say("Yes.")])) as server:
        body = responses(
            stream=False, enable_thinking=False, reasoning={"effort": "high"}, tools=[]
        )
        output = post(server, RESPONSES, body).json()["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]
