"""Traces: a tool run for every code execution, and costs for LangSmith."""

from langchain_qwen_ci.tracing.prices import Price, Prices, with_costs

__all__ = ["Price", "Prices", "with_costs"]
