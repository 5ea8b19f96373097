"""Claim, handle, settle: one lane of rows, whatever is done with them."""

from realtime_bridge.worker.claimed import ROWS, SWEPT, Token, token_of, wrong_fields
from realtime_bridge.worker.event_queue import EventQueue, Policy, settlement
from realtime_bridge.worker.pump import Pump
from realtime_bridge.worker.sweeper import Follower, Leader

__all__ = [
    "ROWS",
    "SWEPT",
    "EventQueue",
    "Follower",
    "Leader",
    "Policy",
    "Pump",
    "Token",
    "settlement",
    "token_of",
    "wrong_fields",
]
