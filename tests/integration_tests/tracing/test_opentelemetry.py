"""The OpenTelemetry export of LangSmith's client: the same runs, as spans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import langsmith
import pytest
from langsmith_server import LangSmithServer, langsmith_server, reset_langsmith
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from secret_values import SECRETS
from traced_entry_points import (
    ENTRY_POINTS,
    RUN_TREES,
    ModelFactory,
    emulator,
    every_entry_point,
    indent,
    make_model,
    make_model_with_secrets,
)

from langchain_qwen_ci.emulator import ErrorFrame
from langchain_qwen_ci.errors import QwenError

__all__ = ["emulator", "langsmith_server", "make_model", "make_model_with_secrets"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


class Spans:
    """The spans that LangSmith's client has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._client = langsmith.Client(otel_tracer_provider=provider)
        langsmith.configure(client=self._client)

    def all(self) -> list[ReadableSpan]:
        """Return the spans in the order of their start."""
        self._client.flush()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)

    def of_kind(self, kind: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.attributes["langsmith.span.kind"] == kind]

    def outline(self, parent_id: int | None = None) -> list[str]:
        """Return the tree of spans in the form of `RUN_TREES`."""
        return [
            line
            for span in self.all()
            if (span.parent.span_id if span.parent else None) == parent_id
            for line in (
                f"{span.attributes['langsmith.span.kind']} {span.name}",
                *indent(self.outline(span.context.span_id)),
            )
        ]


@pytest.fixture(params=["hybrid", "otel"])
def mode(request) -> str:
    """How runs are exported: as runs and spans ("hybrid"), or as spans only ("otel")."""
    return request.param


@pytest.fixture
def spans(langsmith_server: LangSmithServer, monkeypatch, mode: str) -> Iterator[Spans]:
    monkeypatch.setenv(
        "LANGSMITH_OTEL_ENABLED" if mode == "hybrid" else "LANGSMITH_OTEL_ONLY", "true"
    )
    reset_langsmith()
    yield Spans()
    langsmith.configure(client=None)


@every_entry_point
def test_runs_are_spans(
    spans: Spans,
    langsmith_server: LangSmithServer,
    make_model: ModelFactory,
    entry_point: str,
    mode: str,
):
    ENTRY_POINTS[entry_point](make_model)
    assert spans.outline() == RUN_TREES[entry_point]
    assert bool(langsmith_server.posted_bytes()) == (mode == "hybrid")


def _gen_ai_attribute(span: ReadableSpan, attribute: str) -> Any:
    return json.loads(str(span.attributes[f"gen_ai.{attribute}"]))


def _exceptions(span: ReadableSpan) -> str:
    """Return the messages of the exceptions that a span records.

    The status of the span is not reliable: LangSmith's client sets it to OK if it exports the start
    of the run before its end, and OK is final.
    """
    return "".join(str(event.attributes["exception.message"]) for event in span.events)


def test_code_and_tokens_are_attributes(spans: Spans, make_model: ModelFactory):
    message = make_model().invoke("?")
    succeeded, failed = spans.of_kind("tool")
    assert _gen_ai_attribute(succeeded, "prompt") == {"code": "6 * 7"}
    assert _gen_ai_attribute(succeeded, "completion") == {
        "output": {"status": "completed", "output": "42"}
    }
    assert _gen_ai_attribute(failed, "prompt") == {"code": "1 / 0"}
    assert _exceptions(succeeded) == ""
    assert "\nZeroDivisionError: division by zero" in _exceptions(failed)
    (model_span,) = spans.of_kind("llm")
    attributes = model_span.attributes
    assert (attributes["gen_ai.system"], attributes["gen_ai.request.model"]) == (
        "qwen",
        "qwen3-max",
    )
    assert attributes["gen_ai.usage.input_tokens"] == message.usage_metadata["input_tokens"]
    assert attributes["gen_ai.usage.output_tokens"] == message.usage_metadata["output_tokens"]
    for span in (succeeded, failed):  # spans of executions have no model and no tokens
        assert not [name for name in span.attributes if name.startswith("gen_ai.usage")]
        assert "gen_ai.request.model" not in span.attributes


def test_partial_output_of_an_error_is_an_attribute(
    spans: Spans, make_model: ModelFactory, emulator
):
    emulator.inject_fault(ErrorFrame(after=25))
    with pytest.raises(QwenError):
        make_model().invoke("?")
    (model_span,) = spans.of_kind("llm")
    assert "QwenServerError" in _exceptions(model_span)
    assert '"text":"It is"' in str(model_span.attributes["gen_ai.completion"])


@every_entry_point
@pytest.mark.parametrize("mode", ["otel"], indirect=True)
def test_secrets_are_not_exported(
    spans: Spans, make_model_with_secrets: ModelFactory, entry_point: str
):
    ENTRY_POINTS[entry_point](make_model_with_secrets)
    exported = "".join(span.to_json() for span in spans.all())
    assert "6 * 7" in exported
    for secret in SECRETS.values():
        assert secret not in exported
