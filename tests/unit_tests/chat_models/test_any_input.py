"""Whatever is passed in, the errors are those of this package.

Allowed are `QwenError` and `ValueError`, and `TypeError` for an argument of a wrong type when the
model is created.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from dashscope_streams import STREAMS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from mock_service import MockService

from langchain_qwen_ci import ChatQwenCodeInterpreter, code_executions, plugin_counts
from langchain_qwen_ci.errors import QwenError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("recorded_waits"),
]
any_input = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ANSWER = STREAMS["one run"].body
APIS = st.sampled_from(["dashscope", "responses", "chat_completions"])

TEXT = st.text(max_size=6) | st.text(st.characters(max_codepoint=127), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.text(st.characters(), max_size=3)  # also half of a surrogate pair
    | st.binary(max_size=3)
    | st.sampled_from([object(), object, len, Exception("?"), 1e300, 2**70])
)


def contains_itself() -> dict[str, Any]:
    value: dict[str, Any] = {"type": "object"}
    value["properties"] = {"again": value}
    return value


NAMES = st.sampled_from(
    ["type", "name", "title", "function", "parameters", "properties", "description", "strict"]
)
ANYTHING = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=3)
        | st.tuples(values)
        | st.dictionaries(NAMES | TEXT, values, max_size=3)
    ),
    max_leaves=6,
) | st.builds(contains_itself)
URL_PARTS = st.sampled_from(
    [
        "http://",
        "https://",
        "socks5://",
        "ftp://",
        "host",
        "localhost",
        "127.1",
        "[::1]",
        "[",
        "]",
        ":",
        ":80",
        ":99999",
        ":x",
        "@",
        "/",
        "#",
        "?",
        "%",
        "\uff11",
        ".",
        "..",
        ",",
        "*",
        "10.0.0.0/8",
        "xn--a",
        "ü",
        "\u2028",
        "v1",
    ]
)
URLS = st.lists(URL_PARTS, max_size=5).map("".join)

# LangChain reads its own fields itself.
FIELDS = sorted(set(ChatQwenCodeInterpreter.model_fields) - set(BaseChatModel.model_fields))
VARIABLES = [
    "DASHSCOPE_API_KEY",
    "DASHSCOPE_BASE_URL",
    "DASHSCOPE_HTTP_BASE_URL",
    "DASHSCOPE_COMPATIBLE_BASE_URL",
    "DASHSCOPE_REGION",
    "DASHSCOPE_API_REGION",
    "DASHSCOPE_WORKSPACE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
]


def unknown_hosts() -> Any:
    """Make all host names unknown.

    It is not a fixture: pytest-socket restores its own function before fixtures end.
    """
    error = socket.gaierror("no network in tests")
    return mock.patch("socket.getaddrinfo", side_effect=error)


def model_for(**fields: Any) -> ChatQwenCodeInterpreter:
    return MockService([ANSWER]).model(**{"max_retries": 0, **fields})


@any_input
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING | URLS, min_size=1, max_size=2))
def test_any_argument_of_the_constructor(fields):
    try:
        model = model_for(**fields)
    except (ValueError, TypeError):
        return
    with unknown_hosts(), suppress(QwenError, ValueError):
        model.invoke("Hi")


@any_input
@given(
    api=APIS,
    interpreter=st.booleans(),
    arguments=st.dictionaries(
        st.sampled_from(FIELDS)
        | st.sampled_from(["tools", "tool_choice", "response_format", "reasoning", "functions"])
        | st.text(min_size=1, max_size=3),
        ANYTHING,
        min_size=1,
        max_size=2,
    ),
)
@example(api="dashscope", interpreter=True, arguments={"model_kwargs": {"a": float("nan")}})
@example(api="responses", interpreter=True, arguments={"model_kwargs": contains_itself()})
def test_any_argument_of_a_call(api, interpreter, arguments):
    model = model_for(api=api, enable_code_interpreter=interpreter)
    with suppress(QwenError, ValueError):
        model._generate([HumanMessage("Hi")], **arguments)


@any_input
@given(api=APIS, tools=ANYTHING, choice=ANYTHING, strict=st.none() | st.booleans())
def test_any_tool(api, tools, choice, strict):
    model = model_for(api=api, enable_code_interpreter=False)
    with suppress(QwenError, ValueError):
        model.bind_tools(tools, tool_choice=choice, strict=strict).invoke("Hi")
    with suppress(QwenError, ValueError):
        model.get_num_tokens_from_messages([HumanMessage("Hi")], tools)


@any_input
@given(
    api=APIS,
    variables=st.dictionaries(
        st.sampled_from(VARIABLES),
        (TEXT | URLS).filter(lambda text: "\0" not in text),
        min_size=1,
        max_size=3,
    ),
)
def test_any_environment_variable(api, variables):
    clean = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    with mock.patch.dict(os.environ, {**clean, **variables}, clear=True):
        try:
            model = ChatQwenCodeInterpreter(api=api, max_retries=0)
        except (ValueError, TypeError):
            return
        with unknown_hosts(), pytest.raises(QwenError):
            model.invoke("Hi")
        model.close()


SHAPES = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "code",
            "status",
            "output",
            "count",
            "images",
            "result_of",
            "text_offset",
            "name",
            "args",
        ]
    ),
    SCALARS | st.lists(SCALARS, max_size=2),
    max_size=4,
)
RECORDS = st.lists(SHAPES | SCALARS, max_size=3) | SHAPES | st.dictionaries(TEXT, SHAPES) | SCALARS


@any_input
@given(api=APIS, executions=RECORDS, plugins=RECORDS, positions=RECORDS, reasoning=SCALARS)
def test_any_metadata_of_an_answer(api, executions, plugins, positions, reasoning):
    message = AIMessage(
        "Hi",
        additional_kwargs={"block_positions": positions, "reasoning_content": reasoning},
        response_metadata={
            "model_provider": "qwen",
            "code_executions": executions,
            "plugins": plugins,
        },
    )
    assert all(set(execution) >= {"id", "code"} for execution in code_executions(message))
    assert all(type(count) is int for count in plugin_counts(message).values())
    assert isinstance(message.content_blocks, list)
    model = model_for(api=api)
    with suppress(QwenError):
        model.invoke([HumanMessage("Hi"), message, HumanMessage("And?")])
    assert code_executions(message.model_dump()) == code_executions(message)
