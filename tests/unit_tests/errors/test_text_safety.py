"""Which characters of text from outside are escaped."""

from __future__ import annotations

import io
import json

import pytest

from langchain_qwen_ci.errors import QwenError
from langchain_qwen_ci.errors.text_safety import (
    escape_line,
    escape_unencodable,
    escape_unprintable,
)


@pytest.mark.parametrize(
    "character", ["\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\x7f", "\u202e", "\u2028"]
)
def test_characters_that_cannot_be_seen_are_escaped(character):
    escaped = f"\\u{ord(character):04x}"
    assert escape_unprintable(f"a{character}b\n") == f"a{escaped}b\n"
    assert escape_line(f"a{character}\n") == f"a{escaped}\\n"
    assert str(QwenError(f"No{character}.")) == f"No{escaped}."


@pytest.mark.parametrize(
    "text", ["\uac00\ub098\ub2e4", "\u2801\u283f", "\u3000\xa0 ", "\u0645\u200c\u0627"]
)
def test_characters_that_text_needs_are_kept(text):
    assert escape_unprintable(text) == text


def test_stream_escapes_what_its_encoding_lacks():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1", errors="strict")
    escape_unencodable(stream)
    stream.write('{"a": "\xfc\u4f60\U0001f600"}')
    stream.flush()
    assert raw.getvalue() == b'{"a": "\xfc\\u4f60\\ud83d\\ude00"}'
    assert json.loads(raw.getvalue().decode("latin-1")) == {"a": "\xfc\u4f60\U0001f600"}


def test_stream_still_rejects_bytes_that_it_cannot_decode():
    stream = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8")
    escape_unencodable(stream)
    with pytest.raises(UnicodeDecodeError):
        stream.read()


def test_what_is_no_text_stream_of_bytes_is_left_alone():
    escape_unencodable(None)
    escape_unencodable(io.StringIO())
