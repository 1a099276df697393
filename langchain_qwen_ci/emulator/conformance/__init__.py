"""Tests whether an endpoint behaves as Qwen's code-interpreter service does, in about 100 checks.

```python
from langchain_qwen_ci.emulator.conformance import run_checks

for result in run_checks("http://127.0.0.1:8000", "any"):
    print(result.outcome, result.check.name, result.detail)
```

The checks are written from documentation and recordings of the service, with plain httpx. They
share no code with the package's decoders or the emulator, so they can find faults in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import httpx

from langchain_qwen_ci import models
from langchain_qwen_ci.emulator.conformance.apis import (
    chat_completions,
    dashscope,
    dashscope_errors,
    responses_errors,
    responses_events,
    responses_options,
    responses_output,
    responses_stored,
)
from langchain_qwen_ci.emulator.conformance.checks import Check, CheckResult, run_check
from langchain_qwen_ci.emulator.conformance.endpoint import Endpoint
from langchain_qwen_ci.http import hosts
from langchain_qwen_ci.models import NativeEndpoint

__all__ = ["CHECKS", "Check", "CheckResult", "run_checks"]

DEFAULT_TIMEOUT_SECONDS = 300.0  # the service ends its own requests after 298 to 600 s
CHECKS: tuple[Check, ...] = (
    *dashscope.CHECKS.all,
    *dashscope_errors.CHECKS.all,
    *responses_events.CHECKS.all,
    *responses_output.CHECKS.all,
    *responses_stored.CHECKS.all,
    *responses_options.CHECKS.all,
    *responses_errors.CHECKS.all,
    *chat_completions.CHECKS.all,
)


def run_checks(  # noqa: PLR0913  # options of a run, all by name
    base_url: str,
    api_key: str,
    *,
    model: str = "qwen3-max",
    endpoint: NativeEndpoint | None = None,
    checks: Sequence[Check] = CHECKS,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Iterator[CheckResult]:
    """Run checks, and yield each result as soon as it is known.

    Args:
        base_url: the endpoint's URL, as `ChatQwenCodeInterpreter` takes it.
        api_key: the endpoint's API key; any text if it needs none.
        model: the model to test.
        endpoint: the path of the native API that serves the model; None: found by its name.
        checks: the checks to run, in this order.
        timeout: maximum seconds for one complete answer.
        transport: an httpx transport in place of the network.

    Raises:
        ValueError: the URL or the key cannot be used.
    """
    if not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip() != ""):
        raise ValueError("The key cannot be sent as a header.")
    under_test = Endpoint(
        client=httpx.AsyncClient(transport=transport),
        host=hosts.parse_base_url(base_url),
        api_key=api_key,
        model=model,
        native_endpoint=endpoint or models.native_endpoint(model),
        timeout=timeout,
    )
    # A separate generator, so that the arguments are validated before the first result is read.
    return _results(under_test, checks)


def _results(endpoint: Endpoint, checks: Sequence[Check]) -> Iterator[CheckResult]:
    with asyncio.Runner() as runner:
        try:
            for check in checks:
                yield runner.run(run_check(check, endpoint))
        finally:
            runner.run(endpoint.client.aclose())
