"""Names of a call's arguments: a warning for unknown ones, none for what others pass along."""

from __future__ import annotations

import warnings
from typing import Any

import chat_completions_streams
import dashscope_streams
import pytest
import responses_streams
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, ValidationError

from langchain_qwen_ci import ChatQwenCodeInterpreter, QwenCodeInterpreterNode
from langchain_qwen_ci.request import accepted_names
from langchain_qwen_ci.request.parameters import Parameters

ANSWERS = {
    "dashscope": dashscope_streams.STREAMS["one run"].body,
    "responses": responses_streams.STREAMS["one run"].body,
    "chat_completions": chat_completions_streams.STREAMS["an answer"].body,
}
every_api = pytest.mark.parametrize("api", ANSWERS)
pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")
NEAREST = {
    "temprature": "temperature",
    "max_token": "max_tokens",
    "Top_P": "top_p",
    "enable_serach": "enable_search",
    "toolchoice": "tool_choice",
    "stop_sequence": "stop",
    "reponse_format": "response_format",
}


class Result(BaseModel):
    value: int


@pytest.fixture(autouse=True)
def _nothing_was_warned_about():
    accepted_names._warn_unknown_argument.cache_clear()
    yield
    accepted_names._warn_unknown_argument.cache_clear()


async def _astream(model, arguments):
    return [chunk async for chunk in model.astream("Hi", **arguments)]


async def _abatch(model, arguments):
    return await model.abatch(["Hi"], **arguments)


async def _node(model, arguments):
    return await QwenCodeInterpreterNode(model).ainvoke({"messages": ["Hi"]}, **arguments)


async def _events(model, arguments):
    return [event async for event in model.astream_events("Hi", version="v2", **arguments)]


ENTRIES = {
    "invoke": lambda model, arguments: model.invoke("Hi", **arguments),
    "stream": lambda model, arguments: list(model.stream("Hi", **arguments)),
    "batch": lambda model, arguments: model.batch(["Hi"], **arguments),
    "generate": lambda model, arguments: model.generate([[HumanMessage("Hi")]], **arguments),
    "v3": lambda model, arguments: list(model.stream_events("Hi", version="v3", **arguments)),
    "node": lambda model, arguments: QwenCodeInterpreterNode(model).invoke(["Hi"], **arguments),
    "bind": lambda model, arguments: model.bind(**arguments).invoke("Hi"),
    "bind_tools": lambda model, arguments: model.bind_tools([], **arguments).invoke("Hi"),
    "schema": lambda model, arguments: model.with_structured_output(
        Result, include_raw=True, **arguments
    ).invoke("Hi"),
    "astream": _astream,
    "abatch": _abatch,
    "async node": _node,
    "v2": _events,
}
every_entry = pytest.mark.parametrize("entry", ENTRIES)
beta = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


async def call(entry: str, model: ChatQwenCodeInterpreter, arguments: dict[str, Any]) -> None:
    outcome: Any = ENTRIES[entry](model, arguments)
    if hasattr(outcome, "__await__"):
        await outcome


@beta
@every_entry
async def test_unknown_argument_warns_once_and_is_sent(mock_service, entry: str):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.warns(UserWarning, match="did you mean temperature") as caught:
        await call(entry, backend.model(), {"temprature": 0.5})
    assert len([warning for warning in caught if "temprature" in str(warning.message)]) == 1
    assert backend.bodies[0]["parameters"]["temprature"] == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await call(entry, backend.model(model="qwen3.5-plus"), {"temprature": 0.5})
    assert backend.bodies[1]["parameters"]["temprature"] == 0.5


@pytest.mark.parametrize(("given", "nearest"), NEAREST.items())
def test_warning_names_the_nearest_argument(mock_service, given: str, nearest: str):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.warns(UserWarning, match=f"'{given}' .*; did you mean {nearest}\\?"):
        backend.model().bind(**{given: "a value"})


def test_warning_says_where_a_field_of_the_model_is_set(mock_service):
    with pytest.warns(UserWarning, match=r"did you mean .*ChatQwenCodeInterpreter\(timeout=…\)"):
        mock_service(ANSWERS["dashscope"]).model().bind(timout=5)


def test_name_without_a_similar_one_is_passed_in_model_kwargs(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.warns(UserWarning, match=r"model_kwargs=\{'xyzzy': …\}") as caught:
        backend.model().invoke("Hi", xyzzy=1)
    assert "did you mean" not in str(caught[0].message)
    backend.model(model_kwargs={"plugh": 1}).invoke("Hi")
    backend.model().invoke("Hi", model_kwargs={"plugh": 1})
    backend.model().bind(extra_body={"plugh": 1}).invoke("Hi")
    assert [body["parameters"].get("plugh") for body in backend.bodies] == [None, 1, 1, 1]


def test_unknown_argument_that_is_none_is_not_sent(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    backend.model().invoke("Hi", xyzzy=None)
    assert "xyzzy" not in backend.bodies[0]["parameters"]


@pytest.mark.parametrize("name", sorted(accepted_names.SERVICE_PARAMETERS))
def test_parameter_of_the_service_is_known_to_calls_and_constructor(mock_service, name: str):
    model = mock_service(ANSWERS["dashscope"]).model()
    assert model.bind(**{name: []}).kwargs == {name: []}
    # The constructor moves it to model_kwargs, or rejects it without another name.
    advice = ""
    try:
        moved = ChatQwenCodeInterpreter(**{name: "x"}).model_kwargs
    except ValidationError as error:
        advice = str(error)
        moved = {name: "x"}
    assert moved == ChatQwenCodeInterpreter(model_kwargs={name: "x"}).model_kwargs
    assert "did you mean" not in advice


def test_known_parameters_are_no_fields():
    assert accepted_names.SERVICE_PARAMETERS.isdisjoint(ChatQwenCodeInterpreter.model_fields)


@beta
@every_api
@every_entry
async def test_arguments_of_langchain_are_known(mock_service, entry: str, api: str):
    backend = mock_service(ANSWERS[api])
    arguments: dict[str, Any] = {
        "stop": ["END"],
        "stream_usage": True,
        "parallel_tool_calls": True,
        "ls_structured_output_format": {"kwargs": {"method": "prompt"}, "schema": {}},
    }
    if entry in ("invoke", "bind", "node"):
        arguments["stream"] = True
    if entry == "schema":
        del arguments["ls_structured_output_format"]
    await call(entry, backend.model(api=api), arguments)  # a warning would be an error


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
@pytest.mark.parametrize("interpreter", [True, False])
def test_arguments_of_agents_are_known(mock_service, strategy: Any, interpreter: bool):
    call_of_schema = chat_completions_streams.STREAMS["an answer"].body
    backend = mock_service(call_of_schema)
    model = backend.model(api="chat_completions", enable_code_interpreter=interpreter)
    agent = create_agent(model, response_format=strategy(Result))
    with pytest.raises(Exception, match=r"(?i)schema|structured|JSON|recursion"):
        agent.invoke({"messages": ["Hi"]}, {"recursion_limit": 4})
    assert backend.requests


def test_prompt_and_fallbacks_pass_no_unknown_arguments(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    model = backend.model().with_fallbacks([backend.model()]).with_config(tags=["a"])
    chain = ChatPromptTemplate.from_template("{question}") | model
    chain.invoke({"question": "Hi"}, {"metadata": {"a": 1}, "run_name": "b"})


def test_every_field_of_a_call_is_known(mock_service):
    model = mock_service(ANSWERS["dashscope"]).model()
    model.bind(**dict.fromkeys(Parameters.model_fields, "x"))
    model.bind(**dict.fromkeys(accepted_names.UNSUPPORTED, "x"))


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("enable_search", r"no such argument.*model_kwargs=\{'enable_search': …\}"),
        ("enable_serach", r"did you mean enable_search\?.*model_kwargs=\{'enable_search': …\}"),
        ("colour", r"no such argument.*model_kwargs=\{'colour': …\}"),
    ],
)
def test_constructor_advises_model_kwargs_for_parameters_of_the_service(given: str, advice: str):
    with pytest.raises(ValidationError, match=advice):
        ChatQwenCodeInterpreter(**{given: True})
