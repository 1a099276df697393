"""Checks of DashScope's native API: the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    must_be,
    must_be_increments,
    must_count_from_one,
    must_have_no_space_after_colons,
    must_have_request_id,
    must_not_decrease,
    must_not_send_done,
    must_report_reasoning,
    must_use_sse_fields,
    skip_unless_text_path,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.errors import NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    count_at,
    list_at,
    nonempty_string_at,
    object_at,
    optional_string,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("dashscope")

TEXT_PATH, MULTIMODAL_PATH = "text-generation", "multimodal-generation"
PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_STREAM_HEADERS = {"X-DashScope-SSE": "enable", "Accept": "text/event-stream"}
_CHOICE = ("output", "choices", 0)


def build_request(
    endpoint: Endpoint,
    messages: Sequence[Any],
    *,
    path: str = "",
    model: str = "",
    **parameters: Any,
) -> Request:
    """Build a streaming request with interpreter and thinking on, unless a parameter differs."""
    path = path or endpoint.native_endpoint
    if path == MULTIMODAL_PATH:  # its content is a list of parts
        messages = [{**message, "content": [{"text": message["content"]}]} for message in messages]
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
    return Request(f"/api/v1/services/aigc/{path}/generation", body, _STREAM_HEADERS)


def code_request(endpoint: Endpoint, **options: Any) -> Request:
    """Build the request whose answer runs two programs."""
    return build_request(endpoint, user_message(prompts.CODE_PROMPT), **options)


def user_message(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def without_streaming(request: Request) -> Request:
    return Request(request.path, request.body)


async def _code_reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(code_request(endpoint))


async def _payloads(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the JSON of all frames of the answer that runs code."""
    reply = await _code_reply(endpoint)
    frames = reply.stream()
    if frames[0].values("event") == ["error"]:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


async def _plain_document(endpoint: Endpoint, **parameters: Any) -> dict[str, Any]:
    """Return an answer without streaming, interpreter and thinking."""
    messages = user_message(prompts.TEXT_PROMPT)
    request = build_request(endpoint, messages, **PLAIN, **parameters)
    return (await endpoint.reply(without_streaming(request))).document()


def _content_and_reasoning(payload: dict[str, Any]) -> tuple[str, str]:
    message = object_at(payload, *_CHOICE, "message")
    return _content(message), optional_string(message, "reasoning_content")


def _content(message: dict[str, Any]) -> str:
    # Sources disagree about the multimodal path: a string, parts, null and a missing field are
    # all accepted here.
    content = message.get("content")
    if isinstance(content, list):
        return "".join(string_at(part, "text") for part in content)
    return optional_string(message, "content")


def _tool_info(payload: dict[str, Any]) -> list[Any]:
    """Return the tool_info of a frame; it is absent before the first program."""
    if "tool_info" not in object_at(payload, "output"):
        return []
    if entries := list_at(payload, "output", "tool_info"):
        return entries
    raise ViolationError("tool_info is empty and not absent")


def _programs(payload: dict[str, Any]) -> list[str]:
    return [
        string_at(entry, "code_interpreter", "code")
        for entry in _tool_info(payload)
        if string_at(entry, "type") == "code_interpreter"
    ]


def _interpreter_count(payload: dict[str, Any]) -> int:
    """Return the number of programs that the usage of a frame counts."""
    usage = object_at(payload, "usage")
    if "plugins" not in usage or "code_interpreter" not in object_at(usage, "plugins"):
        return 0
    return count_at(usage, "plugins", "code_interpreter", "count")


@CHECKS.must(
    "recorded",
    "Every frame has an id, an event, a comment with the HTTP status and exactly one data line "
    "with JSON.",
)
async def frames_use_sse_fields(endpoint: Endpoint) -> None:
    for frame in (await _code_reply(endpoint)).stream():
        must_use_sse_fields(frame)
        must_be(frame.value("event"), "result", "the event of a frame")


@CHECKS.should("recorded", "The ids of the frames count from 1.")
async def frame_ids_count_from_one(endpoint: Endpoint) -> None:
    must_count_from_one((await _code_reply(endpoint)).stream())


@CHECKS.should("recorded", "No space follows the colon of a field.")
async def no_space_follows_colon(endpoint: Endpoint) -> None:
    must_have_no_space_after_colons((await _code_reply(endpoint)).stream())


@CHECKS.must("recorded", "The stream ends without a [DONE] frame.")
async def stream_ends_without_done(endpoint: Endpoint) -> None:
    must_not_send_done((await _code_reply(endpoint)).stream())


@CHECKS.must("recorded", 'finish_reason is the string "null" until the last frame has "stop".')
async def finish_reason_comes_last(endpoint: Endpoint) -> None:
    payloads = await _payloads(endpoint)
    *earlier, last = [value_at(payload, *_CHOICE, "finish_reason") for payload in payloads]
    for reason in earlier:
        must_be(reason, "null", "finish_reason before the end")
    must_be(last, "stop", "finish_reason at the end")


@CHECKS.must("documented", "With incremental_output, every frame holds only new text.")
async def deltas_are_increments(endpoint: Endpoint) -> None:
    must_be_increments(*zip(*map(_content_and_reasoning, await _payloads(endpoint)), strict=True))


@CHECKS.must("documented", "Both the text and the reasoning of the model are streamed.")
async def text_and_reasoning_are_streamed(endpoint: Endpoint) -> None:
    texts = zip(*map(_content_and_reasoning, await _payloads(endpoint)), strict=True)
    for name, pieces in zip(("content", "reasoning_content"), texts, strict=True):
        if not any(pieces):
            raise ViolationError(f"no frame has {name}")


@CHECKS.must(
    "recorded",
    "On the text-generation path, content and reasoning_content are strings in every frame.",
)
async def text_fields_are_strings(endpoint: Endpoint) -> None:
    skip_unless_text_path(endpoint)
    for payload in await _payloads(endpoint):
        string_at(payload, *_CHOICE, "message", "content")
        string_at(payload, *_CHOICE, "message", "reasoning_content")


@CHECKS.should("recorded", "On the text-generation path, the last frame has no text.")
async def last_frame_has_no_text(endpoint: Endpoint) -> None:
    skip_unless_text_path(endpoint)
    last = (await _payloads(endpoint))[-1]
    must_be(_content_and_reasoning(last), ("", ""), "the text of the last frame")


@CHECKS.must("recorded", "tool_info holds the code of the programs that ran.")
async def tool_info_has_code(endpoint: Endpoint) -> None:
    if not any(map(str.strip, _programs((await _payloads(endpoint))[-1]))):
        raise ViolationError("the last frame has no code")


@CHECKS.must(
    "recorded",
    "tool_info is absent before the first program; later frames all repeat the complete list.",
)
async def code_never_changes(endpoint: Endpoint) -> None:
    earlier: list[str] = []
    for payload in await _payloads(endpoint):
        programs = _programs(payload)
        # The service sometimes adds an entry with empty code and fills it in a later frame.
        if len(programs) < len(earlier) or any(
            previous not in ("", program)
            for previous, program in zip(earlier, programs, strict=False)
        ):
            raise ViolationError(f"the code changes from {as_json(earlier)} to {as_json(programs)}")
        earlier = programs


@CHECKS.must("recorded", "tool_info holds the code of a program and not its output.")
async def tool_info_has_no_output(endpoint: Endpoint) -> None:
    for payload in await _payloads(endpoint):
        for entry in _tool_info(payload):
            if string_at(entry, "type") == "code_interpreter":
                must_be(sorted(entry), ["code_interpreter", "type"], "the list of an entry's keys")
                keys = list(object_at(entry, "code_interpreter"))
                must_be(keys, ["code"], "the list of a program's keys")


@CHECKS.must(
    "recorded",
    "usage.plugins.code_interpreter.count appears together with tool_info and never decreases.",
)
async def count_comes_with_code(endpoint: Endpoint) -> None:
    payloads = await _payloads(endpoint)
    for payload in payloads:
        programs, count = _programs(payload), _interpreter_count(payload)
        if bool(count) != any(programs):
            raise ViolationError(f"the count is {count} and the code is {as_json(programs)}")
    must_not_decrease(map(_interpreter_count, payloads), "the count")
    if not _interpreter_count(payloads[-1]):
        raise ViolationError("no program is counted")


@CHECKS.should("recorded", "The count is the number of programs in tool_info.")
async def count_is_number_of_programs(endpoint: Endpoint) -> None:
    last = (await _payloads(endpoint))[-1]
    must_be(_interpreter_count(last), len(_programs(last)), "the count")


@CHECKS.must("recorded", "Every frame has a usage, which covers the answer up to this frame.")
async def usage_is_cumulative(endpoint: Endpoint) -> None:
    payloads = await _payloads(endpoint)
    for name in ("input_tokens", "output_tokens"):
        must_not_decrease([count_at(payload, "usage", name) for payload in payloads], name)
    if not count_at(payloads[-1], "usage", "output_tokens"):
        raise ViolationError("output_tokens is 0 at the end")


@CHECKS.must("documented", "input_tokens increases after a program, because inferences add up.")
async def usage_includes_every_inference(endpoint: Endpoint) -> None:
    payloads = await _payloads(endpoint)
    first, last = (count_at(payloads[index], "usage", "input_tokens") for index in (0, -1))
    if last <= first:
        raise ViolationError(f"input_tokens is {first} in the first frame and {last} in the last")


@CHECKS.must("recorded", "usage.output_tokens_details.reasoning_tokens counts the reasoning.")
async def reasoning_tokens_are_reported(endpoint: Endpoint) -> None:
    must_report_reasoning(value_at((await _payloads(endpoint))[-1], "usage"), "output")


@CHECKS.must("recorded", "All frames have the same request_id.")
async def frames_share_request_id(endpoint: Endpoint) -> None:
    ids = {nonempty_string_at(payload, "request_id") for payload in await _payloads(endpoint)}
    must_be(len(ids), 1, "the number of request_ids")


@CHECKS.must("documented", "HTTP responses have the header x-request-id.")
async def request_id_header_is_sent(endpoint: Endpoint) -> None:
    must_have_request_id(await _code_reply(endpoint))


@CHECKS.must("documented", "A conversation of several turns is accepted.")
async def conversation_is_accepted(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(build_request(endpoint, prompts.CONVERSATION))
    last = reply.stream()[-1].data
    must_be(value_at(last, *_CHOICE, "finish_reason"), "stop", "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter, an answer also comes without streaming.")
async def streaming_is_optional_without_interpreter(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint)
    must_be(value_at(document, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    content, _ = _content_and_reasoning(document)
    if not content:
        raise ViolationError(f"there is no text in {as_json(document)}")
    count_at(document, "usage", "output_tokens")
    nonempty_string_at(document, "request_id")


@CHECKS.should("recorded", "The header Accept: text/event-stream alone starts a stream.")
async def accept_header_starts_stream(endpoint: Endpoint) -> None:
    request = build_request(endpoint, user_message(prompts.TEXT_PROMPT), **PLAIN)
    headers = {"Accept": "text/event-stream"}
    reply = await endpoint.reply(Request(request.path, request.body, headers))
    if "data:" not in reply.text:
        raise ViolationError(f"this is not a stream: {reply.text}")
    reply.stream()


@CHECKS.must("documented", 'max_tokens ends the answer with the finish_reason "length".')
async def max_tokens_ends_answer(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint, max_tokens=prompts.MAX_TOKENS)
    must_be(value_at(document, *_CHOICE, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text and is not part of it.")
async def stop_sequence_ends_text(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint, stop=[prompts.STOP_SEQUENCE])
    must_be(value_at(document, *_CHOICE, "finish_reason"), "stop", "finish_reason")
    content, _ = _content_and_reasoning(document)
    if prompts.STOP_SEQUENCE in content:
        raise ViolationError(f"{prompts.STOP_SEQUENCE} is in {as_json(content)}")
