"""LangSmith's export by OpenTelemetry: the same runs, as spans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import langsmith
import pytest
from langsmith_server import LangSmith, forget, langsmith_server
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from traced_entry_points import (
    ENTRY_POINTS,
    SECRETS,
    TREES,
    Make,
    deeper,
    emulator,
    every_entry_point,
    make,
    with_secrets,
)

from langchain_qwen_ci.emulator import ErrorFrame
from langchain_qwen_ci.errors import QwenError

__all__ = ["emulator", "langsmith_server", "make", "with_secrets"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


class Spans:
    """The spans that a client of LangSmith has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._client = langsmith.Client(otel_tracer_provider=provider)
        langsmith.configure(client=self._client)

    def all(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        self._client.flush()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)

    def of_kind(self, kind: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.attributes["langsmith.span.kind"] == kind]

    def outline(self, below: int | None = None) -> list[str]:
        """As `test_langsmith` draws runs."""
        return [
            line
            for span in self.all()
            if (span.parent.span_id if span.parent else None) == below
            for line in (
                f"{span.attributes['langsmith.span.kind']} {span.name}",
                *deeper(self.outline(span.context.span_id)),
            )
        ]


@pytest.fixture(params=["hybrid", "otel"])
def mode(request) -> str:
    """Whether LangSmith gets the runs as well."""
    return request.param


@pytest.fixture
def spans(langsmith_server: LangSmith, monkeypatch, mode: str) -> Iterator[Spans]:
    monkeypatch.setenv(
        "LANGSMITH_OTEL_ENABLED" if mode == "hybrid" else "LANGSMITH_OTEL_ONLY", "true"
    )
    forget()
    yield Spans()
    langsmith.configure(client=None)


@every_entry_point
def test_runs_are_spans(
    spans: Spans, langsmith_server: LangSmith, make: Make, entry_point: str, mode: str
):
    ENTRY_POINTS[entry_point](make)
    assert spans.outline() == TREES[entry_point]
    assert bool(langsmith_server.posted) == (mode == "hybrid")


def _read(span: ReadableSpan, attribute: str) -> Any:
    return json.loads(str(span.attributes[f"gen_ai.{attribute}"]))


def _errors(span: ReadableSpan) -> str:
    """The exceptions that a span records. Its status cannot be relied on: LangSmith's client sets
    it to OK when a run begins, if it exports that before the end, and OK is final."""
    return "".join(str(event.attributes["exception.message"]) for event in span.events)


def test_code_and_tokens_are_attributes(spans: Spans, make: Make):
    message = make().invoke("?")
    good, bad = spans.of_kind("tool")
    assert _read(good, "prompt") == {"code": "6 * 7"}
    assert _read(good, "completion") == {"output": {"status": "completed", "output": "42"}}
    assert _read(bad, "prompt") == {"code": "1 / 0"}
    assert _errors(good) == ""
    assert "\nZeroDivisionError: division by zero" in _errors(bad)
    (model,) = spans.of_kind("llm")
    result = model.attributes
    assert (result["gen_ai.system"], result["gen_ai.request.model"]) == ("qwen", "qwen3-max")
    assert result["gen_ai.usage.input_tokens"] == message.usage_metadata["input_tokens"]
    assert result["gen_ai.usage.output_tokens"] == message.usage_metadata["output_tokens"]
    for span in (good, bad):  # which no model has answered, and which cost no tokens
        assert not [name for name in span.attributes if name.startswith("gen_ai.usage")]
        assert "gen_ai.request.model" not in span.attributes


def test_partial_output_of_an_error_is_an_attribute(spans: Spans, make: Make, emulator):
    emulator.inject_fault(ErrorFrame(after=25))
    with pytest.raises(QwenError):
        make().invoke("?")
    (model,) = spans.of_kind("llm")
    assert "QwenServerError" in _errors(model)
    assert '"text":"It is"' in str(model.attributes["gen_ai.completion"])


@every_entry_point
@pytest.mark.parametrize("mode", ["otel"], indirect=True)
def test_secrets_are_not_exported(spans: Spans, with_secrets: Make, entry_point: str):
    ENTRY_POINTS[entry_point](with_secrets)
    exported = "".join(span.to_json() for span in spans.all())
    assert "6 * 7" in exported
    for secret in SECRETS.values():
        assert secret not in exported
