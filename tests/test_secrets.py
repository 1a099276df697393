"""What is secret is sent to the service, and shown nowhere."""

from __future__ import annotations

import copy
import pickle
import traceback

import native
import pytest
import responses_wire
from langchain_core.load import dumps, loads

from langchain_qwen_ci import ChatQwenCodeInterpreter
from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

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


MCP = {
    "type": "mcp",
    "server_label": "maps",
    "server_url": "https://maps.example",
    "headers": {"Authorization": SECRET},
    "authorization": SECRET,
}


def test_keys_of_mcp_servers_are_sent_and_not_shown(service):
    served = service(responses_wire.STREAMS["one run"].body)
    bound = served.model(api="responses").bind_tools([MCP])
    for one in (bound, bound.bind(temperature=0.5), copy.copy(bound), bound.with_retry()):
        shown = [repr(one), str(one), dumps(one)]
        assert all("maps.example" in text for text in shown)
        assert not any(SECRET in text for text in shown)
        one.invoke("Hi")
    assert all(MCP in body["tools"] for body in served.bodies)
    assert MCP["authorization"] == SECRET  # the caller's own is as it was


def test_a_pickle_has_lost_them_and_says_so(service):
    served = service(responses_wire.STREAMS["one run"].body)
    pickled = pickle.dumps(ChatQwenCodeInterpreter(api="responses").bind_tools([MCP]))
    assert b"maps.example" in pickled
    assert SECRET.encode() not in pickled
    bound = pickle.loads(pickled)
    bound.bound.http_client = served.model().http_client
    with pytest.raises(QwenInputError, match="bind the tool again"):
        bound.invoke("Hi")
    assert served.requests == []


def test_a_workspace_is_sent_and_not_shown(service, monkeypatch):
    served = service(ANSWER)
    model = served.model(workspace="ws-secret")
    model.invoke("Hi")
    assert served.requests[0].headers["x-dashscope-workspace"] == "ws-secret"
    assert "ws-secret" not in repr(model) + str(model) + dumps(model)
    assert b"ws-secret" not in pickle.dumps(model)
    read = loads(
        dumps(model),
        secrets_map={"DASHSCOPE_API_KEY": "sk-other", "DASHSCOPE_WORKSPACE": "ws-other"},
        valid_namespaces=["langchain_qwen_ci"],
        allowed_objects=[ChatQwenCodeInterpreter],
    )
    assert read.workspace == "ws-other"
    model.http_client = model.http_async_client = None  # which cannot be copied
    assert copy.deepcopy(model).workspace == copy.copy(model).workspace == "ws-secret"
