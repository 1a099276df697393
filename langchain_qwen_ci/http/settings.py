"""The connection fields of the chat model: host, key, timeouts and size limits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence  # noqa: TC003  # get_type_hints needs it
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.utils import secret_from_env
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.http import hosts
from langchain_qwen_ci.http.call_flow import CallPolicy
from langchain_qwen_ci.http.connections.httpx2_clients import classes_named
from langchain_qwen_ci.http.service_address import ServiceAddress
from langchain_qwen_ci.http.transport import Transport

if TYPE_CHECKING:
    from langchain_qwen_ci.wire import WireRequest

_MIB = 1024 * 1024
# Timers of operating systems have limits, the lowest of 49 days; None waits without limit.
_MAX_SECONDS = 1e6
_NOT_PICKLED = ("api_key", "workspace", "default_headers", "http_client", "http_async_client")

_key_from_environment = secret_from_env("DASHSCOPE_API_KEY", default=None)


class ConnectionSettings(BaseModel):
    """The fields of a model that concern its connection to the service."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    api_key: SecretStr | None = Field(default_factory=_key_from_environment)
    """API key; it belongs to one region. Default: environment variable `DASHSCOPE_API_KEY`, read
    when the model is made; if it is not set then, Alibaba's hosts, which need a key, get the one
    that is set at the time of the call. For a server that needs none, pass `""`."""

    region: str | None = None
    """Region, such as "cn-beijing" or "ap-southeast-1"; see `http.hosts.REGIONS`. Default:
    `DASHSCOPE_REGION`, then cn-beijing."""

    workspace: str | None = Field(default=None, repr=False)
    """Workspace id, sent as a header. Together with a region it also determines the host. Like the
    key, it is neither shown nor serialized. Default: `DASHSCOPE_WORKSPACE`; `""` sends none."""

    base_url: str | None = None
    """URL of the host. Takes precedence over `region`. It may end in `/api/v1` or
    `/compatible-mode/v1`; for any other OpenAI-compatible server, such as vLLM or SGLang, it ends
    in `/v1`, or in the path of an API, such as `/api/v1/chat/completions`. Default: the environment
    variables that `http.hosts.resolve_host` lists."""

    allow_plain_http: bool = False
    """Whether `base_url` may use plain http to another machine. Keys, headers and all messages can
    then be read in transit. Plain http to this machine is always allowed; to private addresses it
    is, too, without an API key, a workspace, `default_headers`, and headers of tools."""

    connect_timeout: float | None = Field(default=10.0, gt=0, le=_MAX_SECONDS)
    """Seconds until the connection is established; None waits without limit."""

    timeout: float | None = Field(default=300.0, gt=0, le=_MAX_SECONDS)
    """Seconds until the first byte of the answer; None waits without limit."""

    stream_chunk_timeout: float | None = Field(default=300.0, gt=0, le=_MAX_SECONDS)
    """Seconds between two chunks; None waits without limit. The service sends no chunk while code
    runs. Only data counts: complete frames and parts of one. Comments (`: keep-alive`), empty
    frames and other fields of server-sent events do not restart the time."""

    total_timeout: float | None = Field(default=None, gt=0, le=_MAX_SECONDS)
    """Seconds for the whole call, including retries, waits, and the time that the reader of a
    stream takes; None sets no limit. A sync call can exceed it while the head of a response arrives
    byte by byte, because httpx has no deadline for the head."""

    max_retries: int = Field(default=2, ge=0)
    """Maximum number of times that a request is repeated if its answer has not started."""

    max_request_bytes: int = Field(default=64 * _MIB, ge=1)
    """Maximum size of a request in bytes. A larger one raises an error and is not sent."""

    max_frame_bytes: int = Field(default=8 * _MIB, ge=1)
    """Maximum number of bytes of an answer without any event, such as one endless frame."""

    max_answer_bytes: int = Field(default=1024 * _MIB, ge=1)
    """Maximum number of bytes of an answer, decompressed. The native API repeats all code in every
    chunk."""

    default_headers: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    """Headers of every request. They may contain secrets, so they are neither shown nor
    serialized."""

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.Client`, or that of httpx2; this package never closes it."""

    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient`, or that of httpx2; this package never closes it."""

    transport: Literal["httpx", "fast"] = "httpx"
    """What sends the requests: "httpx", or "fast", a transport of this package with less CPU time
    for each chunk. Both keep the promises of docs/fault-handling.md. "fast" sends requests that go
    through a proxy with httpx, and does not concern `http_client` and `http_async_client`."""

    _cached_transport: Transport | None = PrivateAttr(default=None)

    _lost_in_pickle: tuple[str, ...] = PrivateAttr(default=())
    """Fields that were set when the model was pickled, and are not in the pickle."""

    @field_validator("workspace")
    @classmethod
    def _check_workspace(cls, workspace: str | None) -> str | None:
        return workspace and hosts.validate_workspace(workspace)

    @field_validator("http_client", "http_async_client")
    @classmethod
    def _check_client(cls, client: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  # any input
        # The exact class is not required: people wrap clients.
        expected, other = "Client", "AsyncClient"
        if info.field_name == "http_async_client":
            expected, other = other, expected
        is_client = hasattr(client, "build_request") and not isinstance(client, type)
        is_other = isinstance(client, classes_named(other))
        if client is None or (is_client and not is_other):
            return client
        advice = ""
        if is_other:
            field = "http_async_client" if info.field_name == "http_client" else "http_client"
            advice = f" Pass this {type(client).__name__} as {field}."
        raise ValueError(f"{info.field_name} takes an httpx.{expected}.{advice}")

    @field_validator(
        "connect_timeout", "timeout", "stream_chunk_timeout", "total_timeout", mode="before"
    )
    @classmethod
    def _check_timeout(cls, timeout: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  # any input
        if isinstance(timeout, (tuple, *classes_named("Timeout"))):
            raise ValueError(  # noqa: TRY004  # pydantic collects this type
                f"{info.field_name} takes a number of seconds. There is a field for each phase: "
                "connect_timeout=… until the connection is established, timeout=… until the answer "
                "starts, stream_chunk_timeout=… between two chunks, total_timeout=… for the whole "
                "call."
            )
        return timeout

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401  # any input
        # pydantic does not convert assigned values, and the repr would show the key.
        secret = name == "api_key" and isinstance(value, str)
        super().__setattr__(name, SecretStr(value) if secret else value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        if update and "api_key" in update:
            copy.api_key = update["api_key"]
        return copy

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        if self.transport == "fast" and self.http_client and self.http_async_client:
            raise ValueError(
                'transport="fast" has no effect with http_client and http_async_client: pass '
                "either the transport or the clients."
            )
        return self

    def _check_size(self, request: WireRequest) -> None:
        if len(request.body) > self.max_request_bytes:
            raise QwenInputError(
                f"The request has {len(request.body)} bytes, more than max_request_bytes "
                f"({self.max_request_bytes}): shorten the history, for instance with "
                "langchain_core.messages.trim_messages, and send media by URL."
            )

    def _policy(self, secrets: Sequence[str]) -> CallPolicy:
        return CallPolicy(
            max_retries=self.max_retries,
            retry_cut_answers=False,
            total_timeout=self.total_timeout,
            chunk_timeout=self.stream_chunk_timeout,
            max_frame_bytes=self.max_frame_bytes,
            max_answer_bytes=self.max_answer_bytes,
            secrets=tuple(secrets),
        )

    def _transport(self, api: str) -> Transport:
        """Return the transport; build a new one if a field has changed since the last call."""
        arguments = (
            self._service_address(api),
            self.http_client,
            self.http_async_client,
            self.transport,
        )
        if self._cached_transport is None or not self._cached_transport.matches(*arguments):
            self._cached_transport = Transport(*arguments)
        return self._cached_transport

    def _service_address(self, api: str) -> ServiceAddress:
        workspace = self.workspace
        if workspace is None:
            workspace = os.environ.get("DASHSCOPE_WORKSPACE")
        host = hosts.resolve_host(api, self.base_url, self.region, workspace or None)
        api_key = self.api_key
        if api_key is None and host.is_alibaba:  # the variable may be set later than the model
            api_key = _key_from_environment()
        headers = dict(self.default_headers)
        secrets = []
        if api_key and api_key.get_secret_value().strip():
            secrets.append("the API key")
        if workspace:
            headers["X-DashScope-WorkSpace"] = hosts.validate_workspace(workspace)
            secrets.append("the workspace")
        # Any header may be a secret: gateways have keys under names of their own.
        secrets += [f"default_headers[{name!r}]" for name in self.default_headers]
        self._check_plain_http(host, secrets)
        return ServiceAddress(
            host=host,
            api_key=api_key,
            headers=headers,
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            chunk_timeout=self.stream_chunk_timeout,
            lost_in_pickle=tuple(
                name for name in self._lost_in_pickle if not getattr(self, name, None)
            ),
        )

    def _check_plain_http(self, host: hosts.Host, secrets: Sequence[str]) -> None:
        if not self.allow_plain_http:
            hosts.require_https(host.url, secrets=secrets)

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
        """Leave secrets and connections out of pickles, which may leave the machine."""
        state = super().__getstate__()
        lost = tuple(name for name in _NOT_PICKLED if getattr(self, name))
        removed: dict[str, Any] = dict.fromkeys(_NOT_PICKLED)
        state["__dict__"] = {**state["__dict__"], **removed, "default_headers": {}}
        state["__pydantic_private__"] = {
            "_cached_transport": None,
            "_lost_in_pickle": tuple(dict.fromkeys((*self._lost_in_pickle, *lost))),
        }
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.api_key = _key_from_environment()
