"""Corrupts the streams of the corpus at random, for the property tests and the fuzzer.

The random generator is a parameter, so that both can reproduce an input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from stream_corpus import CORPUS
from unusual_streams import ERROR_STREAMS, STREAMS_WITH_OPTIONAL_FIELDS

# JSON text, because Python's JSON encoder rejects some of these values.
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
_DATA_LINE = re.compile(rb"^(data: ?)(.*)$", re.MULTILINE)
_PLACEHOLDER = "replaced by JSON text after encoding"
_MAX_COLLECTED_LENGTH = 200


def split_frames(body: bytes) -> list[bytes]:
    """Split a stream into its frames, each with its blank line."""
    return re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", body)


def _positions(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each position in a JSON value, at any depth: the container, and the key or index."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from _positions(value[key])


def _payloads(body: bytes) -> Iterator[Any]:
    for _, data in _DATA_LINE.findall(body) or [(b"", body)]:
        try:
            yield json.loads(data)
        except ValueError:  # [DONE]
            continue


def _collect_keys_and_values() -> tuple[list[str], list[str]]:
    """Collect the keys and values of all APIs, so that each can be inserted anywhere."""
    keys: dict[str, None] = {}
    values: dict[str, None] = {}
    bodies = (
        *(stream.body for stream in CORPUS.values()),
        *STREAMS_WITH_OPTIONAL_FIELDS.values(),
        *ERROR_STREAMS.values(),
    )
    for body in bodies:
        for payload in _payloads(body):
            for container, key in _positions(payload):
                if isinstance(key, str):
                    keys[key] = None
                values[json.dumps(container[key])] = None
    return list(keys), [value for value in values if len(value) < _MAX_COLLECTED_LENGTH]


_KEYS, _VALUES = _collect_keys_and_values()
# Frames to insert. Errors and optional fields are repeated, so that they are chosen more often.
_FRAMES = {
    api: [
        *(
            frame
            for stream in CORPUS.values()
            if stream.api == api
            for frame in split_frames(stream.body)
        ),
        *([error] * 20),
        *(split_frames(STREAMS_WITH_OPTIONAL_FIELDS[api]) * 5),
    ]
    for api, error in ERROR_STREAMS.items()
}


def corrupt(body: bytes, api: str, random: Random) -> bytes:
    """Corrupt a body in one to four places."""
    for _ in range(random.randrange(1, 5)):
        body = random.choice(_CORRUPTIONS)(body, api, random)
    return body


def split_randomly(body: bytes, random: Random) -> Iterator[bytes]:
    """Split a body at up to five places; every eighth time into single bytes."""
    if random.randrange(8) == 0:
        places = list(range(len(body)))
    else:
        places = sorted(random.randrange(len(body) + 1) for _ in range(random.randrange(6)))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


def _corrupt_json(body: bytes, api: str, random: Random) -> bytes:
    """Replace, remove, insert or swap one value in the JSON of one frame."""
    data_lines = list(_DATA_LINE.finditer(body))
    if data_lines:
        start, end = random.choice(data_lines).span(2)
    else:
        start, end = 0, len(body)
    try:
        payload = json.loads(body[start:end])
        positions = list(_positions(payload))
    except (ValueError, RecursionError):
        return _corrupt_bytes(body, api, random)
    if not positions:
        return body[:start] + random.choice(ODD_VALUES).encode() + body[end:]
    text = _corrupt_payload(payload, positions, random)
    return body[:start] + text.encode("utf-8", "surrogatepass") + body[end:]


def _corrupt_payload(payload: Any, positions: list[tuple[Any, Any]], random: Random) -> str:
    container, key = random.choice(positions)
    replacement = ""
    match random.randrange(7):
        case 0 | 1 | 2:
            container[key] = _PLACEHOLDER
            replacement = random.choice(ODD_VALUES)
        case 3:
            container[key] = _PLACEHOLDER
            replacement = random.choice(_VALUES)
        case 4:
            del container[key]
        case 5:
            other, other_key = random.choice(positions)
            container[key], other[other_key] = other[other_key], container[key]
        case 6 if isinstance(container, dict):
            container[random.choice(_KEYS)] = _PLACEHOLDER
            replacement = random.choice(random.choice((ODD_VALUES, _VALUES)))
        case _:
            container.insert(key, _PLACEHOLDER)
            replacement = random.choice(_VALUES)
    separators = random.choice([(",", ":"), (", ", ": ")])
    try:
        text = json.dumps(payload, ensure_ascii=random.random() < 0.5, separators=separators)
    except (ValueError, RecursionError):  # the swap has put a value into itself
        return "{}"
    return text.replace(json.dumps(_PLACEHOLDER), replacement)


def _corrupt_frames(body: bytes, api: str, random: Random) -> bytes:
    """Remove, repeat, swap or cut a frame, or insert a frame of another stream."""
    frames = split_frames(body)
    index, other = random.randrange(len(frames)), random.randrange(len(frames))
    match random.randrange(6):
        case 0:
            del frames[index]
        case 1:
            frames[other:other] = [frames[index]] * random.choice((1, 1, 1, 30))
        case 2:
            frames[index], frames[other] = frames[other], frames[index]
        case 3:
            frames[index] = frames[index][: random.randrange(len(frames[index]) + 1)]
        case 4:
            frames.insert(index, random.choice(_FRAMES[api]))
        case _:
            frames.insert(index, random.choice(_FRAMES[random.choice(sorted(_FRAMES))]))
    return b"".join(frames)


def _corrupt_bytes(body: bytes, api: str, random: Random) -> bytes:
    """Remove some bytes, and insert others."""
    del api
    start = random.randrange(len(body) + 1)
    removed = random.choice([0, 0, 1, 3, 20])
    return body[:start] + random.choice([b"", *_ODD_BYTES]) + body[start + removed :]


Corruption = Callable[[bytes, str, Random], bytes]
_CORRUPTIONS: tuple[Corruption, ...] = (
    *(_corrupt_json, _corrupt_json, _corrupt_json),
    *(_corrupt_frames, _corrupt_bytes),
)
