"""docs/promises.md names a test for each promise of the pages about errors and connections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()


def promises() -> list[tuple[str, str, str]]:
    """Return page, promise and test of each row."""
    found = []
    page = ""
    for line in PAGE.splitlines():
        if heading := re.fullmatch(r"## \[(.+)\]\(\1\)", line):
            page = heading[1]
        elif row := re.fullmatch(r"\| (.+) \| `(.+::.+)` \|", line):
            found.append((page, row[1].replace(r"\|", "|"), row[2]))
    return found


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_page_has_promises():
    assert len(promises()) > 60


@pytest.mark.parametrize(("page", "promise", "test"), promises())
def test_promise_stands_on_its_page_and_its_test_exists(page, promise, test):
    assert promise in one_line((ROOT / "docs" / page).read_text())
    path, name = test.split("::")
    source = (ROOT / "tests" / path).read_text()
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), "no such test"
