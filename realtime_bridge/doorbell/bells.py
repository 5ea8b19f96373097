"""The two bells, and the states that they can be in."""

from enum import StrEnum
from typing import Literal

Mode = Literal["both", "changes", "broadcast"]


class Bell(StrEnum):
    """The two ways in which the server can say that there is work."""

    CHANGES = "changes"  # Postgres Changes of bridge.bells, read from the WAL; works everywhere
    BROADCAST = "broadcast"  # sent by the same trigger at the same time, and faster


class BellState(StrEnum):
    """Whether a bell can be counted on."""

    OFF = "off"  # not asked for
    DOWN = "down"  # not connected, or not ready yet
    READY = "ready"  # the server says that it will ring, and nothing contradicts it
    AWAY = "away"  # subscribed, but the database behind it is away, or was away for long
    DEAF = "deaf"  # subscribed, but missed rows twice; does not count until it rings
    REFUSED = "refused"  # the server will not ring it; asked for again from time to time


def wanted(mode: Mode) -> frozenset[Bell]:
    """Return the bells of a mode."""
    return frozenset(Bell) if mode == "both" else frozenset({Bell(mode)})
