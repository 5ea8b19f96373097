"""The doorbell: Supabase Realtime says "there is work", whatever happens to the connection.

Supervisor (the `Doorbell`) owns connections and follows policy's decisions; bell_board, hearing
and renewals hold what those are made of.
"""

from realtime_bridge.doorbell.bells import Bell, BellState, Mode, wanted
from realtime_bridge.doorbell.faults import Reason
from realtime_bridge.doorbell.observer import DoorbellObserver
from realtime_bridge.doorbell.status import DoorbellStatus
from realtime_bridge.doorbell.supervisor import Doorbell
from realtime_bridge.doorbell.timing import Timing

__all__ = [
    "Bell",
    "BellState",
    "Doorbell",
    "DoorbellObserver",
    "DoorbellStatus",
    "Mode",
    "Reason",
    "Timing",
    "wanted",
]
