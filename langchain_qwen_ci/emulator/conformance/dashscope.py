"""The facts of DashScope's native wire: its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
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
    must_report_reasoning,
    object_at,
    shown,
    text_at,
    text_or_null,
    words_at,
)
from langchain_qwen_ci.emulator.conformance.checks import (
    Checks,
    NoAnswerError,
    NotApplicableError,
    ViolationError,
)
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("dashscope")

TEXT, MULTIMODAL = "text-generation", "multimodal-generation"
_STREAMS = {"X-DashScope-SSE": "enable", "Accept": "text/event-stream"}
PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_CHOICE = ("output", "choices", 0)


def request_of(
    endpoint: Endpoint,
    messages: Sequence[Any],
    *,
    path: str = "",
    model: str = "",
    **parameters: Any,
) -> Request:
    """A request that streams with the interpreter on, but for what is said otherwise."""
    path = path or endpoint.native_endpoint
    if path == MULTIMODAL:  # whose content is a list of parts
        messages = [{**said, "content": [{"text": said["content"]}]} for said in messages]
    body = {
        "model": model or endpoint.model,
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


def question_of(endpoint: Endpoint, **more: Any) -> Request:
    return request_of(endpoint, user(prompts.QUESTION), **more)


def unstreamed(request: Request) -> Request:
    return Request(request.path, request.body)


async def _reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(question_of(endpoint))


async def _answer(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The frames of the answer that runs code, without their framing."""
    reply = await _reply(endpoint)
    frames = frames_of(reply)
    if frames[0].values("event") == ["error"]:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


async def _document(endpoint: Endpoint, **parameters: Any) -> dict[str, Any]:
    """An answer without stream, interpreter and thinking."""
    request = request_of(endpoint, user(prompts.PLAIN), **PLAIN, **parameters)
    return document_of(await endpoint.reply(unstreamed(request)))


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
    raise ViolationError("tool_info is empty, where it should be absent")


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
async def frames(endpoint: Endpoint) -> None:
    for frame in frames_of(await _reply(endpoint)):
        must_be_framed(frame)
        must_be(frame.value("event"), "result", "the event of a frame")


@CHECKS.should("recorded", "The ids of frames count from 1.")
async def frame_numbers(endpoint: Endpoint) -> None:
    must_be_numbered(frames_of(await _reply(endpoint)))


@CHECKS.should("recorded", "No space follows the colons of a frame.")
async def colons(endpoint: Endpoint) -> None:
    must_have_no_spaces(frames_of(await _reply(endpoint)))


@CHECKS.must("recorded", "The connection ends the stream, and no [DONE].")
async def end(endpoint: Endpoint) -> None:
    must_end_by_itself(frames_of(await _reply(endpoint)))


@CHECKS.must(
    "recorded", 'finish_reason is the string "null" until the last frame, and then "stop".'
)
async def finish_reason(endpoint: Endpoint) -> None:
    *before, last = [at(payload, *_CHOICE, "finish_reason") for payload in await _answer(endpoint)]
    for reason in before:
        must_be(reason, "null", "finish_reason before the end")
    must_be(last, "stop", "finish_reason at the end")


@CHECKS.must("documented", "With incremental_output every frame holds only what is new.")
async def increments(endpoint: Endpoint) -> None:
    contents, reasonings = zip(*map(_texts, await _answer(endpoint)), strict=True)
    must_come_in_pieces(contents, reasonings)


@CHECKS.must("documented", "The model's reasoning is streamed, and so is its text.")
async def reasoning(endpoint: Endpoint) -> None:
    contents, reasonings = zip(*map(_texts, await _answer(endpoint)), strict=True)
    for name, pieces in (("content", contents), ("reasoning_content", reasonings)):
        if not any(pieces):
            raise ViolationError(f"no frame has {name}")


@CHECKS.must("recorded", "On the text path content and reasoning_content are strings, always.")
async def strings(endpoint: Endpoint) -> None:
    only_on_the_text_path(endpoint)
    for payload in await _answer(endpoint):
        text_at(payload, *_CHOICE, "message", "content")
        text_at(payload, *_CHOICE, "message", "reasoning_content")


@CHECKS.should("recorded", "On the text path the last frame has no text.")
async def empty_end(endpoint: Endpoint) -> None:
    only_on_the_text_path(endpoint)
    must_be(_texts((await _answer(endpoint))[-1]), ("", ""), "the text of the last frame")


@CHECKS.must("recorded", "The code that ran stands in tool_info.")
async def code(endpoint: Endpoint) -> None:
    if not any(map(str.strip, _codes((await _answer(endpoint))[-1]))):
        raise ViolationError("the last frame shows no code")


@CHECKS.must(
    "recorded", "tool_info is absent before the first run, and then the whole list in every frame."
)
async def code_stays(endpoint: Endpoint) -> None:
    before: list[str] = []
    for payload in await _answer(endpoint):
        codes = _codes(payload)
        # An entry may come empty, and be filled later.
        if len(codes) < len(before) or any(
            shown_before not in ("", now) for shown_before, now in zip(before, codes, strict=False)
        ):
            raise ViolationError(f"{shown(before)} was shown, and then {shown(codes)}")
        before = codes


@CHECKS.must("recorded", "tool_info shows the code and nothing of what it printed.")
async def code_only(endpoint: Endpoint) -> None:
    for payload in await _answer(endpoint):
        for tool in _tools(payload):
            if text_at(tool, "type") == "code_interpreter":
                must_be(sorted(tool), ["code_interpreter", "type"], "the keys of an entry")
                told = list(object_at(tool, "code_interpreter"))
                must_be(told, ["code"], "what is told of a run")


@CHECKS.must("recorded", "usage.plugins.code_interpreter.count comes with tool_info, and grows.")
async def count(endpoint: Endpoint) -> None:
    payloads = await _answer(endpoint)
    for payload in payloads:
        codes, runs = _codes(payload), _runs(payload)
        if bool(runs) != any(codes):
            raise ViolationError(f"{runs} runs are counted where {shown(codes)} is shown")
    must_not_fall(map(_runs, payloads), "the count")
    if not _runs(payloads[-1]):
        raise ViolationError("no run is counted")


@CHECKS.should("recorded", "The count is that of the programs shown.")
async def count_of_programs(endpoint: Endpoint) -> None:
    last = (await _answer(endpoint))[-1]
    must_be(_runs(last), len(_codes(last)), "the count")


@CHECKS.must("recorded", "Every frame has a usage, which is that of all frames so far.")
async def usage(endpoint: Endpoint) -> None:
    payloads = await _answer(endpoint)
    for name in ("input_tokens", "output_tokens"):
        must_not_fall([count_at(payload, "usage", name) for payload in payloads], name)
    if not count_at(payloads[-1], "usage", "output_tokens"):
        raise ViolationError("the answer has cost no output_tokens")


@CHECKS.must("documented", "input_tokens steps up after a run: every inference is added.")
async def inferences(endpoint: Endpoint) -> None:
    payloads = await _answer(endpoint)
    first, last = (count_at(payloads[n], "usage", "input_tokens") for n in (0, -1))
    if last <= first:
        raise ViolationError(f"input_tokens is {first} in the first frame and {last} in the last")


@CHECKS.must("recorded", "usage.output_tokens_details.reasoning_tokens says what thinking costs.")
async def reasoning_tokens(endpoint: Endpoint) -> None:
    must_report_reasoning(at((await _answer(endpoint))[-1], "usage"), "output")


@CHECKS.must("recorded", "Every frame has the request_id of its request.")
async def request_id(endpoint: Endpoint) -> None:
    found = {words_at(payload, "request_id") for payload in await _answer(endpoint)}
    must_be(len(found), 1, "the number of request_ids")


@CHECKS.must("documented", "Answers have the header x-request-id.")
async def request_id_header(endpoint: Endpoint) -> None:
    must_have_request_id(await _reply(endpoint))


@CHECKS.must("documented", "A conversation of several turns is taken.")
async def conversation(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(request_of(endpoint, prompts.CONVERSATION))
    last = frames_of(reply)[-1].data
    must_be(at(last, *_CHOICE, "finish_reason"), "stop", "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter an answer comes as one document, too.")
async def document(endpoint: Endpoint) -> None:
    found = await _document(endpoint)
    must_be(at(found, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    if not _texts(found)[0]:
        raise ViolationError(f"there is no text in {shown(found)}")
    count_at(found, "usage", "output_tokens")
    words_at(found, "request_id")


@CHECKS.should("recorded", "Accept: text/event-stream alone streams as well.")
async def accept_header(endpoint: Endpoint) -> None:
    request = request_of(endpoint, user(prompts.PLAIN), **PLAIN)
    headers = {"Accept": "text/event-stream"}
    frames_of(await _streamed(endpoint, Request(request.path, request.body, headers)))


async def _streamed(endpoint: Endpoint, request: Request) -> Reply:
    reply = await endpoint.reply(request)
    if "data:" not in reply.text:
        raise ViolationError(f"this is no stream: {reply.text}")
    return reply


@CHECKS.must("documented", 'max_tokens ends an answer, whose finish_reason is "length".')
async def max_tokens(endpoint: Endpoint) -> None:
    found = await _document(endpoint, max_tokens=prompts.FEW_TOKENS)
    must_be(at(found, *_CHOICE, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text, and is no part of it.")
async def stop(endpoint: Endpoint) -> None:
    found = await _document(endpoint, stop=[prompts.STOP])
    must_be(at(found, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    if prompts.STOP in (said := _texts(found)[0]):
        raise ViolationError(f"{prompts.STOP} is in {shown(said)}")


def only_on_the_text_path(endpoint: Endpoint) -> None:
    if endpoint.native_endpoint != TEXT:
        raise NotApplicableError(f"{endpoint.model} is not served by the text path")
