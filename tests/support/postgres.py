"""A PostgreSQL server of its own for whoever asks: in a temporary folder, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Debian keeps the server's programs out of the PATH.
DEBIANS = Path("/usr/lib/postgresql")
# Nothing here has to survive a power cut, and no port is taken.
SETTINGS = "-c listen_addresses= -c fsync=off -c synchronous_commit=off -c max_connections=50"


class UnavailableError(Exception):
    """There is no server to be had on this machine; the text says why."""


@contextmanager
def server() -> Iterator[str]:
    """The address of a fresh server, which is gone afterwards.

    Raises:
        UnavailableError: PostgreSQL is not installed, or does not start.
    """
    programs = _programs()
    # A socket's path may have about a hundred letters: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    as_owner = _owner(folder)
    data = folder / "data"
    try:
        _run(programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", **as_owner)
        options = f"{SETTINGS} -k {folder}"
        start = ("-w", "-D", data, "-l", folder / "log", "-o", options, "start")
        _run(programs / "pg_ctl", *start, **as_owner)
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop", **as_owner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve()] if on_path else sorted(DEBIANS.glob("*/bin/initdb"))
    if not found:
        raise UnavailableError("PostgreSQL is not installed: there is no initdb.")
    return found[-1].parent


def _owner(folder: Path) -> dict[str, Any]:
    """The server refuses to be root: Debian's package brings a user for it."""
    if os.geteuid() != 0:
        return {}
    try:
        shutil.chown(folder, "postgres", "postgres")
    except LookupError:
        raise UnavailableError("PostgreSQL does not run as root; no user postgres.") from None
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _run(*command: str | Path, **how: Any) -> None:
    # The server inherits what its starter has: a pipe would stay open as long as it lives.
    with tempfile.TemporaryFile() as text:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=text, stderr=text, cwd="/", check=False, **how
        )
        if done.returncode:
            text.seek(0)
            raise UnavailableError(f"{command[0]} failed: {text.read().decode()}")
