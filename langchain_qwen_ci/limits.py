"""Limits on one request: the interpreter multiplies tokens, and its runs are many inferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_qwen_ci.call import Watcher
from langchain_qwen_ci.errors import QwenBudgetError
from langchain_qwen_ci.wire.events import CodeDelta, TokensUsed

if TYPE_CHECKING:
    from langchain_qwen_ci.answer import Answer
    from langchain_qwen_ci.wire.events import Event


@dataclass(frozen=True)
class Limits(Watcher):
    """What one request may cost; None sets no limit.

    Attributes:
        tokens: of all inferences together. The native API tells them at the beginning of each
            inference and the others at the end, so it is checked then.
        executions: programs that may be begun. The one above that is shown and cut off.
    """

    tokens: int | None = None
    executions: int | None = None

    def see(self, event: Event, answer: Answer) -> None:
        """Raise QwenBudgetError if this event goes over a limit. See `call.Watcher`."""
        match event:
            case TokensUsed(total_tokens=used) if self.tokens is not None and used > self.tokens:
                raise QwenBudgetError(limit="tokens", allowed=self.tokens, used=used)
            case CodeDelta() if self.executions is not None:
                begun = answer.executions_begun
                if begun > self.executions:
                    raise QwenBudgetError(limit="executions", allowed=self.executions, used=begun)
