"""Checks of the Chat Completions API: the answers and the errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.conformance import prompts
from langchain_qwen_ci.emulator.conformance.assertions import (
    ApiError,
    must_add_up,
    must_be,
    must_be_error,
    must_be_increments,
    must_have_request_id,
    must_report_reasoning,
)
from langchain_qwen_ci.emulator.conformance.checks import Checks
from langchain_qwen_ci.emulator.conformance.endpoint import Reply, Request
from langchain_qwen_ci.emulator.conformance.errors import NoAnswerError, ViolationError
from langchain_qwen_ci.emulator.conformance.json_fields import (
    as_json,
    count_at,
    json_object,
    list_at,
    nonempty_string_at,
    object_at,
    optional_string,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint

CHECKS = Checks("chat_completions")

_PATH = "/compatible-mode/v1/chat/completions"
_PLAIN: dict[str, Any] = {"enable_code_interpreter": False, "enable_thinking": False}
_OK = 200
# The fields in which the other APIs return code and call counts.
_CODE_FIELDS = ("code_interpreter", "tool_info", "plugins", "x_tools")


def _build_request(endpoint: Endpoint, messages: Sequence[Any], **options: Any) -> Request:
    """Build a streaming request with interpreter and thinking on, unless an option differs."""
    body = {
        "model": endpoint.model,
        "messages": list(messages),
        "stream": True,
        "enable_thinking": True,
        "enable_code_interpreter": True,
        **options,
    }
    return Request(_PATH, body)


def _code_request(endpoint: Endpoint, **options: Any) -> Request:
    """Build the request whose answer runs two programs and ends with the usage."""
    messages = [{"role": "user", "content": prompts.CODE_PROMPT}]
    options = {"stream_options": {"include_usage": True}, **options}
    return _build_request(endpoint, messages, **options)


def _non_streaming_code_request(endpoint: Endpoint) -> Request:
    # Without stream_options, which OpenAI accepts only together with a stream.
    messages = [{"role": "user", "content": prompts.CODE_PROMPT}]
    return _build_request(endpoint, messages, stream=False)


def _function_request(endpoint: Endpoint) -> Request:
    return _code_request(endpoint, tools=[prompts.FUNCTION_TOOL])


async def _code_reply(endpoint: Endpoint) -> Reply:
    return await endpoint.reply(_code_request(endpoint))


async def _code_chunks(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the chunks of the answer that runs code."""
    return _chunks(await _code_reply(endpoint))


async def _conversation_chunks(endpoint: Endpoint) -> list[dict[str, Any]]:
    return _chunks(await endpoint.reply(_build_request(endpoint, prompts.CONVERSATION)))


def _chunks(reply: Reply) -> list[dict[str, Any]]:
    frames = [frame for frame in reply.stream() if not frame.is_done]
    if not frames or "error" in frames[0].data:
        raise NoAnswerError(f"an error came in place of an answer: {reply.text}")
    return [frame.data for frame in frames]


def _choices(chunks: Sequence[Any]) -> Iterator[Any]:
    for chunk in chunks:
        yield from list_at(chunk, "choices")


def _deltas(chunks: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for choice in _choices(chunks):
        yield object_at(choice, "delta")


async def _streamed_texts(endpoint: Endpoint) -> dict[str, list[str]]:
    deltas = list(_deltas(await _code_chunks(endpoint)))
    names = ("content", "reasoning_content")
    return {name: [optional_string(delta, name) for delta in deltas] for name in names}


async def _plain_document(endpoint: Endpoint, **options: Any) -> dict[str, Any]:
    """Return an answer without streaming, interpreter and thinking."""
    messages = [{"role": "user", "content": prompts.TEXT_PROMPT}]
    request = _build_request(endpoint, messages, stream=False, **_PLAIN, **options)
    return (await endpoint.reply(request)).document()


async def _chat_error(endpoint: Endpoint, request: Request) -> ApiError:
    """Send a request that must be rejected; return the error in the body or in the stream.

    Its status is that of the HTTP response, because frames of this API have no status.
    """
    reply = await endpoint.reply(request)
    text = reply.text
    if reply.status == _OK and text.startswith(("data:", "event:")):
        text = reply.stream()[0].value("data")
    body = json_object(text)
    if "error" not in body:
        raise ViolationError(f"the request was accepted: {text}")
    code, message = (nonempty_string_at(body, "error", name) for name in ("code", "message"))
    return ApiError(reply.status, code, message)


@CHECKS.must("recorded", "Every frame has exactly one data line with JSON.")
async def frames_have_one_data_line(endpoint: Endpoint) -> None:
    for frame in (await _code_reply(endpoint)).stream():
        if not frame.is_done:
            json_object(frame.value("data"))
        must_be(len(frame.lines), 1, "the number of a frame's lines")


@CHECKS.should("recorded", "A space follows the colon of a data line.")
async def space_follows_colon(endpoint: Endpoint) -> None:
    for frame in (await _code_reply(endpoint)).stream():
        if not frame.lines[0].startswith("data: "):
            raise ViolationError(f"a frame begins with {frame.lines[0]}")


@CHECKS.must("recorded", "The stream ends with a [DONE] frame.")
async def stream_ends_with_done(endpoint: Endpoint) -> None:
    frames = (await _code_reply(endpoint)).stream()
    must_be([frame.is_done for frame in frames].count(True), 1, "the number of [DONE] frames")
    if not frames[-1].is_done:
        raise ViolationError(f"the last frame is {as_json(frames[-1].lines)}")


@CHECKS.must("recorded", "Every chunk is a chat.completion.chunk with the same id and model.")
async def chunks_share_id_and_model(endpoint: Endpoint) -> None:
    chunks = await _code_chunks(endpoint)
    for chunk in chunks:
        must_be(string_at(chunk, "object"), "chat.completion.chunk", "the object of a chunk")
    for name in ("id", "model"):
        values = {nonempty_string_at(chunk, name) for chunk in chunks}
        must_be(len(values), 1, f"the number of {name}s")


@CHECKS.must("recorded", "In every delta, content or reasoning_content is null.")
async def deltas_have_one_kind_of_text(endpoint: Endpoint) -> None:
    for delta in _deltas(await _code_chunks(endpoint)):
        if None not in (delta.get("content"), delta.get("reasoning_content")):
            raise ViolationError(f"a delta is {as_json(delta)}")


@CHECKS.must("recorded", "The first delta has the role of the assistant.")
async def first_delta_has_role(endpoint: Endpoint) -> None:
    first = (await _code_chunks(endpoint))[0]
    must_be(value_at(first, "choices", 0, "delta", "role"), "assistant", "the role")


@CHECKS.must("recorded", 'finish_reason is null until the last choice has "stop".')
async def finish_reason_comes_last(endpoint: Endpoint) -> None:
    choices = _choices(await _code_chunks(endpoint))
    reasons = [value_at(choice, "finish_reason") for choice in choices]
    must_be(reasons[-1:], ["stop"], "finish_reason at the end")
    for reason in reasons[:-1]:
        must_be(reason, None, "finish_reason before the end")


@CHECKS.must("documented", "Every delta holds only new text.")
async def deltas_are_increments(endpoint: Endpoint) -> None:
    must_be_increments(*(await _streamed_texts(endpoint)).values())


@CHECKS.must("documented", "Both the text and the reasoning of the model are streamed.")
async def text_and_reasoning_are_streamed(endpoint: Endpoint) -> None:
    for name, pieces in (await _streamed_texts(endpoint)).items():
        if not any(pieces):
            raise ViolationError(f"no delta has {name}")


@CHECKS.must("documented", "With include_usage, the last chunk has the usage and no choices.")
async def usage_comes_in_last_chunk(endpoint: Endpoint) -> None:
    *earlier, last = await _code_chunks(endpoint)
    must_be(value_at(last, "choices"), [], "choices of the last chunk")
    object_at(last, "usage")
    for chunk in earlier:
        must_be(object_at(chunk).get("usage"), None, "usage before the end")


@CHECKS.must("recorded", "Without include_usage, no chunk has a usage.")
async def usage_requires_include_usage(endpoint: Endpoint) -> None:
    for chunk in await _conversation_chunks(endpoint):
        must_be(object_at(chunk).get("usage"), None, "usage")


@CHECKS.must("documented", "usage counts prompt_tokens, completion_tokens and their sum.")
async def usage_adds_up(endpoint: Endpoint) -> None:
    must_add_up(value_at((await _code_chunks(endpoint))[-1], "usage"), "prompt", "completion")


@CHECKS.must("documented", "completion_tokens_details.reasoning_tokens counts the reasoning.")
async def reasoning_tokens_are_reported(endpoint: Endpoint) -> None:
    must_report_reasoning(value_at((await _code_chunks(endpoint))[-1], "usage"), "completion")


@CHECKS.should("documented", "Neither the code nor the number of programs is returned.")
async def code_is_not_returned(endpoint: Endpoint) -> None:
    for chunk in await _code_chunks(endpoint):
        for part in (chunk, chunk.get("usage") or {}, *_deltas([chunk])):
            if names := [name for name in _CODE_FIELDS if name in object_at(part)]:
                raise ViolationError(f"a chunk has {' and '.join(names)}")


# A warning only: the header is documented for the native API.
@CHECKS.should("documented", "HTTP responses have the header x-request-id.")
async def request_id_header_is_sent(endpoint: Endpoint) -> None:
    must_have_request_id(await _code_reply(endpoint))


@CHECKS.must("documented", "A conversation of several turns is accepted.")
async def conversation_is_accepted(endpoint: Endpoint) -> None:
    choices = _choices(await _conversation_chunks(endpoint))
    reasons = [value_at(choice, "finish_reason") for choice in choices]
    must_be(reasons[-1:], ["stop"], "finish_reason at the end")


@CHECKS.must("documented", "Without the interpreter, an answer also comes without streaming.")
async def streaming_is_optional_without_interpreter(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint)
    must_be(value_at(document, "object"), "chat.completion", "the object")
    must_be(value_at(document, "choices", 0, "finish_reason"), "stop", "finish_reason")
    nonempty_string_at(document, "choices", 0, "message", "content")
    count_at(document, "usage", "total_tokens")


@CHECKS.must("documented", 'max_tokens ends the answer with the finish_reason "length".')
async def max_tokens_ends_answer(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint, max_tokens=prompts.MAX_TOKENS)
    must_be(value_at(document, "choices", 0, "finish_reason"), "length", "finish_reason")


@CHECKS.must("documented", "A stop sequence ends the text and is not part of it.")
async def stop_sequence_ends_text(endpoint: Endpoint) -> None:
    document = await _plain_document(endpoint, stop=[prompts.STOP_SEQUENCE])
    must_be(value_at(document, "choices", 0, "finish_reason"), "stop", "finish_reason")
    content = string_at(document, "choices", 0, "message", "content")
    if prompts.STOP_SEQUENCE in content:
        raise ViolationError(f"{prompts.STOP_SEQUENCE} is in {as_json(content)}")


@CHECKS.must("documented", "The interpreter without streaming is rejected with HTTP 400.")
async def interpreter_requires_streaming(endpoint: Endpoint) -> None:
    must_be_error(await _chat_error(endpoint, _non_streaming_code_request(endpoint)), 400)


@CHECKS.must("documented", "Functions together with the interpreter are rejected with HTTP 400.")
async def interpreter_excludes_functions(endpoint: Endpoint) -> None:
    must_be_error(await _chat_error(endpoint, _function_request(endpoint)), 400)


@CHECKS.should(
    "reported",
    "The interpreter without streaming, and with functions, is rejected with the service's texts.",
)
async def rejections_have_service_texts(endpoint: Endpoint) -> None:
    for request, text in (
        (_non_streaming_code_request, "Non-streaming mode does not support Code interpreter."),
        (_function_request, "Agent mode does not support tools."),
    ):
        error = await _chat_error(endpoint, request(endpoint))
        if text not in error.message:
            raise ViolationError(f"the message is {as_json(error.message)}")


@CHECKS.should(
    "reported",
    "code_interpreter as an entry of tools is rejected with HTTP 400, because tools are functions.",
)
async def tools_must_be_functions(endpoint: Endpoint) -> None:
    tools = [{"type": "code_interpreter"}]
    request = _code_request(endpoint, tools=tools, enable_code_interpreter=False)
    must_be_error(await _chat_error(endpoint, request), 400)


@CHECKS.should(
    "reported", "A function that must be called is rejected with HTTP 400 while the model thinks."
)
async def forced_call_excludes_thinking(endpoint: Endpoint) -> None:
    options = {"tools": [prompts.FUNCTION_TOOL], "tool_choice": prompts.FORCED_CHOICE}
    request = _code_request(endpoint, enable_code_interpreter=False, **options)
    error = await _chat_error(endpoint, request)
    must_be_error(error, 400, "invalid_parameter_error")
    if "tool_choice" not in error.message:
        raise ViolationError(f"the message is {as_json(error.message)}")


@CHECKS.must("recorded", "An error body has message, type and code in an object named error.")
async def errors_have_message_type_and_code(endpoint: Endpoint) -> None:
    reply = await endpoint.reply(_non_streaming_code_request(endpoint))
    for name in ("message", "type", "code"):
        nonempty_string_at(json_object(reply.text), "error", name)


@CHECKS.must("recorded", "A wrong API key is rejected with HTTP 401, invalid_api_key.")
async def wrong_key_is_rejected(endpoint: Endpoint) -> None:
    wrong = Request(_PATH, _code_request(endpoint).body, key=prompts.WRONG_KEY)
    must_be_error(await _chat_error(endpoint, wrong), 401, "invalid_api_key")


@CHECKS.must("documented", "An unknown model is rejected with HTTP 404, model_not_found.")
async def unknown_model_is_rejected(endpoint: Endpoint) -> None:
    error = await _chat_error(endpoint, _code_request(endpoint, model=prompts.UNKNOWN_MODEL))
    must_be_error(error, 404, "model_not_found")
