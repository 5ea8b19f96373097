"""The doorbell: Supabase Realtime says "there is work", whatever happens to the connection."""

from realtime_bridge.doorbell.doorbell import Doorbell, DoorbellObserver, DoorbellStatus, Unobserved
from realtime_bridge.doorbell.policy import Bell, BellState, Limits, Mode, Reason

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
]
