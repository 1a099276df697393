"""What an error or a warning advises is accepted by the constructor or call that it names.

Each case is a mistake, the advice in its message, and the same code after the advice was followed.
`test_every_message_with_advice_has_a_case` finds messages of the package that have no case here.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_completions_streams
import dashscope_streams
import httpx
import pytest
import responses_streams
from langchain_core.messages import HumanMessage
from mock_service import MockService
from pydantic import BaseModel

from langchain_qwen_ci import ChatQwenCodeInterpreter, models
from langchain_qwen_ci.wire.responses import request as responses_request

ANSWERS = {
    "dashscope": dashscope_streams.STREAMS["one run"].body,
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}
PACKAGE = Path(__file__).parents[3] / "langchain_qwen_ci"


class Sum(BaseModel):
    value: int


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def model(**fields: Any) -> ChatQwenCodeInterpreter:
    return MockService([ANSWERS[fields.get("api", "dashscope")]]).model(**fields)


IMAGE = HumanMessage([{"type": "image", "url": "https://images.example/a.png"}])
OFF = {"enable_code_interpreter": False}
RESPONSES: dict[str, Any] = {"api": "responses"}
CHAT: dict[str, Any] = {"api": "chat_completions"}
V1 = "https://gate.example/v1"
PLAIN = "http://203.0.113.7:8000"
CACHED = HumanMessage([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}])
Action = Callable[[], object]
CASES: dict[str, tuple[Action, str, list[Action]]] = {
    "fields of the model in a call": (
        lambda: model().invoke("?", streaming=False),
        "pass disable_streaming=True to the model",
        [lambda: model(disable_streaming=True).invoke("?")],
    ),
    "workspace of a call": (
        lambda: model().invoke("?", organization="a"),
        "pass workspace=… to the model",
        [lambda: model(workspace="a").invoke("?")],
    ),
    "client of a call": (
        lambda: model().invoke("?", extra_query={"a": "b"}),
        "pass it to the model as http_client and http_async_client",
        [lambda: model(http_client=httpx.Client(params={"a": "b"}))],
    ),
    "API of a call": (
        lambda: model().invoke("?", use_responses_api=True),
        'pass api="responses" or api="chat_completions" to the model',
        [lambda: model(**RESPONSES).invoke("?"), lambda: model(**CHAT).invoke("?")],
    ),
    "streaming": (
        lambda: model(streaming=False),
        "pass disable_streaming=True",
        [lambda: model(disable_streaming=True).invoke("?")],
    ),
    "use_responses_api": (
        lambda: model(use_responses_api=True),
        'pass api="responses" or api="chat_completions"',
        [lambda: model(**RESPONSES).invoke("?"), lambda: model(**CHAT).invoke("?")],
    ),
    "use_previous_response_id": (
        lambda: model(use_previous_response_id=True),
        'pass previous_response_id=message.* to a model with api="responses"',
        [lambda: model(**RESPONSES).invoke("?", previous_response_id="resp_1")],
    ),
    "organization": (
        lambda: model(organization="a"),
        "pass workspace=…",
        [lambda: model(workspace="a").invoke("?")],
    ),
    "extra_headers": (
        lambda: model().invoke("?", extra_headers={"X-Team": "a"}),
        "pass default_headers=… to it",
        [lambda: model(default_headers={"X-Team": "a"}).invoke("?")],
    ),
    "search_options": (
        lambda: model(search_options={"forced_search": True}),
        "pass model_kwargs={'search_options': …}",
        [lambda: model(model_kwargs={"search_options": {"forced_search": True}}).invoke("?")],
    ),
    "enable_search": (
        lambda: ChatQwenCodeInterpreter(enable_search=True),  # type: ignore[call-arg]
        "model_kwargs={'enable_search': …}",
        [lambda: model(model_kwargs={"enable_search": True}).invoke("?")],
    ),
    "frequency_penalty": (
        lambda: model(frequency_penalty=0.5),
        "model_kwargs={'frequency_penalty': …}",
        [
            lambda: model(model_kwargs={"frequency_penalty": 0.5}).invoke("?"),
            lambda: model(presence_penalty=0.5, repetition_penalty=1.1).invoke("?"),
        ],
    ),
    "reasoning": (
        lambda: model(reasoning={"effort": "low"}),
        'pass reasoning_effort="…", api="responses"; model_kwargs={"reasoning": {…}}',
        [
            lambda: model(reasoning_effort="low", **RESPONSES).invoke("?"),
            lambda: model(model_kwargs={"reasoning": {"effort": "low"}}, **RESPONSES).invoke("?"),
        ],
    ),
    "service_tier": (
        lambda: model(service_tier="flex"),
        "model_kwargs={'service_tier': …}",
        [lambda: model(model_kwargs={"service_tier": "flex"}).invoke("?")],
    ),
    "tools": (
        lambda: model(tools=[add]),
        "pass them to bind_tools",
        [lambda: model(**OFF).bind_tools([add]).invoke("?")],
    ),
    "builtin_tools": (
        lambda: model(builtin_tools=[{"type": "web_search"}], **RESPONSES),
        "to bind_tools",
        [lambda: model(**RESPONSES).bind_tools([{"type": "web_search"}]).invoke("?")],
    ),
    "timeout": (
        lambda: model(timeout=(5, 60)),
        "connect_timeout=… .* timeout=… .* stream_chunk_timeout=… .* total_timeout=…",
        [
            lambda: model(
                connect_timeout=5, timeout=60, stream_chunk_timeout=60, total_timeout=600
            ).invoke("?")
        ],
    ),
    "a field of the model": (
        lambda: model().invoke("?", max_retries=1),
        "make another ChatQwenCodeInterpreter(max_retries=…)",
        [lambda: model(max_retries=1).invoke("?")],
    ),
    "unknown argument": (
        lambda: model().bind(zzzz=1),
        "Pass model_kwargs={'zzzz': …}",
        [lambda: model().bind(model_kwargs={"zzzz": 1}).invoke("?")],
    ),
    "functions with the interpreter": (
        lambda: model().bind_tools([add]),
        "pass enable_code_interpreter=False to use the tools",
        [lambda: model().bind_tools([add], **OFF).invoke("?"), lambda: model().invoke("?")],
    ),
    "server tools": (
        lambda: model(builtin_tools=["web_search"]),
        'api="responses"; .* model_kwargs={"enable_search": True}',
        [
            lambda: model(builtin_tools=["web_search"], **RESPONSES).invoke("?"),
            lambda: model(model_kwargs={"enable_search": True}).invoke("?"),
            lambda: model(model_kwargs={"enable_search": True}, **CHAT).invoke("?"),
        ],
    ),
    "web_extractor": (
        lambda: model(builtin_tools=["web_extractor"], **RESPONSES),
        "pass both",
        [lambda: model(builtin_tools=["web_search", "web_extractor"], **RESPONSES).invoke("?")],
    ),
    "options of Anthropic": (
        lambda: model().bind_tools([{"type": "code_execution_20250825", "max_uses": 5}]),
        'pass {"type": "code_interpreter"}',
        [lambda: model().bind_tools([{"type": "code_interpreter"}]).invoke("?")],
    ),
    "container": (
        lambda: (
            model()
            .bind_tools([{"type": "code_interpreter", "container": {"type": "auto", "a": 1}}])
            .invoke("?")
        ),
        'use api="responses"',
        [
            lambda: (
                model(**RESPONSES)
                .bind_tools([{"type": "code_interpreter", "container": {"type": "auto", "a": 1}}])
                .invoke("?")
            )
        ],
    ),
    "budget and effort": (
        lambda: model(thinking_budget=9, reasoning_effort="low", model="qwen3.8-max"),
        "Pass thinking_budget or reasoning_effort",
        [
            lambda: model(thinking_budget=9).invoke("?"),
            lambda: model(reasoning_effort="low", model="qwen3.8-max").invoke("?"),
        ],
    ),
    "effort on the native API": (
        lambda: model(reasoning_effort="low"),
        'pass thinking_budget, or use api="responses"',
        [
            lambda: model(thinking_budget=9).invoke("?"),
            lambda: model(reasoning_effort="low", **RESPONSES).invoke("?"),
        ],
    ),
    "budget on Responses": (
        lambda: model(thinking_budget=9, **RESPONSES).invoke("?"),
        'pass reasoning_effort ("low", "medium" or "high"), or use another api',
        [
            *(
                lambda effort=effort: model(reasoning_effort=effort, **RESPONSES).invoke("?")
                for effort in ("low", "medium", "high")
            ),
            lambda: model(thinking_budget=9, **CHAT).invoke("?"),
        ],
    ),
    "conversation": (
        lambda: model(conversation="a", previous_response_id="b", **RESPONSES),
        "Pass conversation or previous_response_id",
        [
            lambda: model(conversation="a", **RESPONSES).invoke("?"),
            lambda: model(previous_response_id="b", **RESPONSES).invoke("?"),
        ],
    ),
    "think tags": (
        lambda: model(parse_think_tags=True),
        'api="responses" and api="chat_completions"',
        [
            lambda: model(parse_think_tags=True, **RESPONSES).invoke("?"),
            lambda: model(parse_think_tags=True, **CHAT).invoke("?"),
        ],
    ),
    "instructions": (
        lambda: model(instructions="a"),
        'api="responses" only',
        [lambda: model(instructions="a", **RESPONSES).invoke("?")],
    ),
    "thinking off": (
        lambda: model(enable_thinking=False),
        "or pass enable_code_interpreter=False",
        [lambda: model(enable_thinking=False, **OFF).invoke("?"), lambda: model().invoke("?")],
    ),
    "n": (
        lambda: model().invoke("?", n=2),
        "use batch",
        [lambda: model().batch(["?", "?"])],
    ),
    "response_format": (
        lambda: model().invoke("?", response_format={"type": "json_object"}),
        "use with_structured_output, .* or enable_code_interpreter=False",
        [
            lambda: model().with_structured_output(Sum),
            lambda: model(**OFF).invoke("?", response_format={"type": "json_object"}),
        ],
    ),
    "forced tool while thinking": (
        lambda: model(enable_thinking=True, **OFF).bind_tools([add], tool_choice="any"),
        'drop enable_thinking=True or pass tool_choice="auto"; .* method="prompt"',
        [
            lambda: model(**OFF).bind_tools([add], tool_choice="any").invoke("?"),
            lambda: (
                model(enable_thinking=True, **OFF).bind_tools([add], tool_choice="auto").invoke("?")
            ),
            lambda: model(enable_thinking=True, **OFF).with_structured_output(Sum, method="prompt"),
        ],
    ),
    "allowed tools": (
        lambda: model(**OFF).bind_tools([add], tool_choice={"type": "allowed_tools"}).invoke("?"),
        'use api="responses"',
        [
            lambda: (
                model(**OFF, **RESPONSES)
                .bind_tools([add], tool_choice={"type": "allowed_tools"})
                .invoke("?")
            )
        ],
    ),
    "reformat": (
        lambda: model(**OFF).with_structured_output(Sum, reformat=True),
        'reformat=True needs method="prompt"',
        [lambda: model(**OFF).with_structured_output(Sum, reformat=True, method="prompt")],
    ),
    "region without a host": (
        lambda: model(base_url=None, region="eu-central-1"),
        "pass workspace, or",
        [lambda: model(base_url=None, region="eu-central-1", workspace="a").invoke("?")],
    ),
    "native API of another server": (
        lambda: model(base_url=V1),
        'pass api="responses" or api="chat_completions". .* write /api/v1',
        [
            lambda: model(base_url=V1, **RESPONSES).invoke("?"),
            lambda: model(base_url=V1, **CHAT).invoke("?"),
            lambda: model(base_url="https://gate.example/api/v1").invoke("?"),
        ],
    ),
    "plain http": (
        lambda: model(base_url=PLAIN),
        'use https, or allow_plain_http=True if .*pass api_key="" and workspace=""',
        [
            lambda: model(base_url=PLAIN.replace("http:", "https:")).invoke("?"),
            lambda: model(base_url=PLAIN, allow_plain_http=True).invoke("?"),
            lambda: model(base_url="http://10.0.0.7:8000", api_key="", workspace="").invoke("?"),
        ],
    ),
    "password in the URL": (
        lambda: model(base_url="https://a:b@gate.example"),
        "pass them in default_headers",
        [
            lambda: model(
                base_url="https://gate.example", default_headers={"Authorization": "Basic YTpi"}
            ).invoke("?")
        ],
    ),
    "missing key": (
        lambda: model(api_key="").invoke("?"),
        "or pass api_key",
        [lambda: model(api_key="sk-a").invoke("?")],
    ),
    "media": (
        lambda: model().invoke([IMAGE]),
        'such as qwen3.5-plus; .* pass endpoint="multimodal-generation"',
        [
            lambda: model(model="qwen3.5-plus").invoke([IMAGE]),
            lambda: model(endpoint="multimodal-generation").invoke([IMAGE]),
        ],
    ),
    "unknown model": (
        lambda: model(model="qwen99"),
        "pass the other one as endpoint=…",
        [lambda: model(endpoint="multimodal-generation").invoke("?")],
    ),
    "cache_control on Responses": (
        lambda: model(**RESPONSES).invoke([CACHED]),
        "pass session_cache=True",
        [lambda: model(session_cache=True, **RESPONSES).invoke([CACHED])],
    ),
    "not finite": (
        lambda: model(model_kwargs={"a": float("nan")}).invoke("?"),
        "or pass None",
        [lambda: model(model_kwargs={"a": None}).invoke("?")],
    ),
    "code not returned": (
        lambda: model(**CHAT),
        'api="dashscope" returns both, api="responses"',
        [lambda: model().invoke("?"), lambda: model(**RESPONSES).invoke("?")],
    ),
}


@pytest.fixture(autouse=True)
def _nothing_was_warned_about():
    models.warn_about_model.cache_clear()
    models.warn_code_not_returned.cache_clear()
    responses_request.warn_cache_control_not_sent.cache_clear()


@pytest.mark.parametrize("case", CASES)
def test_advice_is_accepted(case: str):
    mistake, advice, corrections = CASES[case]
    pattern = ".*".join(map(re.escape, advice.split(".*")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, UserWarning), match=f"(?s){pattern}"):
            mistake()
        warnings.filterwarnings("ignore", "Chat Completions runs code")
        warnings.filterwarnings("ignore", "The code interpreter of qwen3.8-max")
        for correct in corrections:
            correct()


# Messages about other things than arguments of the model, or with cases in tests of their own.
ELSEWHERE = (
    "agents.py",
    "__main__.py",
    "emulator",
    "errors/exceptions.py",
    "graph",
    "http/failures.py",
)
ADVICE = re.compile(r"\b[Pp]ass (?!them\b|both\b|only\b)[a-z_{]+=")


def texts_with_advice() -> list[str]:
    """Return the string literals of the package that advise to pass an argument."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix().startswith(ELSEWHERE):
            continue
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
        docstrings = {ast.get_docstring(node, clean=False) for node in nodes}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text not in docstrings and ADVICE.search(text):
                found.append(text)
    return found


@pytest.mark.parametrize("text", texts_with_advice())
def test_every_message_with_advice_has_a_case(text: str):
    advice = " ".join(advice for _, advice, _ in CASES.values())
    # Agents have tests of their own.
    names = [name for name in re.findall(r"\b([a-z_]+)=", text) if name != "middleware"]
    assert [name for name in names if f"{name}=" not in advice] == []
