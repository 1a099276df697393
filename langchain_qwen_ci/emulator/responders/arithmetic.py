"""Extracts arithmetic and fenced Python from a text, as code.

Words become operators, the rest is split into runs of numbers and operators, and Python's parser
decides which run is an expression. The sandbox computes the result.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_NUMBER = r"(?<![\d.])(\d[\d.]*)"
_OPERAND = r"(\([^()]*\)|\w+(?:[.*]+\w+)*)"

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_TEENS = "fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {
    **{word: number for number, word in enumerate(f"{_UNITS} {_TEENS}".split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_NUMBER_WORDS = re.compile(rf"\b({_WORD})(?:[- ]({'|'.join(_UNITS.split()[1:10])}))?\b")
# Telephone numbers look like subtractions.
_TELEPHONE = re.compile(r"\b(?:call|dial|phone|ring|tel|fax)\b\D{0,30}\d{3,}(?:-\d{3,})+")

# Longer phrases precede the shorter ones that they contain.
_PHRASES: tuple[tuple[str, str], ...] = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"sum of (?:all )?(?:the )?(?:whole )?numbers from (\d+) to (\d+)", r"sum(range(\1, \2 + 1))"),
    (rf"square root of {_OPERAND}", r"sqrt(\1)"),
    (rf"\bsquare {_OPERAND}", r"\1**2"),
    (rf"factorial of {_NUMBER}|{_NUMBER}!(?!=)", r"factorial(\1\2)"),
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
# A step ends at a word that introduces the next one, or before the next verb.
_STEP_END = re.compile(r"\bthen\b|;|\band (?=(?:divide|multiply|add|subtract|square)\b)")
# A dash followed by a space and without an operand before it is punctuation, not a sign.
_DASH = re.compile(r"(?<![\d)]\s)(?<!previous\s)(?<![\d)])-\s")
_REFERENCE = re.compile(r"\b(?:that|it|this|the result)\b")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\*\*|//|[-+*/%(),]|sqrt|factorial|sum|range|previous|\S")
_PART_OF_CODE = re.compile(r"\d+(?:\.\d+)?|\*\*|//|[-+*/%(),]|sqrt|factorial|sum|range|previous")
_PREVIOUS = "previous"
_FUNCTIONS = ("sqrt", "factorial")
# The kinds of syntax that arithmetic consists of; a text with others is not run.
_ARITHMETIC_NODES = (
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


def programs_in(text: str, *earlier: str) -> Iterator[str]:
    """Yield the programs that a text asks for: fenced code, otherwise one program for each step.

    Args:
        text: the current question.
        earlier: earlier questions, which "that" may refer to.
    """
    if fenced := _FENCE.findall(text):
        yield from (program.strip("\n") for program in fenced)
        return
    previous = ""
    for earlier_text in earlier:
        *_, previous = (previous, *_steps(earlier_text, previous))
    for expression in _steps(text, previous):
        needs_math = any(name in expression for name in _FUNCTIONS)
        yield f"import math\n{expression}" if needs_math else expression


def _steps(text: str, previous: str) -> Iterator[str]:
    """Yield the expressions of a text; each may refer to the one before it."""
    text = _TELEPHONE.sub("", text.lower())
    for part in _STEP_END.split(_NUMBER_WORDS.sub(_as_digits, text)):
        if expression := _expression(part, previous):
            previous = expression
            yield expression


def _as_digits(words: re.Match[str]) -> str:
    # "twenty-one" is 21, but "one two" is two numbers.
    first, second = _WORDS[words[1]], _WORDS.get(words[2] or "", 0)
    if second and first < 20:  # noqa: PLR2004  # only tens can be followed by a unit
        return f"{first} {second}"
    return str(first + second)


def _expression(text: str, previous: str) -> str | None:
    """Return the longest expression in a text; "that" refers to the previous one."""
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
    found = filter(None, (_to_code(" ".join(run).replace(_PREVIOUS, before)) for run in runs))
    return max(found, key=len, default=None)


def _to_code(text: str) -> str | None:
    """Return a text as formatted code if it is an expression that computes something."""
    text = text.strip(" ,+*/%").rstrip(" ,-+*/%")
    try:
        tree = ast.parse(text, mode="eval")
        nodes = list(ast.walk(tree))
        computes = any(isinstance(node, ast.BinOp | ast.Call) for node in nodes)
        if not computes or not all(isinstance(node, _ARITHMETIC_NODES) for node in nodes):
            return None
        code = ast.unparse(tree).replace(" ** ", "**")
    except (SyntaxError, RecursionError, MemoryError):  # not an expression, or nested too deep
        return None
    return re.sub(r"\b(sqrt|factorial)\(", r"math.\1(", code)
