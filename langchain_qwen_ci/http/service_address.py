"""Builds the HTTP requests to one address, with its key, headers and timeouts."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError
from langchain_qwen_ci.http.call_flow import ResponseHead
from langchain_qwen_ci.http.content_encoding import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from langchain_qwen_ci.http.deadline import Deadline
    from langchain_qwen_ci.wire import WireRequest

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Servers take some 8 KiB of headers. Keys have 35 characters, a gateway's tokens up to thousands.
_LONGEST_HEADER = 8 * 1024

# A service that computes answers the probes of its connection; one that is gone does not, and the
# connection breaks after some 60 s, however long silence is allowed.
_KEEP_ALIVE = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    )
    if hasattr(socket, name)
)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where requests go and how long to wait there.

    Attributes:
        host: scheme and host, with a path prefix if there is one.
        headers: sent with every request; may hold secrets.
        connect_timeout: seconds until there is a connection; None waits for ever.
        timeout: seconds until the first byte; None waits for ever.
        chunk_timeout: seconds between two chunks; None waits for ever.
    """

    host: str
    api_key: SecretStr | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    connect_timeout: float | None
    timeout: float | None
    chunk_timeout: float | None

    def request(
        self,
        client: httpx.Client | httpx.AsyncClient,
        wire_request: WireRequest,
        deadline: Deadline,
    ) -> httpx.Request:
        """The HTTP request, with the key.

        Raises:
            QwenAuthenticationError: there is no key, or it cannot be one.
            QwenInputError: another header cannot be sent.
        """
        headers = httpx.Headers(
            {
                "Content-Type": "application/json",
                "Accept-Encoding": ACCEPTED,
                **wire_request.headers,
                "Authorization": f"Bearer {self._key()}",
            }
        )
        headers.update(self._own_headers())
        return client.build_request(
            "POST",
            f"{self.host}{wire_request.path}",
            content=wire_request.body,
            headers=headers,
            timeout=httpx.Timeout(
                deadline.cap(self.timeout), connect=deadline.cap(self.connect_timeout)
            ),
        )

    def _key(self) -> str:
        key = self.api_key.get_secret_value().strip() if self.api_key else ""
        if not key:
            raise QwenAuthenticationError("There is no API key.")
        if not _is_header_safe(key):
            raise QwenAuthenticationError("The API key has characters that no key has.")
        if len(key) > _LONGEST_HEADER:
            raise QwenAuthenticationError(f"The API key has {len(key)} characters: no key has.")
        return key

    def _own_headers(self) -> Mapping[str, str]:
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _is_header_safe(value):
                raise QwenInputError(f"default_headers[{name!r}] cannot be sent as a header.")
            if len(value) > _LONGEST_HEADER:
                raise QwenInputError(
                    f"default_headers[{name!r}] has {len(value)} characters: servers take about "
                    f"{_LONGEST_HEADER} for all headers."
                )
        return self.headers

    def on_response(self, response: httpx.Response, deadline: Deadline) -> ResponseHead:
        """The head of a response has come: from here on the timeout is the one between chunks."""
        response.request.extensions["timeout"]["read"] = deadline.cap(self.chunk_timeout)
        connection = socket_of(response)
        with suppress(OSError, AttributeError):
            for level, option, value in _KEEP_ALIVE if connection else ():
                connection.setsockopt(level, option, value)
        encoding = response.headers.get("content-encoding", "")
        return ResponseHead(
            response.status_code,
            response.headers,
            # A response made by hand has no raw bytes: httpx has unpacked it.
            encoding="" if response.is_stream_consumed else encoding,
        )


def _is_header_safe(value: str) -> bool:
    """Whether it can be sent. What is below here says no by showing the value in its error."""
    return value.isascii() and value.replace("\t", " ").isprintable() and value == value.strip()


def socket_of(response: httpx.Response) -> Any:  # noqa: ANN401  # whichever library's it is
    """What a response comes by; None if that is no network."""
    stream = response.extensions.get("network_stream")
    return stream and stream.get_extra_info("socket")
