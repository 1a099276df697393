"""Small damages to a module, one at a time: a test that reads the damaged line should notice.

Not damaged: texts for people (strings with a space in them), what goes to the log, annotations,
decorators and defaults.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_DELETED = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damage, while the tree that it was found in has it.

    Attributes:
        place: the function that is damaged; "" for a constant of the module.
        lines: those of its statement, or of the head of one that holds others; of a constant of the
            module also those that name it.
    """

    place: str
    lines: list[int]
    change: str
    line: int


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Damage the tree in place, and mend it before the next one."""
    for holder, key, node, place, statement in _nodes(tree, "", range(0)):
        lines = [*statement, *([] if place else _uses(tree, statement[0]))]
        for damaged in _damages(node, in_function=bool(place)):
            holder[key] = ast.copy_location(damaged, node)
            ast.fix_missing_locations(damaged)
            yield Mutant(place, lines, _change(node, damaged), lines[0])
            holder[key] = node


def _uses(tree: ast.Module, line: int) -> Iterator[int]:
    """Where the names are used that a statement of the module sets."""
    for statement in tree.body:
        if statement.lineno == line and isinstance(statement, ast.Assign | ast.AnnAssign):
            name = ast.unparse(getattr(statement, "target", None) or statement.targets[0])
            for node in ast.walk(tree):
                if isinstance(node, ast.Name) and node.id == name and node.lineno != line:
                    yield node.lineno


def _change(old: ast.AST, new: ast.AST) -> str:
    """Both, or what is around the first difference where they are long."""
    texts = [_text(old), _text(new)]
    if max(map(len, texts)) > 100:
        differ = (at for at, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1)
        start = max(0, next(differ, min(map(len, texts))) - 40)
        texts = [f"…{text[start : start + 80]}…" for text in texts]
    return " → ".join(texts)


def _text(node: ast.AST) -> str:
    text = f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(node)
    return " ".join(text.split())


def _nodes(node: ast.AST, place: str, statement: range) -> Iterator[tuple[Any, Any, Any, str, Any]]:
    """Each node that may be damaged, as an entry of what holds it."""
    for holder, key, child in _children(node):
        inside, lines = place, statement
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inside = f"{place}.{child.name}".lstrip(".")
        elif isinstance(child, ast.stmt):
            lines = _head(child)
        if isinstance(child, ast.expr | ast.stmt | ast.comprehension) and lines:
            yield holder, key, child, place, lines
        yield from _nodes(child, inside, lines)


def _children(node: ast.AST) -> Iterator[tuple[Any, Any, ast.AST]]:
    if isinstance(node, ast.JoinedStr) or _is_logged(node) or _is_of_types(node):
        return
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and name != "body":
            continue
        if isinstance(value, list):
            children: Any = [(value, at, child) for at, child in enumerate(value)]
        else:
            children = [(vars(node), name, value)]
        for holder, key, child in children:
            if isinstance(child, ast.AST) and name != "annotation" and _reached(node, child):
                yield holder, key, child


def _reached(node: ast.AST, child: ast.AST) -> bool:
    match node, child:
        case ast.Module() | ast.ClassDef(), ast.FunctionDef() | ast.ClassDef():
            return True
        case ast.Module(), ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
            return name.isupper() and len(name) > 1
    return not isinstance(node, ast.Module | ast.ClassDef)


def _is_logged(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith("logger.")


def _is_of_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _head(statement: ast.stmt) -> range:
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    last = statement.end_lineno or 0
    if body:
        first = body[0]
        last = max(statement.lineno, getattr(first, "lineno", statement.lineno + 1) - 1)
    return range(statement.lineno, last + 1)


def _damages(node: ast.AST, *, in_function: bool) -> Iterator[ast.AST]:
    if isinstance(node, ast.expr | ast.comprehension):
        yield from _of_expression(node)
    elif in_function:
        yield from _of_statement(node)


def _of_statement(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(ast.Constant()) | ast.AnnAssign(value=None) | ast.Return(ast.Constant(None)):
            return
        case ast.If(test, body, orelse):
            yield from (ast.If(forced, body, orelse) for forced in _forced(test))
        case ast.Return(value) if value is not None:
            yield ast.Return(ast.Constant(None))
        case ast.Return():
            yield ast.Pass()
        case ast.Match(subject, cases):
            yield from (ast.Match(subject, rest) for rest in _without_one(cases))
    if isinstance(node, _DELETED) and not _is_logged(node):
        yield ast.Pass()


def _of_expression(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912  # a table
    match node:
        case ast.Constant(value):
            yield from map(ast.Constant, _other_values(value))
        case ast.JoinedStr() if " " not in ast.unparse(node):
            yield ast.Constant("mutant")
        case ast.Compare(left, operators, right):
            for at, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield ast.Compare(left, [*operators[:at], other(), *operators[at + 1 :]], right)
        case ast.BoolOp(operator, values):
            for rest in _without_one(values):
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.IfExp(test, then, other):
            yield from (ast.IfExp(forced, then, other) for forced in _forced(test))
        case ast.comprehension(target, iterable, [_, *_]):
            yield ast.comprehension(target, iterable, [], 0)
        case ast.BinOp(left, _, right):
            yield from (left, right)
        case ast.Call():
            yield from _of_call(node)
        case ast.Subscript(value, ast.Slice()):
            yield value
        case ast.Dict(keys, values):
            for rest in _without_one(list(zip(keys, values, strict=True))):
                yield ast.Dict([key for key, _ in rest], [value for _, value in rest])
        case ast.Tuple([_, _, *_] as elements, ast.Load()) if all(map(_is_plain, elements)):
            yield from (ast.Tuple(rest, ast.Load()) for rest in _without_one(elements))


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    for rest in _without_one(node.keywords):
        yield ast.Call(node.func, node.args, rest)
    match node.func:
        case ast.Name("suppress"):
            yield from (ast.Call(node.func, rest, []) for rest in _without_one(node.args))
        case ast.Name(name) if name.islower():
            yield from (one for one in node.args if not isinstance(one, ast.Starred))
        case ast.Attribute(value=receiver) if not node.args and not node.keywords:
            yield receiver


def _is_plain(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant | ast.Name | ast.Attribute)


def _forced(test: ast.expr) -> Iterator[ast.expr]:
    """It is still looked at, for what it assigns."""
    yield ast.BoolOp(ast.Or(), [test, ast.Constant(value=True)])
    yield ast.BoolOp(ast.And(), [test, ast.Constant(value=False)])


def _without_one(values: list[Any]) -> Iterator[list[Any]]:
    for at in range(len(values)):
        yield [*values[:at], *values[at + 1 :]]


def _other_values(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, value - 1)
        case str() if " " not in value.strip():
            yield f"{value}mutant"
        case bytes():
            yield value + b"mutant"
