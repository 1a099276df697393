"""Every Python block of README, docs and docstrings runs, and so does every example."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import pytest

from langchain_qwen_ci.emulator import EmulatorServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DOCSTRING_BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=str
)
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_python_blocks_of_a_page_run(page: Path, monkeypatch):
    source = page.read_text()
    names: dict[str, object] = {"__name__": "docs"}
    with EmulatorServer() as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "any")
        for match in BLOCK.finditer(source):
            line = source[: match.start(1)].count("\n")
            exec(compile("\n" * line + match[1], str(page), "exec"), names)


def blocks_of_docstrings(module: Path) -> list[str]:
    """Return the complete Python blocks of a module's docstrings; fragments import nothing."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    blocks: list[str] = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
            found = [cleandoc(f"\n{block}") for block in DOCSTRING_BLOCK.findall(docstring)]
            if any("from langchain_qwen_ci" in block for block in found):
                blocks += found
    return blocks


MODULES = {
    module.relative_to(ROOT).as_posix(): blocks
    for module in sorted((ROOT / "langchain_qwen_ci").rglob("*.py"))
    # The endpoint that the conformance checks are shown with is the reader's.
    if module.parent.name != "conformance" and (blocks := blocks_of_docstrings(module))
}


def test_docstrings_of_model_and_node_have_blocks():
    assert len(MODULES["langchain_qwen_ci/chat_models/chat_model.py"]) >= 9
    assert MODULES["langchain_qwen_ci/graph/node.py"]


@pytest.mark.parametrize("module", MODULES)
def test_python_blocks_of_docstrings_run(module: str, monkeypatch):
    names: dict[str, object] = {"__name__": "docs"}
    with EmulatorServer() as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "any")
        for block in MODULES[module]:
            exec(compile(block, module, "exec"), names)


def test_the_tests_of_testing_your_app_pass(tmp_path: Path):
    page = (ROOT / "docs" / "testing-your-app.md").read_text()
    fixtures, *tests = BLOCK.findall(page)
    (tmp_path / "conftest.py").write_text(fixtures)
    (tmp_path / "test_app.py").write_text("\n".join(tests))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    count = page.count("\ndef test_")
    assert count >= 10
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_exist(page: Path):
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


POWER = "77269364466549865653073473388030061522211723"
PRINTED = {
    "chain.py": [POWER, "ran: 7**5", "{'code_interpreter': 1}"],
    "router.py": [
        "7**5 = 16807.",
        "ran: ['7**5']",
        "It is sunny in Paris.",
        "ran: []",
    ],
    "error_handling.py": [
        "Retried after a rate limit: 7**5 = 16807.\n  requests: 2",
        "Interrupted: The answer broke off",
        "  ran: 7**5",
        "Repeated after an interruption: 7**5 = 16807.\n  requests: 2",
        "Timed out: The call took longer than total_timeout (0.5 s).",
        "  reasoning: ",
    ],
    "compare_apis.py": [
        "dashscope: 7**5 = 16807.",
        "responses: 7**5 = 16807.",
        "chat_completions: 7**5 = 16807.",
        "ran: 7**5 → (not returned)",
        "ran: 7**5 → 16807",
        "structured output: Result(value=16807)",
    ],
    "self_hosted.py": [
        "responses: 7**5 = 16807.",
        "ran: 7**5 → 16807",
        "chat_completions: 7**5 = 16807.",
        "plugin counts: (not returned)",
    ],
}


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=str)
def test_examples_print_the_expected_output(example: Path):
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for expected in PRINTED[example.name]:
        assert expected in done.stdout
    assert done.stderr == ""
