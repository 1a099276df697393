"""Does an endpoint behave as Qwen's code-interpreter service does? Facts, one after the other.

```python
from langchain_qwen_ci.emulator.conformance import judge

for verdict in judge("http://127.0.0.1:8000", "any"):
    print(verdict.outcome, verdict.check.name, verdict.detail)
```

The checks are written from the descriptions and recordings of the service and with plain httpx.
They share nothing with the package's decoders, and so can find them wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from langchain_qwen_ci import catalogue
from langchain_qwen_ci.emulator.conformance import (
    chat_completions,
    dashscope,
    dashscope_refusals,
    responses,
    responses_refusals,
)
from langchain_qwen_ci.emulator.conformance.checks import Check, Verdict, verdict
from langchain_qwen_ci.emulator.conformance.exchange import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_qwen_ci.catalogue import Endpoint

__all__ = ["CHECKS", "Check", "Verdict", "judge"]

SECONDS = 300.0  # about the service's own limit
CHECKS: tuple[Check, ...] = (
    *dashscope.CHECKS.all,
    *dashscope_refusals.CHECKS.all,
    *responses.CHECKS.all,
    *responses_refusals.CHECKS.all,
    *chat_completions.CHECKS.all,
)


def judge(  # noqa: PLR0913  # options of a run, all by name
    base_url: str,
    api_key: str,
    *,
    model: str = "qwen3-max",
    endpoint: Endpoint | None = None,
    checks: Sequence[Check] = CHECKS,
    timeout: float = SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Iterator[Verdict]:
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
    subject = Subject(
        client=httpx.AsyncClient(transport=transport),
        base_url=catalogue.host_of(base_url),
        api_key=api_key,
        model=model,
        endpoint=endpoint or catalogue.endpoint_of(model),
        timeout=timeout,
    )
    return _verdicts(subject, checks)


def _verdicts(subject: Subject, checks: Sequence[Check]) -> Iterator[Verdict]:
    with asyncio.Runner() as runner:
        try:
            for check in checks:
                yield runner.run(verdict(check, subject))
        finally:
            runner.run(subject.client.aclose())
