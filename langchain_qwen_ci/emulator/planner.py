"""A mind with rules: it turns arithmetic and fenced Python in a question into code.

Words become operators, what remains is cut into runs of numbers and operators, and Python's own
parser says which of them is an expression. Nothing is computed here: the sandbox does that.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.emulator.mind import Call, Question, Run, Say, Think

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_qwen_ci.emulator.mind import Result, Steps

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_NUMBER = r"(?<![\d.])(\d[\d.]*)"
_OPERAND = r"(\([^()]*\)|\w+(?:[.*]+\w+)*)"

# Longer phrases before the shorter ones that they contain.
_PHRASES: tuple[tuple[str, str], ...] = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"sum of (?:all )?(?:the )?(?:whole )?numbers from (\d+) to (\d+)", r"sum(range(\1, \2 + 1))"),
    (rf"square root of {_OPERAND}", r"sqrt(\1)"),
    (rf"\bsquare {_OPERAND}", r"\1**2"),
    (rf"factorial of {_NUMBER}", r"factorial(\1)"),
    (rf"{_NUMBER} ?(?:percent|%) of {_NUMBER}", r"\2 * \1 / 100"),
    (rf"divide {_OPERAND} by {_OPERAND}", r"\1 / \2"),
    (rf"multiply {_OPERAND} (?:by|with) {_OPERAND}", r"\1 * \2"),
    (rf"add {_OPERAND} (?:to|and) {_OPERAND}", r"\2 + \1"),
    (rf"subtract {_OPERAND} from {_OPERAND}", r"\2 - \1"),
    (r"(?:raised )?to the power of|raised to|\^", "**"),
    (r"\bsquared\b", "**2"),
    (r"\bcubed\b", "**3"),
    (r"\bplus\b", "+"),
    (r"\bminus (?=\d)", "-"),
    (r"\bminus\b", "-"),
    (r"\btimes\b|\bmultiplied by\b|(?<=\d) ?[x×] ?(?=\d)", "*"),  # noqa: RUF001
    (r"\bdivided by\b|÷", "/"),
    (r"\bmodulo\b|\bmod\b", "%"),
)
# A step ends where the next one is announced, or where its verb follows.
_STEP_END = re.compile(r"\bthen\b|;|\band (?=(?:divide|multiply|add|subtract|square)\b)")
# A dash with a space behind it and no operand before it is punctuation; the others are signs.
_DASH = re.compile(r"(?<![\d)]\s)(?<!previous\s)(?<![\d)])-\s")
_REFERENCE = re.compile(r"\b(?:that|it|this|the result)\b")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\*\*|//|[-+*/%(),]|sqrt|factorial|sum|range|previous|\S")
_PART_OF_CODE = re.compile(r"\d+(?:\.\d+)?|\*\*|//|[-+*/%(),]|sqrt|factorial|sum|range|previous")
_PREVIOUS = "previous"
_FUNCTIONS = ("sqrt", "factorial")
_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Constant,
    ast.Call,
    ast.Name,
    ast.operator,
    ast.unaryop,
    ast.Load,
)


class Planner:
    """The demo's default mind."""

    def answer(self, question: Question) -> Steps:
        """Think, run what the question asks to compute, think again, and answer."""
        if question.messages and question.messages[-1].role == "tool":
            yield Say(f"The tool answered: {question.text}")
            return
        if calls := list(_calls(question)):
            yield from calls
            return
        programs = list(_programs(question.text))
        if not question.code_interpreter:
            yield Say("The code interpreter is off, so I answer without running anything.")
            return
        if not programs:
            if question.thinking:
                yield Think("There is nothing to compute in this question.")
            yield Say(_HELP)
            return
        yield from _run_all(programs, question)


_HELP = (
    "I am the emulator's planner. I run arithmetic (What is 123 to the power of 21?), expressions "
    "(2**10 + 5), steps (first 12 squared, then divide that by 5) and fenced Python."
)


def _run_all(programs: list[str], question: Question) -> Steps:
    results: list[Result] = []
    for number, program in enumerate(programs):
        if question.thinking:
            yield Think(
                "The user wants a result that I should compute and not guess. "
                "I will run code for it."
                if number == 0
                else "That is the first part. The next one builds on it, so I run code again."
            )
        result = yield Run(program)
        if result is None:
            raise RuntimeError("A mind must be sent the result of what it runs.")
        results.append(result)
    if question.thinking:
        yield Think("The code has run. Now I can answer in a clear form.")
    yield Say(" ".join(map(_sentence, programs, results)))


def _sentence(program: str, result: Result) -> str:
    output = result.output.strip()
    if result.failed:
        return f"The code failed with {output.splitlines()[-1]}."
    code = program.removeprefix("import math\n")
    if "\n" not in code and "print" not in code:
        return f"{code} = {output}."
    return f"The code printed: {output}" if output else "The code ran and printed nothing."


def _programs(text: str) -> Iterator[str]:
    if fenced := _FENCE.findall(text):
        yield from (program.strip("\n") for program in fenced)
        return
    previous = ""
    for part in _STEP_END.split(text.lower()):
        if expression := _expression(part, previous):
            previous = expression
            needs_math = any(name in expression for name in _FUNCTIONS)
            yield f"import math\n{expression}" if needs_math else expression


def _expression(text: str, previous: str) -> str | None:
    """The longest expression in a text; "that" is the one before."""
    if previous:
        text = _REFERENCE.sub(_PREVIOUS, text)
    for phrase, code in _PHRASES:
        text = re.sub(phrase, code, text)
    if previous and text.lstrip(" ,").startswith(tuple("*/+-%")):
        text = f"{_PREVIOUS} {text.lstrip(' ,')}"
    text = _DASH.sub("; ", text)
    runs: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if _PART_OF_CODE.fullmatch(token):
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    before = f"({previous.replace('math.', '')})"
    found = filter(None, (_checked(" ".join(run).replace(_PREVIOUS, before)) for run in runs))
    return max(found, key=len, default=None)


def _checked(text: str) -> str | None:
    """The text as tidy code, if it is an expression that computes something."""
    text = text.strip(" ,+*/%").rstrip(" ,-+*/%")
    try:
        tree = ast.parse(text, mode="eval")
        nodes = list(ast.walk(tree))
        computes = any(isinstance(node, ast.BinOp | ast.Call) for node in nodes)
        if not computes or not all(isinstance(node, _NODES) for node in nodes):
            return None
        code = ast.unparse(tree).replace(" ** ", "**")
    except (SyntaxError, RecursionError, MemoryError):  # no expression, or one nested too deep
        return None
    return re.sub(r"\b(sqrt|factorial)\(", r"math.\1(", code)


def _calls(question: Question) -> Iterator[Call]:
    """Call the forced function, or those whose name or description shares a word."""
    asked = set(re.findall(r"[a-z]{3,}", question.text.lower()))
    for tool in question.tools:
        about = f"{tool['name'].replace('_', ' ')} {tool.get('description', '')}".lower()
        shares = asked & set(re.findall(r"[a-z]{3,}", about))
        if tool["name"] == question.forced_tool or (shares and not question.forced_tool):
            schema = tool.get("parameters") or {}
            yield Call(tool["name"], _arguments(schema, question.text))


def _arguments(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Numbers of the question for numbers, what it quotes or ends with for everything else."""
    numbers = iter(re.findall(r"-?\d+(?:\.\d+)?", text))
    quoted = re.search(r"[\"'“]([^\"'”]+)[\"'”]", text)
    ending = re.search(r".*\b(?:in|of|for|about|is)\s+([^?.!]+)", text, re.DOTALL)
    said = quoted or ending
    words = said.group(1).strip() if said else text
    kinds = {"integer": int, "number": float}
    return {
        name: kinds[kind](float(next(numbers, "0")))
        if (kind := field.get("type")) in kinds
        else words
        for name, field in (schema.get("properties") or {}).items()
    }
