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
from typing import Literal, get_args

from langchain_core.language_models.model_profile import ModelProfile

Api = Literal["dashscope", "responses", "chat_completions"]
NativeEndpoint = Literal["text-generation", "multimodal-generation"]
Thinking = Literal["required", "on", "off", "unknown"]
Evidence = Literal["documented", "measured", "unknown", "ignored", "rejected", "fails"]
"""What is known about the code interpreter of one model with one API.

- "documented": the documentation names the model for this API, whether or not it was measured too.
- "measured": not documented, but code was seen to run.
- "unknown": neither documented nor measured.
- "ignored": measured: the model answers without running code, and reports no error.
- "rejected": measured: the request is rejected.
- "fails": measured: the answer ends with `response.failed`.
"""

REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The values of `reasoning_effort` with the Responses API."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the service.

    Attributes:
        endpoint: the path of the native API that serves the model. The other one answers "url
            error".
        thinking: whether the model thinks by default. "required": according to the documentation it
            must think to run code.
        dashscope, responses, chat_completions: what is known about the code interpreter with that
            API.
    """

    name: str
    endpoint: NativeEndpoint
    thinking: Thinking
    dashscope: Evidence
    responses: Evidence
    chat_completions: Evidence

    @property
    def family(self) -> str:
        """The name without the date of a snapshot."""
        return _SNAPSHOT.sub("", self.name)

    @property
    def apis(self) -> tuple[Api, ...]:
        """The APIs with which the model is documented or was measured to run code."""
        return tuple(api for api in _APIS if self.evidence(api) in ("documented", "measured"))

    @property
    def vision(self) -> bool:
        return self.endpoint == "multimodal-generation"

    def evidence(self, api: Api) -> Evidence:
        """Return what is known about the code interpreter of this model with an API."""
        evidence: Evidence = getattr(self, api)
        return evidence


@dataclass(frozen=True, slots=True)
class Target:
    """The API that a call uses, and whether the host is Alibaba's.

    The table below and the rules derived from it describe Alibaba's hosts. About other servers that
    speak the same APIs nothing is known.
    """

    api: Api
    alibaba: bool

    def find_model(self, name: str) -> ModelSpec | None:
        """Return what is known about a model on this host; None if nothing is."""
        return find_model(name) if self.alibaba else None


_APIS: tuple[Api, ...] = get_args(Api)
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")  # qwen3-max-2026-01-23, qwen3.8-max-0902
_TEXT: NativeEndpoint = "text-generation"
_VISION: NativeEndpoint = "multimodal-generation"

# Columns: name, native path, thinking; then the evidence for dashscope, responses and
# chat_completions. docs/models-and-endpoints.md has the same table; a test compares them.
# fmt: off
_ROWS: tuple[tuple[str, NativeEndpoint, Thinking, Evidence, Evidence, Evidence], ...] = (
    # Named in the documentation of the code interpreter.
    ("qwen3-max",                _TEXT,   "required", "documented", "documented", "documented"),
    ("qwen3-max-2026-01-23",     _TEXT,   "required", "documented", "documented", "documented"),
    ("qwen3.5-plus",             _VISION, "on",       "documented", "documented", "documented"),
    ("qwen3.5-plus-2026-02-15",  _VISION, "on",       "documented", "documented", "documented"),
    ("qwen3.6-plus",             _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.6-plus-2026-04-02",  _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.7-plus",             _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.7-max",              _TEXT,   "required", "measured",   "documented", "measured"),
    ("qwen3.5-flash",            _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.5-flash-2026-02-23", _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.6-flash",            _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.7-flash",            _VISION, "on",       "unknown",    "documented", "unknown"),
    ("qwen3.8-flash",            _VISION, "on",       "unknown",    "documented", "rejected"),
    ("qwen3.5-397b-a17b",        _VISION, "on",       "unknown",    "documented", "measured"),
    ("qwen3.5-122b-a10b",        _VISION, "on",       "unknown",    "documented", "unknown"),
    ("qwen3.5-27b",              _VISION, "on",       "unknown",    "documented", "unknown"),
    ("qwen3.5-35b-a3b",          _VISION, "on",       "unknown",    "documented", "unknown"),
    ("qwen3.6-35b-a3b",          _VISION, "on",       "unknown",    "documented", "unknown"),
    ("deepseek-v4-flash",        _TEXT,   "unknown",  "unknown",    "documented", "unknown"),
    ("deepseek-v4-flash-0731",   _TEXT,   "unknown",  "unknown",    "documented", "unknown"),
    ("deepseek-v4-pro-0813",     _TEXT,   "unknown",  "unknown",    "documented", "unknown"),
    # Measured only.
    ("deepseek-v4-pro",          _TEXT,   "unknown",  "unknown",    "measured",   "unknown"),
    ("deepseek-v4.1-flash",      _TEXT,   "unknown",  "unknown",    "measured",   "unknown"),
    ("qwen3.6-max-preview",      _TEXT,   "on",       "measured",   "unknown",    "measured"),
    ("qwen3.8-max",              _VISION, "on",       "unknown",    "measured",   "rejected"),
    ("qwen3.8-max-0902",         _VISION, "on",       "unknown",    "measured",   "rejected"),
    ("qwen3.8-27b",              _VISION, "on",       "unknown",    "measured",   "rejected"),
    ("qwen3.8-2.4t-a95b",        _TEXT,   "on",       "unknown",    "measured",   "rejected"),
    # Not known to run code with any API.
    ("qwen-max",                 _TEXT,   "off",      "unknown",    "unknown",    "ignored"),
    ("qwen3-max-preview",        _TEXT,   "off",      "ignored",    "fails",      "ignored"),
    ("qwen3.5-omni-plus",        _VISION, "off",      "unknown",    "rejected",   "ignored"),
    ("qwen3.6-27b",              _VISION, "on",       "unknown",    "rejected",   "unknown"),
    ("qwen-plus",                _TEXT,   "off",      "unknown",    "rejected",   "unknown"),
    ("qwen3-vl-plus",            _VISION, "off",      "unknown",    "rejected",   "unknown"),
)
# fmt: on
MODELS: dict[str, ModelSpec] = {row[0]: ModelSpec(*row) for row in _ROWS}

# For names that are not in the table: the first matching pattern decides the path.
_ENDPOINT_PATTERNS: tuple[tuple[str, NativeEndpoint], ...] = (
    ("*-vl*", _VISION),
    ("*omni*", _VISION),
    ("qvq*", _VISION),
    ("qwen3.5*", _VISION),
    ("qwen3.6-max-preview*", _TEXT),
    ("qwen3.6*", _VISION),
    ("qwen3.7-max*", _TEXT),
    ("qwen3.7*", _VISION),
    ("qwen3.8-2.4t-a95b*", _TEXT),
    ("qwen3.8*", _VISION),
)

# Maximum numbers of input and output tokens by family, from models.dev (provider Alibaba), 2026-11.
# It has no figures for the other models of the table.
_TOKEN_LIMITS: dict[str, tuple[int, int]] = {
    "qwen3-max": (262_144, 65_536),
    "qwen3.5-plus": (1_000_000, 65_536),
    "qwen3.6-plus": (1_000_000, 65_536),
    "qwen3.7-plus": (1_000_000, 65_536),
    "qwen3.7-max": (1_000_000, 65_536),
    "qwen3.8-max": (1_000_000, 131_072),
}


def find_model(name: str) -> ModelSpec | None:
    """Return the known model with a name, or the family of a dated snapshot; None if unknown."""
    return MODELS.get(name) or MODELS.get(_SNAPSHOT.sub("", name))


def native_endpoint(name: str) -> NativeEndpoint:
    """Return the path of the native API that serves a model; for unknown models, guess it."""
    if model := find_model(name):
        return model.endpoint
    return next(
        (endpoint for pattern, endpoint in _ENDPOINT_PATTERNS if fnmatchcase(name, pattern)),
        _TEXT,
    )


def takes_reasoning_effort(name: str, api: Api) -> bool:
    """Return whether a known model takes `reasoning_effort` with an API of Alibaba's hosts."""
    # Documented: on the native API for qwen3.8 only.
    return api == "responses" or (api == "dashscope" and name.startswith("qwen3.8"))


def preserves_thinking(name: str, api: Api) -> bool:
    """Return whether a model expects the reasoning of its earlier answers by default.

    Documented for these two models on Responses.
    """
    family = _SNAPSHOT.sub("", name)
    return api == "responses" and family in ("qwen3.8-max", "qwen3.8-flash")


def model_profile(name: str, api: Api, *, interpreter: bool) -> ModelProfile | None:
    """Return LangChain's profile of a model; None for an unknown model.

    While the interpreter is on, the profile says that the model takes no tools, because this
    package rejects them then. It has token limits only where models.dev has them.
    """
    model = find_model(name)
    if model is None:
        return None
    profile = ModelProfile(
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
    if limits := _TOKEN_LIMITS.get(model.family):
        profile["max_input_tokens"], profile["max_output_tokens"] = limits
    # The key is new in langchain-core 1.8.
    if (
        takes_reasoning_effort(name, api)
        and "reasoning_effort_levels" in ModelProfile.__annotations__
    ):
        profile["reasoning_effort_levels"] = [
            effort
            for effort in REASONING_EFFORTS
            # Code needs thinking there.
            if not (effort == "none" and interpreter and api == "responses")
        ]
    return profile


@cache
def warn_about_model(name: str, target: Target, *, interpreter: bool) -> None:
    """Warn once if a model of Alibaba's hosts is unknown, or not known to run code with an API."""
    if not target.alibaba:
        return
    model = target.find_model(name)
    if model is None:
        warnings.warn(_unknown_model_warning(name, target.api), stacklevel=2)
    elif interpreter and target.api not in model.apis:
        warnings.warn(_interpreter_warning(name, model, target.api), stacklevel=2)


def _unknown_model_warning(name: str, api: Api) -> str:
    unknown = f"{name!r} is not among the models that this version knows."
    if api != "dashscope":
        return unknown
    return (
        f"{unknown} It is sent to the {native_endpoint(name)} path; if the service answers "
        '"url error", pass the other one as endpoint=….'
    )


def _interpreter_warning(name: str, model: ModelSpec, api: Api) -> str:
    elsewhere = [f"{model.evidence(known)} for api={known!r}" for known in model.apis]
    finding = {
        "unknown": "it is neither documented nor measured",
        "ignored": "it was measured to be ignored: no code runs",
        "rejected": "requests with it were measured to be rejected",
        "fails": "answers with it were measured to fail",
    }[model.evidence(api)]
    known = f"{' and '.join(elsewhere)}; on" if elsewhere else "not known to run with any API; on"
    return f"The code interpreter of {name} is {known} api={api!r} {finding}."


@cache
def warn_code_not_returned() -> None:
    """Warn once that Chat Completions returns neither code nor counts."""
    warnings.warn(
        "Chat Completions runs code but returns neither the code nor the number of runs: "
        'api="dashscope" returns both, api="responses" also what the code printed.',
        stacklevel=2,
    )
