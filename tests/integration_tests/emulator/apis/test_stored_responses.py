"""Responses that the emulator stores: continued, retrieved, listed, deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from emulator_requests import OLDER_RESPONSES, RESPONSES, payloads, post, responses_body

from langchain_qwen_ci.emulator import Call, EmulatorServer, Run, Say, Script, Status, Think

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
HEADERS = {"Authorization": "Bearer any"}


def repeat_messages(request):
    return [Say(" | ".join(f"{message.role}: {message.text}" for message in request.messages))]


def id_and_text(server: EmulatorServer, **more: Any) -> tuple[str, str]:
    answer = post(server, RESPONSES, responses_body(stream=False, **more)).json()
    return answer["id"], answer["output"][-1]["content"][0]["text"]


def test_conversation_is_stored_without_instructions():
    with EmulatorServer(responder=Script(*[repeat_messages] * 3)) as server:
        first, _ = id_and_text(server, input="One?", instructions="Be brief.")
        second, text = id_and_text(server, input="Two?", previous_response_id=first)
        assert text == "user: One? | assistant: system: Be brief. | user: One? | user: Two?"
        _, third = id_and_text(
            server, input="Three?", previous_response_id=second, instructions="Be long."
        )
        assert third.startswith("system: Be long. | user: One? |")
        assert third.endswith("| user: Three?")


def test_conversation_is_not_stored_with_store_false():
    with EmulatorServer(responder=Script(repeat_messages)) as server:
        first, _ = id_and_text(server, input="One?", store=False)
        rejected = post(server, RESPONSES, responses_body(previous_response_id=first))
    assert rejected.status_code == 400


def test_stored_call_can_be_answered():
    with EmulatorServer(responder=Script([Call("f", {}, id="c")], repeat_messages)) as server:
        off = {"interpreter": False, "tools": [FUNCTION]}
        first = post(server, RESPONSES, responses_body(stream=False, **off)).json()["id"]
        result = {"type": "function_call_output", "call_id": "c", "output": "42"}
        _, text = id_and_text(server, input=[result], previous_response_id=first, **off)
    assert text == "user: ? | assistant:  | tool: 42"


def test_conversation_is_stored():
    with EmulatorServer(responder=Script(*[repeat_messages] * 3)) as server:
        id_and_text(server, input="One?", conversation="conv_1", instructions="Be brief.")
        body = responses_body("Two?", conversation={"id": "conv_1"}, store=False, stream=False)
        answer = post(server, RESPONSES, body).json()
        _, other = id_and_text(server, input="One?", conversation="conv_2")
    assert answer["conversation"] == {"id": "conv_1"}
    assert answer["output"][-1]["content"][0]["text"] == (
        "user: One? | assistant: system: Be brief. | user: One? | user: Two?"
    )
    assert other == "user: One?"


def get(server: EmulatorServer, path: str, **query: Any) -> httpx.Response:
    return httpx.get(server.url + path, params=query, headers=HEADERS)


@pytest.mark.parametrize("path", [RESPONSES, OLDER_RESPONSES])
def test_stored_response_is_retrieved(path):
    turn = [Think("Hm."), Run("6 * 7"), Say("It is 42.")]
    with EmulatorServer(responder=Script(turn)) as server:
        complete = payloads(post(server, path, responses_body()))[-1]["response"]
        retrieved = get(server, f"{path}/{complete['id']}")
    assert retrieved.status_code == 200
    assert retrieved.headers["x-request-id"]
    assert retrieved.json() == complete
    assert complete["id"].startswith("resp_")


def test_deleted_response_is_not_found():
    with EmulatorServer(responder=Script(*[repeat_messages] * 2)) as server:
        first, _ = id_and_text(server, input="One?")
        second, _ = id_and_text(server, input="Two?", previous_response_id=first)
        path = f"{RESPONSES}/{first}"
        deleted = httpx.delete(server.url + path, headers=HEADERS)
        assert deleted.status_code == 200
        assert deleted.json() == {"id": first, "object": "response", "deleted": True}
        gone = [
            get(server, path),
            get(server, f"{path}/input_items"),
            httpx.delete(server.url + path, headers=HEADERS),
        ]
        continued = post(server, RESPONSES, responses_body(previous_response_id=first))
        assert get(server, f"{RESPONSES}/{second}").status_code == 200
    for response in gone:
        assert response.status_code == 404
        assert set(response.json()) == {"code", "message", "request_id"}
        assert response.json()["message"] == f"Response with id '{first}' not found."
    assert continued.status_code == 400


def test_input_items_of_a_string():
    with EmulatorServer(responder=Script(repeat_messages)) as server:
        first, _ = id_and_text(server, input="One?")
        listed = get(server, f"{RESPONSES}/{first}/input_items").json()
    (item,) = listed["data"]
    assert item == {
        "id": item["id"],
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "One?"}],
    }
    assert item["id"].startswith("msg_")
    assert listed == {
        "object": "list",
        "data": [item],
        "first_id": item["id"],
        "last_id": item["id"],
        "has_more": False,
    }


def test_input_items_are_listed_in_pages():
    items = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1."},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": [{"type": "input_text", "text": "Two?"}]},
    ]
    with EmulatorServer(responder=Script(repeat_messages)) as server:
        path = f"{RESPONSES}/{id_and_text(server, input=items)[0]}/input_items"
        listed = get(server, path, order="asc").json()["data"]
        newest = get(server, path, limit=3).json()
        rest = get(server, path, limit=3, after=newest["last_id"]).json()
        rejected = [get(server, path, limit=limit) for limit in (0, 101, "²", "9" * 5000)]
    assert [item["type"] for item in listed] == ["message", "message", "reasoning", "message"]
    assert listed[1]["content"] == [{"type": "output_text", "text": "1."}]
    assert listed[2] == items[2]
    assert newest["data"] == listed[:0:-1]
    assert (newest["has_more"], rest["has_more"]) == (True, False)
    assert rest["data"] == listed[:1]
    assert [response.status_code for response in rejected] == [400] * 4
    assert "limit" in rejected[0].json()["message"]


def test_stored_responses_require_the_key():
    with EmulatorServer(api_key="right") as server:
        response = get(server, f"{RESPONSES}/resp_1")
    assert (response.status_code, response.json()["code"]) == (401, "InvalidApiKey")


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "resp_1"), ("DELETE", "resp_1/input_items"), ("GET", "")]
)
def test_other_methods_and_paths_are_not_found(method, path):
    with EmulatorServer() as server:
        response = httpx.request(method, f"{server.url}{RESPONSES}/{path}", headers=HEADERS)
    assert response.status_code == 404
    assert response.json()["message"].startswith(f"There is no {method}")


def test_status_fault_of_a_retrieval():
    with EmulatorServer(faults=(None, Status(503))) as server:
        first, _ = id_and_text(server, input="One?")
        path = f"{RESPONSES}/{first}"
        assert [get(server, path).status_code for _ in range(2)] == [503, 200]
        assert server.requests[-1].path == path
