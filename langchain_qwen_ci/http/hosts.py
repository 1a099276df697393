"""Regions, and the host that requests go to.

Source: Model Studio's documentation of its regions and workspaces.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

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
_URL = re.compile(r"https?://[^/?#\s\0-\x1f\x7f]+[^?#\s\0-\x1f\x7f]*")
_COMPATIBLE = "/compatible-mode/v1"
_PREFIXES = ("/api/v1", _COMPATIBLE)
_COMPATIBLE_PATHS = ("/chat/completions", "/responses")
_ALIBABA_DOMAINS = ("aliyuncs.com", "maas.qianwenaiapi.com")
# Services in this domain serve models that users deploy themselves.
_DEPLOYMENT_DOMAIN = "pai-eas.aliyuncs.com"
_HOSTNAME = re.compile(r"[a-z0-9._-]+")


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
        ValueError: the URL or region is invalid, or the host does not have the API.
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
        raise ValueError(
            f"{name} ends in /v1 or in the path of another API, as on OpenAI-compatible servers, "
            'which do not have the native API: pass api="responses" or api="chat_completions". For '
            "a gateway that has it, leave out /v1 or write /api/v1."
        )
    return host


def region_host(region: str, workspace: str | None) -> str:
    """Return the host of a region, or the workspace's host if a workspace is given.

    Raises:
        ValueError: the region is unknown, or it needs a workspace.
    """
    if region not in REGIONS:
        raise ValueError(f"Unknown region {region!r}; known are {', '.join(REGIONS)}.")
    if workspace is not None:
        return f"https://{workspace}.{region}.maas.aliyuncs.com"
    if shared := REGIONS[region]:
        return shared
    raise ValueError(
        f"Region {region!r} has no shared host: pass workspace, or set DASHSCOPE_WORKSPACE."
    )


def validate_workspace(workspace: str) -> str:
    """Return a workspace id unchanged. It becomes part of a host name, so its format is checked.

    Raises:
        ValueError: the id is invalid.
    """
    if _WORKSPACE.fullmatch(workspace):
        return workspace
    raise ValueError(
        "A workspace id has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit."
    )


def parse_base_url(base_url: str, name: str = "base_url") -> Host:
    """Return the host of a URL, as people write it for the SDKs or for an OpenAI-compatible server.

    The URL may end in `/api/v1` or `/compatible-mode/v1`, or in the `/v1` of any other server, and
    in a slash. If it ends in the path of an API, such as `/chat/completions`, the compatible APIs
    are where it says, also on servers that have them elsewhere (OpenRouter: `/api/v1`).

    Raises:
        ValueError: it is not an http(s) URL, or it contains a user or password.
    """
    url = base_url.strip().rstrip("/")
    if not _URL.fullmatch(url):
        raise ValueError(
            f"{name} {base_url!r} must be like https://host, https://host/api/v1 or "
            "https://host/v1."
            if not {"@", "?"} & set(base_url)  # a URL with these may contain a secret
            else f"{name} must be like https://host, https://host/api/v1 or https://host/v1."
        )
    if "@" in url:
        raise ValueError(f"{name} must not hold a user or password: pass them in default_headers.")
    for path in _COMPATIBLE_PATHS:
        if url.endswith(path) and not url.endswith(_COMPATIBLE + path):
            return Host(url.removesuffix(path).rstrip("/"), has_alibaba_paths=False)
        url = url.removesuffix(path)
    for prefix in _PREFIXES:
        if url.endswith(prefix):
            return Host(url.removesuffix(prefix).rstrip("/"))
    return Host(url, has_alibaba_paths=not url.endswith("/v1"))


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


def require_https(url: str, *, sends_key: bool) -> None:
    """Reject plain http to other machines, where the key can be read in transit.

    Without a key it is allowed to private addresses, such as those of a server in the same network.

    Raises:
        ValueError: the URL uses plain http, and its host is neither this machine nor a private one
            to which no key is sent.
    """
    parts = urlsplit(url)
    hostname = parts.hostname or ""
    if parts.scheme != "http" or _is_this_machine(hostname):
        return
    if not sends_key and _is_private(hostname):
        return
    raise ValueError(
        "base_url is plain http to another machine, so that the key and all messages can be "
        "read in transit: use https, or allow_plain_http if that is intended. Plain http to a "
        'private address is allowed without a key: pass api_key="" if the server needs none.'
    )


def _is_private(hostname: str) -> bool:
    """Return whether a host is in a private network: its address, or a name without a domain.

    The domains are those that RFC 6762 (.local), RFC 8375 (.home.arpa) and ICANN (.internal) have
    reserved for private networks.
    """
    try:
        address = ip_address(hostname)
    except ValueError:
        return "." not in hostname or hostname.endswith((".local", ".internal", ".home.arpa"))
    return address.is_private or address.is_link_local


def _is_this_machine(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")
