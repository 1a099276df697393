"""The requests that the emulator received, for the assertions of tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the emulator received.

    Attributes:
        path: the URL's path.
        headers: the headers, with lower-case names; the value of "authorization" is "***".
        body: the parsed JSON; None if the body is not JSON or larger than `max_request_bytes`.
        size: number of bytes of the body.
    """

    path: str
    headers: Mapping[str, str]
    body: Any
    size: int = 0


def remove_oldest(requests: list[RecordedRequest], max_requests: int, max_bytes: int) -> None:
    """Remove the oldest requests until the rest is within both limits."""
    size = sum(request.size for request in requests)
    excess = len(requests) - max_requests
    removed = 0
    while removed < len(requests) and (removed < excess or size > max_bytes):
        size -= requests[removed].size
        removed += 1
    del requests[:removed]
