"""Limits the size of an answer."""

from __future__ import annotations

from langchain_qwen_ci.errors import QwenAnswerLimitError


class ByteLimits:
    """Counts the bytes of an answer, and those without any event.

    An endless line, an endless frame and endless empty frames are all bytes without an event, so
    this counter limits them all and the decoders need no limits.
    """

    def __init__(self, *, max_answer_bytes: int, max_frame_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._max_frame_bytes = max_frame_bytes
        self._bytes = 0
        self._bytes_without_events = 0

    def count(self, size: int, *, has_events: bool) -> None:
        """Count a piece of an answer.

        Raises:
            QwenAnswerLimitError: a limit is exceeded.
        """
        self._bytes += size
        self._bytes_without_events = 0 if has_events else self._bytes_without_events + size
        if self._bytes > self._max_answer_bytes:
            raise QwenAnswerLimitError(
                f"The answer has more than max_answer_bytes ({self._max_answer_bytes})."
            )
        if self._bytes_without_events > self._max_frame_bytes:
            raise QwenAnswerLimitError(
                f"The service sent more than max_frame_bytes ({self._max_frame_bytes}) "
                "without any event: a frame without an end, or frames without content."
            )
