"""Models, regions and hosts: data, in one place.

Sources: Model Studio's documentation of the code interpreter, of its regions and of its error
codes, and measurements published against the live service. Names change monthly, so an unknown
name is a warning and never an error.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from langchain_core.language_models.model_profile import ModelProfile

Api = Literal["dashscope", "responses", "chat_completions"]
Endpoint = Literal["text-generation", "multimodal-generation"]
Thinking = Literal["required", "on", "off"]


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the service.

    Attributes:
        family: the name that its snapshots share.
        endpoint: the native path that serves it. The other one answers "url error".
        thinking: whether it thinks when a request does not say; "required": with the
            interpreter it must.
        apis: those by which it is known to run code; some models silently ignore the wish.
    """

    name: str
    family: str
    endpoint: Endpoint
    thinking: Thinking
    apis: tuple[Api, ...]

    @property
    def interpreter(self) -> bool:
        """Whether it can run code at all."""
        return bool(self.apis)

    @property
    def vision(self) -> bool:
        return self.endpoint == "multimodal-generation"


_EVERY_API: tuple[Api, ...] = ("dashscope", "responses", "chat_completions")


def _rows(
    family: str,
    endpoint: Endpoint,
    thinking: Thinking,
    *snapshots: str,
    apis: tuple[Api, ...] = _EVERY_API,
) -> tuple[Model, ...]:
    names = (family, *(f"{family}-{date}" for date in snapshots))
    return tuple(Model(name, family, endpoint, thinking, apis) for name in names)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        # The models that the documentation of the code interpreter names.
        *_rows("qwen3-max", "text-generation", "required", "2026-01-23"),
        *_rows("qwen3.6-plus", "multimodal-generation", "on", "2026-04-02"),
        *_rows("qwen3.5-plus", "multimodal-generation", "on", "2026-02-15"),
        *_rows("qwen3.5-flash", "multimodal-generation", "on", "2026-02-23"),
        *_rows("qwen3.5-397b-a17b", "multimodal-generation", "on"),
        *_rows("qwen3.5-122b-a10b", "multimodal-generation", "on"),
        *_rows("qwen3.5-27b", "multimodal-generation", "on"),
        *_rows("qwen3.5-35b-a3b", "multimodal-generation", "on"),
        # Measured to run code over the native wire.
        *_rows("qwen3.7-plus", "multimodal-generation", "on"),
        *_rows("qwen3.7-max", "text-generation", "on"),
        *_rows("qwen3.6-flash", "multimodal-generation", "on"),
        *_rows("qwen3.6-max-preview", "text-generation", "on"),
        # Measured to run code by the Responses API, and to be refused by Chat Completions.
        *_rows("qwen3.8-max", "multimodal-generation", "on", apis=("responses",)),
        *_rows("qwen3.8-flash", "multimodal-generation", "on", apis=("responses",)),
        *_rows("qwen3.8-27b", "multimodal-generation", "on", apis=("responses",)),
        # Measured to ignore the interpreter's flag without a word.
        *_rows("qwen-max", "text-generation", "off", apis=()),
        *_rows("qwen3-max-preview", "text-generation", "off", apis=()),
        *_rows("qwen3.5-omni-plus", "multimodal-generation", "off", apis=()),
    )
}

# For names that have no row: the first pattern that fits decides the path.
_ENDPOINTS: tuple[tuple[str, Endpoint], ...] = (
    ("*-vl*", "multimodal-generation"),
    ("*omni*", "multimodal-generation"),
    ("qvq*", "multimodal-generation"),
    ("qwen3.5*", "multimodal-generation"),
    ("qwen3.6-max-preview*", "text-generation"),
    ("qwen3.6*", "multimodal-generation"),
    ("qwen3.7-max*", "text-generation"),
    ("qwen3.7*", "multimodal-generation"),
    ("qwen3.8-2.4t-a95b*", "text-generation"),
    ("qwen3.8*", "multimodal-generation"),
)

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def known_model(name: str) -> Model | None:
    """The row of a model, or of the family that it is a dated snapshot of."""
    return MODELS.get(name) or MODELS.get(_SNAPSHOT.sub("", name))


def profile(name: str, *, interpreter: bool) -> ModelProfile | None:
    """What LangChain wants to know of a model; None where it is not known.

    With the interpreter on it takes no tools. Token limits are not among the facts at hand.
    """
    model = known_model(name)
    if model is None:
        return None
    return ModelProfile(
        name=model.name,
        text_inputs=True,
        text_outputs=True,
        image_inputs=model.vision,
        image_url_inputs=model.vision,
        video_inputs=model.vision,
        reasoning_output=True,
        tool_calling=not interpreter,
        tool_choice=not interpreter,
        tool_call_streaming=not interpreter,
        structured_output=False,  # not while it thinks, which newer models do by default
        temperature=True,
    )


@cache
def warn_about(name: str, api: Api, *, interpreter: bool) -> None:
    """Warn of what is known, or not known, of a model: once, however often it is used."""
    model = known_model(name)
    if model is None:
        warnings.warn(_unknown(name, api), stacklevel=2)
    elif interpreter and not model.interpreter:
        warnings.warn(
            f"{name} ignores the code interpreter: the service will not run code for it.",
            stacklevel=2,
        )
    elif interpreter and api not in model.apis:
        known = " or ".join(f"api={known!r}" for known in model.apis)
        warnings.warn(
            f"{name} is known to run code by {known} only, and not by api={api!r}.", stacklevel=2
        )


def _unknown(name: str, api: Api) -> str:
    unknown = f"{name!r} is not in this version's catalogue."
    if api != "dashscope":
        return unknown
    return (
        f"{unknown} It is sent to the {endpoint_of(name)} path; if the service answers "
        '"url error", pass the other one as endpoint=….'
    )


@cache
def warn_of_blindness() -> None:
    """Say once that Chat Completions shows nothing of what it runs."""
    warnings.warn(
        "Chat Completions runs code but shows neither the code nor how often it ran: "
        'api="dashscope" shows both, api="responses" also what the code printed.',
        stacklevel=2,
    )


def endpoint_of(name: str) -> Endpoint:
    """The native path that serves a model; a guess from its name where it has no row."""
    if model := known_model(name):
        return model.endpoint
    return next(
        (endpoint for pattern, endpoint in _ENDPOINTS if fnmatchcase(name, pattern)),
        "text-generation",
    )


REGIONS: dict[str, str | None] = {
    # Keys are bound to a region. None: reachable through workspace hosts only.
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


def host(base_url: str | None, region: str | None, workspace: str | None) -> str:
    """Where requests go. What is given goes before the environment, a URL before a region.

    Raises:
        ValueError: a URL or region that cannot be used.
    """
    if base_url:
        return host_of(base_url)
    if region:
        return region_host(region, workspace)
    if url := os.environ.get("DASHSCOPE_BASE_URL"):
        return host_of(url)
    if region := os.environ.get("DASHSCOPE_REGION"):
        return region_host(region, workspace)
    return region_host(DEFAULT_REGION, None)


def region_host(region: str, workspace: str | None) -> str:
    """The host of a region: the workspace's own one if there is a workspace.

    Raises:
        ValueError: an unknown region, or one that needs a workspace.
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


def checked_workspace(workspace: str) -> str:
    """A workspace id becomes part of a host name, so nothing else may stand in it.

    Raises:
        ValueError: it is not a workspace id.
    """
    if _WORKSPACE.fullmatch(workspace):
        return workspace
    raise ValueError(
        "A workspace id has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit."
    )


def host_of(base_url: str) -> str:
    """The host, and any prefix before the API's path, of a URL with or without that path.

    Raises:
        ValueError: it is no http(s) URL, or it holds a user or password.
    """
    url = base_url.strip().rstrip("/")
    for path in _API_PATHS:
        url = url.removesuffix(path)
    if not _URL.fullmatch(url):
        raise ValueError(
            f"base_url {base_url!r} must be like https://host or https://host/api/v1."
            if not {"@", "?"} & set(base_url)  # which may be followed or preceded by a secret
            else "base_url must be like https://host or https://host/api/v1."
        )
    if "@" in url:
        raise ValueError("base_url must not hold a user or password: pass them in default_headers.")
    return url


def refuse_plain_http(host: str) -> None:
    """Refuse to send a key where it can be read on the way.

    Raises:
        ValueError: the host is reached by plain http, and is not this machine.
    """
    url = urlsplit(host)
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        raise ValueError(
            "base_url is plain http to another machine, so that the key and all that is said can "
            "be read on the way: use https, or allow_plain_http if that is meant."
        )


def _is_this_machine(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")
