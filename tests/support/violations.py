"""A breach of every fact that the judge checks: ways to spoil an answer of the emulator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx


@dataclass(frozen=True)
class Answer:
    """One answer, and the request it belongs to."""

    request: httpx.Request
    status: int
    headers: dict[str, str]
    body: str

    @property
    def asked(self) -> dict[str, Any]:
        return json.loads(self.request.content)


Spoil = Callable[[Answer], Answer]


def status(number: int) -> Spoil:
    return lambda answer: replace(answer, status=number)


def swap(pattern: str, new: str) -> Spoil:
    return lambda answer: replace(answer, body=re.sub(pattern, new, answer.body))


def accepts(answer: Answer) -> Answer:
    """What should be refused is answered."""
    return replace(
        answer, status=200, body='{"output":{"choices":[]},"choices":[],"output_text":""}'
    )


def nameless(answer: Answer) -> Answer:
    return replace(answer, headers={})


def payloads(change: Callable[[list[Any]], Any]) -> Spoil:
    """Change the JSON of all frames, or that of a document."""

    def spoil(answer: Answer) -> Answer:
        lines = answer.body.split("\n")
        places = [n for n, line in enumerate(lines) if re.match(r"(data: ?)?\{", line)]
        heads = [lines[n][: lines[n].index("{")] for n in places]
        found = [
            json.loads(lines[n].removeprefix(head)) for n, head in zip(places, heads, strict=True)
        ]
        change(found)
        for n, head, payload in zip(places, heads, found, strict=True):
            lines[n] = head + json.dumps(payload, ensure_ascii=False)
        return replace(answer, body="\n".join(lines))

    return spoil


def each(change: Callable[[Any], Any]) -> Spoil:
    return payloads(lambda found: [change(payload) for payload in found])


def frames(change: Callable[[list[str]], list[str]]) -> Spoil:
    def spoil(answer: Answer) -> Answer:
        kept = change(answer.body.removesuffix("\n\n").split("\n\n"))
        return replace(answer, body="".join(f"{frame}\n\n" for frame in kept))

    return spoil


def without(word: str) -> Spoil:
    """Frames that have a word are left out."""
    return frames(lambda found: [frame for frame in found if word not in frame])


def where(asked: Callable[[Answer], bool], spoil: Spoil) -> Spoil:
    return lambda answer: spoil(answer) if asked(answer) else answer


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within JSON."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from objects(part)


def setting(name: str, new: Any) -> Spoil:
    """Every field of that name gets a value."""

    def change(payload: Any) -> None:
        for found in list(objects(payload)):
            if name in found:
                found[name] = new

    return each(change)


def dropping(name: str) -> Spoil:
    def change(payload: Any) -> None:
        for found in list(objects(payload)):
            found.pop(name, None)

    return each(change)


def snapshots(name: str) -> Spoil:
    """Texts are repeated from their beginning."""

    def change(found: list[Any]) -> None:
        so_far = ""
        for payload in found:
            for place in objects(payload):
                if isinstance(place.get(name), str):
                    so_far += place[name]
                    place[name] = so_far

    return payloads(change)


def numbered(name: str) -> Spoil:
    """The field is another one in every frame."""

    def change(found: list[Any]) -> None:
        for number, payload in enumerate(found):
            place = payload.get("response", payload)
            if name in place:
                place[name] = f"{number}"

    return payloads(change)


def last(name: str, new: Any) -> Spoil:
    return payloads(
        lambda found: [place.update({name: new}) for place in objects(found[-1]) if name in place]
    )


def keep_last_tool(payload: Any) -> None:
    output = payload["output"]
    if "tool_info" in output:
        output["tool_info"] = output["tool_info"][-1:]


def runs(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Change the items of code that has run, wherever they stand."""

    def spoil(payload: Any) -> None:
        for place in objects(payload):
            if place.get("type") == "code_interpreter_call":
                change(place)

    return each(spoil)


SHARED = {
    "request-id-header": (nameless, "the header is missing"),
    "interpreter-stands-alone": (accepts, "this is answered"),
    "interpreter-streams": (accepts, "this is answered"),
    "wrong-key": (status(403), "HTTP 403"),
    "stop": (swap(r'"content":"', '"content":"e'), "e is in"),
    "reasoning-tokens": (dropping("reasoning_tokens"), "there is no"),
}
FRAMED = {
    "frame-numbers": (swap(r"(?m)^id:2$", "id:7"), "the list of ids"),
    "colons": (swap(r"(?m)^data:", "data: "), "there is a space"),
    "end": (frames(lambda found: [*found, "data:[DONE]"]), "there is a [DONE]"),
    "error-body": (dropping("request_id"), "there is no request_id"),
}
BREACHES: dict[str, dict[str, tuple[Spoil, str]]] = {
    "dashscope": {
        **SHARED,
        **FRAMED,
        "frames": (swap(r":HTTP_STATUS/200\n", ""), "no comment with its status"),
        "finish-reason": (setting("finish_reason", None), "before the end is null"),
        "increments": (snapshots("reasoning_content"), "pieces repeat"),
        "reasoning": (setting("reasoning_content", ""), "no frame has reasoning_content"),
        "strings": (dropping("reasoning_content"), "there is no"),
        "empty-end": (last("content", "42"), 'is ["42", ""]'),
        "code": (setting("code", ""), "shows no code"),
        "code-stays": (each(keep_last_tool), "was shown, and then"),
        "code-only": (
            swap(r'"code":("[^"]*")', r'"code":\1,"output":"42"'),
            'is ["code", "output"] and not ["code"]',
        ),
        "count": (dropping("plugins"), "0 runs are counted"),
        "count-of-programs": (setting("count", 9), "the count is 9 and not 2"),
        "usage": (last("output_tokens", 1), "output_tokens falls"),
        "inferences": (setting("input_tokens", 10), "10 in the first frame and 10 in the last"),
        "request-id": (numbered("request_id"), "the number of request_ids"),
        "conversation": (swap('"stop"', '"length"'), 'is "length" and not "stop"'),
        "document": (dropping("request_id"), "there is no request_id"),
        "accept-header": (
            where(lambda answer: "x-dashscope-sse" not in answer.request.headers, accepts),
            "this is no stream",
        ),
        "max-tokens": (swap('"length"', '"stop"'), 'is "stop" and not "length"'),
        "interpreter-thinks": (accepts, "this is answered"),
        "thinking-is-incremental": (accepts, "this is answered"),
        "thinking-is-in-messages": (swap("InvalidParameter", "Other"), "400, Other and not 400"),
        "wrong-path": (swap("url error", "error"), "the message is"),
        "list-content": (accepts, "this is answered"),
        "unknown-model": (status(400), "HTTP 400"),
    },
    "responses": {
        **{name: SHARED[name] for name in ("request-id-header", "wrong-key", "reasoning-tokens")},
        **FRAMED,
        "frames": (swap(r"(?m)^event:.*\n", ""), "0 lines of"),
        "beginning": (swap('"queued"', '"completed"'), "the beginning is"),
        "sequence": (setting("sequence_number", 1), "the list of sequence_numbers"),
        "response-id": (numbered("id"), "the number of ids"),
        "items": (
            frames(lambda found: [*found[:-2], found[-1]]),
            "the list of items that were done",
        ),
        "item-ids": (setting("item_id", "msg_of_another"), "there is no such item"),
        "message-events": (without("event:response.content_part.done"), "events of a message"),
        "reasoning-events": (
            without("event:response.reasoning_text.done"),
            "events of a reasoning",
        ),
        "code-events": (without("call.interpreting"), "events of a code_interpreter_call"),
        "increments": (setting("delta", "1"), "pieces repeat"),
        "message": (swap('"type":"output_text"', '"type":"blob"'), 'a part is "blob"'),
        "reasoning": (setting("summary", []), "there is no summary.0.text"),
        "code": (runs(lambda run: run.update(outputs=[])), "there is no outputs.0.logs"),
        "code-added": (
            runs(lambda run: run.update(code="" if run["status"] == "in_progress" else "1")),
            'the code is "" and not "1"',
        ),
        "fence": (setting("logs", "42"), 'the logs are "42"'),
        "repeated-items": (setting("output", []), "the list of items is []"),
        "usage": (setting("total_tokens", 0), "total_tokens is 0"),
        "count": (setting("count", 9), "the count is 9 and not 2"),
        "details": (dropping("plugins"), "there is no x_details.-1.plugins"),
        "no-count": (swap('"usage":{', '"usage":{"x_tools":{},'), "x_tools is there"),
        "document": (runs(lambda run: run.pop("outputs")), "there is no outputs"),
        "conversation": (swap('"completed"', '"incomplete"'), 'status is "incomplete"'),
        "previous-response": (
            where(lambda answer: "previous_response_id" in answer.asked, status(400)),
            "HTTP 400",
        ),
        "older-path": (status(404), "HTTP status is 404"),
        "max-tokens": (swap("response.incomplete", "response.completed"), "the last event is"),
        "fewest-tokens": (accepts, "this is answered"),
        "interpreter-thinks": (swap("enable_thinking", "it"), "the error is"),
        "extractor-searches": (swap("response.failed", "response.completed"), "the last event is"),
        "unknown-model": (status(500), "HTTP 500"),
    },
    "chat_completions": {
        **SHARED,
        "frames": (swap(r"(?m)^data:", "id:1\ndata:"), "the number of a frame's lines is 2"),
        "colons": (swap(r"(?m)^data: ", "data:"), "a frame begins with data:{"),
        "end": (without("[DONE]"), "the number of [DONE]s is 0"),
        "chunks": (numbered("id"), "the number of ids"),
        "deltas": (swap('"content":null', '"content":""'), "a delta is"),
        "role": (setting("role", "user"), 'the role is "user"'),
        "finish-reason": (swap('"finish_reason":null', '"finish_reason":"null"'), "before the end"),
        "increments": (snapshots("content"), "pieces repeat"),
        "reasoning": (setting("reasoning_content", None), "no delta has reasoning_content"),
        "usage-at-the-end": (without('"choices":[]'), "choices of the last chunk"),
        "usage-unasked": (
            where(lambda answer: "stream_options" not in answer.asked, setting("usage", {})),
            "usage is {}",
        ),
        "usage": (setting("total_tokens", 0), "total_tokens is 0"),
        "no-code": (swap('"content":', '"tool_info":[],"content":'), "a chunk has tool_info"),
        "conversation": (swap('"stop"', '"length"'), 'is ["length"] and not ["stop"]'),
        "document": (setting("object", "other"), 'the object is "other"'),
        "max-tokens": (swap('"length"', '"stop"'), 'is "stop" and not "length"'),
        "refusal-texts": (swap("Agent mode", "It"), "the message is"),
        "interpreter-thinks": (accepts, "this is answered"),
        "interpreter-is-no-tool": (accepts, "this is answered"),
        "error-body": (dropping("type"), "there is no error.type"),
        "unknown-model": (status(400), "HTTP 400"),
    },
}
CASES = [
    (f"{api}/{name}", spoil, said)
    for api, breaches in BREACHES.items()
    for name, (spoil, said) in breaches.items()
]
