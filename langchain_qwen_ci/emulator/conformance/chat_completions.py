"""The facts of the Chat Completions wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import asking
from langchain_qwen_ci.emulator.conformance.checks import BrokenFactError, Checks, NoAnswerError
from langchain_qwen_ci.emulator.conformance.exchange import Reply, Request
from langchain_qwen_ci.emulator.conformance.reading import (
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
    must_tell_thinking,
    object_at,
    shown,
    text_at,
    text_or_null,
    words_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_qwen_ci.emulator.conformance.exchange import Subject

CHECKS = Checks("chat_completions")

_PATH = "/compatible-mode/v1/chat/completions"
_PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_DONE = "[DONE]"
_OK = 200
# What other wires show of the programs they run.
_SIGNS_OF_CODE = ("code_interpreter", "tool_info", "plugins", "x_tools")


def _request(subject: Subject, messages: Sequence[Any], **more: Any) -> Request:
    """A request that streams with the interpreter on, but for what is said otherwise."""
    body = {
        "model": subject.model,
        "messages": list(messages),
        "stream": True,
        "enable_thinking": True,
        "enable_code_interpreter": True,
        **more,
    }
    return Request(_PATH, body)


def _question(subject: Subject, **more: Any) -> Request:
    """With the usage, which comes only where it is asked for."""
    asked = {"stream_options": {"include_usage": True}, **more}
    return _request(subject, [{"role": "user", "content": asking.QUESTION}], **asked)


def _unstreamed(subject: Subject, **more: Any) -> Request:
    """Without stream_options, too: OpenAI allows them beside a stream only."""
    user = {"role": "user", "content": asking.QUESTION}
    return _request(subject, [user], stream=False, **more)


async def _reply(subject: Subject) -> Reply:
    return await subject.reply(_question(subject))


async def _answer(subject: Subject) -> list[dict[str, Any]]:
    """The chunks of the answer that runs code."""
    return _chunks(await _reply(subject))


def _chunks(reply: Reply) -> list[dict[str, Any]]:
    frames = [frame for frame in frames_of(reply) if frame.values("data") != [_DONE]]
    if not frames or "error" in frames[0].data:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


def _choices(chunks: Sequence[Any]) -> Iterator[Any]:
    for chunk in chunks:
        yield from list_at(chunk, "choices")


async def _document(subject: Subject, **parameters: Any) -> dict[str, Any]:
    """An answer without stream, interpreter and thinking."""
    user = {"role": "user", "content": asking.PLAIN}
    request = _request(subject, [user], stream=False, **_PLAIN, **parameters)
    return document_of(await subject.reply(request))


async def _refusal(subject: Subject, request: Request) -> tuple[int, str, str]:
    """Status, code and message of an error; one within a stream has no status of its own."""
    reply = await subject.reply(request)
    text = reply.text
    if reply.status == _OK and text.startswith(("data:", "event:")):
        text = frames_of(reply)[0].value("data")
    body = json_object(text)
    if "error" not in body:
        raise BrokenFactError(f"this is answered: {text}")
    return reply.status, words_at(body, "error", "code"), words_at(body, "error", "message")


@CHECKS.must("recorded", "A frame is one data line of JSON.")
async def frames(subject: Subject) -> None:
    for frame in frames_of(await _reply(subject)):
        if frame.values("data") != [_DONE]:
            json_object(frame.value("data"))
        must_be(len(frame.lines), 1, "the number of a frame's lines")


@CHECKS.should("recorded", "A space follows the colon of a data line.")
async def colons(subject: Subject) -> None:
    for frame in frames_of(await _reply(subject)):
        if not frame.lines[0].startswith("data: "):
            raise BrokenFactError(f"a frame begins with {frame.lines[0]}")


@CHECKS.must("recorded", "The stream ends with [DONE].")
async def end(subject: Subject) -> None:
    found = frames_of(await _reply(subject))
    must_be([_is_done(frame) for frame in found].count(True), 1, "the number of [DONE]s")
    if not _is_done(found[-1]):
        raise BrokenFactError(f"the last frame is {shown(found[-1].lines)}")


def _is_done(frame: Frame) -> bool:
    return frame.values("data") == [_DONE]


@CHECKS.must("recorded", "Chunks are chat.completion.chunk, and all have the same id and model.")
async def chunks(subject: Subject) -> None:
    found = await _answer(subject)
    for chunk in found:
        must_be(text_at(chunk, "object"), "chat.completion.chunk", "the object of a chunk")
    for name in ("id", "model"):
        must_be(len({words_at(chunk, name) for chunk in found}), 1, f"the number of {name}s")


@CHECKS.must("recorded", "Of content and reasoning_content one is null in every delta.")
async def deltas(subject: Subject) -> None:
    for choice in _choices(await _answer(subject)):
        delta = object_at(choice, "delta")
        if None not in (delta.get("content"), delta.get("reasoning_content")):
            raise BrokenFactError(f"a delta is {shown(delta)}")


@CHECKS.must("recorded", "The first delta names the assistant's role.")
async def role(subject: Subject) -> None:
    must_be(at((await _answer(subject))[0], "choices", 0, "delta", "role"), "assistant", "the role")


@CHECKS.must("recorded", 'finish_reason is null until the last choice, and then "stop".')
async def finish_reason(subject: Subject) -> None:
    found = [at(choice, "finish_reason") for choice in _choices(await _answer(subject))]
    must_be(found[-1:], ["stop"], "finish_reason at the end")
    for reason in found[:-1]:
        must_be(reason, None, "finish_reason before the end")


@CHECKS.must("documented", "Every delta holds only what is new.")
async def increments(subject: Subject) -> None:
    must_come_in_pieces(*(await _texts(subject)).values())


@CHECKS.must("documented", "The model's reasoning is streamed, and so is its text.")
async def reasoning(subject: Subject) -> None:
    for name, pieces in (await _texts(subject)).items():
        if not any(pieces):
            raise BrokenFactError(f"no delta has {name}")


async def _texts(subject: Subject) -> dict[str, list[str]]:
    all_deltas = [object_at(choice, "delta") for choice in _choices(await _answer(subject))]
    names = ("content", "reasoning_content")
    return {name: [text_or_null(delta, name) for delta in all_deltas] for name in names}


@CHECKS.must(
    "documented", "With include_usage one more chunk comes at the end: no choices, and the usage."
)
async def usage_at_the_end(subject: Subject) -> None:
    *before, last = await _answer(subject)
    must_be(at(last, "choices"), [], "choices of the last chunk")
    object_at(last, "usage")
    for chunk in before:
        must_be(object_at(chunk).get("usage"), None, "usage before the end")


@CHECKS.must("recorded", "Without include_usage no usage comes.")
async def usage_unasked(subject: Subject) -> None:
    found = _chunks(await subject.reply(_request(subject, asking.CONVERSATION)))
    for chunk in found:
        must_be(object_at(chunk).get("usage"), None, "usage")


@CHECKS.must("documented", "usage counts prompt_tokens, completion_tokens and their total.")
async def usage(subject: Subject) -> None:
    must_add_up(at((await _answer(subject))[-1], "usage"), "prompt", "completion")


@CHECKS.must("documented", "completion_tokens_details.reasoning_tokens says what thinking costs.")
async def reasoning_tokens(subject: Subject) -> None:
    must_tell_thinking(at((await _answer(subject))[-1], "usage"), "completion")


@CHECKS.should("documented", "Neither code nor the number of runs is shown.")
async def no_code(subject: Subject) -> None:
    for chunk in await _answer(subject):
        for place in (chunk, chunk.get("usage") or {}, *map(_delta, _choices([chunk]))):
            if shows := [name for name in _SIGNS_OF_CODE if name in object_at(place)]:
                raise BrokenFactError(f"a chunk has {' and '.join(shows)}")


def _delta(choice: object) -> dict[str, Any]:
    return object_at(choice, "delta")


# Documented for the native wire.
@CHECKS.should("documented", "Answers have the header x-request-id.")
async def request_id_header(subject: Subject) -> None:
    must_have_request_id(await _reply(subject))


@CHECKS.must("documented", "A conversation of several turns is taken.")
async def conversation(subject: Subject) -> None:
    found = _chunks(await subject.reply(_request(subject, asking.CONVERSATION)))
    reasons = [at(choice, "finish_reason") for choice in _choices(found)]
    must_be(reasons[-1:], ["stop"], "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter an answer comes as one document, too.")
async def document(subject: Subject) -> None:
    found = await _document(subject)
    must_be(at(found, "object"), "chat.completion", "the object")
    must_be(at(found, "choices", 0, "finish_reason"), "stop", "finish_reason")
    words_at(found, "choices", 0, "message", "content")
    count_at(found, "usage", "total_tokens")


@CHECKS.must("documented", 'max_tokens ends an answer, whose finish_reason is "length".')
async def max_tokens(subject: Subject) -> None:
    found = await _document(subject, max_tokens=asking.FEW_TOKENS)
    must_be(at(found, "choices", 0, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text, and is no part of it.")
async def stop(subject: Subject) -> None:
    found = await _document(subject, stop=[asking.STOP])
    must_be(at(found, "choices", 0, "finish_reason"), "stop", "finish_reason")
    if asking.STOP in (said := text_at(found, "choices", 0, "message", "content")):
        raise BrokenFactError(f"{asking.STOP} is in {shown(said)}")


@CHECKS.must("documented", "The interpreter without a stream is refused with HTTP 400.")
async def interpreter_streams(subject: Subject) -> None:
    must_be_refused(await _refusal(subject, _unstreamed(subject)), 400)


@CHECKS.must("documented", "Functions beside the interpreter are refused with HTTP 400.")
async def interpreter_stands_alone(subject: Subject) -> None:
    must_be_refused(await _refusal(subject, _beside_a_function(subject)), 400)


def _beside_a_function(subject: Subject) -> Request:
    return _question(subject, tools=[asking.FUNCTION_TOOL])


@CHECKS.should("reported", "Both refusals come in the words that were measured.")
async def refusal_texts(subject: Subject) -> None:
    for request, words in (
        (_unstreamed(subject), "Non-streaming mode does not support Code interpreter."),
        (_beside_a_function(subject), "Agent mode does not support tools."),
    ):
        _, _, message = await _refusal(subject, request)
        if words not in message:
            raise BrokenFactError(f"the message is {shown(message)}")


@CHECKS.must("documented", "A model that needs thinking runs no code without it: an error.")
async def interpreter_thinks(subject: Subject) -> None:
    asking.must_need_thinking(subject.model)
    await _refusal(subject, _question(subject, enable_thinking=False))


@CHECKS.should("reported", "The interpreter is no member of tools, which are functions: HTTP 400.")
async def interpreter_is_no_tool(subject: Subject) -> None:
    tools = [{"type": "code_interpreter"}]
    request = _question(subject, tools=tools, enable_code_interpreter=False)
    must_be_refused(await _refusal(subject, request), 400)


@CHECKS.must("recorded", "An error is an object of message, type and code, below error.")
async def error_body(subject: Subject) -> None:
    reply = await subject.reply(_unstreamed(subject))
    for name in ("message", "type", "code"):
        words_at(json_object(reply.text), "error", name)


@CHECKS.must("recorded", "A wrong key is HTTP 401, invalid_api_key.")
async def wrong_key(subject: Subject) -> None:
    wrong = Request(_PATH, _question(subject).body, key=asking.WRONG_KEY)
    must_be_refused(await _refusal(subject, wrong), 401, "invalid_api_key")


@CHECKS.must("documented", "An unknown model is HTTP 404, model_not_found.")
async def unknown_model(subject: Subject) -> None:
    found = await _refusal(subject, _question(subject, model=asking.NO_MODEL))
    must_be_refused(found, 404, "model_not_found")
