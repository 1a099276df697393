"""Requests with values of any type are rejected or answered, and never crash the emulator."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from emulator_requests import APIS, BODIES, PATHS, post
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest_plugins = ["langchain_qwen_ci.emulator.pytest_plugin"]

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
MESSAGES = [
    {"role": "user", "content": [{"type": "text", "text": "2 + 2"}]},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "4"},
    {"role": "user", "content": "json"},
]
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "2 + 2"}]},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "4"},
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
FORCED = {"type": "function", "function": {"name": "f"}}
NUMBERS = {"temperature": 1, "top_p": 1, "max_tokens": 99}
FIELDS = {
    "dashscope": {
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": FORCED,
        "response_format": FORMAT,
        "stop": ["x"],
        **NUMBERS,
    },
    "chat_completions": {
        "messages": MESSAGES,
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": FORCED,
        "response_format": FORMAT,
        "stop": ["x"],
        **NUMBERS,
    },
    "responses": {
        "input": ITEMS,
        "tools": [FUNCTION, {"type": "web_search"}],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}],
        },
        "conversation": {"id": "c"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
        "reasoning": {"effort": "none"},
        "previous_response_id": None,
        "instructions": "Be brief.",
        **NUMBERS,
    },
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))][not path :]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", APIS)
def test_invalid_values_are_rejected_or_answered(qwen_emulator, api, stream):
    complete = BODIES[api]("2 + 2", interpreter=False, stream=stream, **FIELDS[api])
    headers = {"Authorization": "Bearer any"}
    if stream and api == "dashscope":
        headers["X-DashScope-SSE"] = "enable"

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(place=st.sampled_from(places(complete)), value=ANY_JSON)
    def send_changed(place, value):
        body = copy.deepcopy(complete)
        holder: Any = body
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
        response = client.post(PATHS[api], json=body)
        assert response.status_code in (200, 400, 404), (place, value, response.text)
        if response.status_code != 200:
            assert json.loads(response.content)["request_id"]
        elif stream:
            assert "InternalError" not in response.text

    # One client for all requests: creating one loads the certificates of the machine.
    with httpx.Client(base_url=qwen_emulator.url, headers=headers) as client:
        assert client.post(PATHS[api], json=complete).status_code == 200
        send_changed()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_value_that_is_not_a_number_is_out_of_range(qwen_emulator, api, number):
    body = json.dumps(BODIES[api](temperature=0.125)).replace("0.125", number)
    headers = {"Authorization": "Bearer any", "X-DashScope-SSE": "enable"}
    response = httpx.post(qwen_emulator.url + PATHS[api], content=body, headers=headers)
    assert response.status_code == 400
    assert "temperature" in response.text


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "-" * 5000])
def test_numbers_that_python_cannot_represent_are_skipped(qwen_emulator, text):
    tool = {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}}
    tools = [{"type": "function", "function": tool}]
    fields = {"tools": tools, "tool_choice": FORCED, "interpreter": False, "stream": False}
    body = BODIES["chat_completions"](f"{text} and 5", **fields)
    message = post(qwen_emulator, PATHS["chat_completions"], body).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"n": 5}'
