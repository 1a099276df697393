"""Fixtures of the tests of the conformance checks."""

from __future__ import annotations

import pytest
from emulator_recordings import Recordings, record_all_checks


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    return record_all_checks()
