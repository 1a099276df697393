"""The limits that make the emulator safe to leave running on a machine."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from emulator_requests import (
    APIS,
    PATHS,
    QUESTION,
    RESPONSES,
    RESULT,
    dashscope_body,
    error_of,
    model_of,
    post_native,
    responses_body,
    send,
)

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.emulator import EmulatorServer, Say, Script, Status

HEADERS = {"Authorization": "Bearer any"}
MEGABYTE = 1_000_000


@pytest.mark.parametrize("text", ["compute the average of it ", "12 + 3 and ", '{"properties":'])
def test_planner_does_not_search_the_middle_of_a_long_text(text):
    """A search of a whole megabyte takes seconds, in which no other request is answered."""
    filler = text * (MEGABYTE // (2 * len(text)))
    with EmulatorServer() as server:
        message = model_of(server).invoke(f"{filler} {QUESTION} {filler}")
    assert RESULT not in message.text


def test_planner_finds_the_question_at_either_end_of_a_long_text():
    with EmulatorServer() as server:
        model = model_of(server)
        for text in (f"{QUESTION} {'word ' * 50_000}", f"{'word ' * 50_000} {QUESTION}"):
            assert RESULT in model.invoke(text).content


def test_planner_runs_at_most_sixteen_programs():
    with EmulatorServer() as server:
        message = model_of(server).invoke("1 plus 1; " * 40)
    assert len(code_executions(message)) == 16


@pytest.mark.parametrize("api", APIS)
def test_large_body_is_rejected(api):
    with EmulatorServer(max_request_bytes=50_000) as server:
        response = send(server, api, "a" * 2 * MEGABYTE)
        assert response.status_code == 413
        code, message = error_of(api, response.json())
        assert code == "RequestEntityTooLarge"
        assert "max_request_bytes" in message
        assert server.requests[0].body is None
        assert server.requests[0].size > 2 * MEGABYTE
        assert send(server, api, "a" * 40_000).status_code == 200


def test_chunked_large_body_is_rejected():
    with EmulatorServer(max_request_bytes=1000) as server:
        url = server.url + RESPONSES
        response = httpx.post(url, content=iter([b"{}" * 400] * 3), headers=HEADERS)
    assert response.status_code == 413


def test_recorded_requests_are_limited_in_number():
    with EmulatorServer(max_recorded_requests=3) as server:
        for number in range(5):
            send(server, "responses", str(number))
        assert [request.body["input"] for request in server.requests] == ["2", "3", "4"]
        assert server.received == 5
        server.requests.clear()
        send(server, "responses", "5")
        assert [request.body["input"] for request in server.requests] == ["5"]


def test_recorded_requests_are_limited_in_bytes():
    with EmulatorServer(max_recorded_bytes=25_000) as server:
        for number in range(5):
            send(server, "responses", str(number) * 10_000)
        assert [request.body["input"][0] for request in server.requests] == ["3", "4"]


def test_oldest_stored_responses_are_removed():
    with (
        EmulatorServer(responder=Script(*[[Say("a")]] * 1001)) as server,
        httpx.Client(base_url=server.url, headers=HEADERS) as client,
    ):
        body = responses_body(stream=False)
        ids = [client.post(RESPONSES, json=body).json()["id"] for _ in range(1001)]
        found = [client.get(f"{RESPONSES}/{ids[at]}").status_code for at in (0, 1, 1000)]
    assert found == [404, 200, 200]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:8000", "127.0.0.1.nip.io"])
def test_request_for_another_host_is_rejected(api, host):
    with EmulatorServer(responder=Script([Say("yes")])) as server:
        server.inject_fault(Status(503))
        response = httpx.post(server.url + PATHS[api], json={}, headers={**HEADERS, "Host": host})
        assert response.status_code == 421
        code, message = error_of(api, response.json())
        assert code == "MisdirectedRequest"
        assert host in message
        assert "allowed_hosts" in message
        # It has neither used up the fault nor an answer of the script.
        assert server.requests == []
        assert send(server, api).status_code == 503
        assert "yes" in send(server, api).text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "gateway:5"])
def test_request_for_an_allowed_host_is_accepted(host):
    with EmulatorServer(allowed_hosts=["Gateway"]) as server:
        assert post_native(server, dashscope_body(), Host=host).status_code == 200


def test_one_allowed_host_must_be_in_a_list():
    with pytest.raises(TypeError, match=r"\['gateway'\]"):
        EmulatorServer(allowed_hosts="gateway")


def test_disconnect_is_not_logged(caplog):
    with EmulatorServer(responder=Script([Say("a " * 20_000)], [Say("yes")])) as server:
        with httpx.stream(
            "POST", server.url + RESPONSES, json=responses_body(), headers=HEADERS
        ) as response:
            next(response.iter_raw())
        assert "yes" in send(server, "responses").text
    assert caplog.records == []


def test_server_starts_when_warnings_are_errors():
    program = """if True:
        import sys
        from langchain_qwen_ci.emulator import EmulatorServer
        with EmulatorServer() as server:
            print(server.url, "websockets" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" False\n")  # importing websockets' older parts warns
