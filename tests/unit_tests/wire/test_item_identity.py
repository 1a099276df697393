"""Items of Responses whose ids are missing, shared, changing or renamed are distinguished."""

from __future__ import annotations

from typing import Any

from decode import decode
from end_to_end import check_stream
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_streams import CREATED, event, response, stream, usage

from langchain_qwen_ci import code_executions
from langchain_qwen_ci.response.message_builder import MessageBuilder

Item = dict[str, Any]


def read(body: bytes) -> Any:
    builder = MessageBuilder("qwen3.5-27b")
    for one in decode(body, api="responses"):
        builder.add(one)
    return builder.message()


def meaning(message: Any) -> dict[str, Any]:
    """All of a message but the ids of its calls."""
    return {
        "content": message.content,
        "reasoning": message.additional_kwargs.get("reasoning_content", ""),
        "executions": [
            {name: value for name, value in execution.items() if name != "id"}
            for execution in code_executions(message)
        ],
        "calls": [(call["name"], call["args"]) for call in message.tool_calls],
        "finish_reason": message.response_metadata["finish_reason"],
        "server_tools": [
            (block["name"], block["args"])
            for block in message.content_blocks
            if block["type"] == "server_tool_call"
        ],
    }


def check_ids(message: Any) -> None:
    ids = [execution["id"] for execution in code_executions(message)]
    calls = [call["id"] for call in message.tool_calls]
    assert all(ids)
    assert all(calls)
    assert len(set(ids)) == len(ids)
    assert len(set(calls)) == len(calls)


# The content of an item. Its events are made by `deltas` and its complete form by `complete`.
texts = st.text("ab \n", min_size=1, max_size=8).filter(str.strip)
reasoning_items = st.builds(lambda text: {"type": "reasoning", "text": text}, texts)
message_items = st.builds(lambda text: {"type": "message", "text": text}, texts)
executions = st.builds(
    lambda code, logs: {"type": "code_interpreter_call", "code": code, "logs": logs},
    st.sampled_from(["1+1", "print(2)", "x = 1\nx"]),
    st.sampled_from([None, "```\n2\n```", "```\n\n```"]),
)
function_calls = st.builds(
    lambda name, number: {"type": "function_call", "name": name, "arguments": f'{{"a": {number}}}'},
    st.sampled_from(["add", "mul"]),
    st.integers(0, 3),
)
searches = st.builds(
    lambda query: {"type": "web_search_call", "action": {"query": query}}, st.sampled_from("pq")
)
answers = st.lists(
    st.one_of(reasoning_items, message_items, executions, searches, function_calls),
    min_size=1,
    max_size=6,
)

DELIVERIES = ["complete", "deltas", "done", "final"]
ID_RULES = ["right", "rotating", "shared", "empty", "null", "missing"]


def complete(item: Item, number: int) -> Item:
    """The complete form of an item, in `output_item.done` and in the last frame."""
    kind = item["type"]
    if kind == "reasoning":
        part = {"type": "reasoning_text", "text": item["text"]}
        return {"type": kind, "summary": [], "content": [part]}
    if kind == "message":
        return {"type": kind, "content": [{"type": "output_text", "text": item["text"]}]}
    if kind == "code_interpreter_call":
        outputs = None if item["logs"] is None else [{"type": "logs", "logs": item["logs"]}]
        return {"type": kind, "code": item["code"], "outputs": outputs, "status": "completed"}
    if kind == "function_call":
        return {**item, "call_id": f"call_{number}"}
    return {**item, "status": "completed"}


def deltas(item: Item) -> list[Item]:
    """The events inside an item, without the ids."""
    kind, whole = item["type"], item.get("text") or item.get("code") or item.get("arguments") or ""
    pieces = [whole[:2], whole[2:]] if len(whole) > 2 else [whole]
    name = {
        "reasoning": "reasoning_text",
        "message": "output_text",
        "code_interpreter_call": "code_interpreter_call_code",
        "function_call": "function_call_arguments",
    }.get(kind)
    if name is None:
        return [event("web_search_call.searching")]
    field = {"code_interpreter_call": "code", "function_call": "arguments"}.get(kind, "text")
    return [
        *(event(f"{name}.delta", delta=piece) for piece in pieces),
        event(f"{name}.done", **{field: whole}),
    ]


def added(item: Item, number: int) -> Item:
    """The form of an item in `output_item.added`: its text comes later."""
    whole = complete(item, number)
    empty = {"content": [], "code": "", "arguments": "", "outputs": None}
    return {name: empty.get(name, value) for name, value in whole.items()}


class Ids:
    """Gives an id to each event, by one of the rules."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._count = 0

    def apply(self, fields: Item, name: str, number: int) -> Item:
        self._count += 1
        if self._rule == "missing":
            return fields
        value = {
            "right": f"item_{number}",
            "rotating": f"event_{self._count}",
            "shared": "item_x",
            "empty": "",
            "null": None,
        }[self._rule]
        return {**fields, name: value}


def item_events(item: Item, number: int, delivery: str, ids: Ids) -> list[Item]:
    if delivery == "final":
        return []
    done = event("output_item.done", item=ids.apply(complete(item, number), "id", number))
    if delivery == "done":
        return [{**done, "output_index": number}]
    inside = [ids.apply(one, "item_id", number) for one in deltas(item)]
    opened = event("output_item.added", item=ids.apply(added(item, number), "id", number))
    # Functions and other tools have no name before their item is added.
    has_name = delivery == "complete" or ("text" not in item and "code" not in item)
    events = [*([opened] if has_name else []), *inside, done]
    return [{**one, "output_index": number} for one in events]


def answer_stream(
    items: list[Item], deliveries: list[str], rule: str, final_rule: str, final: bool
) -> bytes:
    ids, final_ids = Ids(rule), Ids(final_rule)
    output = [
        final_ids.apply(complete(item, number), "id", number) for number, item in enumerate(items)
    ]
    last = response("completed", output=output if final else [], usage=usage(1, 1))
    events = [
        one
        for number, (item, delivery) in enumerate(zip(items, deliveries, strict=True))
        for one in item_events(item, number, delivery, ids)
    ]
    return stream(CREATED, *events, event("completed", response=last))


@st.composite
def deliveries_of(draw: st.DrawFn, items: list[Item]) -> list[str]:
    """How each item is streamed; items that stand only in the last frame are the last ones."""
    streamed = draw(st.integers(0, len(items)))
    chosen = [draw(st.sampled_from(DELIVERIES[:3])) for _ in items[:streamed]]
    return [*chosen, *["final"] * (len(items) - streamed)]


@settings(max_examples=500, deadline=None)
@given(data=st.data(), items=answers)
def test_message_does_not_depend_on_ids(data, items):
    deliveries = data.draw(deliveries_of(items))
    rule, final_rule = data.draw(st.sampled_from(ID_RULES)), data.draw(st.sampled_from(ID_RULES))
    right = read(answer_stream(items, ["complete"] * len(items), "right", "right", final=True))
    expected = meaning(right)
    whole = [complete(item, number) for number, item in enumerate(items)]
    assert expected["content"] == "".join(
        part["text"] for item in whole if item["type"] == "message" for part in item["content"]
    )
    assert [one["code"] for one in expected["executions"]] == [
        item["code"] for item in items if item["type"] == "code_interpreter_call"
    ]
    message = read(answer_stream(items, deliveries, rule, final_rule, final=True))
    assert meaning(message) == expected
    check_ids(message)
    if "final" not in deliveries:
        unrepeated = read(answer_stream(items, deliveries, rule, final_rule, final=False))
        assert meaning(unrepeated) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data(), items=answers)
def test_every_form_of_the_message_is_the_same(data, items):
    rule, final_rule = data.draw(st.sampled_from(ID_RULES)), data.draw(st.sampled_from(ID_RULES))
    deliveries = data.draw(deliveries_of(items))
    body = answer_stream(items, deliveries, rule, final_rule, final=True)
    assert check_stream("responses", body).error is None
