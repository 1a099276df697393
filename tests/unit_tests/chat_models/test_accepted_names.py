"""Names of other chat models, unknown names, and arguments that are one value or several.

The tables of docs/migrating.md are the cases of the tests, so that the page is complete and true.
"""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path
from typing import Any

import chat_completions_streams
import dashscope_streams
import httpx
import pytest
import responses_streams
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

from langchain_qwen_ci import ChatQwenCodeInterpreter, QwenCodeInterpreterNode
from langchain_qwen_ci.errors import QwenInputError, ToolsNotAllowedError

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")

PAGE = Path(__file__).parents[3] / "docs" / "migrating.md"
SECRET = "sk-very-secret"
ANSWERS = {
    "dashscope": dashscope_streams.STREAMS["one run"].body,
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}
every_api = pytest.mark.parametrize("api", ANSWERS)


class Recorder(BaseCallbackHandler):
    """Records everything that LangChain passes to tracers at the start of a model's run."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.started = {"serialized": serialized, **kwargs}

    def as_text(self) -> str:
        return json.dumps(self.started, default=str)


NAMES = {
    "httpx": httpx,
    "CLIENT": httpx.Client(),
    "ASYNC_CLIENT": httpx.AsyncClient(),
    "HANDLER": Recorder(),
    "SDK": object(),
}


def table(title: str) -> list[list[str]]:
    """Return the rows of the table of a section of the page, without backticks."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert rows
    return rows


def arguments(cell: str) -> dict[str, Any]:
    return dict(eval(f"dict({cell})", NAMES))


def names(cell: str) -> list[str]:
    call = ast.parse(f"dict({cell})", mode="eval").body
    assert isinstance(call, ast.Call)
    return [str(keyword.arg) for keyword in call.keywords]


def fields_of(model: ChatQwenCodeInterpreter) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def parameters_of(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request, which the native API has in an object of their own."""
    return {**body, **body.get("parameters", {})}


SAME = [(row[0], row[2]) for row in table("Arguments with the same meaning")]
OTHER = [(row[0], row[2]) for row in table("Arguments with another meaning")]
CALLS = [
    (row[0], api, sent)
    for row in table("Arguments of a call")
    for api, sent in zip(ANSWERS, row[1:], strict=True)
]


@pytest.mark.parametrize(("given", "here"), SAME)
def test_argument_with_the_same_meaning_sets_the_field(given: str, here: str):
    model = ChatQwenCodeInterpreter(**arguments(given))
    assert fields_of(model) == fields_of(ChatQwenCodeInterpreter(**arguments(here)))


@pytest.mark.parametrize(("given", "instead"), OTHER)
def test_argument_with_another_meaning_names_the_right_one(given: str, instead: str):
    name = names(given)[0].removeprefix("request_")  # request_timeout is renamed before the check
    with pytest.raises(ValueError, match=name) as caught:
        ChatQwenCodeInterpreter(**arguments(given))
    if "=" not in instead:
        assert instead in str(caught.value)
        return
    assert [name for name in names(instead) if name not in str(caught.value)] == []
    assert ChatQwenCodeInterpreter(**arguments(instead))


@pytest.mark.parametrize(("given", "api", "sent"), CALLS)
@pytest.mark.parametrize("entry", ["invoke", "stream", "bind", "model_kwargs"])
def test_argument_of_a_call_is_sent(mock_service, entry: str, given: str, api: str, sent: str):
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api)
    if entry == "invoke":
        model.invoke("Hi", **arguments(given))
    elif entry == "stream":
        list(model.stream("Hi", **arguments(given)))
    elif entry == "bind":
        model.bind(**arguments(given)).invoke("Hi")
    else:
        # A string among model_kwargs is sent unchanged, because the service accepts it.
        given = given.replace('stop="SOLUTION"', 'stop=["SOLUTION"]')
        backend.model(api=api, model_kwargs=arguments(given)).invoke("Hi")
    (body,) = backend.bodies
    default = mock_service(ANSWERS[api])
    default.model(api=api).invoke("Hi")
    expected = {**parameters_of(default.bodies[0]), **arguments(sent)}
    assert {**parameters_of(body), "parameters": None} == {**expected, "parameters": None}


def test_the_page_has_every_argument_of_the_other_models():
    of_openai = ChatOpenAI.model_fields
    openai = {*of_openai, *(field.alias for field in of_openai.values() if field.alias)}
    # Read in langchain-qwq 0.3.5 and langchain-community 0.4.2, which the tests do not install.
    qwen = {"api_key", "api_base", "base_url", "enable_thinking", "thinking_budget"}
    tongyi = {"model", "model_name", "model_kwargs", "top_p", "dashscope_api_key", "streaming"}
    on_page = {name for given, _ in [*SAME, *OTHER] for name in names(given)}
    others = openai | qwen | tongyi | {"max_retries", "client"}
    assert others - on_page - set(BaseChatModel.model_fields) == set()


@pytest.mark.parametrize(
    ("given", "error_text"),
    [
        ({"model": "qwen3-max", "model_name": "qwen3-max"}, "model, model_name .*pass model only"),
        ({"openai_api_key": "a", "dashscope_api_key": "b"}, "pass api_key only"),
        ({"model_kwargs": {"a": 1}, "extra_body": {"b": 1}}, "pass model_kwargs only"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens or max_completion_tokens"),
        ({"logprobs": True, "model_kwargs": {"logprobs": True}}, "logprobs: given in model_kwargs"),
    ],
)
def test_two_names_of_one_field_raise(given: dict[str, Any], error_text: str):
    with pytest.raises(ValueError, match=error_text):
        ChatQwenCodeInterpreter(**given)


@pytest.mark.parametrize(
    ("given", "error_text"),
    [
        ({"stop": "a", "stop_sequences": "b"}, "stop or stop_sequences"),
        ({"max_tokens": 20, "max_output_tokens": 20}, "pass max_tokens only"),
        ({"max_tokens": 20, "max_completion_tokens": 20}, "not both"),
        ({"use_responses_api": True}, 'api="responses"'),
        ({"extra_headers": {"X": SECRET}}, "default_headers"),
        ({"request_timeout": 3}, r"request_timeout belongs to the model.*\(timeout=…\)"),
        ({"openai_api_key": SECRET}, r"openai_api_key belongs to the model.*\(api_key=…\)"),
    ],
)
def test_arguments_of_a_call_that_are_not_sent_raise(
    mock_service, given: dict[str, Any], error_text: str
):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.raises(ValueError, match=error_text) as caught:
        backend.model().invoke("Hi", **given)
    assert SECRET not in str(caught.value)
    assert backend.requests == []


def test_unknown_arguments_name_the_nearest_field_and_hide_the_values():
    given: dict[str, Any] = {"temprature": SECRET, "apikey": SECRET, "colour": SECRET, "top_P": 1}
    with pytest.raises(ValidationError) as caught:
        ChatQwenCodeInterpreter(**given, model_name="qwen3-max")
    messages = {error["loc"]: error["msg"] for error in caught.value.errors()}
    assert messages[("temprature",)] == "temprature: did you mean temperature?"
    assert messages[("apikey",)] == "apikey: did you mean api_key?"
    assert messages[("top_P",)] == "top_P: did you mean top_p?"
    assert "model_kwargs={'colour': …}" in messages[("colour",)]
    assert {error["type"] for error in caught.value.errors()} == {"extra_forbidden"}
    assert SECRET not in f"{caught.value}{caught.value!r}{caught.value.errors()}"


def test_near_miss_of_another_models_name_names_our_field():
    for given, field in {"modelname": "model", "stop_sequence": "stop"}.items():
        with pytest.raises(ValidationError, match=f"{given}: did you mean {field}\\?"):
            ChatQwenCodeInterpreter(**{given: "x"})


def test_other_errors_of_the_constructor_are_unchanged():
    with pytest.raises(ValidationError) as caught:
        ChatQwenCodeInterpreter(temperature=5, request_timeout=-1)
    assert [error["loc"] for error in caught.value.errors()] == [("timeout",), ("temperature",)]


@pytest.mark.parametrize("name", ["openai_api_key", "dashscope_api_key"])
def test_key_under_another_name_is_secret(monkeypatch, mock_service, name: str):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-environment")
    recorder = Recorder()
    backend = mock_service(ANSWERS["dashscope"])
    given = ChatQwenCodeInterpreter(**{name: SECRET})
    assert given.api_key is not None
    assert given.api_key.get_secret_value() == SECRET
    traced = backend.model(api_key=None, **{name: SECRET})
    traced.invoke("Hi", {"callbacks": [recorder]})
    assert backend.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in recorder.as_text()
    assert SECRET not in f"{given!r}{given}{dumps(given)}"
    assert SECRET.encode() not in pickle.dumps(given)


@pytest.mark.parametrize("name", ["api_key", "openai_api_key", "dashscope_api_key", "workspace"])
@pytest.mark.parametrize("entry", ["invoke", "stream"])
def test_secret_argument_of_a_call_is_not_traced(mock_service, entry: str, name: str):
    recorder = Recorder()
    model = mock_service(ANSWERS["dashscope"]).model()
    with pytest.raises(QwenInputError, match=f"{name} belongs to the model"):
        list(getattr(model, entry)("Hi", {"callbacks": [recorder]}, **{name: SECRET}))
    assert recorder.started
    assert SECRET not in recorder.as_text()


@pytest.mark.parametrize("name", ["api_key", "openai_api_key", "workspace", "request_timeout"])
def test_fields_of_the_model_cannot_be_bound(mock_service, name: str):
    model = mock_service(ANSWERS["dashscope"]).model()
    with pytest.raises(QwenInputError, match=f"{name} belongs to the model") as caught:
        model.bind(**{name: SECRET})
    assert SECRET not in str(caught.value)


def test_traces_have_the_names_of_this_package(mock_service):
    recorder = Recorder()
    model = mock_service(ANSWERS["dashscope"]).model(max_completion_tokens=50)
    config: Any = {"callbacks": [recorder]}
    model.invoke("Hi", config, model_name="qwen3.5-plus", stop_sequences="A")
    metadata = recorder.started["metadata"]
    assert metadata["ls_model_name"] == "qwen3.5-plus"
    assert metadata["ls_max_tokens"] == 50
    assert metadata["ls_stop"] == ["A"]
    assert recorder.started["invocation_params"]["model"] == "qwen3.5-plus"
    model.invoke("Hi", config, max_output_tokens=60)
    assert recorder.started["metadata"]["ls_max_tokens"] == 60
    model.invoke("Hi", config, stop="SOLUTION")
    assert recorder.started["metadata"]["ls_stop"] == ["SOLUTION"]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_limit_of_a_call_replaces_the_limit_of_the_model(mock_service, field: str, limit: str):
    backend = mock_service(ANSWERS["chat_completions"])
    backend.model(api="chat_completions", **{field: 100}).invoke("Hi", **{limit: 50})
    limits = {name: value for name, value in backend.bodies[0].items() if "tokens" in name}
    assert limits == {limit.replace("output", "").replace("__", "_"): 50}


@every_api
def test_max_completion_tokens_of_the_model_survives_copies(mock_service, api: str):
    backend = mock_service(ANSWERS[api])
    model = backend.model(api=api, max_completion_tokens=100)
    restored = pickle.loads(pickle.dumps(model.model_copy(update={"http_client": None})))
    assert restored.max_completion_tokens == 100
    model.model_copy().invoke("Hi")
    sent = parameters_of(backend.bodies[0])
    name = {"responses": "max_output_tokens", "chat_completions": "max_completion_tokens"}
    assert sent[name.get(api, "max_tokens")] == 100


def test_max_completion_tokens_has_the_minimum_of_responses(mock_service):
    backend = mock_service(ANSWERS["responses"])
    with pytest.raises(QwenInputError, match="max_completion_tokens is 15"):
        backend.model(api="responses", max_completion_tokens=15).invoke("Hi")


def test_extra_body_may_hold_fields(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    extra_body = {"enable_thinking": False, "enable_code_interpreter": False}
    backend.model(extra_body=extra_body).invoke("Hi")
    backend.model(model_kwargs={"extra_body": extra_body}).invoke("Hi")
    backend.model().invoke("Hi", extra_body=extra_body)
    for body in backend.bodies:
        assert body["parameters"]["enable_thinking"] is False
        assert not {"enable_code_interpreter", "extra_body"} & body["parameters"].keys()


def test_default_query_goes_into_your_own_client(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    client = httpx.Client(transport=httpx.MockTransport(backend), params={"gate": "7"})
    backend.model(http_client=client).invoke("Hi")
    assert backend.requests[0].url.params["gate"] == "7"


def test_fields_of_a_subclass_take_precedence():
    class WithOwnFields(ChatQwenCodeInterpreter):
        streaming: bool = False
        organization: str = ""

    model = WithOwnFields(streaming=False, organization="mine", model_name="qwen3.5-plus")
    assert (model.streaming, model.organization, model.model) == (False, "mine", "qwen3.5-plus")
    with pytest.raises(ValidationError, match="did you mean organization"):
        WithOwnFields(organisation="mine")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


SCHEMA = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}
FUNCTION = {"type": "function", "function": SCHEMA}


@pytest.mark.parametrize("one", [add, _add, FUNCTION, SCHEMA])
def test_one_tool_is_accepted_without_a_list(mock_service, one: Any):
    backend = mock_service(ANSWERS["chat_completions"])
    model = backend.model(api="chat_completions", enable_code_interpreter=False)
    model.bind_tools(one).invoke("Hi")
    model.bind_tools([one]).invoke("Hi")
    assert backend.bodies[0]["tools"] == backend.bodies[1]["tools"]
    assert len(backend.bodies[0]["tools"]) == 1
    count = model.get_num_tokens_from_messages
    assert count([HumanMessage("Hi")], one) == count([HumanMessage("Hi")], [one])


@pytest.mark.parametrize("name", ["tools", "functions"])
def test_one_tool_of_a_call_is_accepted_without_a_list(mock_service, name: str):
    backend = mock_service(ANSWERS["chat_completions"])
    model = backend.model(api="chat_completions", enable_code_interpreter=False)
    given = FUNCTION if name == "tools" else SCHEMA
    model.invoke("Hi", **{name: given})
    assert backend.bodies[0]["tools"] == [FUNCTION]
    with pytest.raises(ToolsNotAllowedError, match="add"):
        backend.model().invoke("Hi", **{name: given})
    with pytest.raises(ToolsNotAllowedError, match="add"):
        QwenCodeInterpreterNode(backend.model().bind(**{name: given}))


def test_one_tool_of_a_call_is_traced_without_its_secrets(mock_service):
    recorder = Recorder()
    server = {"type": "mcp", "server_url": "https://maps.example", "headers": {"X-Key": SECRET}}
    backend = mock_service(ANSWERS["responses"])
    backend.model(api="responses").invoke("Hi", {"callbacks": [recorder]}, tools=server)
    assert server in backend.bodies[0]["tools"]
    traced = recorder.started["invocation_params"]["tools"]
    assert traced == [{**server, "headers": "***"}]


@pytest.mark.parametrize("web_search", [{"type": "web_search"}, "web_search"])
def test_one_tool_of_the_service_is_accepted_without_a_list(mock_service, web_search: Any):
    backend = mock_service(ANSWERS["responses"])
    model = backend.model(api="responses", enable_code_interpreter=False)
    model.bind_tools(web_search).invoke("Hi")
    model.invoke("Hi", tools=web_search)
    model.invoke("Hi", builtin_tools="web_search")
    assert [body["tools"] for body in backend.bodies] == [[{"type": "web_search"}]] * 3
