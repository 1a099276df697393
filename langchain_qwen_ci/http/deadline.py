"""The time limit of a whole call."""

from __future__ import annotations

import time


class Deadline:
    """When a call must be over; never, if it may take None seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, more than 0; None if they are not counted."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.001)

    @property
    def expired(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def allows(self, seconds: float) -> bool:
        """Whether there is more time left than these seconds."""
        return self._end is None or time.monotonic() + seconds < self._end

    def cap(self, seconds: float | None) -> float | None:
        """These seconds, or what is left if that is less."""
        return min((one for one in (seconds, self.remaining) if one is not None), default=None)
