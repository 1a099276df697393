"""A stream fixture: the raw bytes of an answer, and the message that they must result in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REQUEST_ID = "5f0c7d5e-0001"


@dataclass(frozen=True)
class Stream:
    """The bytes of an answer and the fields of the expected message.

    Attributes:
        codes: the executed code, where the API returns nothing else of an execution.
        execution_records: the records of executions, where it returns more; overrides `codes`.
        blocks: type and main value of each content block.
        usage: input, output and total tokens.
        tool_calls: name, arguments and id of each function call.
        invalid_tool_calls: name and arguments of each function call with invalid arguments.
    """

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
        """The expected records of executions, without ids."""
        if self.execution_records is not None:
            return self.execution_records
        return [{"code": code, "status": "completed"} for code in self.codes]
