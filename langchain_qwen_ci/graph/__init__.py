"""LangGraph: the node, its state and reducers, its retry policy, budgets and stream events."""

from langchain_qwen_ci.graph.budget import Budget
from langchain_qwen_ci.graph.node import QwenCodeInterpreterNode
from langchain_qwen_ci.graph.retry_policy import QWEN_RETRY_POLICY
from langchain_qwen_ci.graph.state import (
    CodeInterpreterState,
    StateExecution,
    add_counts,
    merge_executions,
)
from langchain_qwen_ci.graph.streaming import CodeExecutionEvent, CodeExecutionsTransformer

__all__ = [
    "QWEN_RETRY_POLICY",
    "Budget",
    "CodeExecutionEvent",
    "CodeExecutionsTransformer",
    "CodeInterpreterState",
    "QwenCodeInterpreterNode",
    "StateExecution",
    "add_counts",
    "merge_executions",
]
