"""The facts of the Chat Completions wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    Frame,
    at,
    count_at,
    document_of,
    frames_of,
    json_object,
    list_at,
    must_add_up,
    must_be,
    must_be_refused,
    must_come_in_pieces,
    must_have_request_id,
    must_report_reasoning,
    object_at,
    shown,
    text_at,
    text_or_null,
    words_at,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks, NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("chat_completions")

_PATH = "/compatible-mode/v1/chat/completions"
_PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_DONE = "[DONE]"
_OK = 200
# What other wires show of the programs they run.
_SIGNS_OF_CODE = ("code_interpreter", "tool_info", "plugins", "x_tools")


def _request(endpoint: Endpoint, messages: Sequence[Any], **more: Any) -> Request:
    """A request that streams with the interpreter on, but for what is said otherwise."""
    body = {
        "model": endpoint.model,
        "messages": list(messages),
        "stream": True,
        "enable_thinking": True,
        "enable_code_interpreter": True,
        **more,
    }
    return Request(_PATH, body)


def _question(endpoint: Endpoint, **more: Any) -> Request:
    """With the usage, which comes only where it is asked for."""
    asked = {"stream_options": {"include_usage": True}, **more}
    return _request(endpoint, [{"role": "user", "content": prompts.QUESTION}], **asked)


def _unstreamed(endpoint: Endpoint, **more: Any) -> Request:
    """Without stream_options, too: OpenAI allows them beside a stream only."""
    user = {"role": "user", "content": prompts.QUESTION}
    return _request(endpoint, [user], stream=False, **more)


async def _reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(_question(endpoint))


async def _answer(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The chunks of the answer that runs code."""
    return _chunks(await _reply(endpoint))


def _chunks(reply: Reply) -> list[dict[str, Any]]:
    frames = [frame for frame in frames_of(reply) if frame.values("data") != [_DONE]]
    if not frames or "error" in frames[0].data:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


def _choices(chunks: Sequence[Any]) -> Iterator[Any]:
    for chunk in chunks:
        yield from list_at(chunk, "choices")


async def _document(endpoint: Endpoint, **parameters: Any) -> dict[str, Any]:
    """An answer without stream, interpreter and thinking."""
    user = {"role": "user", "content": prompts.PLAIN}
    request = _request(endpoint, [user], stream=False, **_PLAIN, **parameters)
    return document_of(await endpoint.reply(request))


async def _refusal(endpoint: Endpoint, request: Request) -> tuple[int, str, str]:
    """Status, code and message of an error; one within a stream has no status of its own."""
    reply = await endpoint.reply(request)
    text = reply.text
    if reply.status == _OK and text.startswith(("data:", "event:")):
        text = frames_of(reply)[0].value("data")
    body = json_object(text)
    if "error" not in body:
        raise ViolationError(f"this is answered: {text}")
    return reply.status, words_at(body, "error", "code"), words_at(body, "error", "message")


@CHECKS.must("recorded", "A frame is one data line of JSON.")
async def frames(endpoint: Endpoint) -> None:
    for frame in frames_of(await _reply(endpoint)):
        if frame.values("data") != [_DONE]:
            json_object(frame.value("data"))
        must_be(len(frame.lines), 1, "the number of a frame's lines")


@CHECKS.should("recorded", "A space follows the colon of a data line.")
async def colons(endpoint: Endpoint) -> None:
    for frame in frames_of(await _reply(endpoint)):
        if not frame.lines[0].startswith("data: "):
            raise ViolationError(f"a frame begins with {frame.lines[0]}")


@CHECKS.must("recorded", "The stream ends with [DONE].")
async def end(endpoint: Endpoint) -> None:
    found = frames_of(await _reply(endpoint))
    must_be([_is_done(frame) for frame in found].count(True), 1, "the number of [DONE]s")
    if not _is_done(found[-1]):
        raise ViolationError(f"the last frame is {shown(found[-1].lines)}")


def _is_done(frame: Frame) -> bool:
    return frame.values("data") == [_DONE]


@CHECKS.must("recorded", "Chunks are chat.completion.chunk, and all have the same id and model.")
async def chunks(endpoint: Endpoint) -> None:
    found = await _answer(endpoint)
    for chunk in found:
        must_be(text_at(chunk, "object"), "chat.completion.chunk", "the object of a chunk")
    for name in ("id", "model"):
        must_be(len({words_at(chunk, name) for chunk in found}), 1, f"the number of {name}s")


@CHECKS.must("recorded", "Of content and reasoning_content one is null in every delta.")
async def deltas(endpoint: Endpoint) -> None:
    for choice in _choices(await _answer(endpoint)):
        delta = object_at(choice, "delta")
        if None not in (delta.get("content"), delta.get("reasoning_content")):
            raise ViolationError(f"a delta is {shown(delta)}")


@CHECKS.must("recorded", "The first delta names the assistant's role.")
async def role(endpoint: Endpoint) -> None:
    must_be(
        at((await _answer(endpoint))[0], "choices", 0, "delta", "role"), "assistant", "the role"
    )


@CHECKS.must("recorded", 'finish_reason is null until the last choice, and then "stop".')
async def finish_reason(endpoint: Endpoint) -> None:
    found = [at(choice, "finish_reason") for choice in _choices(await _answer(endpoint))]
    must_be(found[-1:], ["stop"], "finish_reason at the end")
    for reason in found[:-1]:
        must_be(reason, None, "finish_reason before the end")


@CHECKS.must("documented", "Every delta holds only what is new.")
async def increments(endpoint: Endpoint) -> None:
    must_come_in_pieces(*(await _texts(endpoint)).values())


@CHECKS.must("documented", "The model's reasoning is streamed, and so is its text.")
async def reasoning(endpoint: Endpoint) -> None:
    for name, pieces in (await _texts(endpoint)).items():
        if not any(pieces):
            raise ViolationError(f"no delta has {name}")


async def _texts(endpoint: Endpoint) -> dict[str, list[str]]:
    all_deltas = [object_at(choice, "delta") for choice in _choices(await _answer(endpoint))]
    names = ("content", "reasoning_content")
    return {name: [text_or_null(delta, name) for delta in all_deltas] for name in names}


@CHECKS.must(
    "documented", "With include_usage one more chunk comes at the end: no choices, and the usage."
)
async def usage_at_the_end(endpoint: Endpoint) -> None:
    *before, last = await _answer(endpoint)
    must_be(at(last, "choices"), [], "choices of the last chunk")
    object_at(last, "usage")
    for chunk in before:
        must_be(object_at(chunk).get("usage"), None, "usage before the end")


@CHECKS.must("recorded", "Without include_usage no usage comes.")
async def usage_unasked(endpoint: Endpoint) -> None:
    found = _chunks(await endpoint.reply(_request(endpoint, prompts.CONVERSATION)))
    for chunk in found:
        must_be(object_at(chunk).get("usage"), None, "usage")


@CHECKS.must("documented", "usage counts prompt_tokens, completion_tokens and their total.")
async def usage(endpoint: Endpoint) -> None:
    must_add_up(at((await _answer(endpoint))[-1], "usage"), "prompt", "completion")


@CHECKS.must("documented", "completion_tokens_details.reasoning_tokens says what thinking costs.")
async def reasoning_tokens(endpoint: Endpoint) -> None:
    must_report_reasoning(at((await _answer(endpoint))[-1], "usage"), "completion")


@CHECKS.should("documented", "Neither code nor the number of runs is shown.")
async def no_code(endpoint: Endpoint) -> None:
    for chunk in await _answer(endpoint):
        for place in (chunk, chunk.get("usage") or {}, *map(_delta, _choices([chunk]))):
            if shows := [name for name in _SIGNS_OF_CODE if name in object_at(place)]:
                raise ViolationError(f"a chunk has {' and '.join(shows)}")


def _delta(choice: object) -> dict[str, Any]:
    return object_at(choice, "delta")


# Documented for the native wire.
@CHECKS.should("documented", "Answers have the header x-request-id.")
async def request_id_header(endpoint: Endpoint) -> None:
    must_have_request_id(await _reply(endpoint))


@CHECKS.must("documented", "A conversation of several turns is taken.")
async def conversation(endpoint: Endpoint) -> None:
    found = _chunks(await endpoint.reply(_request(endpoint, prompts.CONVERSATION)))
    reasons = [at(choice, "finish_reason") for choice in _choices(found)]
    must_be(reasons[-1:], ["stop"], "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter an answer comes as one document, too.")
async def document(endpoint: Endpoint) -> None:
    found = await _document(endpoint)
    must_be(at(found, "object"), "chat.completion", "the object")
    must_be(at(found, "choices", 0, "finish_reason"), "stop", "finish_reason")
    words_at(found, "choices", 0, "message", "content")
    count_at(found, "usage", "total_tokens")


@CHECKS.must("documented", 'max_tokens ends an answer, whose finish_reason is "length".')
async def max_tokens(endpoint: Endpoint) -> None:
    found = await _document(endpoint, max_tokens=prompts.FEW_TOKENS)
    must_be(at(found, "choices", 0, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text, and is no part of it.")
async def stop(endpoint: Endpoint) -> None:
    found = await _document(endpoint, stop=[prompts.STOP])
    must_be(at(found, "choices", 0, "finish_reason"), "stop", "finish_reason")
    if prompts.STOP in (said := text_at(found, "choices", 0, "message", "content")):
        raise ViolationError(f"{prompts.STOP} is in {shown(said)}")


@CHECKS.must("documented", "The interpreter without a stream is refused with HTTP 400.")
async def interpreter_streams(endpoint: Endpoint) -> None:
    must_be_refused(await _refusal(endpoint, _unstreamed(endpoint)), 400)


@CHECKS.must("documented", "Functions beside the interpreter are refused with HTTP 400.")
async def interpreter_stands_alone(endpoint: Endpoint) -> None:
    must_be_refused(await _refusal(endpoint, _beside_a_function(endpoint)), 400)


def _beside_a_function(endpoint: Endpoint) -> Request:
    return _question(endpoint, tools=[prompts.FUNCTION_TOOL])


@CHECKS.should("reported", "Both refusals come in the words that were measured.")
async def refusal_texts(endpoint: Endpoint) -> None:
    for request, words in (
        (_unstreamed(endpoint), "Non-streaming mode does not support Code interpreter."),
        (_beside_a_function(endpoint), "Agent mode does not support tools."),
    ):
        _, _, message = await _refusal(endpoint, request)
        if words not in message:
            raise ViolationError(f"the message is {shown(message)}")


@CHECKS.must("documented", "A model that needs thinking runs no code without it: an error.")
async def interpreter_thinks(endpoint: Endpoint) -> None:
    prompts.must_need_thinking(endpoint.model)
    await _refusal(endpoint, _question(endpoint, enable_thinking=False))


@CHECKS.should("reported", "The interpreter is no member of tools, which are functions: HTTP 400.")
async def interpreter_is_no_tool(endpoint: Endpoint) -> None:
    tools = [{"type": "code_interpreter"}]
    request = _question(endpoint, tools=tools, enable_code_interpreter=False)
    must_be_refused(await _refusal(endpoint, request), 400)


@CHECKS.must("recorded", "An error is an object of message, type and code, below error.")
async def error_body(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(_unstreamed(endpoint))
    for name in ("message", "type", "code"):
        words_at(json_object(reply.text), "error", name)


@CHECKS.must("recorded", "A wrong key is HTTP 401, invalid_api_key.")
async def wrong_key(endpoint: Endpoint) -> None:
    wrong = Request(_PATH, _question(endpoint).body, key=prompts.WRONG_KEY)
    must_be_refused(await _refusal(endpoint, wrong), 401, "invalid_api_key")


@CHECKS.must("documented", "An unknown model is HTTP 404, model_not_found.")
async def unknown_model(endpoint: Endpoint) -> None:
    found = await _refusal(endpoint, _question(endpoint, model=prompts.NO_MODEL))
    must_be_refused(found, 404, "model_not_found")
