"""Regions, and the host that requests go to.

Source: Model Studio's documentation of its regions and workspaces.
"""

from __future__ import annotations

import os
import re
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
_API_PATHS = ("/api/v1", "/compatible-mode/v1")
_ALIBABA_DOMAINS = ("aliyuncs.com", "maas.qianwenaiapi.com")
# Services in this domain serve models that users deploy themselves.
_DEPLOYMENT_DOMAIN = "pai-eas.aliyuncs.com"
_HOSTNAME = re.compile(r"[a-z0-9._-]+")


def resolve_host(base_url: str | None, region: str | None, workspace: str | None) -> str:
    """Return the host of requests.

    Arguments take precedence over the environment, and a URL takes precedence over a region.

    Raises:
        ValueError: the URL or region is invalid.
    """
    if base_url:
        return normalize_base_url(base_url)
    if region:
        return region_host(region, workspace)
    if url := os.environ.get("DASHSCOPE_BASE_URL"):
        return normalize_base_url(url)
    if region := os.environ.get("DASHSCOPE_REGION"):
        return region_host(region, workspace)
    # Without a region, a workspace is sent as a header only.
    return region_host(DEFAULT_REGION, None)


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


def normalize_base_url(base_url: str) -> str:
    """Return scheme, host and path prefix of a URL, without the path of an API.

    Raises:
        ValueError: it is not an http(s) URL, or it contains a user or password.
    """
    url = base_url.strip().rstrip("/")
    for path in _API_PATHS:
        url = url.removesuffix(path)
    if not _URL.fullmatch(url):
        raise ValueError(
            f"base_url {base_url!r} must be like https://host or https://host/api/v1."
            if not {"@", "?"} & set(base_url)  # a URL with these may contain a secret
            else "base_url must be like https://host or https://host/api/v1."
        )
    if "@" in url:
        raise ValueError("base_url must not hold a user or password: pass them in default_headers.")
    return url


def require_https(host: str) -> None:
    """Reject plain http to other machines, where the key can be read in transit.

    Raises:
        ValueError: the host uses plain http and is not this machine.
    """
    url = urlsplit(host)
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        raise ValueError(
            "base_url is plain http to another machine, so that the key and all messages can be "
            "read in transit: use https, or allow_plain_http if that is intended."
        )


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


def _is_this_machine(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")
