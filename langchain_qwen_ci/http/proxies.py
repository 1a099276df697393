"""Chooses the proxy of a host from the environment.

httpx compares the host of a request with the text of `NO_PROXY`. `127.0.0.1` does not exclude
`127.1.1.1` there, `10.0.0.0/8` excludes nothing, and text that is not a host raises an error.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.http.hosts import is_private, is_this_machine, is_valid_host, is_valid_port

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str) -> httpx.Proxy | None:
    """Return the proxy for the requests to a URL; None to send them directly.

    Requests to this machine are always sent directly: a proxy would see the key, and to it
    `localhost` is another machine. Requests in plain http to a private address are sent directly as
    well, because plain http is accepted there on the ground that it stays in the private network.
    For all others `HTTPS_PROXY` or `HTTP_PROXY`, then `ALL_PROXY` names the proxy, unless
    `NO_PROXY` excludes the host.

    Raises:
        QwenInputError: the environment names a proxy that cannot be used.
    """
    target = urlsplit(url)
    hostname = target.hostname or ""
    if is_this_machine(hostname) or (target.scheme == "http" and is_private(hostname)):
        return None
    settings = getproxies()
    if any(_matches(entry, target) for entry in settings.get("no", "").replace(",", " ").split()):
        return None
    for scheme in (target.scheme, "all"):
        if value := settings.get(scheme, "").strip():
            return _parse_proxy(value, f"{scheme.upper()}_PROXY")
    return None


def _parse_proxy(value: str, name: str) -> httpx.Proxy:
    # The value is not shown, because it may contain a password.
    invalid = QwenInputError(
        f"The environment variable {name} is not the URL of a proxy, such as http://host:3128, "
        "https://host:3128 or socks5://host:1080. Correct it, or add the host of the service to "
        "NO_PROXY."
    )
    try:
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
    except (ValueError, httpx.InvalidURL):
        raise invalid from None
    host, port = proxy.url.raw_host.decode("ascii"), proxy.url.port
    if not is_valid_host(f"[{host}]" if ":" in host else host):
        raise invalid
    if port is not None and not is_valid_port(f":{port}"):
        raise invalid
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise QwenInputError(
            f"The environment variable {name} names a SOCKS proxy, for which httpx needs another "
            'package: pip install "httpx[socks]". Or add the host of the service to NO_PROXY.'
        )
    return proxy


def _matches(entry: str, target: SplitResult) -> bool:
    """Return whether an entry of `NO_PROXY` means a host.

    Entries are, as for curl: `*`; an address or a network (`10.0.0.0/8`, `::1`); or a domain with
    all names below it. An address or domain may have a port, and a scheme in front, as in httpx.
    Other text means no host.
    """
    if entry == "*":
        return True
    scheme, separator, rest = entry.rpartition("://")
    if separator and scheme.lower() not in ("all", target.scheme):
        return False
    host, port = _split_port(rest)
    if port not in ("", str(target.port or _DEFAULT_PORTS[target.scheme])):
        return False
    hostname = target.hostname or ""
    with suppress(ValueError):
        return ip_address(hostname) in ip_network(host, strict=False)
    domain = host.lower().removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(domain) and f".{hostname.removesuffix('.')}".endswith(f".{domain}")


def _split_port(entry: str) -> tuple[str, str]:
    """Return the host, without brackets, and the port of an entry; "" if it has no port."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""
