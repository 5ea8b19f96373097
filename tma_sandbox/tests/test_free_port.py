"""Ports for servers that are stopped and come back."""

import socket
from pathlib import Path

import pytest

from tma_sandbox import process
from tma_sandbox.errors import StackError

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", process.free_port())) as server:
        yield server.getsockname()[1]


def test_no_outgoing_connection_gets_it():
    """While its server is stopped, the kernel has other ports for clients."""
    lowest = int(OUTGOING.read_text().split()[0]) if OUTGOING.exists() else 49_152

    assert all(process.free_port() < lowest for _ in range(200))


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch, taken):
    """It says so when there is no other."""
    monkeypatch.setattr(process, "_OUR_PORTS", range(taken, taken + 1))

    with pytest.raises(StackError, match="no TCP port is free"):
        process.free_port()
