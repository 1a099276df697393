"""OpenAI's official SDK and langchain-openai read from the emulator what the script answers."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from emulator_requests import send, usage_of
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from langchain_qwen_ci.emulator import (
    Call,
    Cut,
    EmulatorServer,
    ErrorFrame,
    FailedResponse,
    Run,
    Say,
    Script,
    Search,
    Status,
    Think,
)

ANSWER = [
    Think("Let me see."),
    Run("12**3"),
    Think("And one that fails."),
    Run("print('a')\n1/0"),
    Say("It is 1728."),
]
THOUGHT = "Let me see.And one that fails."
CODES = ["12**3", "print('a')\n1/0"]
TOOLS: Any = [{"type": "code_interpreter"}]
THINKING = {"enable_thinking": True}
INTERPRETER = {"enable_thinking": True, "enable_code_interpreter": True}
MESSAGES: Any = [{"role": "user", "content": "?"}]
CALLS = [Call("f", {"x": 1}, id="call_1"), Call("g", {"y": "é"}, id="call_2")]
FUNCTIONS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in "fg"
]


@pytest.fixture
def serve():
    """`serve(turn, …)` returns an emulator with this script, and a client of the official SDK."""
    opened: list[Any] = []

    def begin(*turns: Any, faults: tuple[Any, ...] = ()) -> tuple[EmulatorServer, openai.OpenAI]:
        server = EmulatorServer(responder=Script(*turns), faults=faults).start()
        client = openai.OpenAI(base_url=base(server), api_key="any", max_retries=0)
        opened.extend((client, server))
        return server, client

    yield begin
    for one in opened:
        (one.close if isinstance(one, openai.OpenAI) else one.stop)()


def base(server: EmulatorServer) -> str:
    return f"{server.url}/compatible-mode/v1"


def tokens(*turn: Any) -> tuple[int, int, int]:
    """Return the tokens of an answer, as the native API counts them."""
    with EmulatorServer(responder=Script(turn)) as server:
        return usage_of("dashscope", send(server, "dashscope"))


def chat_usage(usage: Any) -> tuple[int, int, int]:
    reasoning = usage.completion_tokens_details.reasoning_tokens
    return usage.prompt_tokens, usage.completion_tokens, reasoning


def response_usage(usage: Any) -> tuple[int, int, int]:
    return usage.input_tokens, usage.output_tokens, usage.output_tokens_details.reasoning_tokens


def check_response(response: Any) -> None:
    """Check what the official SDK read of `ANSWER`."""
    assert (response.status, response.output_text) == ("completed", "It is 1728.")
    reasoning = [item for item in response.output if item.type == "reasoning"]
    assert "".join(part.text for item in reasoning for part in item.summary) == THOUGHT
    runs = [item for item in response.output if item.type == "code_interpreter_call"]
    assert [run.code for run in runs] == CODES
    logs = [output.logs for run in runs for output in run.outputs]
    assert logs[0] == "```\n1728\n```"
    assert logs[1].startswith("```\na\n")
    assert "ZeroDivisionError" in logs[1]
    assert response.usage.x_tools == {"code_interpreter": {"count": 2}}
    assert response_usage(response.usage) == tokens(*ANSWER)


def test_openai_sdk_reads_a_chat_stream(serve):
    _, client = serve(ANSWER)
    chunks = list(
        client.chat.completions.create(
            model="qwen3-max",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=INTERPRETER,
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert "".join(delta.content or "" for delta in deltas) == "It is 1728."
    assert "".join(delta.reasoning_content or "" for delta in deltas) == THOUGHT
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chat_usage(chunks[-1].usage) == tokens(*ANSWER)


def test_openai_sdk_reads_a_completion(serve):
    _, client = serve([Think("Hm."), Say("Yes.")], CALLS)
    first = client.chat.completions.create(
        model="qwen3-max", messages=MESSAGES, extra_body=THINKING
    )
    message: Any = first.choices[0].message
    assert (message.content, message.reasoning_content) == ("Yes.", "Hm.")
    assert first.usage.completion_tokens == 2
    second = client.chat.completions.create(model="qwen3-max", messages=MESSAGES, tools=FUNCTIONS)
    calls = second.choices[0].message.tool_calls
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "f", '{"x": 1}'),
        ("call_2", "g", '{"y": "é"}'),
    ]


def test_openai_sdk_merges_function_calls_of_a_chat_stream(serve):
    _, client = serve([Say("Look: "), *CALLS])
    with client.chat.completions.stream(
        model="qwen3-max", messages=MESSAGES, tools=FUNCTIONS
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Look: "
    assert [(c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("f", '{"x": 1}'),
        ("g", '{"y": "é"}'),
    ]


def test_openai_sdk_reads_a_response(serve):
    _, client = serve(ANSWER)
    check_response(
        client.responses.create(
            model="qwen3-max", input="?", tools=TOOLS, extra_body=THINKING, instructions=""
        )
    )


def test_openai_sdk_reads_a_response_stream(serve):
    _, client = serve(ANSWER)
    events = list(
        client.responses.create(
            model="qwen3-max", input="?", tools=TOOLS, stream=True, extra_body=THINKING
        )
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(text) == "It is 1728."
    reasoning = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(reasoning) == THOUGHT
    added = [event.item for event in events if event.type == "response.output_item.added"]
    assert [item.code for item in added if item.type == "code_interpreter_call"] == CODES
    check_response(events[-1].response)


def test_openai_sdk_merges_a_response_stream(serve):
    """The SDK's own accumulator requires that an item is added before its deltas."""
    _, client = serve(ANSWER)
    with client.responses.stream(
        model="qwen3-max", input="?", tools=TOOLS, extra_body=THINKING
    ) as stream:
        check_response(stream.get_final_response())


def test_openai_sdk_reads_calls_search_and_state(serve):
    function: Any = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    search: Any = [{"type": "web_search"}]
    turns = [CALLS[:1]], [[Search("q", ("https://a/",)), Say("Found.")]]
    _, client = serve(*turns[0], *turns[1])
    first = client.responses.create(model="qwen3-max", input="?", tools=function)
    (call,) = first.output
    assert (call.call_id, call.name, call.arguments) == ("call_1", "f", '{"x": 1}')
    result: Any = [{"type": "function_call_output", "call_id": "call_1", "output": "2"}]
    second = client.responses.create(
        model="qwen3-max", input=result, tools=search, previous_response_id=first.id
    )
    found = second.output[0]
    assert (found.type, found.action.query) == ("web_search_call", "q")
    assert [source.url for source in found.action.sources] == ["https://a/"]


def test_openai_sdk_retrieves_lists_and_deletes_a_stored_response(serve):
    _, client = serve(ANSWER)
    created = client.responses.create(
        model="qwen3-max", input="?", tools=TOOLS, extra_body=THINKING, conversation="conv_1"
    )
    assert created.id.startswith("resp_")
    assert created.conversation.id == "conv_1"
    stored = client.responses.retrieve(created.id)
    check_response(stored)
    assert stored == created
    (item,) = client.responses.input_items.list(created.id)
    assert (item.type, item.role, item.content[0].text) == ("message", "user", "?")
    client.responses.delete(created.id)
    with pytest.raises(openai.NotFoundError, match=f"'{created.id}' not found"):
        client.responses.retrieve(created.id)


def test_openai_sdk_lists_several_pages_of_input_items(serve):
    _, client = serve([Say("Yes.")])
    items: Any = [{"role": "user", "content": str(number)} for number in range(5)]
    created = client.responses.create(model="qwen3-max", input=items)
    listed = client.responses.input_items.list(created.id, limit=2, order="asc")
    assert [item.content[0].text for item in listed] == ["0", "1", "2", "3", "4"]


def test_openai_sdk_reads_code_and_function_calls_of_one_answer(serve):
    _, client = serve([Run("6 * 7"), *CALLS[:1]])
    tools: Any = [*TOOLS, {"type": "function", "name": "f", "parameters": {"type": "object"}}]
    response = client.responses.create(
        model="qwen3-max", input="?", tools=tools, extra_body=THINKING
    )
    run, call = response.output
    assert (run.code, run.outputs[0].logs) == ("6 * 7", "```\n42\n```")
    assert (call.name, call.arguments) == ("f", '{"x": 1}')


def test_async_openai_sdk_reads_everything(serve):
    server, _ = serve(ANSWER, ANSWER, ANSWER)

    async def read() -> None:
        async with openai.AsyncOpenAI(base_url=base(server), api_key="any") as client:
            stream = await client.chat.completions.create(
                model="qwen3-max", messages=MESSAGES, stream=True, extra_body=INTERPRETER
            )
            deltas = [chunk.choices[0].delta async for chunk in stream]
            assert "".join(delta.content or "" for delta in deltas) == "It is 1728."
            response = await client.responses.create(
                model="qwen3-max", input="?", tools=TOOLS, extra_body=THINKING
            )
            check_response(response)
            events = await client.responses.create(
                model="qwen3-max", input="?", tools=TOOLS, stream=True, extra_body=THINKING
            )
            *_, last = [event async for event in events]
            check_response(last.response)

    asyncio.run(read())


def test_openai_sdk_raises_request_errors(serve):
    _, client = serve()
    with pytest.raises(openai.BadRequestError, match="Non-streaming mode") as rejected:
        client.chat.completions.create(model="qwen3-max", messages=MESSAGES, extra_body=INTERPRETER)
    assert rejected.value.code == "invalid_parameter_error"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="missing_required_parameter"):
        client.responses.create(input="?")


def test_openai_sdk_raises_injected_faults(serve):
    limited = Status(429, "Throttling", "Slow.")
    broken = ErrorFrame(after=4, message="Broken.")
    _, client = serve(ANSWER, ANSWER, faults=(limited, broken, Cut(after=4), FailedResponse()))
    with pytest.raises(openai.RateLimitError, match="Slow") as slow:
        client.chat.completions.create(model="qwen3-max", messages=MESSAGES)
    assert slow.value.code == "limit_requests"
    with pytest.raises(openai.APIError, match="Broken"):
        list(
            client.chat.completions.create(
                model="qwen3-max", messages=MESSAGES, stream=True, extra_body=INTERPRETER
            )
        )
    cut: Any = client.responses.create(
        model="qwen3-max", input="?", tools=TOOLS, stream=True, extra_body=THINKING
    )
    assert len(list(cut)) == 4
    failed = client.responses.create(model="qwen3-max", input="?")
    assert (failed.status, failed.error.code) == ("failed", "server_error")


def langchain(server: EmulatorServer, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="qwen3-max", base_url=base(server), api_key="any", max_retries=0, **more
    )


def total(model: ChatOpenAI) -> Any:
    """Return the sum of the chunks of a stream."""
    message: Any = None
    for chunk in model.stream("?"):
        message = chunk if message is None else message + chunk
    return message


def usage_metadata(message: AIMessage) -> tuple[int, int, int]:
    usage: Any = message.usage_metadata
    reasoning = usage["output_token_details"]["reasoning"]
    return usage["input_tokens"], usage["output_tokens"], reasoning


def test_langchain_openai_reads_a_chat_stream(serve):
    server, _ = serve(ANSWER)
    model = langchain(server, stream_usage=True, extra_body=INTERPRETER)
    message = total(model)
    assert message.content == "It is 1728."
    assert message.response_metadata["finish_reason"] == "stop"
    assert usage_metadata(message) == tokens(*ANSWER)


@pytest.mark.parametrize("streamed", [True, False])
def test_langchain_openai_reads_responses(serve, streamed):
    server, _ = serve(ANSWER)
    model = langchain(server, use_responses_api=True, extra_body=THINKING)
    bound: Any = model.bind_tools(TOOLS)
    message = total(bound) if streamed else bound.invoke("?")
    assert message.text == "It is 1728."
    runs = [block for block in message.content if block["type"] == "code_interpreter_call"]
    assert [run["code"] for run in runs] == CODES
    assert runs[0]["outputs"] == [{"type": "logs", "logs": "```\n1728\n```"}]
    assert usage_metadata(message) == tokens(*ANSWER)


@pytest.mark.parametrize("by_responses", [True, False])
def test_langchain_openai_calls_tools_and_answers_them(serve, by_responses):
    server, _ = serve(CALLS, lambda request: [Say(request.text)])
    model: Any = langchain(server, use_responses_api=by_responses).bind_tools(FUNCTIONS)
    sent = model.invoke("?")
    assert [(call["name"], call["args"]) for call in sent.tool_calls] == [
        ("f", {"x": 1}),
        ("g", {"y": "é"}),
    ]
    results = [ToolMessage(call["name"], tool_call_id=call["id"]) for call in sent.tool_calls]
    assert model.invoke([HumanMessage("?"), sent, *results]).text == "g"


@pytest.mark.parametrize("events", ["reasoning_text", "reasoning_summary_text"])
def test_langchain_openai_reads_older_reasoning_events(events):
    """langchain-openai knows only the older names, so the emulator can send them."""
    with EmulatorServer(responder=Script(ANSWER), reasoning_events=events) as server:
        model = langchain(server, use_responses_api=True, extra_body=THINKING)
        message = total(model.bind_tools(TOOLS))
    summaries = [block["summary"] for block in message.content if block["type"] == "reasoning"]
    read = "".join(part["text"] for summary in summaries for part in summary)
    assert read == (THOUGHT if events == "reasoning_summary_text" else "")
