"""The known models: which APIs run code for them, and which native path serves them.

Sources: Model Studio's documentation of the code interpreter and of its error codes, and
measurements published against the live service. Model names change every month, so an unknown name
is a warning and never an error.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from langchain_core.language_models.model_profile import ModelProfile

Api = Literal["dashscope", "responses", "chat_completions"]
NativeEndpoint = Literal["text-generation", "multimodal-generation"]
Thinking = Literal["required", "on", "off"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
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
    endpoint: NativeEndpoint
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


def _family(
    family: str,
    endpoint: NativeEndpoint,
    thinking: Thinking,
    *snapshots: str,
    apis: tuple[Api, ...] = _EVERY_API,
) -> tuple[ModelSpec, ...]:
    names = (family, *(f"{family}-{date}" for date in snapshots))
    return tuple(ModelSpec(name, family, endpoint, thinking, apis) for name in names)


MODELS: dict[str, ModelSpec] = {
    model.name: model
    for model in (
        # The models that the documentation of the code interpreter names.
        *_family("qwen3-max", "text-generation", "required", "2026-01-23"),
        *_family("qwen3.6-plus", "multimodal-generation", "on", "2026-04-02"),
        *_family("qwen3.5-plus", "multimodal-generation", "on", "2026-02-15"),
        *_family("qwen3.5-flash", "multimodal-generation", "on", "2026-02-23"),
        *_family("qwen3.5-397b-a17b", "multimodal-generation", "on"),
        *_family("qwen3.5-122b-a10b", "multimodal-generation", "on"),
        *_family("qwen3.5-27b", "multimodal-generation", "on"),
        *_family("qwen3.5-35b-a3b", "multimodal-generation", "on"),
        # Measured to run code over the native wire.
        *_family("qwen3.7-plus", "multimodal-generation", "on"),
        *_family("qwen3.7-max", "text-generation", "on"),
        *_family("qwen3.6-flash", "multimodal-generation", "on"),
        *_family("qwen3.6-max-preview", "text-generation", "on"),
        # Measured to run code by the Responses API, and to be refused by Chat Completions.
        *_family("qwen3.8-max", "multimodal-generation", "on", apis=("responses",)),
        *_family("qwen3.8-flash", "multimodal-generation", "on", apis=("responses",)),
        *_family("qwen3.8-27b", "multimodal-generation", "on", apis=("responses",)),
        # Measured to ignore the interpreter's flag without a word.
        *_family("qwen-max", "text-generation", "off", apis=()),
        *_family("qwen3-max-preview", "text-generation", "off", apis=()),
        *_family("qwen3.5-omni-plus", "multimodal-generation", "off", apis=()),
    )
}

# For names that have no row: the first pattern that fits decides the path.
_ENDPOINTS: tuple[tuple[str, NativeEndpoint], ...] = (
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


def find_model(name: str) -> ModelSpec | None:
    """The row of a model, or of the family that it is a dated snapshot of."""
    return MODELS.get(name) or MODELS.get(_SNAPSHOT.sub("", name))


def model_profile(name: str, *, interpreter: bool) -> ModelProfile | None:
    """What LangChain wants to know of a model; None where it is not known.

    With the interpreter on it takes no tools. Token limits are not among the facts at hand.
    """
    model = find_model(name)
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
def warn_about_model(name: str, api: Api, *, interpreter: bool) -> None:
    """Warn of what is known, or not known, of a model: once, however often it is used."""
    model = find_model(name)
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
        f"{unknown} It is sent to the {native_endpoint(name)} path; if the service answers "
        '"url error", pass the other one as endpoint=….'
    )


@cache
def warn_code_not_returned() -> None:
    """Say once that Chat Completions shows nothing of what it runs."""
    warnings.warn(
        "Chat Completions runs code but shows neither the code nor how often it ran: "
        'api="dashscope" shows both, api="responses" also what the code printed.',
        stacklevel=2,
    )


def native_endpoint(name: str) -> NativeEndpoint:
    """The native path that serves a model; a guess from its name where it has no row."""
    if model := find_model(name):
        return model.endpoint
    return next(
        (endpoint for pattern, endpoint in _ENDPOINTS if fnmatchcase(name, pattern)),
        "text-generation",
    )
