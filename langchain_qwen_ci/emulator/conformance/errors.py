"""The errors that a check raises if it does not pass.

```
ConformanceError
├── ViolationError        the endpoint answered, but not as the requirement says
├── NoAnswerError         there is no complete answer that could be checked; always a failure
└── NotApplicableError    the requirement does not apply to this model; the check is skipped
```
"""

from __future__ import annotations


class ConformanceError(Exception):
    """A check did not pass. The message may quote anything that the endpoint sent."""


class ViolationError(ConformanceError):
    """The endpoint answered, but not as the requirement says."""


class NoAnswerError(ConformanceError):
    """The endpoint sent no answer, an error in place of one, or only a part of one."""


class NotApplicableError(ConformanceError):
    """The requirement does not apply to the model under test."""
