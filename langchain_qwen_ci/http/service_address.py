"""Builds the HTTP requests to one address, with key, headers and timeouts."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from langchain_qwen_ci.errors import QwenAuthenticationError, QwenInputError
from langchain_qwen_ci.http.call_flow import ResponseHead
from langchain_qwen_ci.http.content_encoding import ACCEPT_ENCODING
from langchain_qwen_ci.http.failures import shown_url, unpickled_advice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from langchain_qwen_ci.http.deadline import Deadline
    from langchain_qwen_ci.http.hosts import Host
    from langchain_qwen_ci.wire import WireRequest

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Servers accept about 8 KiB of headers. Keys have 35 characters, tokens of gateways up to
# thousands.
_MAX_HEADER_LENGTH = 8 * 1024

# TCP keepalive detects a connection whose other end is gone after about 60 s, also where a long
# timeout allows silence. A service that runs code answers the probes.
_KEEP_ALIVE = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    )
    if hasattr(socket, name)  # not every system has all of them
)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """The address of the service, the key, and the timeouts of requests.

    Attributes:
        headers: sent with every request; may contain secrets.
        connect_timeout: seconds until the connection is established; None waits without limit.
        timeout: seconds until the first byte of the response; None waits without limit.
        chunk_timeout: seconds between two chunks; None waits without limit.
        lost_in_pickle: fields of the model that were set before it was pickled, and are not now.
    """

    host: Host
    api_key: SecretStr | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    connect_timeout: float | None
    timeout: float | None
    chunk_timeout: float | None
    lost_in_pickle: tuple[str, ...] = ()

    def request(
        self,
        client: httpx.Client | httpx.AsyncClient,
        wire_request: WireRequest,
        deadline: Deadline,
    ) -> httpx.Request:
        """Build the HTTP request, with the key.

        Raises:
            QwenAuthenticationError: the key is missing or cannot be sent.
            QwenInputError: another header cannot be sent.
        """
        headers = httpx.Headers(
            {
                "Content-Type": "application/json",
                "Accept-Encoding": ACCEPT_ENCODING,
                **wire_request.headers,
                **self._authorization(),
            }
        )
        headers.update(self._validated_headers())
        seconds = deadline.cap(self.timeout)
        return client.build_request(
            "POST",
            self.host.request_url(wire_request.path),
            content=wire_request.body,
            headers=headers,
            # Not `httpx.Timeout`, which a client of httpx2 does not accept.
            timeout=(deadline.cap(self.connect_timeout), seconds, seconds, seconds),
        )

    def _authorization(self) -> dict[str, str]:
        key = self.api_key.get_secret_value().strip() if self.api_key else ""
        if not key:
            if not self.host.is_alibaba:
                return {}  # servers of one's own often need no key
            error = QwenAuthenticationError("There is no API key.")
            if self.lost_in_pickle:
                error.advice = unpickled_advice(self.lost_in_pickle)
            raise error
        if not _is_header_safe(key):
            raise QwenAuthenticationError("The API key has characters that no key has.")
        if len(key) > _MAX_HEADER_LENGTH:
            raise QwenAuthenticationError(f"The API key has {len(key)} characters: no key has.")
        return {"Authorization": f"Bearer {key}"}

    def _validated_headers(self) -> Mapping[str, str]:
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _is_header_safe(value):
                raise QwenInputError(f"default_headers[{name!r}] cannot be sent as a header.")
            if len(value) > _MAX_HEADER_LENGTH:
                raise QwenInputError(
                    f"default_headers[{name!r}] has {len(value)} characters: servers take about "
                    f"{_MAX_HEADER_LENGTH} for all headers."
                )
        return self.headers

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no error may repeat."""
        key = (self.api_key.get_secret_value(),) if self.api_key else ()
        return (*key, *self.headers.values())

    def on_response(self, response: httpx.Response, deadline: Deadline) -> ResponseHead:
        """Prepare reading the body after the head of a response was received."""
        # `timeout` was for the head; from here on the timeout between chunks applies. httpcore
        # 1.0.9 reads it from the request's extensions when it starts to read the body.
        response.request.extensions["timeout"]["read"] = deadline.cap(self.chunk_timeout)
        connection = socket_of(response)
        # Without keepalive the call works all the same. The socket may be closed already, and that
        # of another transport may lack `setsockopt`.
        with suppress(OSError, AttributeError):
            for level, option, value in _KEEP_ALIVE if connection else ():
                connection.setsockopt(level, option, value)
        encoding = response.headers.get("content-encoding", "")
        return ResponseHead(
            response.status_code,
            response.headers,
            url=shown_url(response.request),
            from_alibaba=self.host.is_alibaba,
            lost_in_pickle=self.lost_in_pickle,
            # A response built from bytes (a mock transport's) was already decompressed by httpx.
            encoding="" if response.is_stream_consumed else encoding,
        )


def _is_header_safe(value: str) -> bool:
    # Checked here, because the error message of h11 0.16 shows the value of an invalid header.
    return value.isascii() and value.replace("\t", " ").isprintable() and value == value.strip()


def socket_of(response: httpx.Response) -> Any:  # noqa: ANN401  # the type depends on the library
    """Return the socket of a response; None if it did not come over the network."""
    stream = response.extensions.get("network_stream")
    return stream and stream.get_extra_info("socket")
