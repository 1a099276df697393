"""Where the requests of a model go, how long they may take, and how large they may be.

Fields of the chat model, its connections, and what must never leave the process with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from langchain_core.utils import secret_from_env
from pydantic import BaseModel, Field, PrivateAttr, SecretStr, field_validator

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.http import hosts
from langchain_qwen_ci.http.call_flow import CallPolicy
from langchain_qwen_ci.http.service_address import ServiceAddress
from langchain_qwen_ci.http.transport import Transport

if TYPE_CHECKING:
    from langchain_qwen_ci.wire import WireRequest

_MIB = 1024 * 1024


class ConnectionSettings(BaseModel):
    """The connection of a model to the service."""

    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("DASHSCOPE_API_KEY", default=None)
    )
    """Default: environment variable `DASHSCOPE_API_KEY`. Bound to a region."""

    region: str | None = None
    """Such as "cn-beijing" or "ap-southeast-1"; see `catalogue.REGIONS`. Default:
    `DASHSCOPE_REGION`, then cn-beijing."""

    workspace: str | None = Field(default=None, repr=False)
    """Workspace id. Default: `DASHSCOPE_WORKSPACE`. With a region it names the host, too. As
    little shown or serialised as the key."""

    base_url: str | None = None
    """A host, with or without `/api/v1`; goes before region. Default: `DASHSCOPE_BASE_URL`."""

    allow_plain_http: bool = False
    """Whether base_url may be plain http to another machine. The key and all that is said can be
    read on the way; to this machine it is always allowed."""

    connect_timeout: float | None = Field(default=10.0, gt=0)
    """Seconds until there is a connection; None waits for ever."""

    timeout: float | None = Field(default=300.0, gt=0)
    """Seconds until the first byte of an answer; None waits for ever."""

    stream_chunk_timeout: float | None = Field(default=300.0, gt=0)
    """Seconds between two chunks; None waits for ever. No chunk comes while code runs."""

    total_timeout: float | None = Field(default=None, gt=0)
    """Seconds for a whole call, with its retries and waits, and with what the reader of a stream
    takes; None sets no limit. Sync calls wait longer where the head of a response drips in."""

    max_retries: int = Field(default=2, ge=0)
    """How often a request is sent again that the service did not begin to answer."""

    max_request_bytes: int = Field(default=64 * _MIB, ge=1)
    """Largest request; a larger one is refused before it is sent."""

    max_frame_bytes: int = Field(default=8 * _MIB, ge=1)
    """Most bytes of an answer in which nothing is told: more than in any frame."""

    max_answer_bytes: int = Field(default=1024 * _MIB, ge=1)
    """Most bytes of an answer. The native API sends all code so far with every chunk."""

    default_headers: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    """Sent with every request. Never shown or serialised: they may hold secrets."""

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` to use instead of an own one; never closed here."""

    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` to use instead of an own one; never closed here."""

    _cached_transport: Transport | None = PrivateAttr(default=None)

    @field_validator("workspace")
    @classmethod
    def _check_workspace(cls, workspace: str | None) -> str | None:
        return workspace and hosts.validate_workspace(workspace)

    def _check_size(self, request: WireRequest) -> None:
        if len(request.body) > self.max_request_bytes:
            raise QwenInputError(
                f"The request has {len(request.body)} bytes, more than max_request_bytes "
                f"({self.max_request_bytes}): shorten the history, for instance with "
                "langchain_core.messages.trim_messages, and send media by URL."
            )

    def _policy(self) -> CallPolicy:
        return CallPolicy(
            max_retries=self.max_retries,
            retry_cut_answers=False,
            total_timeout=self.total_timeout,
            max_frame_bytes=self.max_frame_bytes,
            max_answer_bytes=self.max_answer_bytes,
        )

    def _transport(self) -> Transport:
        """The transport to where the fields point now: they can be changed, or copied over."""
        address = self._service_address()
        custom_clients = (self.http_client, self.http_async_client)
        if self._cached_transport is None or not self._cached_transport.matches(
            address, custom_clients
        ):
            self._cached_transport = Transport(address, *custom_clients)
        return self._cached_transport

    def _service_address(self) -> ServiceAddress:
        workspace = self.workspace or os.environ.get("DASHSCOPE_WORKSPACE") or None
        headers = dict(self.default_headers)
        if workspace:
            headers["X-DashScope-WorkSpace"] = hosts.validate_workspace(workspace)
        host = hosts.resolve_host(self.base_url, self.region, workspace)
        if not self.allow_plain_http:
            hosts.require_https(host)
        return ServiceAddress(
            host=host,
            api_key=self.api_key,
            headers=headers,
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            chunk_timeout=self.stream_chunk_timeout,
        )

    def close(self) -> None:
        """Close the connections of sync calls. The next call opens new ones."""
        if self._cached_transport:
            self._cached_transport.close()

    async def aclose(self) -> None:
        """Close the connections of sync calls and of async calls in the running event loop."""
        if self._cached_transport:
            await self._cached_transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __getstate__(self) -> dict[Any, Any]:
        """Pickles leave the machine: they hold no key, no workspace, no headers, no connections."""
        state = super().__getstate__()
        names = ("api_key", "workspace", "http_client", "http_async_client")
        left_out: dict[str, Any] = dict.fromkeys(names)
        state["__dict__"] = {**state["__dict__"], **left_out, "default_headers": {}}
        state["__pydantic_private__"] = {"_cached_transport": None}
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.api_key = secret_from_env("DASHSCOPE_API_KEY", default=None)()
