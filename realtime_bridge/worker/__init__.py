"""Claim, handle, settle: one lane of rows, whatever is done with them."""

from realtime_bridge.worker.claimed import ROWS, Token, token_of, wrong_fields
from realtime_bridge.worker.common_sweep import CommonSweep
from realtime_bridge.worker.event_queue import AGREE_ON_LIMITS, EventQueue, Limits
from realtime_bridge.worker.ports import Claim
from realtime_bridge.worker.pump import Pump
from realtime_bridge.worker.retention import Retention
from realtime_bridge.worker.settling import Policy, settlement
from realtime_bridge.worker.sweeper import Sweeper

__all__ = [
    "AGREE_ON_LIMITS",
    "ROWS",
    "Claim",
    "CommonSweep",
    "EventQueue",
    "Limits",
    "Policy",
    "Pump",
    "Retention",
    "Sweeper",
    "Token",
    "settlement",
    "token_of",
    "wrong_fields",
]
