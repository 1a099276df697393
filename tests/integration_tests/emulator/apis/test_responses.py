"""Responses from the emulator: the events and items of answers, read with plain httpx."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from emulator_requests import OLDER_RESPONSES, RESPONSES, payloads, post, responses_body

from langchain_qwen_ci.emulator import (
    Call,
    EmulatorServer,
    Extract,
    Finish,
    Run,
    Say,
    Script,
    Search,
    Think,
)

ANSWER = [Think("Let me see."), Run("12**3"), Think("So."), Say("It is 1728.")]
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
WEB = [{"type": "web_search"}, {"type": "web_extractor"}]


def events(*turn: Any, **fields: Any) -> list[dict[str, Any]]:
    with EmulatorServer(responder=Script(turn)) as server:
        return payloads(post(server, RESPONSES, responses_body(**fields)))


def event_types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


@pytest.mark.parametrize("path", [RESPONSES, OLDER_RESPONSES])
def test_stream_bytes(path):
    with EmulatorServer(responder=Script(ANSWER)) as server:
        response = post(server, path, responses_body())
    assert response.headers["content-type"].startswith("text/event-stream")
    frame = re.compile(r"id:(\d+)\nevent:(response\.\S+)\n:HTTP_STATUS/200\ndata:(\{.*\})")
    found = [frame.fullmatch(text) for text in response.text.removesuffix("\n\n").split("\n\n")]
    assert all(found)
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    bodies = [json.loads(match[3]) for match in found]
    assert [body["type"] for body in bodies] == [match[2] for match in found]
    assert [body["sequence_number"] for body in bodies] == list(range(len(found)))
    assert bodies[-1]["response"]["id"] == f"resp_{response.headers['x-request-id']}"


def test_order_of_events():
    found = events(*ANSWER)
    reasoning = ["reasoning_text.delta"], ["reasoning_text.done", "output_item.done"]
    assert event_types(found) == [
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
    referenced = {event["item_id"] for event in found if "item_id" in event}
    assert referenced == set(ids)
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


def test_text_events_have_a_content_index():
    found = events(*ANSWER)
    texts = [event for event in found if "_text." in event["type"]]
    assert {event["type"].removeprefix("response.") for event in texts} == {
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_text.delta",
        "output_text.done",
    }
    assert {event["content_index"] for event in texts} == {0}


def test_older_reasoning_events():
    server = EmulatorServer(responder=Script(ANSWER), reasoning_events="reasoning_summary_text")
    with server:
        found = payloads(post(server, RESPONSES, responses_body()))
    reasoning = [event for event in found if "reasoning" in event["type"]]
    assert {event["type"] for event in reasoning} == {
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
    }
    assert {event["summary_index"] for event in reasoning} == {0}
    assert not any("content_index" in event for event in reasoning)
    text = [event["text"] for event in reasoning if "text" in event]
    assert text == ["Let me see.", "So."]


def test_unknown_reasoning_events_raise_an_error():
    with pytest.raises(ValueError, match="'thoughts' is none"):
        EmulatorServer(reasoning_events="thoughts")


def test_function_calls():
    found = events(
        Call("f", {"x": "é"}, id="call_1"), Call("g", {}), tools=[FUNCTION], interpreter=False
    )
    assert event_types(found)[2:8] == [
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
    assert event_types(found)[2:9] == [
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
        streamed = payloads(post(server, RESPONSES, responses_body()))[-1]["response"]
        document = post(server, RESPONSES, responses_body(stream=False)).json()
    for name in ("status", "usage", "model", "object", "tools"):
        assert document[name] == streamed[name]
    without_ids = [
        [{k: v for k, v in item.items() if k != "id"} for item in response["output"]]
        for response in (document, streamed)
    ]
    assert without_ids[0] == without_ids[1]
