"""Changes to the emulator's replies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx


@dataclass(frozen=True)
class RecordedReply:
    """A reply of the emulator, and the request that it answers."""

    request: httpx.Request
    status: int
    headers: dict[str, str]
    body: str

    @property
    def request_json(self) -> dict[str, Any]:
        return json.loads(self.request.content)


Change = Callable[[RecordedReply], RecordedReply]


# Changes to the whole reply.


def set_status(status: int) -> Change:
    return lambda reply: replace(reply, status=status)


def replace_text(pattern: str, new: str) -> Change:
    """Replace every match of a regular expression in the body."""
    return lambda reply: replace(reply, body=re.sub(pattern, new, reply.body))


def accept_request(reply: RecordedReply) -> RecordedReply:
    """Answer a request that should be rejected."""
    body = '{"output":{"choices":[]},"choices":[],"output_text":""}'
    return replace(reply, status=200, body=body)


def remove_headers(reply: RecordedReply) -> RecordedReply:
    return replace(reply, headers={})


def only_if(condition: Callable[[RecordedReply], bool], change: Change) -> Change:
    return lambda reply: change(reply) if condition(reply) else reply


def is_method(method: str) -> Callable[[RecordedReply], bool]:
    return lambda reply: reply.request.method == method


# Changes to frames.


def change_frames(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the list of frames of a stream."""

    def apply(reply: RecordedReply) -> RecordedReply:
        frames = change(reply.body.removesuffix("\n\n").split("\n\n"))
        return replace(reply, body="".join(f"{frame}\n\n" for frame in frames))

    return apply


def remove_frames_with(text: str) -> Change:
    return change_frames(lambda frames: [frame for frame in frames if text not in frame])


# Changes to JSON.


def change_payloads(change: Callable[[list[Any]], Any]) -> Change:
    """Change in place the JSON objects of all frames, or that of a reply without frames."""

    def apply(reply: RecordedReply) -> RecordedReply:
        lines = reply.body.split("\n")
        numbers = [n for n, line in enumerate(lines) if re.match(r"(data: ?)?\{", line)]
        prefixes = [lines[n][: lines[n].index("{")] for n in numbers]
        payloads = [
            json.loads(lines[n].removeprefix(prefix))
            for n, prefix in zip(numbers, prefixes, strict=True)
        ]
        change(payloads)
        for n, prefix, payload in zip(numbers, prefixes, payloads, strict=True):
            lines[n] = prefix + json.dumps(payload, ensure_ascii=False)
        return replace(reply, body="\n".join(lines))

    return apply


def change_each_payload(change: Callable[[Any], Any]) -> Change:
    return change_payloads(lambda payloads: [change(payload) for payload in payloads])


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from objects_in(part)


def set_field(name: str, new: Any) -> Change:
    """Replace the value of every field with this name."""

    def change(payload: Any) -> None:
        for found in list(objects_in(payload)):
            if name in found:
                found[name] = new

    return change_each_payload(change)


def remove_field(name: str) -> Change:
    def change(payload: Any) -> None:
        for found in list(objects_in(payload)):
            found.pop(name, None)

    return change_each_payload(change)


def make_cumulative(name: str) -> Change:
    """Repeat in every frame the text that the earlier frames have in this field."""

    def change(payloads: list[Any]) -> None:
        text = ""
        for payload in payloads:
            for found in objects_in(payload):
                if isinstance(found.get(name), str):
                    text += found[name]
                    found[name] = text

    return change_payloads(change)


def make_unique(name: str) -> Change:
    """Give the field a different value in every frame."""

    def change(payloads: list[Any]) -> None:
        for number, payload in enumerate(payloads):
            found = payload.get("response", payload)
            if name in found:
                found[name] = f"{number}"

    return change_payloads(change)


def set_in_last_frame(name: str, new: Any) -> Change:
    return change_payloads(
        lambda payloads: [
            found.update({name: new}) for found in objects_in(payloads[-1]) if name in found
        ]
    )


def keep_last_program(payload: Any) -> None:
    output = payload["output"]
    if "tool_info" in output:
        output["tool_info"] = output["tool_info"][-1:]


def change_code_calls(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change every code_interpreter_call item of Responses."""

    def change_payload(payload: Any) -> None:
        for found in objects_in(payload):
            if found.get("type") == "code_interpreter_call":
                change(found)

    return change_each_payload(change_payload)
