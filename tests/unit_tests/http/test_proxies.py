"""Which requests go through the proxy that the environment names."""

from __future__ import annotations

import os

import pytest

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.http.proxies import proxy_for

PROXY = "http://proxy.example:3128"
THIS_MACHINE = [
    "127.0.0.1",
    "127.0.0.2:8000",
    "127.1.1.1",
    "0.0.0.0:8000",
    "localhost",
    "LOCALHOST.",
    "x.localhost",
    "[::1]:1",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::]",
]
PRIVATE = ["10.1.2.3", "192.168.0.7", "[fd00::1]", "vllm", "box.local", "svc.internal"]
PUBLIC = ["gate.example", "localhost.example", "127.0.0.1.example", "8.8.8.8", "notlocalhost"]


@pytest.fixture(autouse=True)
def _proxy_for_everything(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALL_PROXY", PROXY)


def proxy_url(url: str) -> str | None:
    proxy = proxy_for(url)
    return proxy and str(proxy.url)


@pytest.mark.parametrize("host", THIS_MACHINE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_to_this_machine_use_no_proxy(scheme, host):
    assert proxy_url(f"{scheme}://{host}/v1") is None


@pytest.mark.parametrize("host", PRIVATE)
def test_plain_http_to_a_private_address_uses_no_proxy(host):
    assert proxy_url(f"http://{host}/v1") is None
    assert proxy_url(f"https://{host}/v1") == PROXY


@pytest.mark.parametrize("host", PUBLIC[:-1])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_other_hosts_use_the_proxy(scheme, host):
    assert proxy_url(f"{scheme}://{host}") == PROXY


def test_the_proxy_of_the_scheme_precedes_all_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "other.example:1")
    assert proxy_url("https://gate.example") == "http://other.example:1"
    assert proxy_url("http://gate.example") == PROXY


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "https://gate.example"),
        ("other.example, gate.example", "https://gate.example"),
        ("other.example gate.example", "https://gate.example"),
        ("example", "https://gate.example"),
        (".gate.example", "https://gate.example"),
        ("*.gate.example", "https://a.gate.example"),
        ("GATE.example.", "https://gate.Example."),
        ("gate.example:8443", "https://gate.example:8443/v1"),
        ("gate.example:443", "https://gate.example"),
        ("https://gate.example", "https://gate.example"),
        ("all://gate.example", "https://gate.example"),
        ("10.0.0.0/8", "https://10.1.2.3"),
        ("10.1.2.3", "https://10.1.2.3"),
        ("10.1.2.3:8443", "https://10.1.2.3:8443"),
        ("fd00::/8", "https://[fd00::1]"),
        ("fd00:0::1", "https://[fd00::1]"),
        ("[fd00::1]:8443", "https://[fd00::1]:8443"),
        ("vllm", "https://vllm"),
    ],
)
def test_no_proxy_excludes(monkeypatch, no_proxy, url):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_url(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "https://gate.example"),
        (",", "https://gate.example"),
        ("ate.example", "https://gate.example"),
        ("a.gate.example", "https://gate.example"),
        ("gate.example:8443", "https://gate.example"),
        ("http://gate.example", "https://gate.example"),
        ("11.0.0.0/8", "https://10.1.2.3"),
        ("10.0.0.0/99", "https://10.1.2.3"),
        ("10.1.2", "https://10.1.2.3"),
        ("::1", "https://[fd00::1]"),
        ("[", "https://gate.example"),
        ("]:", "https://gate.example"),
        ("://", "https://gate.example"),
        (".", "https://gate.example"),
        ("https://:port", "https://gate.example"),
        ("１０.1.2.3", "https://10.1.2.3"),  # noqa: RUF001  # full-width digits
    ],
)
def test_no_proxy_excludes_no_other_host(monkeypatch, no_proxy, url):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_url(url) == PROXY


@pytest.mark.parametrize(
    "value",
    [
        "ftp://secret@proxy.example",
        "socks://secret@proxy.example",
        "http://secret@",
        "http://secret:port",
        "http://secret:99999",
        "http://secret:0",
        "secret..example",
        "http://xn--a.secret",
        "http://[secret",
        "http://secret\0",
        "://secret",
        "http://ｓecret.example",  # noqa: RUF001  # a full-width letter
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_unusable_proxy_is_named_but_not_shown(monkeypatch, name, value):
    monkeypatch.setattr(os, "environ", {**os.environ, name: value})  # may hold what no OS accepts
    with pytest.raises(QwenInputError, match=f"{name}.*http://host:3128.*NO_PROXY") as caught:
        proxy_for("https://gate.example")
    assert "ecret" not in str(caught.value)
    assert proxy_for("https://localhost") is None


def test_socks_proxy_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@proxy.example:1080")
    monkeypatch.setattr("langchain_qwen_ci.http.proxies.find_spec", lambda _: None)
    with pytest.raises(QwenInputError, match=r"ALL_PROXY.*pip install \"httpx\[socks\]\""):
        proxy_for("https://gate.example")
