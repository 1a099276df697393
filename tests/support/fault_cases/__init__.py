"""The faults that the tests inject between client and service, and the expected outcomes."""

from __future__ import annotations

from fault_cases import (
    compression,
    connection,
    interrupted_answers,
    malformed_answers,
    retries,
    service_errors,
    size_limits,
    timeouts,
    unusual_answers,
)
from fault_cases.definitions import KEY, REGISTERED_FAULTS, WIRES, Case, Fault
from fault_cases.outcomes import Outcome

__all__ = ["FAULTS", "KEY", "WIRES", "Case", "Fault", "Outcome"]

# In the order of the table.
_SECTIONS = (
    service_errors,
    connection,
    timeouts,
    interrupted_answers,
    malformed_answers,
    compression,
    size_limits,
    retries,
    unusual_answers,
)

FAULTS = {
    name: fault
    for section in _SECTIONS
    for name, fault in REGISTERED_FAULTS.items()
    if fault.section == section.SECTION
}
