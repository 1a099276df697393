"""Regions, and the host that requests go to.

Source: Model Studio's documentation of its regions and workspaces.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from langchain_qwen_ci.errors import QwenInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

REGIONS: dict[str, str | None] = {
    # A key belongs to one region. None: the region has workspace hosts only.
    "cn-beijing": "https://dashscope.aliyuncs.com",
    "ap-southeast-1": "https://dashscope-intl.aliyuncs.com",
    "us-east-1": "https://dashscope-us.aliyuncs.com",
    "cn-hongkong": "https://cn-hongkong.dashscope.aliyuncs.com",
    "eu-central-1": None,
    "ap-northeast-1": None,
}
DEFAULT_REGION = "cn-beijing"

_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_URL = re.compile(r"https?://(?P<host>[^/:\[\]]*|\[[^/\[\]]*\])(?P<port>:[^/]*)?(?:/.*)?")
_PORT = re.compile(r":0*([0-9]{1,5})")
_MAX_PORT = 65535
_MAX_URL_LENGTH = 8000  # many servers accept no longer one
_COMPATIBLE = "/compatible-mode/v1"
_PREFIXES = ("/api/v1", _COMPATIBLE)
_COMPATIBLE_PATHS = ("/chat/completions", "/responses")
_ALIBABA_DOMAINS = ("aliyuncs.com", "maas.qianwenaiapi.com")
# Services in this domain serve models that users deploy themselves.
_DEPLOYMENT_DOMAIN = "pai-eas.aliyuncs.com"
_HOSTNAME = re.compile(r"[a-z0-9._-]+")
# Python's encoding of host names raises UnicodeError for longer or empty labels.
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MAX_HOSTNAME_LENGTH = 253
# Operating systems read a host such as 127.1, 2130706433 or 0x7f.0.0.1 as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


@dataclass(frozen=True, slots=True)
class Host:
    """Where requests go.

    Attributes:
        url: scheme, host and path prefix.
        has_alibaba_paths: whether the APIs are at Alibaba's paths below `url`, such as
            `/compatible-mode/v1/responses`; otherwise they are directly below it, as on every other
            OpenAI-compatible server: `/responses`.
    """

    url: str
    has_alibaba_paths: bool = True

    @property
    def is_alibaba(self) -> bool:
        """Whether the host is one of Alibaba's."""
        return is_alibaba_host(self.url)

    def request_url(self, path: str) -> str:
        """Return the URL of one of Alibaba's paths on this host."""
        return self.url + (path if self.has_alibaba_paths else path.removeprefix(_COMPATIBLE))


def resolve_host(api: str, base_url: str | None, region: str | None, workspace: str | None) -> Host:
    """Return the host of requests.

    The first of these that is set decides: `base_url`, `region`, and the environment variables
    `DASHSCOPE_BASE_URL`; `DASHSCOPE_HTTP_BASE_URL` and `DASHSCOPE_COMPATIBLE_BASE_URL`, which the
    official SDKs read (the one of the API first); `DASHSCOPE_REGION`; `DASHSCOPE_API_REGION`, which
    the SDKs read.

    Raises:
        QwenInputError: the URL or region is invalid, or the host does not have the API.
    """
    if base_url:
        return _host_of(base_url, api)
    if region:
        return Host(region_host(region, workspace))
    sdk_names = ["DASHSCOPE_HTTP_BASE_URL", "DASHSCOPE_COMPATIBLE_BASE_URL"]
    if api != "dashscope":
        sdk_names.reverse()
    for name in ("DASHSCOPE_BASE_URL", *sdk_names):
        if url := os.environ.get(name):
            return _host_of(url, api, name)
    for name in ("DASHSCOPE_REGION", "DASHSCOPE_API_REGION"):
        if region := os.environ.get(name):
            return Host(region_host(region, workspace))
    # Without a region, a workspace is sent as a header only.
    return Host(region_host(DEFAULT_REGION, None))


def _host_of(base_url: str, api: str, name: str = "base_url") -> Host:
    host = parse_base_url(base_url, name)
    if api == "dashscope" and not host.has_alibaba_paths:
        raise QwenInputError(
            f"{name} ends in /v1 or in the path of another API, as on OpenAI-compatible servers, "
            'which do not have the native API: pass api="responses" or api="chat_completions". For '
            "a gateway that has it, leave out /v1 or write /api/v1."
        )
    return host


def region_host(region: str, workspace: str | None) -> str:
    """Return the host of a region, or the workspace's host if a workspace is given.

    Raises:
        QwenInputError: the region is unknown, or it needs a workspace.
    """
    if region not in REGIONS:
        raise QwenInputError(f"Unknown region {region!r}; known are {', '.join(REGIONS)}.")
    if workspace is not None:
        return f"https://{workspace}.{region}.maas.aliyuncs.com"
    if shared := REGIONS[region]:
        return shared
    raise QwenInputError(
        f"Region {region!r} has no shared host: pass workspace, or set DASHSCOPE_WORKSPACE."
    )


def validate_workspace(workspace: str) -> str:
    """Return a workspace id unchanged. It becomes part of a host name, so its format is checked.

    Raises:
        QwenInputError: the id is invalid.
    """
    if _WORKSPACE.fullmatch(workspace):
        return workspace
    raise QwenInputError(
        "A workspace id has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit."
    )


@lru_cache  # each call of a model parses it several times, in 30 microseconds each
def parse_base_url(base_url: str, name: str = "base_url") -> Host:
    """Return the host of a URL, as people write it for the SDKs or for an OpenAI-compatible server.

    The URL may end in `/api/v1` or `/compatible-mode/v1`, or in the `/v1` of any other server, and
    in a slash. If it ends in the path of an API, such as `/chat/completions`, the compatible APIs
    are where it says, also on servers that have them elsewhere (OpenRouter: `/api/v1`).

    Raises:
        QwenInputError: it is not an http(s) URL of a host and a path.
    """
    url = base_url.strip().rstrip("/")
    if problem := _problem(url):
        # The URL is not shown: what does not belong in it may be a key or a password.
        raise QwenInputError(
            f"{name} {problem}. It must be like https://host, https://host/api/v1 or https://host/v1."
        )
    for path in _COMPATIBLE_PATHS:
        if url.endswith(path) and not url.endswith(_COMPATIBLE + path):
            return Host(url.removesuffix(path).rstrip("/"), has_alibaba_paths=False)
        url = url.removesuffix(path)
    for prefix in _PREFIXES:
        if url.endswith(prefix):
            return Host(url.removesuffix(prefix).rstrip("/"))
    return Host(url, has_alibaba_paths=not url.endswith("/v1"))


def _problem(url: str) -> str | None:
    """Return what is wrong with a base URL; None if it can be used."""
    if not url.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    if "@" in url:
        return "must not hold a user or password: pass them in default_headers"
    if {"?", "#"} & set(url):
        return "must not have a query or fragment"
    if len(url) > _MAX_URL_LENGTH or any(map(_is_blank_or_control, url)):
        return "is too long, or contains white space or control characters"
    parts = _URL.fullmatch(url)
    if parts is None or not is_valid_host(parts["host"]):
        return (
            "has no valid host: write a name in ASCII (an international one as xn--…), an IPv4 "
            "address as four decimal numbers, or an IPv6 address in brackets"
        )
    if parts["port"] is not None and not is_valid_port(parts["port"]):
        return f"has a port that is not a number from 1 to {_MAX_PORT}"
    return None


def _is_blank_or_control(character: str) -> bool:
    return character.isspace() or not character.isprintable()


def is_valid_host(host: str) -> bool:
    """Return whether a host of a URL is a name or an address that every library reads alike.

    Args:
        host: the host in the form of a URL: an IPv6 address is in brackets.
    """
    if host.startswith("["):
        return ":" in host and _address(host[1:-1]) is not None
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return isinstance(_address(host), IPv4Address)
    if len(host) > _MAX_HOSTNAME_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        return False
    try:
        return bool(httpx.URL(scheme="http", host=host).host)
    except (httpx.InvalidURL, UnicodeError):  # an invalid international name
        return False


def is_valid_port(port: str) -> bool:
    """Return whether the port of a URL, with its colon, is a number that a port can have."""
    number = _PORT.fullmatch(port)
    return number is not None and 1 <= int(number[1]) <= _MAX_PORT


@lru_cache  # each call asks for it several times
def is_alibaba_host(url_or_host: str) -> bool:
    """Return whether a URL or host name is one of Alibaba's, which serve the models of `models`."""
    try:
        url = urlsplit(url_or_host if "//" in url_or_host else f"//{url_or_host}")
    except ValueError:
        return False
    hostname = (url.hostname or "").removesuffix(".")
    return (
        _HOSTNAME.fullmatch(hostname) is not None
        and any(_is_within(hostname, domain) for domain in _ALIBABA_DOMAINS)
        and not _is_within(hostname, _DEPLOYMENT_DOMAIN)
    )


def _is_within(hostname: str, domain: str) -> bool:
    return hostname == domain or hostname.endswith(f".{domain}")


def require_https(url: str, *, secrets: Sequence[str]) -> None:
    """Reject plain http to other machines, where secrets and messages can be read in transit.

    Without secrets it is allowed to private addresses, such as those of a server in the same
    network.

    Args:
        url: URL that requests go to.
        secrets: names of the secrets that requests contain, for the error; not their values.

    Raises:
        QwenInputError: the URL uses plain http, and its host is neither this machine nor a private
            one to which no secret is sent.
    """
    if not exposes_messages(url) or (not secrets and is_private(urlsplit(url).hostname or "")):
        return
    exposed = f"{', '.join(secrets)} and all messages" if secrets else "all messages"
    raise QwenInputError(
        f"base_url is plain http to another machine, so that {exposed} can be read in "
        "transit: use https, or allow_plain_http=True if that is intended. Plain "
        'http to a private address is allowed without secrets: pass api_key="" and workspace="" to '
        "send neither, and leave out default_headers and the headers of tools."
    )


def exposes_messages(url: str) -> bool:
    """Return whether requests to a URL can be read in transit: plain http to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")


def is_this_machine(hostname: str) -> bool:
    """Return whether requests to a host stay on this machine.

    They do for loopback addresses, the unspecified address (0.0.0.0), and `localhost` with all
    names below it (RFC 6761).

    Args:
        hostname: a name, or an address without brackets.
    """
    if address := _address(hostname):
        return address.is_loopback or address.is_unspecified
    name = _lower_name(hostname)
    return name == "localhost" or name.endswith(".localhost")


def is_private(hostname: str) -> bool:
    """Return whether a host is in a private network: its address, or a name without a domain.

    The domains are those that RFC 6762 (.local), RFC 8375 (.home.arpa) and ICANN (.internal) have
    reserved for private networks.
    """
    if address := _address(hostname):
        return address.is_private or address.is_link_local
    name = _lower_name(hostname)
    return "." not in name or name.endswith((".local", ".internal", ".home.arpa"))


def _address(hostname: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a host is; None for a name."""
    try:
        address = ip_address(hostname)
    except ValueError:
        return None
    # ::ffff:127.0.0.1 is 127.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address


def _lower_name(hostname: str) -> str:
    return hostname.lower().removesuffix(".")
