"""The three APIs return equal messages for one script, except where the docs' table says "no"."""

from __future__ import annotations

import asyncio
import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dashscope_streams
import httpx
import pytest
import responses_streams
from langchain_core.messages import AIMessage, HumanMessage, merge_message_runs
from langchain_openai import ChatOpenAI

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.emulator import EmulatorServer, Extract, Run, Say, Script, Search, Think

pytestmark = [
    pytest.mark.filterwarnings("ignore:Chat Completions runs code"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

PAGE = Path(__file__).parents[3] / "docs" / "choosing-an-api.md"
TURN = [
    Think("I should compute it."),
    Run("x = 6 * 7\nprint('half', x / 2)"),
    Think("And divide by zero."),
    Run("x / 0"),
    Say("It is 42, "),
    Say("and half of it 21."),
]


async def _astream(model: Any) -> Any:
    return functools.reduce(operator.add, [chunk async for chunk in model.astream("?")])


async def _astream_events(model: Any) -> Any:
    return await (await model.astream_events("?", version="v3"))


ENTRY_POINTS = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "stream": lambda model: functools.reduce(operator.add, model.stream("?")),
    "astream": lambda model: asyncio.run(_astream(model)),
    "v3": lambda model: model.stream_events("?", version="v3").output,
    "async v3": lambda model: asyncio.run(_astream_events(model)),
}


def documented_features() -> dict[str, set[str]]:
    """Return the features of each API: the rows of the table on the page that say "yes"."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if re.match(r"\|.*\|$", line)
    ]
    (_, *apis), _, *features = rows
    return {
        api: {name for name, *cells in features if cells[column] == "yes"}
        for column, api in enumerate(apis)
    }


# The value of each feature in a message.
FEATURES: dict[str, Callable[[Any], Any]] = {
    "text": lambda message: message.text,
    "reasoning": lambda message: message.additional_kwargs.get("reasoning_content"),
    "finish_reason": lambda message: message.response_metadata["finish_reason"],
    "usage": lambda message: {
        **{name: message.usage_metadata[f"{name}_tokens"] for name in ("input", "output", "total")},
        "reasoning": message.usage_metadata["output_token_details"]["reasoning"],
    },
    "executed code": lambda message: [execution["code"] for execution in code_executions(message)],
    "plugin counts": plugin_counts,
    "output of code": lambda message: [
        execution.get("output", "") for execution in code_executions(message)
    ],
    "failure of code": lambda message: [
        execution["status"] for execution in code_executions(message)
    ],
}
BLOCK_TYPES = ["reasoning", "call", "result", "reasoning", "call", "result", "text"]


@functools.cache
def reference() -> AIMessage:
    """Return the message of the Responses API, which has every feature."""
    return scripted_message("responses", "invoke", None)


def scripted_message(api: str, entry_point: str, version: str | None) -> Any:
    with EmulatorServer(responder=Script(TURN)) as server:
        model = ChatQwenCodeInterpreter(
            api=api, base_url=server.url, api_key="any", output_version=version
        )
        return ENTRY_POINTS[entry_point](model)


def test_documented_table_has_every_api_and_feature():
    assert set(documented_features()) == {"dashscope", "responses", "chat_completions"}
    assert documented_features()["responses"] == set(FEATURES)


def test_reference_message_matches_the_script():
    message = reference()
    first, second = code_executions(message)
    assert message.text == "It is 42, and half of it 21."
    assert (first["code"], first["output"]) == (TURN[1].code, "half 21.0")
    assert (second["code"], second["status"]) == ("x / 0", "failed")
    assert "ZeroDivisionError" in second["output"]
    assert plugin_counts(message) == {"code_interpreter": 2}


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("api", documented_features())
def test_one_script_gives_equal_messages_on_all_apis(
    api: str, entry_point: str, version: str | None
):
    message = scripted_message(api, entry_point, version)
    documented = documented_features()[api]
    for feature, value_in in FEATURES.items():
        if feature in documented:
            assert value_in(message) == value_in(reference()), feature
        else:
            assert value_in(message) != value_in(reference()), f"the page lacks {feature!r}"
    missing = set()
    if "executed code" not in documented:
        missing.add("call")
    if "output of code" not in documented:
        missing.add("result")
    expected = [block_type for block_type in BLOCK_TYPES if block_type not in missing]
    block_types = [block["type"].removeprefix("server_tool_") for block in message.content_blocks]
    # Reasoning blocks that are not separated by other blocks are one block.
    assert block_types == [block_type for block_type, _ in itertools.groupby(expected)]


HISTORY_APIS = ["dashscope", "responses", "chat_completions"]


@pytest.mark.parametrize("first", range(3))
def test_conversation_across_apis_and_another_provider(first: int):
    # Each request contains the text of all earlier turns, and nothing else of them.
    order = HISTORY_APIS[first:] + HISTORY_APIS[:first]
    turns = [
        [Think("One."), Run("1 + 1"), Say("It is two.")],
        [Say("ChatOpenAI says hello.")],
        [Think("Two."), Run("2 + 2"), Say("It is four.")],
        [Say("So does it again.")],
        [Think("Three."), Run("4 + 4"), Say("It is eight.")],
    ]
    with EmulatorServer(responder=Script(*turns)) as server:
        other = ChatOpenAI(
            model="qwen3-max", base_url=f"{server.url}/compatible-mode/v1", api_key="any"
        )
        messages: list[Any] = []
        for number, api in enumerate(order):
            if number:
                messages.append(HumanMessage("And ChatOpenAI?"))
                messages.append(other.invoke(messages))
            messages.append(HumanMessage(f"Question {number}?"))
            model = ChatQwenCodeInterpreter(api=api, base_url=server.url, api_key="any")
            messages.append(model.invoke(messages))
        sent = [_conversation(request.body) for request in server.requests]
    conversation = [
        ("user", "Question 0?"),
        ("assistant", "It is two."),
        ("user", "And ChatOpenAI?"),
        ("assistant", "ChatOpenAI says hello."),
        ("user", "Question 1?"),
        ("assistant", "It is four."),
        ("user", "And ChatOpenAI?"),
        ("assistant", "So does it again."),
        ("user", "Question 2?"),
    ]
    assert sent == [conversation[:length] for length in (1, 3, 5, 7, 9)]
    assert messages[-1].text == "It is eight."


def _conversation(body: dict[str, Any]) -> list[tuple[str, str]]:
    messages = body.get("messages") or body["input"]
    if isinstance(messages, dict):
        messages = messages["messages"]
    assert all(message.keys() == {"role", "content"} for message in messages)
    return [(message["role"], message["content"]) for message in messages]


def test_previous_response_id_continues_a_stored_response():
    turns = [
        [Run("6 * 7"), Say("It is 42.")],
        lambda request: [Say(f"Messages: {len(request.messages)}")],
    ]
    with EmulatorServer(responder=Script(*turns)) as server:
        model = ChatQwenCodeInterpreter(api="responses", base_url=server.url, api_key="any")
        first = model.invoke("What is six times seven?")
        second = model.invoke(
            "And now?", previous_response_id=first.response_metadata["request_id"]
        )
    assert [len(request.body["input"]) for request in server.requests] == [1, 1]
    assert second.text == "Messages: 3"  # the service adds the stored conversation


@pytest.mark.parametrize("entry_point", ["invoke", "v3"])
@pytest.mark.parametrize("version", [None, "v1"])
def test_server_tools_run_together_with_the_interpreter(version: str | None, entry_point: str):
    turn = [
        Think("I search."),
        Search("power of 7", sources=("https://maths.example",)),
        Extract(("https://maths.example",), "the power", "7**5 is 16807"),
        Run("7 ** 5"),
        Say("16807."),
    ]
    with EmulatorServer(responder=Script(turn)) as server:
        model = ChatQwenCodeInterpreter(
            api="responses",
            base_url=server.url,
            api_key="any",
            output_version=version,
            builtin_tools=["web_search", "web_extractor"],
        )
        message = ENTRY_POINTS[entry_point](model)
    calls = [block for block in message.content_blocks if block["type"] == "server_tool_call"]
    results = [block for block in message.content_blocks if block["type"] == "server_tool_result"]
    assert [call["name"] for call in calls] == ["web_search", "web_extractor", "code_interpreter"]
    assert [result["tool_call_id"] for result in results] == [call["id"] for call in calls]
    assert calls[0]["args"]["action"]["query"] == "power of 7"
    assert "https://maths.example" in str(results[0]["output"])
    assert (results[1]["output"], results[2]["output"]) == ("7**5 is 16807", "16807")
    assert [execution["code"] for execution in code_executions(message)] == ["7 ** 5"]
    assert plugin_counts(message) == {"web_search": 1, "web_extractor": 1, "code_interpreter": 1}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("api", documented_features())
def test_every_kind_of_answer_can_be_sent_as_history(api: str, entry_point: str):
    earlier = [scripted_message("responses", entry_point, version) for version in (None, "v1")]
    with EmulatorServer(responder=Script([Say("Yes.")])) as server:
        model = ChatQwenCodeInterpreter(api=api, base_url=server.url, api_key="any")
        model.invoke(["One?", earlier[0], "Two?", earlier[1], "Three?"])
        sent = _conversation(server.requests[0].body)
    answer = ("assistant", "It is 42, and half of it 21.")
    assert sent == [("user", "One?"), answer, ("user", "Two?"), answer, ("user", "Three?")]


class FrameByFrame(httpx.SyncByteStream):
    """A body that is read frame by frame; `read_count` is the number of frames read."""

    def __init__(self, body: bytes) -> None:
        self._frames = [frame + b"\n\n" for frame in body.split(b"\n\n")]
        self.read_count = 0

    def __iter__(self) -> Iterator[bytes]:
        for frame in self._frames:
            self.read_count += 1
            yield frame


@pytest.mark.parametrize(
    ("api", "streams"),
    [("dashscope", dashscope_streams.STREAMS), ("responses", responses_streams.STREAMS)],
    ids=["dashscope", "responses"],
)
def test_protocol_events_of_code_precede_the_next_frame(api: str, streams: dict[str, Any]):
    body = streams["one run"].body
    stream = FrameByFrame(body)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    model = ChatQwenCodeInterpreter(
        api=api,
        api_key="any",
        base_url="http://127.0.0.1:9",
        http_client=httpx.Client(transport=transport),
    )
    frame_number = next(
        number for number, frame in enumerate(body.split(b"\n\n"), start=1) if b'"7**5"' in frame
    )
    for event in model.stream_events("?", version="v3"):
        if "7**5" in str(event):
            assert event["event"] == "content-block-delta"
            assert stream.read_count == frame_number
            return
    raise AssertionError("no event has the code")


@pytest.mark.parametrize("api", ["dashscope", "responses"])
def test_merged_answers_have_the_programs_of_both(api: str):
    script = Script([Run("6 * 7"), Say("42")], [Run("7 * 8"), Say("56")], [Say("You are welcome.")])
    with EmulatorServer(responder=script) as server:
        model = ChatQwenCodeInterpreter(base_url=server.url, api_key="any", api=api)
        first, second = model.invoke("?"), model.invoke("?")
        (merged,) = merge_message_runs([first, second])
        assert code_executions(merged) == code_executions([first, second])
        assert plugin_counts(merged) == {"code_interpreter": 2}
        results = [block for block in merged.content_blocks if "result" in block["type"]]
        assert [block["output"] for block in results] == ["42", "56"] * (api == "responses")
        model.invoke([HumanMessage("?"), merged, HumanMessage("Thanks.")])
        body = server.requests[-1].body
    sent = body["input"]["messages"] if api == "dashscope" else body["input"]
    assert sent[-2] == {"role": "assistant", "content": "42\n56"}
