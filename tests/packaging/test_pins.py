"""The pinned versions are those that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def here(requirements: Iterable[str]) -> list[Requirement]:
    """Those that hold on this Python and this system."""
    parsed = map(Requirement, requirements)
    return [one for one in parsed if one.marker is None or one.marker.evaluate()]


def pins(path: Path) -> dict[str, Version]:
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in " #"]
    pinned = {}
    for requirement in here(lines):
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        pinned[canonicalize_name(requirement.name)] = Version(specifier.version)
    return pinned


def test_each_lower_bound_is_the_version_that_the_smoke_tests_run_with():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    pinned = pins(ROOT / "tests/smoke/lowest.txt")
    for requirement in here(wanted):
        (bound,) = (s.version for s in requirement.specifier if s.operator == ">=")
        assert pinned[canonicalize_name(requirement.name)] == Version(bound), requirement.name


def test_development_is_pinned_to_versions_that_pyproject_allows():
    parsed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = parsed["project"], parsed["dependency-groups"]
    wanted = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
        *(
            one
            for name, group in groups.items()
            for one in group
            if isinstance(one, str) and name != "bench"
        ),
    ]
    check_pins("requirements/dev.txt", wanted)


def test_the_benchmark_is_pinned_to_versions_that_pyproject_allows():
    parsed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*parsed["project"]["dependencies"], *parsed["dependency-groups"]["bench"]]
    check_pins("requirements/bench.txt", wanted)


def check_pins(file: str, wanted: Iterable[str]) -> None:
    pinned = pins(ROOT / file)
    for requirement in here(wanted):
        name = canonicalize_name(requirement.name)
        assert pinned[name] in requirement.specifier, f"run `make lock`: {name}"


def test_a_commit_is_checked_by_the_same_ruff():
    configuration = ROOT / ".pre-commit-config.yaml"
    if not configuration.exists():
        pytest.skip("a source distribution does not hold it")
    (version,) = re.findall(r"ruff-pre-commit\n +rev: v(.+)", configuration.read_text())
    assert Version(version) == pins(ROOT / "requirements/dev.txt")["ruff"]
