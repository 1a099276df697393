"""`make mutants`: damages the retry flow and the decoders, and tells which damages no test notices.
Fails if one is not explained in docs/testing.md. Files may be named: `tests/mutation flow.py`.

All tests are collected once. Each mutant is a forked child in which the code of one function is
exchanged; it runs those tests that come by the damaged statement, the fastest first, to the first
failure.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
FLOW = {"errors", "repeating", "bounds", "compatible_errors", "secrets"}
DECODER = {"errors", "compatible_errors", "parity", "decoder", "decoder_properties", "contract"}
DECODER |= {"frames", "events", "responses_events"}
WIRE = DECODER | {"request", "compatible_requests", "refusal", "structured_output"}
FILES = {
    "flow.py": FLOW,
    "content_encoding.py": FLOW,
    "wire/sse.py": DECODER,
    "wire/decoding.py": DECODER | {"bounds"},
    "wire/values.py": DECODER,
    "wire/tokens.py": DECODER,
    "wire/dashscope.py": WIRE,
    "wire/chat_completions.py": WIRE,
    "wire/responses.py": WIRE,
    "wire/response_items.py": WIRE,
}
# The ways into the model share what is damaged here: two of them, one without a loop, will do.
OTHER_WAYS = ("stream", "astream", "batch", "abatch", "node", "async node", "v3", "ainvoke")
OTHER_WAYS += ("stream_events", "astream_events")
# Many times the same, for what a property test also tries: they would take most of the time.
SLOW = ("test_one_split_anywhere", "test_bytes_one_by_one")
# What is left of survivors, with reasons; a line of it that is one is explained.
PAGE = ROOT / "docs" / "testing.md"
MOST_BYTES = 3 * 1024**3
Item = pytest.Item


class Run:
    """A pytest plugin that runs tests many times over."""

    def __init__(self, files: list[str]) -> None:
        self._files = files
        self._seconds: dict[str, float] = {}
        self._passed_by: dict[str, dict[str, list[int]]] = {}
        self._explained = {line.strip() for line in PAGE.read_text().splitlines()}
        self.new = 0  # survivors that are not explained

    def pytest_configure(self) -> None:
        """The same examples for every mutant, which need not be the smallest that fail."""
        from hypothesis import Phase, settings  # noqa: PLC0415  # pytest is to rewrite it first

        phases = [Phase.explicit, Phase.generate]
        settings.register_profile(
            "mutants", settings(derandomize=True, database=None, deadline=None, phases=phases)
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Item]) -> None:
        items[:] = [item for item in items if not _is_left_out(item)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            seen = Path(folder) / "seen.json"
            if _forked(lambda: self._watch(session, seen)) != "survived":
                raise pytest.UsageError("The tests do not pass as they are.")
            self._seconds, self._passed_by = json.loads(seen.read_text())
        session.items.sort(key=lambda item: self._seconds[item.nodeid])
        for name in self._files:
            self._damage(session, name)
        return True

    def _watch(self, session: pytest.Session, seen: Path) -> bool:
        """Run every test, and keep what it costs and which lines it comes by."""
        paths = {str(ROOT / "langchain_qwen_ci" / name): name for name in self._files}
        lines: set[tuple[str, int]] = set()

        def called(frame: Any, event: str, _: object) -> Any:
            return line if frame.f_code.co_filename in paths else None

        def line(frame: Any, event: str, _: object) -> Any:
            lines.add((frame.f_code.co_filename, frame.f_lineno))
            return line

        threading.settrace(called)
        for item in session.items:
            lines.clear()
            began = time.perf_counter()
            sys.settrace(called)
            passed = self._run(session, [item])
            sys.settrace(None)
            if not passed:
                return False
            self._seconds[item.nodeid] = time.perf_counter() - began
            for path, number in lines:
                by_line = self._passed_by.setdefault(paths[path], {})
                by_line.setdefault(str(number), []).append(item.nodeid)
        seen.write_text(json.dumps([self._seconds, self._passed_by]))
        return True

    def _damage(self, session: pytest.Session, name: str) -> None:
        path = ROOT / "langchain_qwen_ci" / name
        module = importlib.import_module(f"langchain_qwen_ci.{name[:-3].replace('/', '.')}")
        tree = ast.parse(path.read_text())
        counts: Counter[str] = Counter()
        for mutant in mutants(tree):
            items = self._tests_of(session, name, mutant)
            exchange = functools.partial(_exchange, module, tree, path, mutant)
            outcome = self._outcome(session, items, exchange)
            counts[outcome] += 1
            if outcome not in ("killed", "timeout"):
                text = f"{name}: {mutant.place or 'constant'}: {mutant.change}"
                new = "" if text in self._explained else "NEW "
                self.new += bool(new)
                print(f"{new}{outcome}, {len(items)} tests, line {mutant.line}\n{text}", flush=True)
        figures = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        print(f"== {name}: {counts.total()} mutants: {figures}", flush=True)

    def _outcome(
        self, session: pytest.Session, items: list[Item], exchange: Callable[[], None]
    ) -> str:
        def run() -> bool:
            exchange()
            return self._run(session, items)

        return _forked(run) if items else "survived"

    def _run(self, session: pytest.Session, items: list[Item]) -> bool:
        """Whether all pass; the first that fails is the last, and one that hangs ends the child."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            usual = self._seconds.get(item.nodeid, 100.0)
            signal.setitimer(signal.ITIMER_REAL, 5 + 5 * usual)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return False
        return True

    def _tests_of(self, session: pytest.Session, name: str, mutant: Mutant) -> list[Item]:
        by_line = self._passed_by.get(name, {})
        ids = {test for number in mutant.lines for test in by_line.get(str(number), [])}
        of_file = {f"test_{one}" for one in FILES[name]}
        return [i for i in session.items if i.nodeid in ids and i.path.stem in of_file]


def _is_left_out(item: Item) -> bool:
    if item.name.startswith(SLOW):
        return True
    given = item.name.partition("[")[2].rstrip("]").split("-")
    return any(way in given for way in OTHER_WAYS)


def _exchange(module: ModuleType, tree: ast.Module, path: Path, mutant: Mutant) -> None:
    """Give every function of the module the code it has now, or a constant its value."""
    if not mutant.place:
        _set_constant(module, tree, mutant.line)
        return
    now = {
        (one.co_qualname, one.co_firstlineno): one for one in _codes(compile(tree, path, "exec"))
    }
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        old = function.__code__
        if old.co_filename == str(path):
            function.__code__ = now.get((old.co_qualname, old.co_firstlineno), old)


def _set_constant(module: ModuleType, tree: ast.Module, line: int) -> None:
    """There, and where it was imported."""
    before = dict(vars(module))
    (statement,) = (one for one in tree.body if one.lineno == line)
    exec(compile(ast.Module([statement], []), "a constant", "exec"), vars(module))
    for name, old in before.items():
        for other in list(sys.modules.values()) if vars(module)[name] is not old else []:
            if other.__name__.startswith("langchain_qwen_ci") and vars(other).get(name) is old:
                setattr(other, name, vars(module)[name])


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _forked(run: Callable[[], bool]) -> str:
    child = os.fork()
    if child == 0:
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            os._exit(0 if run() else 1)
        finally:
            os._exit(2)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return ("survived", "killed", "broken")[os.WEXITSTATUS(status)]


def main() -> int:
    files = sys.argv[1:] or list(FILES)
    os.environ["PROPERTY_EXAMPLES"] = "100"
    run = Run(files)
    names = sorted({name for file in files for name in FILES[file]})
    tests = [str(ROOT / "tests" / f"test_{name}.py") for name in names]
    pytest.main([*tests, "-n0", "-q", "-s", "-p", "no:cacheprovider", "-o", "timeout=0"], [run])
    return 1 if run.new else 0


sys.exit(main())
