"""What is secret is sent to the service, and shown nowhere."""

from __future__ import annotations

import traceback

import native
import pytest

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError

SECRET = "sk-very-secret"
ANSWER = native.STREAMS["one run"].body


def everything_of(error: BaseException) -> str:
    return f"{error!r} {''.join(traceback.format_exception(error))}"


def test_white_space_around_a_key_is_not_part_of_it(service):
    served = service(ANSWER)
    served.model(api_key=f" {SECRET}\n").invoke("Hi")
    assert served.requests[0].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("between", ["\n", "\r\n", "\0", "…"])
def test_a_key_that_cannot_be_sent_is_not_shown(service, between: str):
    served = service(ANSWER)
    with pytest.raises(QwenAuthenticationError) as caught:
        served.model(api_key=f"{SECRET}{between}{SECRET}").invoke("Hi")
    assert SECRET not in everything_of(caught.value)
    assert served.requests == []


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}…"])
def test_a_header_that_cannot_be_sent_is_named_and_not_shown(service, value: str):
    served = service(ANSWER)
    with pytest.raises(QwenInputError, match="X-Token") as caught:
        served.model(default_headers={"X-Token": value}).invoke("Hi")
    assert SECRET not in everything_of(caught.value)
    assert served.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "nowhere"},
        {"temperature": "hot"},
        {"model": "qwen3-max", "enable_thinking": False},
        {"base_url": f"https://gate.example?key={SECRET}"},
        {"base_url": f"https://user:{SECRET}@gate.example"},
    ],
)
def test_what_is_wrong_with_a_model_is_said_without_its_key(wrong):
    with pytest.raises(ValueError, match="error") as caught:
        ChatQwenCodeInterpreter(**wrong, api_key=SECRET)
    assert SECRET not in everything_of(caught.value)
