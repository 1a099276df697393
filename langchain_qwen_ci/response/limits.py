"""Limits on one request, checked while its answer streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_qwen_ci.errors import QwenBudgetError
from langchain_qwen_ci.response.observers import EventObserver
from langchain_qwen_ci.wire.events import CodeDelta, TokensUsed

if TYPE_CHECKING:
    from langchain_qwen_ci.response.message_builder import MessageBuilder
    from langchain_qwen_ci.wire.events import Event


@dataclass(frozen=True)
class RequestLimits(EventObserver):
    """Limits on one request; None sets no limit.

    Attributes:
        tokens: maximum total tokens, summed over all inferences. Checked when the service reports
            usage: the native API at the start of each inference, the others at the end.
        executions: maximum number of programs. One more ends the answer; its code may have started.
    """

    tokens: int | None = None
    executions: int | None = None

    def on_event(self, event: Event, builder: MessageBuilder) -> None:
        """Check the limits.

        Raises:
            QwenBudgetError: this event exceeds a limit.
        """
        match event:
            case TokensUsed(total_tokens=used) if self.tokens is not None and used > self.tokens:
                raise QwenBudgetError(limit="tokens", allowed=self.tokens, used=used)
            case CodeDelta() if self.executions is not None:
                count = builder.execution_count
                if count > self.executions:
                    raise QwenBudgetError(limit="executions", allowed=self.executions, used=count)
