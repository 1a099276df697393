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
        family: the name without the date of a snapshot.
        endpoint: the path of the native API that serves the model. The other one answers "url
        error".
        thinking: whether the model thinks by default; "required": it must think to run code.
        apis: the APIs with which the model is known to run code. Empty: the model ignores the
            interpreter flag without an error.
    """

    name: str
    family: str
    endpoint: NativeEndpoint
    thinking: Thinking
    apis: tuple[Api, ...]

    @property
    def interpreter(self) -> bool:
        """Whether the model can run code with any API."""
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
        # Named in the documentation of the code interpreter.
        *_family("qwen3-max", "text-generation", "required", "2026-01-23"),
        *_family("qwen3.6-plus", "multimodal-generation", "on", "2026-04-02"),
        *_family("qwen3.5-plus", "multimodal-generation", "on", "2026-02-15"),
        *_family("qwen3.5-flash", "multimodal-generation", "on", "2026-02-23"),
        *_family("qwen3.5-397b-a17b", "multimodal-generation", "on"),
        *_family("qwen3.5-122b-a10b", "multimodal-generation", "on"),
        *_family("qwen3.5-27b", "multimodal-generation", "on"),
        *_family("qwen3.5-35b-a3b", "multimodal-generation", "on"),
        # Measured to run code with the native API.
        *_family("qwen3.7-plus", "multimodal-generation", "on"),
        *_family("qwen3.7-max", "text-generation", "on"),
        *_family("qwen3.6-flash", "multimodal-generation", "on"),
        *_family("qwen3.6-max-preview", "text-generation", "on"),
        # Measured to run code with Responses, and to be rejected by Chat Completions.
        *_family("qwen3.8-max", "multimodal-generation", "on", apis=("responses",)),
        *_family("qwen3.8-flash", "multimodal-generation", "on", apis=("responses",)),
        *_family("qwen3.8-27b", "multimodal-generation", "on", apis=("responses",)),
        # Measured to ignore the interpreter flag without an error.
        *_family("qwen-max", "text-generation", "off", apis=()),
        *_family("qwen3-max-preview", "text-generation", "off", apis=()),
        *_family("qwen3.5-omni-plus", "multimodal-generation", "off", apis=()),
    )
}

# For unknown names: the first matching pattern decides the path.
_ENDPOINT_PATTERNS: tuple[tuple[str, NativeEndpoint], ...] = (
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
    """Return the known model with a name, or the family of a dated snapshot; None if unknown."""
    return MODELS.get(name) or MODELS.get(_SNAPSHOT.sub("", name))


def model_profile(name: str, *, interpreter: bool) -> ModelProfile | None:
    """Return LangChain's profile of a model; None for an unknown model.

    While the interpreter is on, the profile says that the model takes no tools. It has no token
    limits, because no reliable source for them was found.
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
        structured_output=False,  # not while thinking, which newer models do by default
        temperature=True,
    )


@cache
def warn_about_model(name: str, api: Api, *, interpreter: bool) -> None:
    """Warn once if a model is unknown, or not known to run code with an API."""
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
    unknown = f"{name!r} is not among the models that this version knows."
    if api != "dashscope":
        return unknown
    return (
        f"{unknown} It is sent to the {native_endpoint(name)} path; if the service answers "
        '"url error", pass the other one as endpoint=….'
    )


@cache
def warn_code_not_returned() -> None:
    """Warn once that Chat Completions returns neither code nor counts."""
    warnings.warn(
        "Chat Completions runs code but returns neither the code nor the number of runs: "
        'api="dashscope" returns both, api="responses" also what the code printed.',
        stacklevel=2,
    )


def native_endpoint(name: str) -> NativeEndpoint:
    """Return the path of the native API that serves a model; for unknown models, guess it."""
    if model := find_model(name):
        return model.endpoint
    return next(
        (endpoint for pattern, endpoint in _ENDPOINT_PATTERNS if fnmatchcase(name, pattern)),
        "text-generation",
    )
