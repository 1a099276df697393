"""The time limit of a whole call, or of a part of it."""

from __future__ import annotations

import time


class Deadline:
    """The time at which a call, or a part of it, must have ended.

    Args:
        seconds: from now; None sets no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Move the deadline, as if this object was created now."""
        self._end = None if self._seconds is None else time.monotonic() + self._seconds

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0.001; None without a deadline."""
        # A timeout of 0 would make a socket non-blocking, and a negative one is a ValueError.
        return None if self._end is None else max(self._end - time.monotonic(), 0.001)

    @property
    def expired(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def allows(self, seconds: float) -> bool:
        """Return whether a wait of this length ends before the deadline."""
        return self._end is None or time.monotonic() + seconds < self._end

    def cap(self, seconds: float | None) -> float | None:
        """Return the shorter one of a timeout and the remaining time; None if both are
        unlimited."""
        limits = (limit for limit in (seconds, self.remaining) if limit is not None)
        return min(limits, default=None)
