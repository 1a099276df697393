"""A unit test that needs a server belongs to the integration tests."""

from __future__ import annotations

import asyncio
import socket

import pytest
from pytest_socket import SocketBlockedError


@pytest.mark.filterwarnings("ignore:A test tried to use socket")  # pytest-socket warns as well
def test_unit_tests_cannot_open_network_sockets():
    with pytest.raises(SocketBlockedError):
        socket.create_server(("127.0.0.1", 0))
    with pytest.raises(SocketBlockedError):
        socket.create_connection(("127.0.0.1", 9))


def test_unit_tests_can_run_event_loops():
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
