"""Ports for servers that are stopped and started again."""

import socket
from pathlib import Path

import pytest

from tma_sandbox import process
from tma_sandbox.errors import StackError

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture
def taken():
    """A port with a listener."""
    with socket.create_server(("127.0.0.1", process.free_port())) as server:
        yield server.getsockname()[1]


def test_no_outgoing_connection_gets_it():
    """The kernel does not give it to a client while its server is stopped."""
    lowest = int(OUTGOING.read_text().split()[0]) if OUTGOING.exists() else 49_152

    assert all(process.free_port() < lowest for _ in range(200))


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch, taken):
    """With no other port to choose, that is an error."""
    monkeypatch.setattr(process, "_OUR_PORTS", range(taken, taken + 1))

    with pytest.raises(StackError, match="no TCP port is free"):
        process.free_port()
