"""Limits of HTTP requests that protect the machine: the size of the body, and the host name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_qwen_ci.emulator.requests.request_rules import ServiceError
from langchain_qwen_ci.http.hosts import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::\d+)?")


async def read_body(http: Request, max_bytes: int) -> tuple[bytes | None, int]:
    """Return the body and its size; None as the body if it has more than the maximum of bytes.

    The rest of a body that is too large is read and discarded: many clients read the response only
    after they have sent everything.
    """
    body = bytearray()
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size <= max_bytes:
            body += chunk
        else:
            body.clear()
    return (bytes(body) if size <= max_bytes else None), size


def check_size(size: int, max_bytes: int) -> ServiceError | None:
    """Return the error for a body that has more than the maximum of bytes."""
    if size <= max_bytes:
        return None
    return ServiceError(
        413,
        "RequestEntityTooLarge",
        f"The body has {size:,} bytes; this emulator accepts {max_bytes:,} "
        "(EmulatorServer(max_request_bytes=...)).",
    )


def check_host(host: str | None, allowed_hosts: Collection[str]) -> ServiceError | None:
    """Return the error for a `Host` header that is not a name of this machine.

    A web page can make its own name resolve to 127.0.0.1 (DNS rebinding), and its requests are then
    same-origin for the browser. Their `Host` is the name of the page.
    """
    if host is None:
        return None
    match = _HOST.fullmatch(host)
    name = match["name"].lower() if match else ""
    if name in allowed_hosts or is_this_machine(name.strip("[]")):
        return None
    return ServiceError(
        421,
        "MisdirectedRequest",
        f"This emulator does not accept requests for the host {host[:100]!r}, so that web pages "
        "cannot reach it by DNS rebinding. Use its url, or name the host in "
        "EmulatorServer(allowed_hosts=...).",
    )
