"""Does an endpoint behave as Qwen's code-interpreter service does? Facts, one after the other.

```python
from langchain_qwen_ci.emulator.conformance import run_checks

for result in run_checks("http://127.0.0.1:8000", "any"):
    print(result.outcome, result.check.name, result.detail)
```

The checks are written from the descriptions and recordings of the service and with plain httpx.
They share nothing with the package's decoders, and so can find them wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.conformance import (
    chat_completions,
    dashscope,
    dashscope_refusals,
    responses,
    responses_refusals,
)
from langchain_qwen_ci.emulator.conformance.checks import Check, CheckResult, run_check
from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint
from langchain_qwen_ci.http import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_qwen_ci.models import NativeEndpoint

__all__ = ["CHECKS", "Check", "CheckResult", "run_checks"]

SECONDS = 300.0  # about the service's own limit
CHECKS: tuple[Check, ...] = (
    *dashscope.CHECKS.all,
    *dashscope_refusals.CHECKS.all,
    *responses.CHECKS.all,
    *responses_refusals.CHECKS.all,
    *chat_completions.CHECKS.all,
)


def run_checks(  # noqa: PLR0913  # options of a run, all by name
    base_url: str,
    api_key: str,
    *,
    model: str = "qwen3-max",
    endpoint: NativeEndpoint | None = None,
    checks: Sequence[Check] = CHECKS,
    timeout: float = SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Iterator[CheckResult]:
    """Make checks, and give each verdict as soon as it is known.

    Args:
        base_url: the endpoint's host, with or without an API's path.
        api_key: its key; anything, if it wants none.
        model: what is asked.
        endpoint: the native path that serves the model; None: the catalogue's.
        checks: those to make, in this order.
        timeout: seconds within which an answer must have come to its end.
        transport: how to reach the endpoint, in place of the network.

    Raises:
        ValueError: the URL or the key cannot be used.
    """
    if not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip() != ""):
        raise ValueError("The key cannot be sent as a header.")
    target = Endpoint(
        client=httpx.AsyncClient(transport=transport),
        base_url=hosts.normalize_base_url(base_url),
        api_key=api_key,
        model=model,
        native_endpoint=endpoint or models.native_endpoint(model),
        timeout=timeout,
    )
    return _results(target, checks)


def _results(endpoint: Endpoint, checks: Sequence[Check]) -> Iterator[CheckResult]:
    with asyncio.Runner() as runner:
        try:
            for check in checks:
                yield runner.run(run_check(check, endpoint))
        finally:
            runner.run(endpoint.client.aclose())
