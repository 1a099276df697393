"""The catalogue of models: evidence, warnings, the page of the docs, profiles, foreign hosts."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from dashscope_streams import STREAMS
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import ModelProfile
from langchain_core.messages import HumanMessage
from request_bodies import ANSWERS as COMPATIBLE_ANSWERS

from langchain_qwen_ci import ChatQwenCodeInterpreter, models
from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.models import MODELS, find_model

ANSWERS = {"dashscope": STREAMS["one run"].body, **COMPATIBLE_ANSWERS}
APIS = ("dashscope", "responses", "chat_completions")
PAGE = Path(__file__).parents[2] / "docs" / "models-and-endpoints.md"
FOREIGN = "https://gate.example"
IMAGE = {"type": "image", "url": "https://example.com/a.png"}

pytestmark = pytest.mark.filterwarnings("ignore:Chat Completions runs code")


def warnings_of(**fields: Any) -> list[str]:
    """Return the warnings about the model that a new chat model causes."""
    models.warn_about_model.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ChatQwenCodeInterpreter(api_key="sk", **fields)
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if "Chat Completions runs code" not in text]


# Columns: dashscope, responses, chat_completions.
@pytest.mark.parametrize(
    ("name", "evidence"),
    {
        "qwen3-max": ("documented", "documented", "documented"),
        "qwen3.5-plus": ("documented", "documented", "documented"),
        "qwen3.6-plus": ("unknown", "documented", "measured"),
        "qwen3.7-max": ("measured", "documented", "measured"),
        "qwen3.7-plus": ("unknown", "documented", "measured"),
        "qwen3.7-flash": ("unknown", "documented", "unknown"),
        "qwen3.5-122b-a10b": ("unknown", "documented", "unknown"),
        "qwen3.5-397b-a17b": ("unknown", "documented", "measured"),
        "qwen3.6-35b-a3b": ("unknown", "documented", "unknown"),
        "qwen3.8-max": ("unknown", "measured", "rejected"),
        "qwen3.8-2.4t-a95b": ("unknown", "measured", "rejected"),
        "deepseek-v4-pro": ("unknown", "measured", "unknown"),
        "deepseek-v4-pro-0813": ("unknown", "documented", "unknown"),
        "qwen3-max-preview": ("ignored", "fails", "ignored"),
        "qwen3.5-omni-plus": ("unknown", "rejected", "ignored"),
        "qwen3.6-27b": ("unknown", "rejected", "unknown"),
        "qwen-plus": ("unknown", "rejected", "unknown"),
        "qwen3-vl-plus": ("unknown", "rejected", "unknown"),
    }.items(),
)
def test_evidence_of_each_api(name, evidence):
    assert tuple(MODELS[name].evidence(api) for api in APIS) == evidence


def test_models_that_require_thinking():
    required = {spec.family for spec in MODELS.values() if spec.thinking == "required"}
    assert required == {"qwen3-max", "qwen3.7-max"}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("qwen3.8-max-0902", "qwen3.8-max-0902"),
        ("qwen3.8-max-1105", "qwen3.8-max"),
        ("qwen3.7-max-2026-11-05", "qwen3.7-max"),
        ("deepseek-v4-flash-0901", "deepseek-v4-flash"),
    ],
)
def test_snapshots_take_the_row_of_their_family(name, known):
    assert find_model(name) is MODELS[known]
    assert find_model(name).family == find_model(known).family


@pytest.mark.parametrize("name", ["qwen3-max-latest", "qwen3.8-max-09021", "qwen3.8-max-9", "x"])
def test_other_suffixes_are_unknown(name):
    assert find_model(name) is None


@pytest.mark.parametrize(
    ("name", "api", "warning"),
    [
        (
            "qwen3.5-27b",
            "dashscope",
            (
                "The code interpreter of qwen3.5-27b is documented for api='responses'; on "
                "api='dashscope' it is neither documented nor measured."
            ),
        ),
        (
            "qwen3.5-flash",
            "dashscope",
            (
                "The code interpreter of qwen3.5-flash is documented for api='responses' and "
                "measured for api='chat_completions'; on api='dashscope' it is neither documented "
                "nor measured."
            ),
        ),
        (
            "qwen3.8-max-1105",
            "chat_completions",
            (
                "The code interpreter of qwen3.8-max-1105 is measured for api='responses'; on "
                "api='chat_completions' requests with it were measured to be rejected."
            ),
        ),
        (
            "qwen3-max-preview",
            "responses",
            (
                "The code interpreter of qwen3-max-preview is not known to run with any API; on "
                "api='responses' answers with it were measured to fail."
            ),
        ),
        (
            "qwen-max",
            "chat_completions",
            (
                "The code interpreter of qwen-max is not known to run with any API; on "
                "api='chat_completions' it was measured to be ignored: no code runs."
            ),
        ),
    ],
)
def test_warning_names_the_evidence(name, api, warning):
    assert warnings_of(model=name, api=api) == [warning]
    assert warnings_of(model=name, api=api, enable_code_interpreter=False) == []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("api", APIS)
def test_only_cells_without_support_warn(name, api):
    supported = MODELS[name].evidence(api) in ("documented", "measured")
    assert bool(warnings_of(model=name, api=api)) is not supported


def test_page_has_the_catalogue():
    row = re.compile(r"^\| `([^`]+)` \| ([\w-]+)" + r" \| (\w+)" * 4 + r" \|$", re.MULTILINE)
    page = {name: tuple(cells) for name, *cells in row.findall(PAGE.read_text())}
    assert page == {
        spec.name: (
            spec.endpoint,
            spec.thinking,
            spec.dashscope,
            spec.responses,
            spec.chat_completions,
        )
        for spec in MODELS.values()
    }


# Hosts that are not Alibaba's.


@pytest.mark.parametrize("name", ["qwen-max", "qwen3.8-flash", "Qwen/Qwen3-32B"])
@pytest.mark.parametrize("api", APIS)
def test_models_of_other_hosts_cause_no_warning(name, api):
    assert warnings_of(model=name, api=api, base_url=FOREIGN) == []


def test_environment_decides_about_warnings_too(monkeypatch):
    assert warnings_of(model="qwen9") != []
    monkeypatch.setenv("DASHSCOPE_BASE_URL", FOREIGN)
    assert warnings_of(model="qwen9") == []


@pytest.mark.parametrize("api", APIS)
def test_other_hosts_may_run_code_without_thinking(mock_service, api):
    backend = mock_service(ANSWERS[api])
    backend.model(api=api, base_url=FOREIGN, enable_thinking=False).invoke("Hi")
    body = backend.bodies[0]
    assert body.get("parameters", body)["enable_thinking"] is False


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_other_hosts_may_serve_models_with_vision(mock_service, api):
    message = HumanMessage([{"type": "text", "text": "?"}, IMAGE])
    backend = mock_service(ANSWERS[api])
    backend.model(api=api, base_url=FOREIGN, model="Qwen/Qwen3-VL-8B").invoke([message])
    assert "https://example.com/a.png" in backend.requests[0].content.decode()


def test_text_generation_of_another_host_takes_no_media(mock_service):
    backend = mock_service(ANSWERS["dashscope"])
    with pytest.raises(QwenInputError, match="takes text only"):
        backend.model(base_url=FOREIGN).invoke([HumanMessage([IMAGE])])
    assert backend.requests == []


# Profiles.


def profile_of(**fields: Any) -> dict[str, Any]:
    return dict(ChatQwenCodeInterpreter(api_key="sk", **fields).profile or {})


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("qwen3-max", (262_144, 65_536)),
        ("qwen3-max-2026-01-23", (262_144, 65_536)),
        ("qwen3.5-plus", (1_000_000, 65_536)),
        ("qwen3.6-plus-2026-04-02", (1_000_000, 65_536)),
        ("qwen3.7-max", (1_000_000, 65_536)),
        ("qwen3.8-max-0902", (1_000_000, 131_072)),
        ("qwen3.5-27b", (None, None)),
        ("qwen3.5-flash", (None, None)),
    ],
)
@pytest.mark.filterwarnings("ignore:The code interpreter of")
def test_token_limits_of_profiles(name, limits):
    profile = profile_of(model=name, api="responses")
    assert (profile.get("max_input_tokens"), profile.get("max_output_tokens")) == limits


EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@pytest.mark.skipif(
    "reasoning_effort_levels" not in ModelProfile.__annotations__,
    reason="new in langchain-core 1.8",
)
@pytest.mark.filterwarnings("ignore:The code interpreter of")
def test_reasoning_efforts_of_profiles():
    key = "reasoning_effort_levels"
    assert profile_of(api="responses", enable_code_interpreter=False)[key] == EFFORTS
    assert profile_of(api="responses")[key] == EFFORTS[1:]  # code needs thinking there
    assert profile_of(model="qwen3.8-max")[key] == EFFORTS
    assert key not in profile_of()
    assert key not in profile_of(api="chat_completions")


def test_summarization_middleware_takes_a_fraction():
    SummarizationMiddleware(ChatQwenCodeInterpreter(api_key="sk"), trigger=("fraction", 0.8))
    unlimited = ChatQwenCodeInterpreter(model="qwen3.5-27b", api="responses", api_key="sk")
    with pytest.raises(ValueError, match="profile"):
        SummarizationMiddleware(unlimited, trigger=("fraction", 0.8))
