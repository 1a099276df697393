"""What `make package` built holds what it should, and nothing else.

The wheel holds the package, its marker of types and its licence. The source distribution holds
every file of the repository that is needed to test and to build the package again.

Usage: python tests/packaging/check_distributions.py dist
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Only the repository's host, editors and CI read these.
_NOT_DISTRIBUTED = re.compile(r"\.(?!gitignore$).*")
# The build writes these into a source distribution.
_WRITTEN = {"PKG-INFO"}
_RELATIVE_LINK = re.compile(r'(?:\]\(|src="|href=")(?!https?:|#|mailto:)[^)"]*')


def tracked() -> set[str]:
    """The files of the repository; none where this is not a repository, as in an unpacked sdist."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return set(listed.stdout.splitlines()) if (ROOT / ".git").exists() else set()


def check_wheel(path: Path, files: set[str]) -> list[str]:
    """What is wrong with the wheel."""
    with zipfile.ZipFile(path) as wheel:
        held = set(wheel.namelist())
        info = next(name.partition("/")[0] for name in held if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    package = {name for name in held if not name.startswith(f"{info}/")}
    expected = {name for name in files if name.startswith("langchain_qwen_ci/")} or package
    problems = [f"The wheel lacks {name}." for name in sorted(expected - package)]
    problems += [f"The wheel holds {name}." for name in sorted(package - expected)]
    required = ("langchain_qwen_ci/py.typed", f"{info}/licenses/LICENSE")
    problems += [f"The wheel lacks {name}." for name in required if name not in held]
    description = str(metadata.get_payload())
    for link in _RELATIVE_LINK.findall(description):
        problems.append(f"A link of the description leads nowhere outside the repository: {link}")
    if not description.strip():
        problems.append("The description is empty.")
    return problems


def check_sdist(path: Path, files: set[str]) -> list[str]:
    """What is wrong with the source distribution."""
    with tarfile.open(path) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    expected = {name for name in files if not _NOT_DISTRIBUTED.fullmatch(name)} or held
    problems = [f"The source distribution lacks {name}." for name in sorted(expected - held)]
    more = sorted(held - expected - _WRITTEN)
    problems += [f"The source distribution holds {name}, which git does not." for name in more]
    for name in ("pyproject.toml", "Makefile", "requirements/dev.txt", "tests/smoke/lowest.txt"):
        if name not in held:
            problems.append(f"The source distribution lacks {name}.")
    return problems


def main() -> int:
    """Check, and print what is wrong.

    Returns:
        The exit code.
    """
    (wheel,) = Path(sys.argv[1]).glob("*.whl")
    (sdist,) = Path(sys.argv[1]).glob("*.tar.gz")
    files = tracked()
    problems = [*check_wheel(wheel, files), *check_sdist(sdist, files)]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{wheel.name} and {sdist.name} hold what they should.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
