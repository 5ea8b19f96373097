"""Tools that any room may use, and that know nothing about the bridge."""

from realtime_bridge.base.backoff import delays, retry_delay
from realtime_bridge.base.bodies import read_body
from realtime_bridge.base.decoding import Unreadable, decode
from realtime_bridge.base.duration import seconds_of
from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.base.threads import in_thread

__all__ = [
    "Stopwatch",
    "Unreadable",
    "decode",
    "delays",
    "in_thread",
    "read_body",
    "retry_delay",
    "seconds_of",
]
