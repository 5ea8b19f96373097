"""The doorbell: Supabase Realtime says "there is work", whatever happens to the connection."""

from realtime_bridge.doorbell.policy import Bell, BellState, Limits, Mode, Reason, wanted
from realtime_bridge.doorbell.supervisor import (
    Doorbell,
    DoorbellObserver,
    DoorbellStatus,
    Unobserved,
)

__all__ = [
    "Bell",
    "BellState",
    "Doorbell",
    "DoorbellObserver",
    "DoorbellStatus",
    "Limits",
    "Mode",
    "Reason",
    "Unobserved",
    "wanted",
]
