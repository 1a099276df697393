"""`python -m langchain_qwen_ci.emulator.conformance`: judge an endpoint, or the emulator.

Exit codes: 0 nothing failed, 1 something did, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import secrets
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, get_args

import httpx

from langchain_qwen_ci.emulator import EmulatorServer
from langchain_qwen_ci.emulator.conformance import CHECKS, SECONDS, CheckResult, run_checks
from langchain_qwen_ci.emulator.conformance.checks import Outcome
from langchain_qwen_ci.http import hosts
from langchain_qwen_ci.models import Api, NativeEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEY = "DASHSCOPE_API_KEY"
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal cannot show is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            try:
                results = _run(chosen, stack)
            except ValueError as error:
                parser.error(str(error))
            report = _document if chosen.json else _table
            return report(results)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_qwen_ci.emulator.conformance",
        description="Judge an endpoint that claims to be Qwen's code-interpreter service. "
        f"Its key is taken from {_KEY}. Every wire costs about six answers.",
    )
    parser.add_argument("--base-url", help="the endpoint (default: the emulator, started for it)")
    parser.add_argument(
        "--allow-plain-http",
        action="store_true",
        help="send the key by plain http to another machine, too",
    )
    parser.add_argument("--api", choices=get_args(Api), help="this wire only")
    parser.add_argument("--model", default="qwen3-max")
    parser.add_argument(
        "--endpoint",
        choices=get_args(NativeEndpoint),
        help="the native path of the model (default: by its name)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=[check.name for check in CHECKS],
        help="this check only, like dashscope/frames; may be repeated",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=SECONDS,
        help=f"of an answer, in seconds (default: {SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if 0 < seconds < float("inf"):
        return seconds
    raise ValueError


def _run(chosen: argparse.Namespace, stack: ExitStack) -> Iterator[CheckResult]:
    """The verdicts that are asked for.

    Raises:
        ValueError: they cannot be made like this.
    """
    checks = [
        check
        for check in CHECKS
        if chosen.api in (None, check.api) and (not chosen.only or check.name in chosen.only)
    ]
    if not checks:
        raise ValueError("--only names no check of that --api")
    asked = {"model": chosen.model, "endpoint": chosen.endpoint, "timeout": chosen.timeout}
    if chosen.base_url is None:
        key = f"sk-{secrets.token_hex(16)}"
        server = stack.enter_context(EmulatorServer(api_key=key))
        # A transport of its own: no proxy stands before this machine.
        return run_checks(
            server.url, key, checks=checks, transport=httpx.AsyncHTTPTransport(), **asked
        )
    key = os.environ.get(_KEY, "")
    if not key:
        raise ValueError(f"set {_KEY}; to anything, if the endpoint wants no key")
    if not chosen.allow_plain_http:
        hosts.require_https(hosts.normalize_base_url(chosen.base_url))
    return run_checks(chosen.base_url, key, checks=checks, **asked)


def _table(results: Iterator[CheckResult]) -> int:
    """Print every verdict as soon as it is known."""
    counts = dict.fromkeys(get_args(Outcome), 0)
    for result in results:
        counts[result.outcome] += 1
        check = result.check
        print(f"{result.outcome:8}{check.name:42}{check.requirement}", flush=True)
        if result.detail:
            print(f"{'':8}{check.source}; seen: {result.detail}", flush=True)
    print(f"\n{_counted(counts)}")
    return _exit_code(counts)


def _document(results: Iterator[CheckResult]) -> int:
    told = list(results)
    outcomes = [result.outcome for result in told]
    counts = {outcome: outcomes.count(outcome) for outcome in get_args(Outcome)}
    print(json.dumps({"counts": counts, "results": list(map(_object, told))}, indent=2))
    return _exit_code(counts)


def _object(result: CheckResult) -> dict[str, Any]:
    check = result.check
    return {
        "name": check.name,
        "api": check.api,
        "requirement": check.requirement,
        "source": check.source,
        "severity": check.severity,
        "outcome": result.outcome,
        "detail": result.detail,
    }


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _exit_code(counts: dict[str, int]) -> int:
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
