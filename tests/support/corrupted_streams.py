"""Streams that no service should send: those of the corpus, spoilt.

The source of chance is given, so that hypothesis and the fuzzer spoil alike and can do it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from stream_corpus import CORPUS
from unusual_streams import ERRORS, RICH

# JSON as text, since some of it is refused by Python's own writer.
ODD_VALUES = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "-0", "1e999", "-1e999", "NaN", "Infinity"),
    *("1e30", "9223372036854775808", "18446744073709551616", "1" * 400, "1" * 4300, "1" * 5000),
    *('""', '" "', '"0"', '"²"', '"null"', '"stop"', '"error"', '"a\\nb"', '"\\u0000"'),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\u001b[31mred"', '"\\u202e"', '"\\u2028"'),
    *("[]", "[null]", "[[]]", '["a"]', "[0]", "{}", '{"":null}', '{"a":[]}', '{"content":"a"}'),
    *('{"type":"code_interpreter"}', '{"text":"a"}', '{"index":0}', '{"index":1,"id":"b"}'),
    *(
        '"```\\na\\n```"',
        '"![a](b)"',
        '"Traceback (most recent call last)"',
        '"rate limit"',
        '"url error"',
    ),
    *("[" * 150 + "]" * 150, "[" * 300 + "]" * 300, '{"a":' * 150 + "1" + "}" * 150),
)
_ODD_BYTES = (
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xff", b"\0", b'"', b"\\", b"{", b"]"),
    *(b"data:", b"data: [DONE]\n\n", b"event:error\n", b":HTTP_STATUS/500\n", b":HTTP_STATUS/"),
    *(b":HTTP_STATUS/" + b"9" * 5000 + b"\n", b"id:1\n", b"\x1b[2J", b": ping\n\n", b"data\n"),
)
_DATA = re.compile(rb"^(data: ?)(.*)$", re.MULTILINE)
_PLACE = "a place for JSON that is written already"


def frames(body: bytes) -> list[bytes]:
    """The frames of a stream, each with its blank line."""
    return re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", body)


def _walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: what it stands in, and its key or position there."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from _walk(value[key])


def _payloads(body: bytes) -> Iterator[Any]:
    for _, data in _DATA.findall(body) or [(b"", body)]:
        try:
            yield json.loads(data)
        except ValueError:  # [DONE]
            continue


def _vocabulary() -> tuple[list[str], list[str]]:
    """The keys and the values of all wires, so that each can turn up anywhere."""
    keys: dict[str, None] = {}
    values: dict[str, None] = {}
    for body in (*(stream.body for stream in CORPUS.values()), *RICH.values(), *ERRORS.values()):
        for payload in _payloads(body):
            for holder, key in _walk(payload):
                if isinstance(key, str):
                    keys[key] = None
                values[json.dumps(holder[key])] = None
    return list(keys), [value for value in values if len(value) < 200]


_KEYS, _VALUES = _vocabulary()
_FRAMES = {
    api: [
        *(
            frame
            for stream in CORPUS.values()
            if stream.api == api
            for frame in frames(stream.body)
        ),
        *([error] * 20),
        *(frames(RICH[api]) * 5),
    ]
    for api, error in ERRORS.items()
}


def mutated(body: bytes, api: str, chance: Random) -> bytes:
    """A body that is spoilt in one to four places."""
    for _ in range(chance.randrange(1, 5)):
        body = chance.choice(_SPOIL)(body, api, chance)
    return body


def pieces(body: bytes, chance: Random) -> Iterator[bytes]:
    """A body cut at a few places, or into single bytes."""
    if chance.randrange(8) == 0:
        places = list(range(len(body)))
    else:
        places = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(6)))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


def _json(body: bytes, api: str, chance: Random) -> bytes:
    """One JSON value of one frame is replaced, dropped, added, or moved."""
    found = list(_DATA.finditer(body))
    if found:
        chosen = chance.choice(found)
        start, end = chosen.span(2)
    else:
        start, end = 0, len(body)
    try:
        payload = json.loads(body[start:end])
        places = list(_walk(payload))
    except (ValueError, RecursionError):
        return _bytes(body, api, chance)
    if not places:
        return body[:start] + chance.choice(ODD_VALUES).encode() + body[end:]
    text = _spoilt(payload, places, chance)
    return body[:start] + text.encode("utf-8", "surrogatepass") + body[end:]


def _spoilt(payload: Any, places: list[tuple[Any, Any]], chance: Random) -> str:
    holder, key = chance.choice(places)
    new = ""
    match chance.randrange(7):
        case 0 | 1 | 2:
            holder[key] = _PLACE
            new = chance.choice(ODD_VALUES)
        case 3:
            holder[key] = _PLACE
            new = chance.choice(_VALUES)
        case 4:
            del holder[key]
        case 5:
            other, at = chance.choice(places)
            holder[key], other[at] = other[at], holder[key]
        case 6 if isinstance(holder, dict):
            holder[chance.choice(_KEYS)] = _PLACE
            new = chance.choice(chance.choice((ODD_VALUES, _VALUES)))
        case _:
            holder.insert(key, _PLACE)
            new = chance.choice(_VALUES)
    spaces = chance.choice([(",", ":"), (", ", ": ")])
    try:
        text = json.dumps(payload, ensure_ascii=chance.random() < 0.5, separators=spaces)
    except (ValueError, RecursionError):  # a value has been put into itself
        return "{}"
    return text.replace(json.dumps(_PLACE), new)


def _frame(body: bytes, api: str, chance: Random) -> bytes:
    """A frame is dropped, repeated, swapped, cut, or one of another stream comes between."""
    told = frames(body)
    at, other = chance.randrange(len(told)), chance.randrange(len(told))
    match chance.randrange(6):
        case 0:
            del told[at]
        case 1:
            told[other:other] = [told[at]] * chance.choice((1, 1, 1, 30))
        case 2:
            told[at], told[other] = told[other], told[at]
        case 3:
            told[at] = told[at][: chance.randrange(len(told[at]) + 1)]
        case 4:
            told.insert(at, chance.choice(_FRAMES[api]))
        case _:
            told.insert(at, chance.choice(_FRAMES[chance.choice(sorted(_FRAMES))]))
    return b"".join(told)


def _bytes(body: bytes, api: str, chance: Random) -> bytes:
    """Some bytes are lost, or others come between."""
    del api
    at = chance.randrange(len(body) + 1)
    lost = chance.choice([0, 0, 1, 3, 20])
    return body[:at] + chance.choice([b"", *_ODD_BYTES]) + body[at + lost :]


Spoil = Callable[[bytes, str, Random], bytes]
_SPOIL: tuple[Spoil, ...] = (_json, _json, _json, _frame, _bytes)
