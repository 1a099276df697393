"""Imports between the folders of the package run one way, and no modules import each other."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "langchain_qwen_ci"
NAME = PACKAGE.name

# From the lowest layer to the highest: a module imports from its own layer and from lower ones
# only.
LAYERS = (
    ("__about__",),
    ("metadata",),
    ("errors",),
    ("models",),
    ("request",),
    ("wire",),
    ("http",),
    ("response",),
    ("tracing",),
    ("chat_models",),
    ("", "graph"),  # "": the package's __init__, which imports the graph folder at first use
    ("agents",),
    ("__main__",),
)
RANKS = {folder: rank for rank, layer in enumerate(LAYERS) for folder in layer}
# The parts of the client that the emulator uses: data about models and hosts, and text escapes.
USED_BY_EMULATOR = {
    f"{NAME}.errors.text_safety",
    f"{NAME}.http.hosts",
    f"{NAME}.models",
}
MAX_MODULE_LINES = 350


def modules() -> dict[str, Path]:
    """Return the path of each module by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports, also for type checkers only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return {name for name in found if name.partition(".")[0] == NAME}


def folder(module: str) -> str:
    return module.removeprefix(NAME).lstrip(".").partition(".")[0]


CLIENT_MODULES = [module for module in MODULES if folder(module) != "emulator"]
EMULATOR_MODULES = [module for module in MODULES if folder(module) == "emulator"]


def test_every_folder_has_a_layer():
    assert {folder(module) for module in CLIENT_MODULES} == set(RANKS)


@pytest.mark.parametrize("module", CLIENT_MODULES)
def test_client_imports_run_one_way(module):
    allowed = {name for name in imports(module) if folder(name) != "emulator"}
    higher = [name for name in allowed if RANKS[folder(name)] > RANKS[folder(module)]]
    # The package's __init__ is a layer for those that import from it, not for its submodules.
    assert [name for name in higher if name != NAME] == []


@pytest.mark.parametrize("module", CLIENT_MODULES)
def test_client_does_not_import_the_emulator(module):
    found = {name for name in imports(module) if folder(name) == "emulator"}
    # The command line starts the emulator when no key is set.
    assert found <= ({f"{NAME}.emulator"} if module == f"{NAME}.__main__" else set())


@pytest.mark.parametrize("module", EMULATOR_MODULES)
def test_emulator_shares_only_data_with_the_client(module):
    assert {name for name in imports(module) if folder(name) != "emulator"} <= USED_BY_EMULATOR


def test_no_modules_import_each_other():
    graph = {module: imports(module) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", MODULES)
def test_module_length(module):
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= MAX_MODULE_LINES


def test_entries_of_the_package():
    entries = [
        path.name
        for path in PACKAGE.iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    ]
    assert len(entries) <= 12, sorted(entries)


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "base", "manager"])
def test_no_module_without_a_subject(name):
    assert [module for module in MODULES if module.rpartition(".")[2] == name] == []
