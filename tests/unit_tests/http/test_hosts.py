"""Which hosts are Alibaba's."""

from __future__ import annotations

import pytest

from langchain_qwen_ci.http.hosts import REGIONS, is_alibaba_host


@pytest.mark.parametrize(
    "url",
    [
        *filter(None, REGIONS.values()),
        "https://ws_1-A.cn-beijing.maas.aliyuncs.com",
        "https://maas.qianwenaiapi.com",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "https://DashScope.Aliyuncs.com:443",
        "https://dashscope.aliyuncs.com.",
        "dashscope.aliyuncs.com",
        "aliyuncs.com",
    ],
)
def test_hosts_of_alibaba(url):
    assert is_alibaba_host(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:8000",
        "https://evil-aliyuncs.com",
        "https://aliyuncs.com.evil.example",
        "https://dashscope.aliyuncs.com@evil.example",
        "https://evil.example/dashscope.aliyuncs.com",
        "https://evil.example?aliyuncs.com",
        "https://evil.example#.aliyuncs.com",
        "https://evil.example\\.aliyuncs.com",
        "https://qianwenaiapi.com",
        "https://evilmaas.qianwenaiapi.com",
        # A model that a user deployed.
        "http://123.cn-beijing.pai-eas.aliyuncs.com/api/predict/qwen",
        "https://openrouter.ai/api",
        "http://[",
        "",
    ],
)
def test_other_hosts(url):
    assert not is_alibaba_host(url)
