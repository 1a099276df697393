"""A missing key is an error of the first call, because something can still supply the key."""

from __future__ import annotations

import pickle
import warnings

import dashscope_streams
import pytest
import responses_streams
from langchain_core.runnables import ConfigurableField

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError

ANSWER = dashscope_streams.STREAMS["one run"].body


def without_key(backend, **fields) -> ChatQwenCodeInterpreter:
    """Make a model whose key is neither given nor in the environment."""
    own = backend.model()
    return ChatQwenCodeInterpreter(http_client=own.http_client, **fields)


def sent_keys(backend) -> list[str | None]:
    return [request.headers.get("authorization") for request in backend.requests]


def test_model_without_a_key_is_made_in_silence_and_cannot_be_called(mock_service):
    backend = mock_service(ANSWER)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = without_key(backend)
    with pytest.raises(
        QwenAuthenticationError, match=r"no API key\. Set DASHSCOPE_API_KEY, or pass"
    ):
        model.invoke("Hi")
    assert backend.requests == []


def test_variable_set_after_the_model_was_made_supplies_the_key(mock_service, monkeypatch):
    backend = mock_service(ANSWER)
    model = without_key(backend)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-later")
    model.invoke("Hi")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-even-later")
    model.invoke("Hi")
    assert sent_keys(backend) == ["Bearer sk-later", "Bearer sk-even-later"]


def test_variable_does_not_replace_a_key_that_was_given(mock_service, monkeypatch):
    backend = mock_service(ANSWER)
    model = backend.model(api_key="sk-given")
    empty = backend.model(api_key="")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-later")
    model.invoke("Hi")
    assert sent_keys(backend) == ["Bearer sk-given"]
    with pytest.raises(QwenAuthenticationError, match="no API key"):
        empty.invoke("Hi")


def test_variable_set_later_is_not_sent_to_other_hosts(mock_service, monkeypatch):
    backend = mock_service(responses_streams.STREAMS["one run"].body)
    model = without_key(backend, api="responses", base_url="https://gate.example/v1")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-later")
    model.invoke("Hi")
    assert sent_keys(backend) == [None]


def test_configurable_field_supplies_the_key(mock_service):
    backend = mock_service(ANSWER)
    model = without_key(backend).configurable_fields(api_key=ConfigurableField(id="key"))
    model.with_config(configurable={"key": "sk-configured"}).invoke("Hi")
    assert sent_keys(backend) == ["Bearer sk-configured"]


def test_assignment_supplies_the_key(mock_service):
    backend = mock_service(ANSWER)
    model = without_key(backend)
    model.api_key = "sk-assigned"  # type: ignore[assignment]  # converted
    model.invoke("Hi")
    assert "sk-assigned" not in repr(model)
    assert sent_keys(backend) == ["Bearer sk-assigned"]


def test_environment_of_a_worker_supplies_the_key(mock_service, monkeypatch):
    backend = mock_service(ANSWER)
    pickled = pickle.dumps(ChatQwenCodeInterpreter())
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-of-the-worker")
    model = pickle.loads(pickled)
    model.http_client = backend.model().http_client
    model.invoke("Hi")
    assert sent_keys(backend) == ["Bearer sk-of-the-worker"]


def test_copy_supplies_a_key_that_is_not_shown(mock_service):
    backend = mock_service(ANSWER)
    model = without_key(backend).model_copy(update={"api_key": "sk-of-the-copy"})
    model.invoke("Hi")
    assert "sk-of-the-copy" not in repr(model)
    assert sent_keys(backend) == ["Bearer sk-of-the-copy"]
