"""How the doorbell is."""

from dataclasses import dataclass

from realtime_bridge.doorbell.bells import BellState


@dataclass(frozen=True, slots=True)
class DoorbellStatus:
    """The doorbell at one moment, for /readyz, metrics and `status`."""

    changes: BellState
    broadcast: BellState
    healthy: bool  # a ring can be expected from at least one bell
    since: float  # the clock's value when `healthy` last changed
    last_error: str | None  # why a connection or a bell was last lost; safe to show
    rebuilds: int  # connections given up so far
