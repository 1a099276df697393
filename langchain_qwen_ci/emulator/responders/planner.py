"""A responder with rules: it calls functions, writes JSON, and runs code for arithmetic."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.responders.arithmetic import programs_in
from langchain_qwen_ci.emulator.responders.responder import (
    Call,
    ModelRequest,
    Result,
    Run,
    Say,
    Step,
    Steps,
    Think,
)
from langchain_qwen_ci.emulator.responders.schema_values import (
    ExampleValues,
    arguments_for,
    schema_in,
    value_for,
    without_schemas,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

_INTRODUCTION = (
    "I am the emulator's planner. I run arithmetic (What is 123 to the power of 21?), expressions "
    "(2**10 + 5), steps (first 12 squared, then divide that by 5) and fenced Python."
)
# Longer than 16 tokens, the smallest limit of Responses, so that the limit can be tested.
_INTERPRETER_OFF = (
    "The code interpreter is off, so I answer without running anything. Ask again with it switched "
    "on, and I compute what you want."
)
# Words that say nothing about what a function does.
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "and are can for from get give has have how its please that the this use using value was "
        "what when where which who why will with you your",
    )
)
_QUOTED_KEYS = re.compile(r"[\"'`](\w+)[\"'`]")


class Planner:
    """The default responder."""

    def respond(self, model_request: ModelRequest) -> Steps:
        """Apply the first matching rule: tool results, function calls, JSON, code, media, help."""
        if not model_request.forced_tool and (results := _tool_results(model_request)):
            yield Say(f"The tool answered: {'; '.join(results)}")
            return
        *earlier, text = [without_schemas(text) for text in _user_texts(model_request)]
        programs = list(programs_in(text, *earlier)) if model_request.code_interpreter else []
        if calls := list(_function_calls(model_request)):
            if programs:  # on Responses, code may run before the functions are called
                yield from _run_all(programs)
            yield from calls
            return
        schema = _schema(model_request)
        code_results = yield from _run_all(programs)
        if schema is not None or model_request.requires_json:
            output = " ".join(result.output for result in code_results)
            yield Say(_json_answer(schema, text, output))
        elif programs:
            yield Say(" ".join(map(_sentence, programs, code_results)))
        elif media := model_request.messages[-1].media:
            yield Say(f"I was shown {_media_counts(media)}. I cannot look at media, but they came.")
        elif model_request.code_interpreter:
            yield Say(_INTRODUCTION)
        else:
            yield Say(_INTERPRETER_OFF)


def _user_texts(model_request: ModelRequest) -> list[str]:
    """Return the texts of the user messages, and the text of the last message."""
    return [message.text for message in model_request.messages[:-1] if message.role == "user"] + [
        model_request.text
    ]


def _tool_results(model_request: ModelRequest) -> list[str]:
    """Return the texts of the tool messages at the end of the conversation."""
    last = itertools.takewhile(
        lambda message: message.role == "tool", reversed(model_request.messages)
    )
    return [message.text for message in last][::-1]


def _run_all(programs: list[str]) -> Generator[Step, Result | None, list[Result]]:
    """Emit reasoning and run each program; return the results."""
    results: list[Result] = []
    for number, program in enumerate(programs):
        yield Think(
            "The user wants a result that I should compute and not guess. I will run code for it."
            if number == 0
            else "That is the first part. The next one builds on it, so I run code again."
        )
        result = yield Run(program)
        if result is None:
            raise RuntimeError("A responder must be sent the result of the code that it runs.")
        results.append(result)
    if programs:
        yield Think("The code has run. Now I can answer in a clear form.")
    else:
        yield Think("There is nothing to run for this.")
    return results


def _sentence(program: str, result: Result) -> str:
    output = result.output.strip()
    if result.failed:
        return f"The code failed with {output.splitlines()[-1]}."
    code = program.removeprefix("import math\n")
    if "\n" not in code and "print" not in code:
        return f"{code} = {output}."
    return f"The code printed: {output}" if output else "The code ran and printed nothing."


def _media_counts(media: tuple[str, ...]) -> str:
    counts = {kind: media.count(kind) for kind in media}
    return " and ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in counts.items())


def _schema(model_request: ModelRequest) -> Mapping[str, Any] | None:
    """Return the schema that the request requires, or the last one in the messages."""
    if model_request.schema is not None:
        return model_request.schema
    texts = (
        message.text for message in reversed(model_request.messages) if message.role != "assistant"
    )
    return next((schema for text in texts if (schema := schema_in(text)) is not None), None)


def _json_answer(schema: Mapping[str, Any] | None, text: str, output: str) -> str:
    """Return an answer in JSON that fits a schema, or has the keys that the text quotes."""
    value: object
    if schema is None:
        keys = _QUOTED_KEYS.findall(text) or ["answer"]
        about = ExampleValues(_QUOTED_KEYS.sub("", text))
        value = dict.fromkeys(keys, output or about.words)
    else:
        value = value_for(schema, ExampleValues(text, output))
    return json.dumps(value, ensure_ascii=False)


def _function_calls(model_request: ModelRequest) -> Iterator[Call]:
    """Yield calls of the forced function, or of those whose name or description shares a word."""
    words = _words(model_request.text)
    for tool in model_request.tools:
        name = tool["name"]
        about = _words(f"{name.replace('_', ' ')} {tool.get('description', '')}")
        named = name in model_request.text
        fits = (
            name == model_request.forced_tool
            if model_request.forced_tool
            else named or words & about
        )
        if fits:
            schema = tool.get("parameters") or {}
            yield Call(name, arguments_for(schema, ExampleValues(model_request.text)))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower())) - _STOP_WORDS
