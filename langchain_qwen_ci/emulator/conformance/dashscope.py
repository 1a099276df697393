"""The facts of DashScope's native wire: its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import asking
from langchain_qwen_ci.emulator.conformance.checks import (
    BrokenFactError,
    Checks,
    NoAnswerError,
    NotApplicableError,
)
from langchain_qwen_ci.emulator.conformance.exchange import Reply, Request
from langchain_qwen_ci.emulator.conformance.reading import (
    at,
    count_at,
    document_of,
    frames_of,
    list_at,
    must_be,
    must_be_framed,
    must_be_numbered,
    must_come_in_pieces,
    must_end_by_itself,
    must_have_no_spaces,
    must_have_request_id,
    must_not_fall,
    must_tell_thinking,
    object_at,
    shown,
    text_at,
    text_or_null,
    words_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_qwen_ci.emulator.conformance.exchange import Subject

CHECKS = Checks("dashscope")

TEXT, MULTIMODAL = "text-generation", "multimodal-generation"
_STREAMS = {"X-DashScope-SSE": "enable", "Accept": "text/event-stream"}
PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_CHOICE = ("output", "choices", 0)


def request_of(
    subject: Subject,
    messages: Sequence[Any],
    *,
    path: str = "",
    model: str = "",
    **parameters: Any,
) -> Request:
    """A request that streams with the interpreter on, but for what is said otherwise."""
    path = path or subject.endpoint
    if path == MULTIMODAL:  # whose content is a list of parts
        messages = [{**said, "content": [{"text": said["content"]}]} for said in messages]
    body = {
        "model": model or subject.model,
        "input": {"messages": list(messages)},
        "parameters": {
            "result_format": "message",
            "incremental_output": True,
            "enable_thinking": True,
            "enable_code_interpreter": True,
            **parameters,
        },
    }
    return Request(f"/api/v1/services/aigc/{path}/generation", body, _STREAMS)


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def question_of(subject: Subject, **more: Any) -> Request:
    return request_of(subject, user(asking.QUESTION), **more)


def unstreamed(request: Request) -> Request:
    return Request(request.path, request.body)


async def _reply(subject: Subject) -> Reply:
    return await subject.reply(question_of(subject))


async def _answer(subject: Subject) -> list[dict[str, Any]]:
    """The frames of the answer that runs code, without their framing."""
    reply = await _reply(subject)
    frames = frames_of(reply)
    if frames[0].values("event") == ["error"]:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


async def _document(subject: Subject, **parameters: Any) -> dict[str, Any]:
    """An answer without stream, interpreter and thinking."""
    request = request_of(subject, user(asking.PLAIN), **PLAIN, **parameters)
    return document_of(await subject.reply(unstreamed(request)))


def _texts(payload: dict[str, Any]) -> tuple[str, str]:
    """Text and reasoning of one frame."""
    message = object_at(payload, *_CHOICE, "message")
    return _content(message), text_or_null(message, "reasoning_content")


def _content(message: dict[str, Any]) -> str:
    """Sources disagree about the multimodal path: a string, parts, null and nothing are right."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(text_at(part, "text") for part in content)
    return text_or_null(message, "content")


def _tools(payload: dict[str, Any]) -> list[Any]:
    """What tool_info shows in one frame; it is absent before the first run."""
    if "tool_info" not in object_at(payload, "output"):
        return []
    if found := list_at(payload, "output", "tool_info"):
        return found
    raise BrokenFactError("tool_info is empty, where it should be absent")


def _codes(payload: dict[str, Any]) -> list[str]:
    return [
        text_at(tool, "code_interpreter", "code")
        for tool in _tools(payload)
        if text_at(tool, "type") == "code_interpreter"
    ]


def _runs(payload: dict[str, Any]) -> int:
    """How many runs the usage of one frame counts."""
    usage = object_at(payload, "usage")
    if "plugins" not in usage or "code_interpreter" not in object_at(usage, "plugins"):
        return 0
    return count_at(usage, "plugins", "code_interpreter", "count")


@CHECKS.must(
    "recorded",
    "A frame is an id, an event, a comment with the HTTP status and one data line of JSON.",
)
async def frames(subject: Subject) -> None:
    for frame in frames_of(await _reply(subject)):
        must_be_framed(frame)
        must_be(frame.value("event"), "result", "the event of a frame")


@CHECKS.should("recorded", "The ids of frames count from 1.")
async def frame_numbers(subject: Subject) -> None:
    must_be_numbered(frames_of(await _reply(subject)))


@CHECKS.should("recorded", "No space follows the colons of a frame.")
async def colons(subject: Subject) -> None:
    must_have_no_spaces(frames_of(await _reply(subject)))


@CHECKS.must("recorded", "The connection ends the stream, and no [DONE].")
async def end(subject: Subject) -> None:
    must_end_by_itself(frames_of(await _reply(subject)))


@CHECKS.must(
    "recorded", 'finish_reason is the string "null" until the last frame, and then "stop".'
)
async def finish_reason(subject: Subject) -> None:
    *before, last = [at(payload, *_CHOICE, "finish_reason") for payload in await _answer(subject)]
    for reason in before:
        must_be(reason, "null", "finish_reason before the end")
    must_be(last, "stop", "finish_reason at the end")


@CHECKS.must("documented", "With incremental_output every frame holds only what is new.")
async def increments(subject: Subject) -> None:
    contents, reasonings = zip(*map(_texts, await _answer(subject)), strict=True)
    must_come_in_pieces(contents, reasonings)


@CHECKS.must("documented", "The model's reasoning is streamed, and so is its text.")
async def reasoning(subject: Subject) -> None:
    contents, reasonings = zip(*map(_texts, await _answer(subject)), strict=True)
    for name, pieces in (("content", contents), ("reasoning_content", reasonings)):
        if not any(pieces):
            raise BrokenFactError(f"no frame has {name}")


@CHECKS.must("recorded", "On the text path content and reasoning_content are strings, always.")
async def strings(subject: Subject) -> None:
    only_on_the_text_path(subject)
    for payload in await _answer(subject):
        text_at(payload, *_CHOICE, "message", "content")
        text_at(payload, *_CHOICE, "message", "reasoning_content")


@CHECKS.should("recorded", "On the text path the last frame has no text.")
async def empty_end(subject: Subject) -> None:
    only_on_the_text_path(subject)
    must_be(_texts((await _answer(subject))[-1]), ("", ""), "the text of the last frame")


@CHECKS.must("recorded", "The code that ran stands in tool_info.")
async def code(subject: Subject) -> None:
    if not any(map(str.strip, _codes((await _answer(subject))[-1]))):
        raise BrokenFactError("the last frame shows no code")


@CHECKS.must(
    "recorded", "tool_info is absent before the first run, and then the whole list in every frame."
)
async def code_stays(subject: Subject) -> None:
    before: list[str] = []
    for payload in await _answer(subject):
        codes = _codes(payload)
        # An entry may come empty, and be filled later.
        if len(codes) < len(before) or any(
            shown_before not in ("", now) for shown_before, now in zip(before, codes, strict=False)
        ):
            raise BrokenFactError(f"{shown(before)} was shown, and then {shown(codes)}")
        before = codes


@CHECKS.must("recorded", "tool_info shows the code and nothing of what it printed.")
async def code_only(subject: Subject) -> None:
    for payload in await _answer(subject):
        for tool in _tools(payload):
            if text_at(tool, "type") == "code_interpreter":
                must_be(sorted(tool), ["code_interpreter", "type"], "the keys of an entry")
                told = list(object_at(tool, "code_interpreter"))
                must_be(told, ["code"], "what is told of a run")


@CHECKS.must("recorded", "usage.plugins.code_interpreter.count comes with tool_info, and grows.")
async def count(subject: Subject) -> None:
    payloads = await _answer(subject)
    for payload in payloads:
        codes, runs = _codes(payload), _runs(payload)
        if bool(runs) != any(codes):
            raise BrokenFactError(f"{runs} runs are counted where {shown(codes)} is shown")
    must_not_fall(map(_runs, payloads), "the count")
    if not _runs(payloads[-1]):
        raise BrokenFactError("no run is counted")


@CHECKS.should("recorded", "The count is that of the programs shown.")
async def count_of_programs(subject: Subject) -> None:
    last = (await _answer(subject))[-1]
    must_be(_runs(last), len(_codes(last)), "the count")


@CHECKS.must("recorded", "Every frame has a usage, which is that of all frames so far.")
async def usage(subject: Subject) -> None:
    payloads = await _answer(subject)
    for name in ("input_tokens", "output_tokens"):
        must_not_fall([count_at(payload, "usage", name) for payload in payloads], name)
    if not count_at(payloads[-1], "usage", "output_tokens"):
        raise BrokenFactError("the answer has cost no output_tokens")


@CHECKS.must("documented", "input_tokens steps up after a run: every inference is added.")
async def inferences(subject: Subject) -> None:
    payloads = await _answer(subject)
    first, last = (count_at(payloads[n], "usage", "input_tokens") for n in (0, -1))
    if last <= first:
        raise BrokenFactError(f"input_tokens is {first} in the first frame and {last} in the last")


@CHECKS.must("recorded", "usage.output_tokens_details.reasoning_tokens says what thinking costs.")
async def reasoning_tokens(subject: Subject) -> None:
    must_tell_thinking(at((await _answer(subject))[-1], "usage"), "output")


@CHECKS.must("recorded", "Every frame has the request_id of its request.")
async def request_id(subject: Subject) -> None:
    found = {words_at(payload, "request_id") for payload in await _answer(subject)}
    must_be(len(found), 1, "the number of request_ids")


@CHECKS.must("documented", "Answers have the header x-request-id.")
async def request_id_header(subject: Subject) -> None:
    must_have_request_id(await _reply(subject))


@CHECKS.must("documented", "A conversation of several turns is taken.")
async def conversation(subject: Subject) -> None:
    reply = await subject.reply(request_of(subject, asking.CONVERSATION))
    last = frames_of(reply)[-1].data
    must_be(at(last, *_CHOICE, "finish_reason"), "stop", "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter an answer comes as one document, too.")
async def document(subject: Subject) -> None:
    found = await _document(subject)
    must_be(at(found, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    if not _texts(found)[0]:
        raise BrokenFactError(f"there is no text in {shown(found)}")
    count_at(found, "usage", "output_tokens")
    words_at(found, "request_id")


@CHECKS.should("recorded", "Accept: text/event-stream alone streams as well.")
async def accept_header(subject: Subject) -> None:
    request = request_of(subject, user(asking.PLAIN), **PLAIN)
    headers = {"Accept": "text/event-stream"}
    frames_of(await _streamed(subject, Request(request.path, request.body, headers)))


async def _streamed(subject: Subject, request: Request) -> Reply:
    reply = await subject.reply(request)
    if "data:" not in reply.text:
        raise BrokenFactError(f"this is no stream: {reply.text}")
    return reply


@CHECKS.must("documented", 'max_tokens ends an answer, whose finish_reason is "length".')
async def max_tokens(subject: Subject) -> None:
    found = await _document(subject, max_tokens=asking.FEW_TOKENS)
    must_be(at(found, *_CHOICE, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text, and is no part of it.")
async def stop(subject: Subject) -> None:
    found = await _document(subject, stop=[asking.STOP])
    must_be(at(found, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    if asking.STOP in (said := _texts(found)[0]):
        raise BrokenFactError(f"{asking.STOP} is in {shown(said)}")


def only_on_the_text_path(subject: Subject) -> None:
    if subject.endpoint != TEXT:
        raise NotApplicableError(f"{subject.model} is not served by the text path")
