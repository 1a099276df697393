"""What a fixture is: the raw bytes of an answer, and beside them the message they must become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REQUEST_ID = "5f0c7d5e-0001"


@dataclass(frozen=True)
class Stream:
    """Raw bytes and their meaning. `execution_records` overrides `codes` where an API shows
    more."""

    body: bytes
    api: str = "dashscope"
    content: str = ""
    reasoning: str = ""
    codes: list[str] = field(default_factory=list)
    execution_records: list[dict[str, Any]] | None = None
    blocks: list[tuple[str, Any]] = field(default_factory=list)
    plugins: dict[str, Any] | None = None
    usage: tuple[int, int, int] | None = None
    finish_reason: str = "stop"
    tool_calls: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    invalid_tool_calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def executions(self) -> list[dict[str, Any]]:
        """Records of the executions, without their ids."""
        if self.execution_records is not None:
            return self.execution_records
        return [{"code": code, "status": "completed"} for code in self.codes]
