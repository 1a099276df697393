"""Unit tests open no network socket, not even to this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_network_sockets(socket_disabled: None) -> None:
    """Block loopback too, which pyproject.toml allows for integration tests.

    Unix sockets stay allowed, because asyncio's event loops wake up through a pair of them.
    """
