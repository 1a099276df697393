"""For each conformance check: a change to the emulator's replies that violates it."""

from __future__ import annotations

from violations import chat_completions, dashscope, responses

VIOLATIONS = {
    "dashscope": dashscope.VIOLATIONS,
    "responses": responses.VIOLATIONS,
    "chat_completions": chat_completions.VIOLATIONS,
}
VIOLATION_CASES = [
    (f"{api}/{name}", change, detail)
    for api, violations in VIOLATIONS.items()
    for name, (change, detail) in violations.items()
]
