"""The schemas that `with_structured_output` sends, and its checks of answers against them."""

from __future__ import annotations

import json
from typing import Any, NotRequired

import dashscope_streams as dashscope
import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict


class Node(BaseModel):
    """A node of a tree."""

    value: int = Field(title="Number of the node")
    children: list[Node] = []


class NodeDict(TypedDict):
    """A node of a tree."""

    value: int
    children: list[NodeDict]


class Leaf(TypedDict, total=False):
    """A leaf."""

    colour: str


class Branch(TypedDict):
    """A branch."""

    length: int
    leaf: Leaf


class Twig(TypedDict):
    """A twig."""

    length: int
    buds: NotRequired[int]


TREE = {"value": 1, "children": [{"value": 2, "children": []}]}
OFF = {"enable_code_interpreter": False}


def text_answer(*texts: str) -> bytes:
    usage = {"usage": dashscope.usage(9, 2)}
    return dashscope.stream(
        *(dashscope.frame(content=text, **usage) for text in texts),
        dashscope.frame(finish_reason="stop", **usage),
    )


def call_answer(name: str, arguments: str) -> bytes:
    call = dashscope.tool_call(0, "call_a", name, arguments)
    usage = {"usage": dashscope.usage(9, 9)}
    return dashscope.stream(
        dashscope.frame(tool_calls=[call], **usage),
        dashscope.frame(finish_reason="tool_calls", **usage),
    )


def schema_in_prompt(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body["input"]["messages"][0]["content"]
    return json.loads(prompt[prompt.index("{") :])


def object_schema(**properties: Any) -> dict[str, Any]:
    return {"title": "answer", "type": "object", "properties": properties}


def resolve(schema: dict[str, Any], reference: str) -> dict[str, Any]:
    for name in reference.removeprefix("#/").split("/"):
        schema = schema[name]
    return schema


@pytest.mark.parametrize("schema", [Node, NodeDict, Node.model_json_schema()])
def test_prompt_has_a_recursive_schema_whole(mock_service, schema):
    backend = mock_service(text_answer(json.dumps(TREE)))
    answer = backend.model().with_structured_output(schema).invoke("?")
    assert answer == (Node(**TREE) if schema is Node else TREE)
    sent = schema_in_prompt(backend.bodies[0])
    assert sent["description"] == "A node of a tree."
    node = resolve(sent, sent["properties"]["children"]["items"]["$ref"])
    assert node["properties"]["value"]["type"] == "integer"
    assert node["properties"]["children"]["items"] == sent["properties"]["children"]["items"]


def test_titles_of_fields_are_sent_if_the_class_sets_them(mock_service):
    backend = mock_service(text_answer(json.dumps(TREE)))
    backend.model().with_structured_output(Node).invoke("?")
    properties = schema_in_prompt(backend.bodies[0])["properties"]
    assert properties["value"]["title"] == "Number of the node"
    assert "title" not in properties["children"]


@pytest.mark.parametrize(("schema", "name"), [(Node, "Node"), (NodeDict, "NodeDict")])
def test_function_has_a_recursive_schema_whole(mock_service, schema, name: str):
    backend = mock_service(call_answer(name, json.dumps(TREE)))
    answer = backend.model(**OFF).with_structured_output(schema).invoke("?")
    assert answer == (Node(**TREE) if schema is Node else TREE)
    function = backend.bodies[0]["parameters"]["tools"][0]["function"]
    assert (function["name"], function["description"]) == (name, "A node of a tree.")
    items = function["parameters"]["properties"]["children"]["items"]
    assert "children" in resolve(function["parameters"], items["$ref"])["properties"]


def test_response_format_has_a_recursive_schema_whole(mock_service):
    backend = mock_service(text_answer(json.dumps(TREE)))
    chain = backend.model(**OFF).with_structured_output(Node, method="json_schema")
    assert chain.invoke("?") == Node(**TREE)
    sent = backend.bodies[0]["parameters"]["response_format"]["json_schema"]
    assert (sent["name"], sent["description"]) == ("Node", "A node of a tree.")
    items = sent["schema"]["properties"]["children"]["items"]
    assert "children" in resolve(sent["schema"], items["$ref"])["properties"]


@pytest.mark.parametrize("schema", [Branch, {"description": "A branch.", **object_schema()}])
def test_description_is_sent_with_and_without_the_interpreter(mock_service, schema):
    name = "Branch" if schema is Branch else "answer"
    fitting = {"length": 1, "leaf": {}}
    backend = mock_service(text_answer(json.dumps(fitting)), call_answer(name, json.dumps(fitting)))
    assert backend.model().with_structured_output(schema).invoke("?") == fitting
    assert backend.model(**OFF).with_structured_output(schema).invoke("?") == fitting
    first, second = backend.bodies
    assert schema_in_prompt(first)["description"] == "A branch."
    assert second["parameters"]["tools"][0]["function"]["description"] == "A branch."


def test_root_of_a_pydantic_class_may_be_an_array(mock_service):
    numbers = RootModel[list[int]]
    backend = mock_service(text_answer("[1, 2]"), text_answer('["one"]'))
    chain = backend.model().with_structured_output(numbers)
    assert chain.invoke("?") == numbers([1, 2])
    assert schema_in_prompt(backend.bodies[0])["items"] == {"type": "integer"}
    with pytest.raises(OutputParserException):
        chain.invoke("?")


@pytest.mark.parametrize(
    ("schema", "fitting", "unfitting"),
    [
        (Branch, {"length": 1, "leaf": {}}, {"leaf": {}}),
        (Branch, {"length": 1, "leaf": {"colour": "red"}}, {"length": 1, "leaf": {"colour": 1}}),
        (Twig, {"length": 1}, {"buds": 1}),
        (NodeDict, TREE, {"value": 1, "children": [{"value": "2"}]}),
    ],
)
def test_typed_dicts_are_checked(mock_service, schema, fitting, unfitting):
    backend = mock_service(text_answer(json.dumps(fitting)), text_answer(json.dumps(unfitting)))
    chain = backend.model().with_structured_output(schema)
    assert chain.invoke("?") == fitting
    with pytest.raises(OutputParserException):
        chain.invoke("?")


POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
# Each row: the schema of a property, a value that fits and one that does not.
CHECKS: dict[str, tuple[Any, Any, Any]] = {
    "string": ({"type": "string"}, "a", 1),
    "integer": ({"type": "integer"}, 1, 1.5),
    "integer written as a float": ({"type": "integer"}, 1.0, "1"),
    "a boolean is no integer": ({"type": "integer"}, 0, True),
    "number": ({"type": "number"}, 1, "1"),
    "a boolean is no number": ({"type": "number"}, 1.5, False),
    "boolean": ({"type": "boolean"}, False, 0),
    "null": ({"type": "null"}, None, ""),
    "array": ({"type": "array"}, [], {}),
    "object": ({"type": "object"}, {}, []),
    "several types": ({"type": ["string", "null"]}, None, 1),
    "enum": ({"enum": ["a", 1]}, 1, True),
    "enum of unequal values": ({"enum": ["a", "b"]}, "a", "c"),
    "const": ({"const": "a"}, "a", "b"),
    "properties and required": (POINT, {"x": 1, "y": 2}, {"y": 2}),
    "type of a member": (POINT, {"x": 1}, {"x": "1"}),
    "no additional properties": ({**POINT, "additionalProperties": False}, {"x": 1}, {"y": 1}),
    "extra member": ({**POINT, "additionalProperties": False}, {"x": 1}, {"x": 1, "y": 2}),
    "additional properties": ({"additionalProperties": {"type": "string"}}, {"a": "b"}, {"a": 1}),
    "items": ({"items": {"type": "integer"}}, [1, 2], [1, "2"]),
    "prefix items": (
        {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
        ["a", 1],
        ["a", "b"],
    ),
    "first of prefix items": ({"prefixItems": [{"type": "string"}]}, ["a", 1], [1]),
    "any of": ({"anyOf": [{"type": "string"}, POINT]}, {"x": 1}, {"x": "1"}),
    "one of": ({"oneOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
    "all of": ({"allOf": [POINT, {"required": ["y"]}]}, {"x": 1, "y": 1}, {"x": 1}),
    "reference": ({"$ref": "#/$defs/point"}, {"x": 1}, {"x": None}),
    "reference with siblings": ({"$ref": "#/$defs/point", "required": ["y"]}, {"x": 1, "y": 1}, {}),
    "false": ({"type": "array", "items": False}, [], [1]),
}


@pytest.mark.parametrize(("member", "fitting", "unfitting"), CHECKS.values(), ids=CHECKS)
def test_dictionaries_are_checked(mock_service, member, fitting, unfitting):
    schema = {**object_schema(member=member), "$defs": {"point": POINT}}
    answers = [json.dumps({"member": value}) for value in (fitting, unfitting)]
    backend = mock_service(*map(text_answer, answers))
    chain = backend.model().with_structured_output(schema)
    assert chain.invoke("?") == {"member": fitting}
    with pytest.raises(OutputParserException, match=r"the answer\.member") as caught:
        chain.invoke("?")
    assert caught.value.llm_output == answers[1]


@pytest.mark.parametrize(
    "member",
    [
        {"type": "string", "minLength": 9, "format": "date"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"type": "text"} | {"type": ["text", "string"]},
        True,
    ],
)
def test_keywords_that_are_not_checked_accept_the_answer(mock_service, member):
    backend = mock_service(text_answer('{"member": "a"}'))
    chain = backend.model().with_structured_output(object_schema(member=member))
    assert chain.invoke("?") == {"member": "a"}


def test_pattern_properties_are_not_additional(mock_service):
    member = {"patternProperties": {"^x": {}}, "additionalProperties": False}
    backend = mock_service(text_answer('{"member": {"x1": 1}}'))
    chain = backend.model().with_structured_output(object_schema(member=member))
    assert chain.invoke("?") == {"member": {"x1": 1}}


def test_schema_without_end_is_a_mismatch(mock_service):
    backend = mock_service(text_answer('{"member": 1}'))
    schema = {**object_schema(member={"$ref": "#/$defs/a"}), "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(OutputParserException, match="without end"):
        backend.model().with_structured_output(schema).invoke("?")


@pytest.mark.parametrize("text", ["42", "null", "[]"])
def test_answer_that_is_no_object_does_not_fit(mock_service, text: str):
    backend = mock_service(text_answer(text))
    chain = backend.model().with_structured_output(object_schema(value={}))
    with pytest.raises(OutputParserException):
        chain.invoke("?")


def test_arguments_of_a_function_call_are_checked(mock_service):
    schema = object_schema(value={"type": "integer"})
    backend = mock_service(call_answer("answer", '{"value": "many"}'))
    chain = backend.model(**OFF).with_structured_output(schema)
    with pytest.raises(OutputParserException, match=r"the answer\.value"):
        chain.invoke("?")
    with pytest.raises(OutputParserException, match=r"the answer\.value"):
        list(chain.stream("?"))


@pytest.mark.parametrize("schema", [Node, object_schema(value={"type": "integer"})])
def test_stream_ends_with_an_error_if_the_answer_does_not_fit(mock_service, schema):
    backend = mock_service(text_answer('{"value": ', '"many"', "}"))
    chain = backend.model().with_structured_output(schema)
    with pytest.raises(OutputParserException):
        list(chain.stream("?"))


async def test_asynchronous_stream_ends_with_an_error_if_the_answer_does_not_fit(mock_service):
    backend = mock_service(text_answer('{"value": ', '"many"', "}"))
    chain = backend.model().with_structured_output(object_schema(value={"type": "integer"}))
    partials = chain.astream("?")
    assert await anext(partials) == {}
    assert await anext(partials) == {"value": "many"}
    with pytest.raises(OutputParserException, match=r"the answer\.value"):
        await anext(partials)


def test_stream_with_raw_message_reports_an_answer_that_does_not_fit(mock_service):
    backend = mock_service(text_answer('{"value": ', '"many"', "}"))
    schema = object_schema(value={"type": "integer"})
    chain = backend.model().with_structured_output(schema, include_raw=True)
    for result in (chain.invoke("?"), sum_of(chain.stream("?"))):
        assert result["parsed"] is None
        assert isinstance(result["parsing_error"], OutputParserException)
        assert result["raw"].content == '{"value": "many"}'


def sum_of(chunks) -> dict[str, Any]:
    total = next(chunks)
    for chunk in chunks:
        total = {**total, **chunk}
    return total


def test_reformat_is_used_for_a_dictionary_that_does_not_fit(mock_service):
    backend = mock_service(text_answer('{"value": "many"}'), text_answer('{"value": 42}'))
    schema = object_schema(value={"type": "integer"})
    chain = backend.model().with_structured_output(schema, reformat=True)
    assert chain.invoke("?") == {"value": 42}
    assert len(backend.requests) == 2
