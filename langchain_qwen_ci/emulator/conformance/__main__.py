"""`python -m langchain_qwen_ci.emulator.conformance`: check an endpoint, or the emulator.

Exit codes: 0 no check failed, 1 a check failed, 2 wrong usage, 130 interrupted.
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
from langchain_qwen_ci.emulator.conformance import (
    CHECKS,
    DEFAULT_TIMEOUT_SECONDS,
    CheckResult,
    run_checks,
)
from langchain_qwen_ci.emulator.conformance.checks import Outcome
from langchain_qwen_ci.http import hosts
from langchain_qwen_ci.models import Api, NativeEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_KEY_VARIABLE = "DASHSCOPE_API_KEY"
_EXIT_FAILED = 1
_EXIT_INTERRUPTED = 130  # as a shell reports a program that SIGINT ended
_NAME_WIDTH = max(len(check.name) for check in CHECKS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # details may hold characters it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            try:
                results = _start(options, stack)
            except ValueError as error:
                parser.error(str(error))
            outcomes = _print_json(results) if options.json else _print_table(results)
            return _EXIT_FAILED if "failed" in outcomes else 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # for example, `| head` has printed enough
        # Python flushes stdout when it exits, which would print another BrokenPipeError.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_qwen_ci.emulator.conformance",
        description="Check whether an endpoint behaves as Qwen's code-interpreter service does. "
        f"The API key is read from {_KEY_VARIABLE}. Each API costs about six answers.",
    )
    parser.add_argument("--base-url", help="the endpoint (default: start the emulator)")
    parser.add_argument(
        "--allow-plain-http",
        action="store_true",
        help="send the key over plain http to another machine",
    )
    parser.add_argument("--api", choices=get_args(Api), help="run the checks of one API")
    parser.add_argument("--model", default="qwen3-max", help="default: %(default)s")
    parser.add_argument(
        "--endpoint",
        choices=get_args(NativeEndpoint),
        help="the native path that serves the model (default: found by the model's name)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=[check.name for check in CHECKS],
        help=f"run one check, such as {CHECKS[0].name}; may be repeated",
    )
    parser.add_argument(
        "--timeout",
        type=_positive_seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        help="maximum seconds for one answer (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    return parser


def _positive_seconds(text: str) -> float:
    seconds = float(text)
    if 0 < seconds < float("inf"):
        return seconds
    raise ValueError


def _start(options: argparse.Namespace, stack: ExitStack) -> Iterator[CheckResult]:
    """Select the checks and the endpoint.

    Raises:
        ValueError: the options do not fit together, or the URL or key cannot be used.
    """
    checks = [
        check
        for check in CHECKS
        if options.api in (None, check.api) and (not options.only or check.name in options.only)
    ]
    if not checks:
        raise ValueError("--only names no check of that --api")
    settings = {"model": options.model, "endpoint": options.endpoint, "timeout": options.timeout}
    if options.base_url is None:
        key = f"sk-{secrets.token_hex(16)}"
        server = stack.enter_context(EmulatorServer(api_key=key))
        # Requests to this machine must not go through a proxy; a transport of its own has none.
        transport = httpx.AsyncHTTPTransport()
        return run_checks(server.url, key, checks=checks, transport=transport, **settings)
    key = os.environ.get(_KEY_VARIABLE, "")
    if not key:
        raise ValueError(f"set {_KEY_VARIABLE}; use any text if the endpoint needs no key")
    if not options.allow_plain_http:
        hosts.require_https(hosts.parse_base_url(options.base_url).url, secrets=["the API key"])
    return run_checks(options.base_url, key, checks=checks, **settings)


def _print_table(results: Iterable[CheckResult]) -> list[Outcome]:
    """Print each result as soon as it is known, and the counts at the end."""
    outcomes: list[Outcome] = []
    for result in results:
        outcomes.append(result.outcome)
        check = result.check
        print(f"{result.outcome:8}{check.name:{_NAME_WIDTH}}  {check.requirement}", flush=True)
        if result.detail:
            print(f"{'':8}{check.source}; seen: {result.detail}", flush=True)
    counts = _counts(outcomes)
    print(f"\n{', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    return outcomes


def _print_json(results: Iterable[CheckResult]) -> list[Outcome]:
    """Print all results and their counts as one JSON document."""
    documents: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for result in results:
        check = result.check
        outcomes.append(result.outcome)
        documents.append(
            {
                "name": check.name,
                "api": check.api,
                "requirement": check.requirement,
                "source": check.source,
                "severity": check.severity,
                "outcome": result.outcome,
                "detail": result.detail,
            }
        )
    print(json.dumps({"counts": _counts(outcomes), "results": documents}, indent=2))
    return outcomes


def _counts(outcomes: list[Outcome]) -> dict[Outcome, int]:
    return {outcome: outcomes.count(outcome) for outcome in get_args(Outcome)}


if __name__ == "__main__":
    sys.exit(main())
