"""The example app under `langgraph dev`, driven by LangGraph's own client."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat

import langgraph_server
import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from langchain_qwen_ci.emulator import Cut, EmulatorServer, Planner, Run, Say, Status, Step

# All tests run in one worker, because a server takes some seconds to start.
pytestmark = pytest.mark.xdist_group("app")

GRAPH = "calculator"
FIFTH_POWER = "What is 7 to the power of 5?"
INVALID_KEY = Status(401, "InvalidApiKey", "Invalid API-key provided.")
SECONDS = 30  # maximum wait for an event


class Responder:
    """Answers with the turns that a test has added, otherwise with the planner."""

    def __init__(self) -> None:
        self.turns: deque[list[Step]] = deque()
        self.closed = threading.Event()

    def respond(self, request):
        if not self.turns:
            return (yield from Planner().respond(request))
        try:
            for step in self.turns.popleft():  # noqa: UP028  # `yield from` a list fails at send()
                yield step
        except GeneratorExit:
            self.closed.set()
            raise


class Emulator(EmulatorServer):
    """An emulator whose responder can be scripted; each test resets it."""

    def __init__(self) -> None:
        self.scripted_responder = Responder()
        super().__init__(responder=self.scripted_responder, pace=0.002)

    def reset(self) -> None:
        self.requests.clear()
        self.scripted_responder.turns.clear()
        self.scripted_responder.closed.clear()


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory,
) -> Iterator[tuple[Emulator, langgraph_server.App, langgraph_server.App]]:
    """An emulator, the app that sends its requests there, and the app without an API key."""
    folder = tmp_path_factory.mktemp("app")
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator())
        service = {"DASHSCOPE_BASE_URL": emulator.url, "DASHSCOPE_API_KEY": "any"}
        app = stack.enter_context(langgraph_server.run_app(folder / "with_emulator", service))
        app_without_key = stack.enter_context(langgraph_server.run_app(folder / "without_key", {}))
        app.wait_until_ready()
        app_without_key.wait_until_ready()
        yield emulator, app, app_without_key


@pytest.fixture
def emulator(servers) -> Emulator:
    emulator, _, _ = servers
    emulator.reset()
    return emulator


@pytest.fixture
def app(servers) -> Iterator[langgraph_server.App]:
    _, app, _ = servers
    yield from check_log(app)


@pytest.fixture
def app_without_key(servers) -> Iterator[langgraph_server.App]:
    _, _, app_without_key = servers
    yield from check_log(app_without_key)


def check_log(app: langgraph_server.App) -> Iterator[langgraph_server.App]:
    """Yield the app; then print what it logged meanwhile, and check for blocking calls."""
    before = len(app.log)
    yield app
    print(app.log[before:])  # pytest shows it if the test fails
    assert not blocking_errors(app)


def blocking_errors(app: langgraph_server.App) -> list[dict]:
    records = (record for record in app.records if "BlockingError" in json.dumps(record))
    return [record for record in records if record.get("graph_id") != "blocking"]


@pytest.fixture
def client(app, emulator) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=app.url) as client:
        yield client


@pytest.fixture
def thread(client) -> str:
    return client.threads.create()["thread_id"]


def content(text: str, **more) -> dict:
    return {"messages": [{"role": "user", "content": text}], **more}


def codes(output: dict) -> list[str]:
    return [execution["code"] for execution in output["code_executions"]]


def parts(client, thread, *modes: str, text: str = FIFTH_POWER) -> list:
    return list(client.runs.stream(thread, GRAPH, input=content(text), stream_mode=list(modes)))


def data(streamed: list, event: str) -> list:
    return [part.data for part in streamed if part.event == event]


# Results of runs.


def test_wait_for_a_run(client, thread, emulator):
    output = client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert set(output) == {"messages", "code_executions", "plugin_counts"}
    question, answer = output["messages"]
    assert (question["content"], answer["content"]) == (FIFTH_POWER, "7**5 = 16807.")
    [execution] = output["code_executions"]
    assert execution == {
        "id": execution["id"],
        "code": "7**5",
        "status": "completed",
        "message_id": answer["id"],
    }
    assert output["plugin_counts"] == {"code_interpreter": 1}
    [request] = emulator.requests
    assert request.body["parameters"]["enable_code_interpreter"] is True
    assert request.body["input"]["messages"][0]["content"] == "Compute, do not guess."


def test_small_talk_uses_no_interpreter(client, thread, emulator):
    output = client.runs.wait(thread, GRAPH, input=content("Hello!"))
    assert "interpreter is off" in output["messages"][-1]["content"]
    assert output["code_executions"] == []
    assert output["plugin_counts"] == {}
    [request] = emulator.requests
    assert not request.body["parameters"].get("enable_code_interpreter")


def test_run_without_a_thread(client):
    output = client.runs.wait(None, GRAPH, input=content(FIFTH_POWER))
    assert codes(output) == ["7**5"]
    assert output["plugin_counts"] == {"code_interpreter": 1}


async def test_concurrent_runs_with_the_async_client(app):
    async with get_client(url=app.url) as client:
        # The server deletes a run without a thread when it ends, so all are awaited from the start.
        questions = [content(f"What is {n} squared?") for n in (3, 4, 5)]
        states = await asyncio.gather(
            *(client.runs.wait(None, GRAPH, input=question) for question in questions)
        )
    assert [codes(state) for state in states] == [["3**2"], ["4**2"], ["5**2"]]


# Streams.


def test_stream_mode_values(client, thread):
    first, *_, last = data(parts(client, thread, "values"), "values")
    assert [message["type"] for message in first["messages"]] == ["human"]
    assert [message["type"] for message in last["messages"]] == ["human", "ai"]
    assert codes(last) == ["7**5"]
    assert last["plugin_counts"] == {"code_interpreter": 1}


def test_stream_mode_updates(client, thread):
    [update] = data(parts(client, thread, "updates"), "updates")
    assert set(update) == {"compute"}
    [message] = update["compute"]["messages"]
    assert message["content"] == "7**5 = 16807."
    assert codes(update["compute"]) == ["7**5"]
    assert update["compute"]["plugin_counts"] == {"code_interpreter": 1}


def test_stream_mode_messages(client, thread):
    result = data(parts(client, thread, "messages-tuple"), "messages")
    chunks = [chunk for chunk, _ in result]
    assert "".join(chunk["content"] for chunk in chunks) == "7**5 = 16807."
    assert sum(bool(chunk["content"]) for chunk in chunks) > 1
    reasoning = [chunk["additional_kwargs"].get("reasoning_content", "") for chunk in chunks]
    assert "I will run code for it." in "".join(reasoning)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {metadata["langgraph_node"] for _, metadata in result} == {"compute"}
    finished = [chunk["response_metadata"] for chunk in chunks if chunk["chunk_position"] == "last"]
    assert [codes(metadata) for metadata in finished] == [["7**5"]]


def test_execution_events_precede_the_text(client, thread):
    streamed = parts(client, thread, "custom", "messages-tuple")
    result = [
        part.data["event"] if part.event == "custom" else "text"
        for part in streamed
        if part.event == "custom" or (part.event == "messages" and part.data[0]["content"])
    ]
    assert result[:3] == ["started", "ended", "text"]
    assert set(result[3:]) == {"text"}
    for event in data(streamed, "custom"):
        assert event["type"] == "code_execution"
        assert event["node"] == "compute"
        assert event["execution"]["code"] == "7**5"


def test_v3_stream_has_blocks_and_executions_in_order(client):
    with client.threads.stream(assistant_id=GRAPH) as stream:
        stream.run.start(input=content(FIFTH_POWER))
        events = [event["params"]["data"] for event in stream.subscribe(["messages", "custom"])]
        output = stream.output
    opened = [data for data in events if data["event"] in ("content-block-start", "started")]
    assert [data.get("content", data)["type"] for data in opened] == [
        "reasoning",
        "server_tool_call_chunk",
        "code_execution",
        "reasoning",
        "text",
    ]
    assert [data["event"] for data in events if data.get("type")] == ["started", "ended"]
    assert output["messages"][-1]["content"] == "7**5 = 16807."  # a string, as in other runs
    assert codes(output) == ["7**5"]
    assert output["plugin_counts"] == {"code_interpreter": 1}


# Threads.


def test_turns_of_a_thread_are_summed(client, thread):
    client.runs.wait(thread, GRAPH, input=content("What is 12 squared?"))
    client.runs.wait(thread, GRAPH, input=content("Thank you!"))
    output = client.runs.wait(thread, GRAPH, input=content("divide that by 5"))
    assert codes(output) == ["12**2", "12**2 / 5"]
    assert output["plugin_counts"] == {"code_interpreter": 2}
    assert len(output["messages"]) == 6


def test_state_and_history_are_plain_data(client, thread, app):
    first = client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    second = client.runs.wait(thread, GRAPH, input=content("What is 12 squared?"))
    state = client.threads.get_state(thread)
    assert state["next"] == []
    assert state["values"] == second
    history = [past["values"] for past in client.threads.get_history(thread)]
    assert history[0] == second
    assert first in history
    # The warning for classes that strict msgpack does not allow.
    assert "unregistered type" not in app.log


def test_input_cannot_raise_the_budget(client, thread, emulator):
    emulator.scripted_responder.turns.append([*(Run(f"{n}") for n in range(20)), Say("All done.")])
    output = client.runs.wait(thread, GRAPH, input=content("Compute a lot."))
    assert output["plugin_counts"] == {"code_interpreter": 20}
    forged = content(FIFTH_POWER, plugin_counts={"code_interpreter": -20})
    output = client.runs.wait(thread, GRAPH, input=forged)
    assert output["plugin_counts"] == {"code_interpreter": 20}
    error = output["messages"][-1]["response_metadata"]["error"]
    assert error["limit"] == "executions"
    assert len(emulator.requests) == 1


# Assistants.


def test_graph_schemas(client):
    [assistant] = client.assistants.search(graph_id=GRAPH)
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    answer = {"messages", "code_executions", "plugin_counts"}
    assert set(schemas["input_schema"]["properties"]) == {"messages"}
    assert set(schemas["output_schema"]["properties"]) == answer
    assert set(schemas["state_schema"]["properties"]) == answer
    execution = schemas["output_schema"]["$defs"]["CodeExecution"]
    assert {"id", "code", "status", "output"} <= set(execution["properties"])


def test_graph_drawing(client):
    [assistant] = client.assistants.search(graph_id=GRAPH)
    drawn = client.assistants.get_graph(assistant["assistant_id"])
    assert {node["id"] for node in drawn["nodes"]} == {"__start__", "compute", "talk", "__end__"}


# Cancelled and failed runs.


def test_cancelled_run_closes_its_request(client, thread, emulator):
    emulator.scripted_responder.turns.append([Run("6 * 7"), *repeat(Say("and so on "), 100_000)])
    created = []
    stream = client.runs.stream(
        thread,
        GRAPH,
        input=content(FIFTH_POWER),
        stream_mode="custom",
        on_run_created=created.append,
    )
    next(part for part in stream if part.event == "custom")
    client.runs.cancel(thread, created[0]["run_id"], wait=True)
    assert emulator.scripted_responder.closed.wait(SECONDS)
    stream.close()
    values = client.threads.get_state(thread)["values"]
    assert [message["type"] for message in values["messages"]] == ["human"]
    output = client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert codes(output) == ["7**5"]


def test_run_of_a_disconnected_client_closes_its_request(client, thread, emulator):
    emulator.scripted_responder.turns.append([Run("6 * 7"), *repeat(Say("and so on "), 100_000)])
    stream = client.runs.stream(
        thread, GRAPH, input=content(FIFTH_POWER), stream_mode="custom", on_disconnect="cancel"
    )
    next(part for part in stream if part.event == "custom")
    stream.close()
    assert emulator.scripted_responder.closed.wait(SECONDS)


def test_permanent_error_ends_the_run(client, thread, emulator):
    emulator.inject_fault(INVALID_KEY)
    with pytest.raises(Exception, match=r"QwenAuthenticationError.*Invalid API-key"):
        client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert len(emulator.requests) == 1
    assert client.threads.get(thread)["status"] == "error"
    output = client.runs.wait(thread, GRAPH, input=content("What is 12 squared?"))
    assert codes(output) == ["12**2"]


def test_error_ends_a_stream(client, thread, emulator):
    emulator.inject_fault(INVALID_KEY)
    last = parts(client, thread, "values", "messages-tuple")[-1]
    assert last.event == "error"
    assert last.data["error"] == "QwenAuthenticationError"
    assert "Invalid API-key" in last.data["message"]


def test_interrupted_answer_is_retried(client, thread, emulator):
    emulator.inject_fault(Cut(after=3))
    output = client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert len(emulator.requests) == 2
    assert [message["type"] for message in output["messages"]] == ["human", "ai"]
    assert output["plugin_counts"] == {"code_interpreter": 1}


def test_retry_policy_stops(client, thread, emulator):
    emulator.inject_fault(*[Cut(after=3)] * 3)
    with pytest.raises(Exception, match="QwenStreamError"):
        client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert len(emulator.requests) == 3


def test_retry_policy_continues_after_the_models_retries(client, thread, emulator):
    busy = Status(429, "Throttling.RateQuota", "Too many.", headers={"retry-after-ms": "0"})
    emulator.inject_fault(*[busy] * 3)  # the model itself tries three times
    output = client.runs.wait(thread, GRAPH, input=content(FIFTH_POWER))
    assert len(emulator.requests) == 4
    assert codes(output) == ["7**5"]


# The server.


def test_server_detects_blocking_calls(client, thread):
    with pytest.raises(Exception, match="BlockingError"):
        client.runs.wait(thread, "blocking", input=content("Hello!"))


def test_emulator_starts_without_a_key(app_without_key):
    with get_sync_client(url=app_without_key.url) as client:
        output = client.runs.wait(None, GRAPH, input=content(FIFTH_POWER))
    assert output["messages"][-1]["content"] == "7**5 = 16807."
    assert "CONNECTED TO ANOTHER MACHINE" not in app_without_key.log


# The documentation.


def with_url_of_app(page: str, app_without_key: langgraph_server.App) -> str:
    assert "http://127.0.0.1:2024" in page
    return page.replace("http://127.0.0.1:2024", app_without_key.url)


def test_readme_curl_command_works(app_without_key):
    [command] = re.findall(r"^curl .*?(?=^```)", langgraph_server.README, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        with_url_of_app(command, app_without_key),
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert codes(json.loads(done.stdout)) == ["7**5"]


@pytest.mark.parametrize(
    "page", [langgraph_server.README, langgraph_server.GUIDE], ids=["readme", "guide"]
)
def test_documented_code_prints_the_documented_output(page, app_without_key, capsys):
    [(code, printed)] = re.findall(
        r"^```py(?:thon)?\n(.*?)^```\n\n^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    exec(compile(with_url_of_app(code, app_without_key), "page", "exec"), {})
    assert capsys.readouterr().out == printed


def test_links_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", langgraph_server.README)
    assert links
    for link in links:
        assert (langgraph_server.APP / link).exists(), link
